"""A server is away: one line where its answer would stand, and all else goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import context
from dashboard.outage import LINES, SLOW_S, Watch
from pipeline.bus.kafka import KafkaBus
from pipeline.index.base import Index
from pipeline.index.elastic import ElasticIndex
from pipeline.index.late import late_index
from pipeline.index.sqlite import SqliteIndex
from pipeline.store import tables as t
from pipeline.store.sql import Store, postgres_url
from tests.dashboard import seed
from tests.dashboard.conftest import Open, Parts
from tests.dashboard.test_pages import row, text
from tests.elastic_replica import ElasticReplica

NOW = datetime(2026, 11, 24, 8, 10, tzinfo=UTC)
CLOSED = "postgresql://app:word@127.0.0.1:1/desk"  # nobody listens there


def of_closed_server() -> Index:
    """A client whose server was there and is gone."""
    replica = ElasticReplica()
    index = ElasticIndex([replica.url])
    replica.close()
    return index


def never_there() -> Index:
    return late_index(lambda: ElasticIndex(["http://127.0.0.1:1"]))


def of_damaged_file(tmp_path: Path) -> Index:
    file = tmp_path / "broken.db"
    index = SqliteIndex(file)
    index.close()
    for side in ("-wal", "-shm"):
        file.with_name(file.name + side).unlink(missing_ok=True)
    file.write_bytes(b"nothing of a database" * 400)
    return late_index(lambda: SqliteIndex(file))


@pytest.fixture(params=["closed", "never there", "embedded, damaged"])
def without_index(request: pytest.FixtureRequest, parts: Parts, tmp_path: Path) -> Iterator[None]:
    kept = parts.index
    if request.param == "closed":
        parts.index = of_closed_server()
    elif request.param == "never there":
        parts.index = never_there()
    else:
        parts.index = of_damaged_file(tmp_path)
    yield
    parts.index = kept


def warnings(app: AppTest) -> list[str]:
    return [w.value for w in app.warning]


@pytest.mark.usefixtures("without_index")
@pytest.mark.parametrize(
    ("who", "page", "params"),
    [
        ("李值班", "events", {"m": "posts"}),
        ("李值班", "events", {"id": seed.eid("dam")}),
    ],
)
def test_a_screen_that_asks_the_index_says_one_line(
    open_as: Open, who: str, page: str, params: dict[str, str]
) -> None:
    app = open_as(who, page, **params)
    assert set(warnings(app)) == {LINES["index"]}
    assert "帖文检索" in text(app) and "起无应答" in text(app), "the top line says since when"


@pytest.mark.usefixtures("without_index")
@pytest.mark.parametrize("page", ["overview", "events", "help", "cases", "rumours", "reviews"])
def test_every_page_opens_without_the_index(open_as: Open, page: str) -> None:
    app = open_as("李值班", page)
    assert not app.error and "起无应答" in text(app)


@pytest.mark.usefixtures("without_index")
def test_cases_go_on_without_the_index(open_as: Open, parts: Parts) -> None:
    dam = seed.fp("dam")
    app = open_as("李值班")
    app.button(key=f"act_alert_{dam}").click().run()
    assert row(parts, t.alerts, t.alerts.c.fingerprint, dam)["state"] == "claimed"


def test_the_index_comes_back_by_itself(open_as: Open, parts: Parts) -> None:
    kept, parts.index = parts.index, of_closed_server()
    assert warnings(open_as("李值班", "events", m="posts"))
    parts.index = kept
    desk = context.current()
    end = time.monotonic() + 20
    while desk.watch.away(desk.now()) and time.monotonic() < end:
        time.sleep(0.1)
    app = open_as("李值班", "events", m="posts")
    assert not warnings(app) and "起无应答" not in text(app)


def test_the_dead_letters_say_that_the_bus_is_away(open_as: Open, parts: Parts) -> None:
    kept, parts.bus = parts.bus, KafkaBus(["127.0.0.1:1"], answer_s=1.0)
    try:
        app = open_as("蒙系统")
        app.session_state["admin_part"] = "dead"
        app.run()
        assert warnings(app) == [LINES["bus"]] and not app.error
        assert "消息通道" in text(app.run()) and not app.exception
    finally:
        parts.bus.close()
        parts.bus = kept


def test_a_database_that_is_away_is_one_sentence(open_as: Open, parts: Parts) -> None:
    kept, parts.store = parts.store, Store(postgres_url(CLOSED))
    try:
        app = open_as("李值班")
        assert len(app.error) == 1 and "数据库暂时不可用" in app.error[0].value
    finally:
        parts.store.close()
        parts.store = kept


def test_a_server_that_hangs_holds_up_no_page() -> None:
    answer = Event()
    watch = Watch({"index": lambda: answer.wait(60)})
    began = time.monotonic()
    assert watch.away(NOW) == {}, "it may still answer"
    while not watch.away(NOW) and time.monotonic() - began < 10:
        assert time.monotonic() - began < 10
        time.sleep(0.1)
    said = watch.away(NOW)["index"]
    assert said.is_slow and said.since == NOW and time.monotonic() - began < SLOW_S + 2
    answer.set()
    while watch.away(NOW):
        assert time.monotonic() - began < 20
        time.sleep(0.05)
