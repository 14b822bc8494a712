"""The worker and the two machine stages on a real bus."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from nlp.types import Place
from pipeline.bus.base import Message, Record
from pipeline.bus.codec import decode_annotated, encode_post
from pipeline.bus.sqlite import SqliteBus
from pipeline.bus.topics import POSTS_ANNOTATED, POSTS_RAW
from pipeline.errors import EngineDown, Never, NotNow, StageStopped
from pipeline.index.base import Query
from pipeline.index.sqlite import SqliteIndex
from pipeline.stages.annotate import Annotate, prefecture_key
from pipeline.stages.index import IndexPosts
from pipeline.worker import Worker
from tests.fakes import NIGHT, FakeAnnotator, HandClock, post

RAW = POSTS_RAW.name


@pytest.fixture
def bus(tmp_path: Path) -> SqliteBus:
    return SqliteBus(tmp_path / "posts.db", clock=HandClock(), busy_s=0.05)


class Handler:
    """Collects numbers. ``bad``: refused for ever; ``busy``: so many times not now."""

    def __init__(self, *, bad: set[int] | None = None, busy: int = 0, bug: int = -1) -> None:
        self.bad, self.busy, self.bug = bad or set(), busy, bug
        self.got: list[int] = []

    def __call__(self, messages: list[Message]) -> None:
        if self.busy:
            self.busy -= 1
            raise EngineDown("the index does not answer; look at its log")
        values = [int(m.value) for m in messages]
        if self.bad & set(values):
            raise Never("not for me")
        if self.bug in values:
            raise KeyError("surprise")
        self.got += values


def publish(bus: SqliteBus, count: int) -> None:
    bus.publish(RAW, [Record(f"k{i % 5}", b"%d" % i) for i in range(count)])


def worker(bus: SqliteBus, handler: Callable[[list[Message]], None], **options: object) -> Worker:
    values: dict[str, object] = {"stage": "test", "clock": HandClock(), **options}
    return Worker(bus, "g", [RAW], handler, **values)  # type: ignore[arg-type]


def test_everything_is_handled_once_and_in_order(bus: SqliteBus) -> None:
    publish(bus, 1200)
    handler = Handler()
    assert worker(bus, handler).run_once() == 1200
    assert handler.got == list(range(1200))
    assert bus.lag("g", [RAW]) == 0
    assert worker(bus, handler).run_once() == 0


def test_a_refused_message_stands_alone_in_the_dead_letters(bus: SqliteBus) -> None:
    publish(bus, 300)
    handler = Handler(bad={7, 250})
    at_work = worker(bus, handler)
    assert at_work.run_once() == 300
    assert handler.got == [i for i in range(300) if i not in (7, 250)], "order is kept"
    assert sorted(d.value for d in bus.dead()) == [b"250", b"7"]
    letter = bus.dead()[0]
    assert (letter.stage, letter.error, letter.topic, letter.tries) == (
        "test",
        "not for me",
        RAW,
        1,
    )
    assert at_work.buried == 2


def test_an_error_nobody_foresaw_is_buried_with_its_name(bus: SqliteBus) -> None:
    publish(bus, 50)
    handler = Handler(bug=31)
    with capture_logs() as logs:
        worker(bus, handler).run_once()
    assert len(handler.got) == 49
    (letter,) = bus.dead()
    assert letter.error == "KeyError: 'surprise'"
    (line,) = [entry for entry in logs if entry["event"] == "message given up"]
    assert line["where"].startswith("test_worker.py:")
    assert "surprise" not in repr(line)


def test_not_now_keeps_the_order_and_logs_once(bus: SqliteBus) -> None:
    publish(bus, 40)
    handler = Handler(busy=4)
    stop = threading.Event()
    notes: list[tuple[int, str]] = []

    def beat(lag: int, note: str) -> None:
        notes.append((lag, note))
        if len(handler.got) == 40 and lag == 0:
            stop.set()

    with capture_logs() as logs:
        worker(bus, handler, batch=10, first_wait_s=0.001, on_beat=beat).run(stop, poll_s=0.01)
    assert handler.got == list(range(40))
    assert [entry["event"] for entry in logs] == ["not now", "goes on"]
    assert [note for _, note in notes[:4]] == ["the index does not answer; look at its log"] * 4
    assert notes[-1] == (0, "")


def test_the_wait_doubles_up_to_its_cap(bus: SqliteBus) -> None:
    publish(bus, 1)
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            if len(waits) == 7:
                self.set()
            return self.is_set()

    worker(bus, Handler(busy=99), first_wait_s=1.0, longest_wait_s=10.0).run(Stop(), poll_s=0.01)
    assert waits == [1, 2, 4, 8, 10, 10, 10]
    assert bus.lag("g", [RAW]) == 1


def test_run_once_says_not_now_at_once_and_loses_nothing(bus: SqliteBus) -> None:
    publish(bus, 10)
    handler = Handler(busy=1)
    with pytest.raises(NotNow):
        worker(bus, handler).run_once()
    worker(bus, handler).run_once()
    assert handler.got == list(range(10))


def test_what_was_done_before_a_failure_is_not_done_again(bus: SqliteBus) -> None:
    publish(bus, 8)
    got: list[int] = []
    down = True

    def handler(messages: list[Message]) -> None:
        values = [int(m.value) for m in messages]
        if 1 in values:
            raise Never("bad")
        if 5 in values and down:
            raise NotNow("down")
        got.extend(values)

    with pytest.raises(NotNow):
        worker(bus, handler).run_once()
    down = False
    worker(bus, handler).run_once()
    assert got == [0, 2, 3, 4, 5, 6, 7]
    assert len(bus.dead()) == 1


def test_a_stage_that_refuses_too_much_stops_and_says_so(bus: SqliteBus) -> None:
    publish(bus, 400)
    handler = Handler(bad=set(range(100, 400)))
    with pytest.raises(StageStopped, match=r"test: \d+ of the last \d+ messages.*dead list"):
        worker(bus, handler, batch=50).run_once()
    assert handler.got == list(range(100))
    buried = len(bus.dead())
    assert 20 <= buried < 100, "it does not throw a whole backlog away"
    assert bus.lag("g", [RAW]) == 300 - buried, "what it buried is committed, the rest waits"


def test_a_full_disk_of_the_handler_is_not_the_messages_fault(bus: SqliteBus) -> None:
    publish(bus, 3)

    def handler(_messages: list[Message]) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(NotNow, match="No space left"):
        worker(bus, handler).run_once()
    assert bus.dead() == []


def test_a_locked_bus_is_waited_for(bus: SqliteBus, tmp_path: Path) -> None:
    publish(bus, 5)
    handler = Handler()
    at_work = worker(bus, handler, first_wait_s=0.001)
    other = sqlite3.connect(tmp_path / "posts.db", isolation_level=None, check_same_thread=False)
    stop = threading.Event()

    def beat(lag: int, note: str) -> None:
        if note and other.in_transaction:
            other.execute("ROLLBACK")
        if not note and lag == 0 and handler.got:
            stop.set()

    at_work._beat = beat
    other.execute("BEGIN IMMEDIATE")
    at_work.run(stop, poll_s=0.01)
    other.close()
    assert handler.got == list(range(5))


def annotate_all(bus: SqliteBus, annotator: FakeAnnotator) -> None:
    clock = HandClock()
    Worker(
        bus, "annotate", [RAW], Annotate(bus, annotator, clock), stage="annotate", clock=clock
    ).run_once()


def test_posts_are_judged_in_one_pass_and_keyed_by_prefecture(bus: SqliteBus) -> None:
    texts = ["青秀区积水", "没有地名"]
    for i, text in enumerate(texts):
        bus.publish(RAW, [Record(str(i), encode_post(post(i, text=text), NIGHT))])
    annotator = FakeAnnotator()
    annotate_all(bus, annotator)
    assert annotator.passes == [2]
    got = list(bus.read(POSTS_ANNOTATED.name))
    assert [m.key for m in got] == ["450100", "000000"]
    items = [decode_annotated(m.value) for m in got]
    assert [item.post for item in items] == [post(i, text=t) for i, t in enumerate(texts)]


def test_a_poison_post_does_not_kill_its_batch(bus: SqliteBus) -> None:
    texts = [f"第{i}条" + ("毒药" if i == 13 else "") for i in range(60)]
    bus.publish(
        RAW, [Record(str(i), encode_post(post(i, text=t), NIGHT)) for i, t in enumerate(texts)]
    )
    bus.publish(RAW, [Record("x", b"not a post")])
    annotate_all(bus, FakeAnnotator())
    items = [decode_annotated(m.value) for m in bus.read(POSTS_ANNOTATED.name)]
    assert [i.post.text for i in items] == [t for t in texts if "毒药" not in t]
    assert {d.stage for d in bus.dead()} == {"annotate"}
    assert len(bus.dead()) == 2


def test_annotated_posts_reach_the_index_and_redelivery_changes_nothing(
    bus: SqliteBus, tmp_path: Path
) -> None:
    bus.publish(RAW, [Record(str(i), encode_post(post(i), NIGHT)) for i in range(30)])
    annotate_all(bus, FakeAnnotator())
    bus.publish(POSTS_ANNOTATED.name, [Record("x", b"not a post")])
    index, clock = SqliteIndex(tmp_path / "posts.db"), HandClock()
    for group in ("index", "index again"):
        stage = IndexPosts(index, clock)
        Worker(bus, group, [POSTS_ANNOTATED.name], stage, stage="index", clock=clock).run_once()
        assert index.count(Query()) == 30
        assert [hit.item.post for hit in index.search(Query(limit=2))] == [post(29), post(28)]
    assert [(d.stage, d.tries) for d in bus.dead()] == [("index", 2)]


@pytest.mark.parametrize(
    ("adcode", "key"),
    [("450103", "450100"), ("450103001", "450100"), ("450000", "450000"), ("", "000000")],
)
def test_the_key_is_the_prefecture(adcode: str, key: str) -> None:
    assert prefecture_key([Place(adcode, "x")] if adcode else []) == key


def test_it_counts_what_it_handled_gave_up_and_how_long_it_was_busy(bus: SqliteBus) -> None:
    publish(bus, 25)
    made = worker(bus, Handler(bad={3}), dead_share_limit=1.0)
    assert made.figures() == {"handled": 0, "buried": 0, "busy_s": 0}
    made.run_once()
    figures = made.figures()
    assert (figures["handled"], figures["buried"]) == (24, 1)
    assert figures["busy_s"] > 0
