"""One machine's data to the servers: nothing lost, nothing twice, again after a failure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select

from nlp.claims import load_library
from pipeline import engines
from pipeline.app import App, build
from pipeline.commands.migrating import embedded_to_distributed
from pipeline.desk import cases, claims
from pipeline.domain.rights import Actor, Role
from pipeline.errors import SettingsError
from pipeline.index.base import Query
from pipeline.settings import Settings, load_settings
from pipeline.store import tables as t
from pipeline.store.sql import verify_audit
from tests.engines import unique
from tests.flow.night import START, NightClock, play

pytestmark = pytest.mark.engines
DUTY = Actor(1, "duty", Role.DUTY)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> App:
    """A folder with a stretch of the night, an open case and a claim of its own."""
    clock = NightClock()
    app = build(load_settings(tmp_path_factory.mktemp("old")), clock)
    with app.store.begin(START) as tx:
        claims.seed_library(tx, load_library()[:5])
    play(app, clock, timedelta(0), timedelta(hours=1, minutes=30))
    with app.store.begin(clock.now()) as tx:
        event = tx.conn.execute(select(t.events.c.id).limit(1)).scalar_one()
        cases.open_case(tx, DUTY, event_id=event, title="试一个处置", rules=app.rules)
    return app


@pytest.fixture
def new(pg_url: str, es_url: str, tmp_path: Path) -> Iterator[Settings]:
    name = unique("m")
    with psycopg.connect(pg_url, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
    settings = Settings(
        profile="distributed",
        home=tmp_path,
        kafka_servers=("127.0.0.1:9",),  # the bus is not moved
        elastic_urls=(es_url,),
        database_url=f"{pg_url.rpartition('/')[0]}/{name}",
        prefix=name,
    )
    yield settings
    index = engines.open_index(settings)
    index.forget_everything()  # type: ignore[attr-defined]
    index.close()
    with psycopg.connect(pg_url, autocommit=True) as conn:
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def contents(settings: Settings) -> dict[str, list[Any]]:
    store = engines.open_store(settings)
    with store.read() as conn:
        found = {
            table.name: sorted(map(repr, conn.execute(select(table)).tuples()))
            for table in t.metadata.sorted_tables
        }
    store.close()
    return found


def test_everything_arrives_and_a_second_run_changes_nothing(old: App, new: Settings) -> None:
    rows = list(embedded_to_distributed(old.settings, new))
    assert all(row["ok"] for row in rows), rows
    moved = {row["what"]: row["moved"] for row in rows}
    assert moved["posts"] > 100 and moved["audit"] >= 2 and moved["cases"] == 1
    assert contents(new) == contents(old.settings)
    index = engines.open_index(new)
    ours, theirs = list(old.index.scan(Query())), list(index.scan(Query()))
    assert theirs == ours
    some = [hit.item.post.id for hit in ours[:50]]
    assert {k.item.post.id: k for k in index.kept(some)} == {
        k.item.post.id: k for k in old.index.kept(some)
    }
    index.close()
    again = list(embedded_to_distributed(old.settings, new))
    assert again == rows


def test_the_desk_goes_on_after_the_last_number(old: App, new: Settings) -> None:
    list(embedded_to_distributed(old.settings, new))
    store = engines.open_store(new)
    with store.begin(old.now()) as tx:
        events = tx.conn.execute(select(t.events.c.id)).scalars().all()
        taken = tx.conn.execute(select(t.cases.c.event_id)).scalars().all()
        free = next(e for e in events if e not in taken)
        number = cases.open_case(tx, DUTY, event_id=free, title="又一个", rules=old.rules)
    with store.read() as conn:
        assert verify_audit(conn).ok
        assert number == max(conn.execute(select(t.cases.c.id)).scalars())
    store.close()


def test_a_failure_on_the_way_leaves_a_run_that_can_be_repeated(
    old: App, new: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.index.elastic import ElasticIndex

    calls = []
    restore = ElasticIndex.restore

    def failing(self: ElasticIndex, posts: Any) -> None:
        calls.append(len(posts))
        restore(self, posts[: len(posts) // 2])
        raise ConnectionError("the network went away")

    monkeypatch.setattr(ElasticIndex, "restore", failing)
    with pytest.raises(ConnectionError):
        list(embedded_to_distributed(old.settings, new))
    assert calls
    monkeypatch.undo()
    rows = list(embedded_to_distributed(old.settings, new))
    assert all(row["ok"] for row in rows), rows


def test_other_data_in_the_new_database_is_never_overwritten(old: App, new: Settings) -> None:
    store = engines.open_store(new)
    store.create()
    with store.begin(START) as tx:
        tx.audit(DUTY, "claim_alert", "alert", 1)
    store.close()
    with pytest.raises(SettingsError, match="other data"):
        list(embedded_to_distributed(old.settings, new))


def test_unfinished_messages_are_not_left_behind(tmp_path: Path, new: Settings) -> None:
    from pipeline.bus.base import Record

    app = build(load_settings(tmp_path / "busy"), NightClock())
    app.bus.publish("posts.raw", [Record("a", b"{}")])
    app.close()
    with pytest.raises(SettingsError, match="annotate 1"):
        list(embedded_to_distributed(app.settings, new))
