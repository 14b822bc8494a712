"""Stores for tests: SQLite files, or databases of a server when TEST_DATABASE_URL names one.

So the suites of the desk, the detector and the screens run on both engines unchanged
(``make check-engines``). A store is named by the path its file would have.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
from pathlib import Path

from pipeline.store.sql import Store, postgres_url, sqlite_url

SERVER = os.environ.get("TEST_DATABASE_URL", "")
_made: set[str] = set()


def open_store(path: Path, busy_s: float = 30.0) -> Store:
    """The store of that path; empty and without tables the first time."""
    if not SERVER:
        return Store(sqlite_url(path), busy_s)
    name = _name(path)
    if name not in _made:
        _make(name)
    return Store(postgres_url(f"{SERVER.rpartition('/')[0]}/{name}"), busy_s)


def copy_store(source: Path, to: Path) -> None:
    """The same contents under another path. Nobody may have ``source`` open."""
    if not SERVER:
        shutil.copy(source, to)
        return
    _make(_name(to), f'TEMPLATE "{_name(source)}"')


def _name(path: Path) -> str:
    return "t" + hashlib.sha256(f"{os.getpid()}{path}".encode()).hexdigest()[:20]


def _make(name: str, how: str = "") -> None:
    import psycopg

    with psycopg.connect(SERVER, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}" {how}'.encode())
    _made.add(name)


def _drop_all() -> None:
    import psycopg

    with psycopg.connect(SERVER, autocommit=True) as conn:
        for name in _made:
            conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


if SERVER:
    atexit.register(_drop_all)
