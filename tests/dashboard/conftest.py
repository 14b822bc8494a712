"""A seeded desk per test: real SQLite files, a standing clock, no network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from streamlit.testing.v1 import AppTest

from dashboard import context
from pipeline.bus.sqlite import SqliteBus
from pipeline.desk.clocks import DEFAULTS, load_desk_rules
from pipeline.desk.help import Vault
from pipeline.desk.users import _hash
from pipeline.domain.routing import load_routes
from pipeline.domain.rules import load_rules
from pipeline.index.sqlite import SqliteIndex
from pipeline.settings import load_settings
from pipeline.store import tables as t
from tests.dashboard import seed
from tests.stores import copy_store, open_store

SCRIPT = Path(context.__file__).with_name("app.py")
NIGHT = datetime(2026, 11, 24, 8, 10, tzinfo=UTC)


@dataclass
class Parts:
    """What ``pipeline.app.build`` joins up, built by hand on a seeded folder."""

    settings: Any
    clock: Any
    store: Any
    bus: Any
    index: Any
    rules: Any
    routes: Any
    vault: Any
    detect_rules: Any
    is_drill: bool = False


def build(home: Path, clock: Any) -> Parts:
    settings = load_settings(home)
    return Parts(
        settings=settings,
        clock=clock,
        store=open_store(settings.desk_db),
        bus=SqliteBus(settings.posts_db, clock=clock),
        index=SqliteIndex(settings.posts_db),
        rules=load_desk_rules(DEFAULTS / "deadlines.toml"),
        routes=load_routes(DEFAULTS / "routes.toml"),
        vault=Vault(b"k" * 32),
        detect_rules=load_rules(DEFAULTS / "rules.toml"),
    )


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seeded folder, made once and copied for each test."""
    home = tmp_path_factory.mktemp("night")
    parts = build(home, seed.StandingClock(NIGHT))
    seed.fill(parts.store, parts.index, NIGHT, home, parts.rules)
    wall = datetime.now(UTC)
    with parts.store.begin(wall) as tx:
        for number, *_ in seed.PEOPLE:
            tx.conn.execute(
                insert(t.sessions),
                {
                    "sid_hash": _hash(f"sid{number}"),
                    "user_id": number,
                    "created_at": wall,
                    "seen_at": wall,
                    "expires_at": wall + timedelta(hours=12),
                },
            )
    close(parts)
    return home


def close(parts: Parts) -> None:
    parts.index.close()
    parts.bus.close()
    parts.store.close()


@pytest.fixture
def parts(night: Path, tmp_path: Path) -> Iterator[Parts]:
    home = tmp_path / "home"
    shutil.copytree(night, home, ignore=shutil.ignore_patterns("desk.db*"))
    copy_store(night / "desk.db", home / "desk.db")
    made = build(home, seed.StandingClock(NIGHT))
    context.install(made)
    yield made
    close(made)


Open = Callable[..., AppTest]


@pytest.fixture
def open_as(parts: Parts) -> Open:
    """Open the board as somebody: ``open_as("李值班", "cases", id="1")``."""

    def opened(name: str, page: str = "", **params: str) -> AppTest:
        app = AppTest.from_file(str(SCRIPT), default_timeout=30)
        app.session_state["_sid"] = f"sid{seed.actor(name).user_id}"
        for key, value in params.items():
            app.query_params[key] = value
        app.run()
        if page:
            # AppTest switches to files only; the board's pages are functions, known by their hash
            app._page_hash = app.session_state["_pages"][page]._script_hash
            app.run()
        assert not app.exception, app.exception
        return app

    return opened
