"""A server is away: one line where its answer would stand, and all else goes on."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from sqlalchemy.exc import OperationalError
from starlette.responses import PlainTextResponse
from streamlit.testing.v1 import AppTest

from dashboard import context
from dashboard.asgi import Gate
from dashboard.auth import Auth
from dashboard.outage import LINES, in_passing
from dashboard.placeholder import Placeholder
from dashboard.watch import SLOW_S, Watch
from pipeline.bus.kafka import KafkaBus
from pipeline.errors import EngineDown, StoreBusy
from pipeline.index.base import Index
from pipeline.index.elastic import ElasticIndex
from pipeline.index.late import late_index
from pipeline.index.sqlite import SqliteIndex
from pipeline.settings import Settings
from pipeline.store import tables as t
from pipeline.store.postgres import GivenUp
from pipeline.store.sql import Store, postgres_url
from pipeline.store.trouble import AWAY
from tests.dashboard import seed
from tests.dashboard.conftest import Open, Parts
from tests.dashboard.test_pages import row, text
from tests.elastic_replica import ElasticReplica
from tests.engines import free_port

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


@pytest.fixture
def without_store(parts: Parts) -> Iterator[Callable[[], None]]:
    """The database is away; call it to bring it back."""
    kept, parts.store = parts.store, Store(postgres_url(CLOSED))
    away = parts.store

    def back() -> None:
        parts.store = kept

    yield back
    away.close()
    back()


SINCE = "数据库 16:10:00 起无应答"


def test_a_database_that_is_away_is_one_sentence_with_since_when(
    open_as: Open, without_store: Callable[[], None]
) -> None:
    app = open_as("李值班")
    assert [e.value.startswith(SINCE) for e in app.error] == [True] and not app.exception
    assert not re.search("[a-z]{2}", app.error[0].value), "what its client says is for the log"
    assert not app.button, "nothing can be pressed"


def test_a_page_comes_back_by_itself_when_the_database_does(
    open_as: Open, parts: Parts, without_store: Callable[[], None]
) -> None:
    app = open_as("李值班")
    without_store()
    wait_until_back()
    app.run()  # as the top line's timer does every three seconds
    assert not app.error and "未认领" in text(app) and app.button


def test_a_draft_is_read_while_nothing_can_be_written(open_as: Open, parts: Parts) -> None:
    app = open_as("陆保密", "cases", id="1", draft="1")
    app.text_area(key="comment_secrecy_1").set_value("请补充数据来源").run()
    app.button(key="back_secrecy_1").click().run()
    kept, parts.store = parts.store, Store(parts.store.url, busy_s=0.1)
    try:
        with kept.begin(NOW):
            app = open_as("李值班", "cases", id="1", draft="1")
            assert not app.error and "请补充数据来源" in text(app)
            assert app.button(key="submit_1") and "起无应答" not in text(app)
    finally:
        parts.store.close()
        parts.store = kept


def test_who_was_silent_is_not_waited_for_twice() -> None:
    with in_passing():
        raise StoreBusy(AWAY, detail="database is locked")
    silent = OperationalError("SELECT 1", None, GivenUp("the server does not answer"))
    with pytest.raises(StoreBusy, match=AWAY), in_passing():
        raise StoreBusy(AWAY) from silent


def test_an_act_that_meets_the_outage_says_so_and_is_not_half_done(
    open_as: Open, parts: Parts
) -> None:
    dam = seed.fp("dam")
    app = open_as("李值班")
    kept, parts.store = parts.store, Store(postgres_url(CLOSED))
    try:
        app.button(key=f"act_alert_{dam}").click().run()
        assert not app.exception and any(SINCE in e.value for e in app.error)
    finally:
        parts.store.close()
        parts.store = kept
    assert row(parts, t.alerts, t.alerts.c.fingerprint, dam)["state"] == "new"
    wait_until_back()
    app.run()
    assert not app.error
    app.button(key=f"act_alert_{dam}").click().run()
    assert row(parts, t.alerts, t.alerts.c.fingerprint, dam)["state"] == "claimed"


def test_nobody_waits_for_a_database_that_is_known_to_be_away() -> None:
    asked = []

    def hang() -> None:
        asked.append(1)
        if len(asked) > 1:
            Event().wait(30)
        raise StoreBusy("nobody answers")

    watch = Watch({"store": hang})
    for n in range(3):
        began = time.monotonic()
        with pytest.raises(StoreBusy, match="nobody answers"):
            watch.need_store(NOW + timedelta(minutes=n))
        assert time.monotonic() - began < 2
    assert watch.away(NOW)["store"].since == NOW


def wait_until_back() -> None:
    desk = context.current()
    end = time.monotonic() + 20
    while desk.watch.away(desk.now(), "store"):
        assert time.monotonic() < end
        time.sleep(0.1)


def asked(path: str, kind: str = "http") -> tuple[int, str]:
    """What the gate answers somebody with a good cookie: status and body."""
    sent: list[dict[str, Any]] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("the board")(scope, receive, send)

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": f"{kind}.request", "body": b""}

    scope = {
        "type": kind,
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost:8501"), (b"cookie", b"sid=sid1")],
    }
    asyncio.run(Gate(inner, Auth(context.current()), ())(scope, receive, send))
    if kind == "websocket":
        return sent[0]["code"], sent[0]["type"]
    return sent[0]["status"], sent[1]["body"].decode()


def test_the_gate_says_what_is_down_since_when_and_opens_again(
    without_store: Callable[[], None], parts: Parts
) -> None:
    for path in ("/", "/cases"):
        status, page = asked(path)
        assert (
            status == 503
            and "数据库 11-24 16:10 起无应答" in page
            and 'http-equiv="refresh"' in page
        )
        assert "127.0.0.1" not in page, "who has not logged in learns no address"
    assert asked("/_stcore/health") == (503, "数据库无应答，恢复后自动可用")
    assert asked("/_stcore/stream", "websocket") == (1008, "websocket.close")
    without_store()
    wait_until_back()
    assert asked("/") == (200, "the board")


def test_a_board_that_cannot_open_yet_says_why_at_its_address(tmp_path: Path) -> None:
    port = free_port(1)
    with Placeholder(Settings(home=tmp_path, port=port)) as board:
        for error, said in (
            (StoreBusy("db at 10.0.0.3"), "数据库 11-24 16:10 起无应答"),
            (EngineDown("Kafka"), "消息通道 11-24 16:10 起无应答"),
        ):
            board.say(error, NOW)
            with pytest.raises(HTTPError) as refused:
                for _ in range(100):
                    try:
                        urlopen(f"http://127.0.0.1:{port}/cases?id=1", timeout=10)
                    except URLError as trouble:
                        if isinstance(trouble, HTTPError):
                            raise
                        time.sleep(0.1)
            page = refused.value.read().decode()
            assert refused.value.code == 503 and said in page and "10.0.0.3" not in page
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))  # the board itself takes the place


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
