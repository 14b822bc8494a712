"""Real servers for tests marked ``engines``: fixtures that give an address.

All tests share one set on the default ports, so names of topics, indexes and databases must be
unique (``unique``). A server that does not run is started and left running for the next tests;
``scripts/engines.py stop all`` ends it. A test that kills or freezes a server makes its own with
``own_engine``.

Where a server cannot run the test is skipped with the reason; with ENGINES_REQUIRED=1 it fails.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from scripts.engines import ENGINES
from scripts.servers.engine import Engine
from tests.disks import go_on, mount, mount_image, unmount
from tests.far_host import FarHost

OwnEngine = Callable[..., Engine]


def unique(prefix: str = "t") -> str:
    """A name that no other test uses: letters, digits and ``-``."""
    return f"{prefix}-{uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def kafka_address() -> str:
    """``host:port`` of a broker."""
    return _running("kafka")


@pytest.fixture(scope="session")
def es_url() -> str:
    """``http://host:port`` of an Elasticsearch without security."""
    return _running("es")


@pytest.fixture(scope="session")
def pg_url() -> str:
    """``postgresql://user:password@host:port/database``; the account may make databases."""
    return _running("pg")


@pytest.fixture(scope="module")
def own_engine() -> Iterator[OwnEngine]:
    """Makes servers that only one module uses: ``own_engine("kafka", nodes=3)``, started.

    ``disk="300m"`` gives the server a file system of that size for all it writes, which needs the
    right to mount; without it the test is skipped. With ``hangs`` that disk can be made to hang.
    ``far``: the host that it runs on, instead of this one.
    """
    made: list[Engine] = []
    folders: list[Path] = []
    disks: list[Path] = []

    def make(
        name: str,
        *,
        disk: str = "",
        hangs: bool = False,
        far: FarHost | None = None,
        **options: Any,
    ) -> Engine:
        _need(name)
        # not below pytest's own folder: Elasticsearch and PostgreSQL run as other accounts
        base = Path(tempfile.mkdtemp(prefix="engines-"))
        base.chmod(0o755)
        folders.append(base)
        if disk:
            (mount_image if hangs else mount)(base, disk)
            disks.append(base)
        # on a far host with its usual port: nobody else is there
        where = {"port": free_port()} if far is None else {"host": far.address}
        engine = ENGINES[name](base, **{**where, **options})
        made.append(engine)
        if far is None:
            engine.start()
        else:
            engine.fetch()  # from there no way leads to a registry
            far.call(engine.start)
        return engine

    yield make
    for disk in disks:  # nobody can end who waits for it
        go_on(disk)
    for engine in made:
        engine.thaw()
        if engine.name == "pg":
            engine.stop()  # killed, its children would still write into the folder
        else:
            engine.kill()
    for disk in disks:
        unmount(disk)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def free_port(span: int = 130) -> int:
    """A port that is free together with those of its cluster: n, n + 1, n + 10, n + 100 ..."""
    for first in range(21000 + os.getpid() % 50 * 200, 60000, 200):
        if all(_is_free(first + n) for n in range(span)):
            return first
    raise RuntimeError("no free ports on loopback")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _need(name: str) -> None:
    if lack := ENGINES[name].lacks():
        if os.environ.get("ENGINES_REQUIRED") == "1":
            pytest.fail(lack)
        pytest.skip(lack)


def _running(name: str) -> str:
    _need(name)
    return ENGINES[name]().start(keep=True)


__all__ = ["es_url", "free_port", "kafka_address", "own_engine", "pg_url", "unique"]
