"""What every bus promises. One suite; ``make_bus`` says which adapter is asked."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.bus.base import Bus, Consumer, DeadLetter, Message, Record
from pipeline.bus.sqlite import SqliteBus
from pipeline.bus.topics import ALERTS, POSTS_ANNOTATED, POSTS_RAW
from pipeline.errors import BadMessage, EngineDown, LostLease, NotFound
from tests.fakes import NIGHT, HandClock, HandTicks

RAW = POSTS_RAW.name
LEASE_S = 10.0

BusFactory = Callable[..., Bus]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ticks() -> HandTicks:
    return HandTicks()


@pytest.fixture(params=["sqlite"])
def bus_factory(
    request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock, ticks: HandTicks
) -> Iterator[BusFactory]:
    """Makes connections to one and the same log, as several processes would."""
    made: list[Bus] = []

    def make(**options: object) -> Bus:
        values: dict[str, object] = {"clock": clock, "ticks": ticks, "lease_s": LEASE_S, **options}
        bus = SqliteBus(tmp_path / "posts.db", **values)  # type: ignore[arg-type]
        made.append(bus)
        return bus

    yield make
    for bus in made:
        bus.close()


@pytest.fixture
def bus(bus_factory: BusFactory) -> Bus:
    return bus_factory()


def records(count: int, *, keys: int = 7, start: int = 0) -> list[Record]:
    return [Record(f"k{i % keys}", b"%d" % i) for i in range(start, start + count)]


def drain(consumer: Consumer, *, commit: bool = True) -> list[Message]:
    got: list[Message] = []
    while batch := consumer.poll(50, 0.0):
        got += batch
        if commit:
            consumer.commit(batch)
    return got


def numbers(messages: list[Message]) -> list[int]:
    return [int(m.value) for m in messages]


def letter(value: bytes = b"x", **changes: object) -> DeadLetter:
    values: dict[str, object] = {
        "id": 0, "topic": RAW, "partition": 1, "offset": 5, "key": "k1", "value": value,
        "stage": "annotate", "error": "not a post", "tries": 1, "at": NIGHT, **changes,
    }  # fmt: skip
    return DeadLetter(**values)  # type: ignore[arg-type]


def test_one_member_sees_everything_in_the_order_of_publishing(bus: Bus) -> None:
    bus.publish(RAW, records(120))
    bus.publish(RAW, records(30, start=120))
    assert numbers(drain(bus.consumer("g", [RAW]))) == list(range(150))


def test_a_message_comes_back_as_it_was_published(bus: Bus, clock: HandClock) -> None:
    bus.publish(RAW, [Record("键", b"\x00\xff raw")])
    (message,) = bus.consumer("g", [RAW]).poll(10, 0.0)
    assert (message.topic, message.key, message.value) == (RAW, "键", b"\x00\xff raw")
    assert message.at == clock.now()
    assert message.offset == 0
    assert 0 <= message.partition < POSTS_RAW.partitions


def test_one_key_stays_in_one_partition_with_dense_offsets(bus: Bus) -> None:
    bus.publish(RAW, records(100))
    partitions: dict[str, set[int]] = {}
    offsets: dict[int, list[int]] = {}
    for message in bus.read(RAW):
        partitions.setdefault(message.key, set()).add(message.partition)
        offsets.setdefault(message.partition, []).append(message.offset)
    assert all(len(places) == 1 for places in partitions.values())
    assert len(offsets) > 1
    assert all(got == list(range(len(got))) for got in offsets.values())


def test_two_members_share_the_partitions_and_lose_nothing(bus_factory: BusFactory) -> None:
    one, two = bus_factory(), bus_factory()
    one.publish(RAW, records(200, keys=40))
    a, b = one.consumer("g", [RAW]), two.consumer("g", [RAW])
    got_a = a.poll(50, 0.0)
    assert b.poll(50, 0.0) == [], "the first member owns all partitions until it has committed"
    a.commit(got_a)
    got_b: list[Message] = []
    while one.lag("g", [RAW]):
        for member, got in ((a, got_a), (b, got_b)):
            batch = member.poll(20, 0.0)
            member.commit(batch)
            got += batch
    assert sorted(numbers(got_a + got_b)) == list(range(200)), "each message once"
    assert {m.partition for m in got_b}.isdisjoint({m.partition for m in got_a[50:]})
    assert got_b
    for key in {m.key for m in got_a + got_b}:
        for got in (got_a, got_b):
            mine = [int(m.value) for m in got if m.key == key]
            assert mine == sorted(mine), "order per key"


def test_two_groups_do_not_know_each_other(bus: Bus) -> None:
    bus.publish(RAW, records(10))
    assert len(drain(bus.consumer("a", [RAW]))) == 10
    assert len(drain(bus.consumer("b", [RAW]))) == 10


def test_a_member_that_died_is_replaced_after_its_lease(
    bus_factory: BusFactory, ticks: HandTicks
) -> None:
    dead, alive = bus_factory().consumer("g", [RAW]), bus_factory().consumer("g", [RAW])
    bus_factory().publish(RAW, records(20))
    dead.commit(dead.poll(5, 0.0))
    dead.poll(5, 0.0)  # polled and never committed
    assert alive.poll(50, 0.0) == []
    ticks.seconds += LEASE_S + 1
    assert numbers(drain(alive)) == list(range(5, 20))


def test_a_slow_member_cannot_commit_what_another_took_over(
    bus_factory: BusFactory, ticks: HandTicks
) -> None:
    bus = bus_factory()
    bus.publish(RAW, records(20))
    slow, quick = bus.consumer("g", [RAW]), bus_factory().consumer("g", [RAW])
    held = slow.poll(20, 0.0)
    ticks.seconds += LEASE_S + 1
    assert len(drain(quick, commit=False)) == 20
    with pytest.raises(LostLease):
        slow.commit(held)
    assert bus.lag("g", [RAW]) == 20


def test_a_slow_member_alone_may_still_commit(bus: Bus, ticks: HandTicks) -> None:
    bus.publish(RAW, records(5))
    consumer = bus.consumer("g", [RAW])
    held = consumer.poll(5, 0.0)
    ticks.seconds += 100 * LEASE_S
    consumer.commit(held)
    assert bus.lag("g", [RAW]) == 0


def test_a_lease_from_before_a_restart_of_the_machine_is_dead(
    bus_factory: BusFactory, ticks: HandTicks
) -> None:
    bus_factory().publish(RAW, records(3))
    bus_factory().consumer("g", [RAW]).poll(1, 0.0)
    ticks.seconds = 5.0  # the monotonic clock began again
    assert len(drain(bus_factory().consumer("g", [RAW]))) == 3


def test_what_was_not_committed_comes_again(bus_factory: BusFactory) -> None:
    bus = bus_factory()
    bus.publish(RAW, records(10))
    first = bus.consumer("g", [RAW])
    first.commit(first.poll(4, 0.0))
    first.poll(4, 0.0)
    first.close()
    assert numbers(drain(bus_factory().consumer("g", [RAW]))) == list(range(4, 10))


def test_rewind_returns_to_the_last_commit(bus: Bus) -> None:
    bus.publish(RAW, records(10))
    consumer = bus.consumer("g", [RAW])
    consumer.commit(consumer.poll(3, 0.0))
    again = numbers(consumer.poll(4, 0.0))
    consumer.rewind()
    assert numbers(consumer.poll(4, 0.0)) == again == [3, 4, 5, 6]


def test_a_commit_never_goes_back(bus: Bus) -> None:
    bus.publish(RAW, records(10, keys=1))
    consumer = bus.consumer("g", [RAW])
    early, late = consumer.poll(5, 0.0), consumer.poll(5, 0.0)
    consumer.commit(late)
    consumer.commit(early)
    assert bus.lag("g", [RAW]) == 0
    consumer.rewind()
    assert consumer.poll(5, 0.0) == []


def test_a_commit_covers_what_came_before(bus: Bus) -> None:
    bus.publish(RAW, records(10, keys=1))
    consumer = bus.consumer("g", [RAW])
    got = consumer.poll(10, 0.0)
    consumer.commit([got[6]])
    assert consumer.lag() == bus.lag("g", [RAW]) == 3


def test_lag_counts_what_waits(bus: Bus) -> None:
    assert bus.lag("g", [RAW]) == 0
    bus.publish(RAW, records(30))
    bus.publish(ALERTS.name, records(2))
    assert bus.lag("g", [RAW, ALERTS.name]) == 32
    consumer = bus.consumer("g", [RAW])
    consumer.commit(consumer.poll(10, 0.0))
    assert bus.lag("g", [RAW, ALERTS.name]) == 22
    assert consumer.lag() == 20


def test_a_consumer_of_two_topics_keeps_their_common_order(bus: Bus) -> None:
    for i in range(20):
        bus.publish((RAW, ALERTS.name)[i % 2], records(1, start=i))
    assert numbers(drain(bus.consumer("g", [RAW, ALERTS.name]))) == list(range(20))


def test_poll_waits_for_a_message_of_another_process(bus_factory: BusFactory) -> None:
    consumer = bus_factory().consumer("g", [RAW])
    began = time.monotonic()
    assert consumer.poll(1, 0.05) == []
    assert time.monotonic() - began >= 0.05
    bus_factory().publish(RAW, records(1))
    assert len(consumer.poll(1, 5.0)) == 1


def test_a_new_group_replays_and_read_starts_at_a_time(bus: Bus, clock: HandClock) -> None:
    bus.publish(RAW, records(700))
    later = clock.move(minutes=5)
    bus.publish(RAW, records(600, start=700))
    drain(bus.consumer("old", [RAW]))
    assert numbers(drain(bus.consumer("new", [RAW]))) == list(range(1300))
    assert numbers(list(bus.read(RAW))) == list(range(1300))
    assert numbers(list(bus.read(RAW, since=later))) == list(range(700, 1300))
    assert numbers(list(bus.read(RAW, since=later, limit=3))) == [700, 701, 702]
    assert list(bus.read(RAW, limit=0)) == []


def test_retention_forgets_old_messages_and_keeps_offsets(
    bus_factory: BusFactory, clock: HandClock
) -> None:
    bus = bus_factory()
    assert isinstance(bus, SqliteBus)
    bus.publish(RAW, records(1200))
    bus.publish(ALERTS.name, records(3))
    clock.move(days=6)
    bus.publish(RAW, records(10, start=1200))
    assert bus.prune(clock.move(days=2)) == 1200
    assert numbers(list(bus.read(RAW))) == list(range(1200, 1210))
    assert len(list(bus.read(ALERTS.name))) == 3, "alerts are kept longer"
    assert bus.lag("g", [RAW]) == 10, "what is gone does not count as waiting"
    assert numbers(drain(bus.consumer("g", [RAW]))) == list(range(1200, 1210))
    clock.move(days=30)
    bus.prune(clock.now())
    bus.publish(RAW, records(1, start=9999))
    (message,) = bus.read(RAW)
    assert message.offset > 100, "offsets are never given twice"


def test_a_dead_letter_can_be_retried_once(bus: Bus) -> None:
    bus.bury(letter(b"first"))
    bus.bury(letter(b"second", error="\u4e0d\u662f\u5e16\u5b50"))
    second, first = bus.dead()
    assert (first.value, first.stage, first.error, first.tries) == (
        b"first", "annotate", "not a post", 1,
    )  # fmt: skip
    assert (first.partition, first.offset, first.key, first.at) == (1, 5, "k1", NIGHT)
    bus.retry(first.id, NIGHT + timedelta(hours=1))
    assert [d.id for d in bus.dead()] == [second.id]
    handled = {d.id: d for d in bus.dead(include_handled=True)}[first.id]
    assert handled.handled_at == NIGHT + timedelta(hours=1)
    (message,) = bus.read(RAW)
    assert (message.key, message.value) == ("k1", b"first")
    with pytest.raises(NotFound):
        bus.retry(first.id, NIGHT)
    with pytest.raises(NotFound):
        bus.retry(4711, NIGHT)


def test_burying_the_same_message_again_counts_a_try(bus: Bus) -> None:
    bus.bury(letter())
    bus.bury(letter(error="still not a post"))
    (only,) = bus.dead()
    assert (only.tries, only.error) == (2, "still not a post")
    bus.retry(only.id, NIGHT)
    bus.bury(letter())
    assert len(bus.dead()) == 1, "after a retry it is a new letter"
    assert len(bus.dead(include_handled=True)) == 2


def test_too_large_a_message_is_refused_with_its_whole_batch(bus: Bus) -> None:
    with pytest.raises(BadMessage, match="too large"):
        bus.publish(RAW, [Record("a", b"small"), Record("b", b"x" * 1_000_000)])
    assert list(bus.read(RAW)) == []


def test_an_unknown_topic_is_a_programming_error(bus: Bus) -> None:
    with pytest.raises(ValueError, match="no topic"):
        bus.publish("posts.row", records(1))


def test_a_locked_database_says_so_and_nothing_is_half_written(
    bus_factory: BusFactory, tmp_path: Path
) -> None:
    bus = bus_factory(busy_s=0.05)
    bus.publish(RAW, records(1))
    other = sqlite3.connect(tmp_path / "posts.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EngineDown, match="another process holds the file"):
        bus.publish(RAW, records(5, start=1))
    other.execute("ROLLBACK")
    other.close()
    assert numbers(list(bus.read(RAW))) == [0]
    bus.publish(RAW, records(5, start=1))
    assert numbers(list(bus.read(RAW))) == list(range(6))


def test_a_full_disk_says_so_and_loses_nothing(bus_factory: BusFactory) -> None:
    bus = bus_factory()
    assert isinstance(bus, SqliteBus)
    bus.publish(RAW, records(1))
    with bus._db.read() as conn:  # SQLite itself raises "full" at this limit of pages
        pages = conn.execute("PRAGMA page_count").fetchone()[0]
        conn.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(EngineDown, match="disk is full"):
        bus.publish(RAW, [Record("k", b"x" * 800_000)])
    assert numbers(list(bus.read(RAW))) == [0]
    with bus._db.read() as conn:
        conn.execute("PRAGMA max_page_count=1000000000")
    bus.publish(RAW, records(1, start=1))
    assert numbers(list(bus.read(RAW))) == [0, 1]


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    (tmp_path / "posts.db").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(EngineDown, match="damaged"):
        SqliteBus(tmp_path / "posts.db")


_PUBLISHER = """
import sys
from pathlib import Path
from pipeline.bus.base import Record
from pipeline.bus.sqlite import SqliteBus
bus = SqliteBus(Path(sys.argv[1]))
i = 0
while True:
    batch = [Record(f"k{n % 5}", b"%d" % n) for n in range(i, i + 20)]
    bus.publish("posts.raw", batch)
    i += 20
    print(i, flush=True)
"""

_CONSUMER = """
import sys
from pathlib import Path
from pipeline.bus.sqlite import SqliteBus
consumer = SqliteBus(Path(sys.argv[1]), lease_s=0.5).consumer("g", ["posts.raw"])
while True:
    batch = consumer.poll(20, 1.0)
    for m in batch:
        print(int(m.value), flush=True)
    consumer.commit(batch)
"""


def _start(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_publisher_loses_nothing_it_was_told_is_durable(tmp_path: Path) -> None:
    path = tmp_path / "posts.db"
    for _ in range(3):
        path.unlink(missing_ok=True)
        process = _start(_PUBLISHER, path)
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(15)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        acknowledged = int(told[-1].strip() or told[-2])
        bus = SqliteBus(path)
        kept = numbers(list(bus.read(RAW)))
        bus.close()
        assert kept == list(range(len(kept))), "no gap, nothing twice"
        assert len(kept) >= acknowledged
        assert len(kept) % 20 == 0, "no half batch"
        for extra in tmp_path.glob("posts.db-*"):
            extra.unlink()


def test_a_killed_consumer_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "posts.db"
    bus = SqliteBus(path, lease_s=0.5)
    bus.publish(RAW, records(200))
    process = _start(_CONSUMER, path)
    assert process.stdout is not None
    seen = {int(process.stdout.readline()) for _ in range(50)}
    process.send_signal(signal.SIGKILL)
    seen |= {int(line) for line in process.stdout.readlines() if line.endswith("\n")}
    process.wait()
    process.stdout.close()
    bus.publish(RAW, records(100, start=200))
    consumer = bus.consumer("g", [RAW])
    until = time.monotonic() + 20
    while bus.lag("g", [RAW]) and time.monotonic() < until:
        batch = consumer.poll(500, 0.2)
        seen |= set(numbers(batch))
        consumer.commit(batch)
    assert seen == set(range(300))
    bus.close()


def test_threads_may_publish_at_once(bus: Bus) -> None:
    def publish(name: int) -> None:
        for i in range(25):
            bus.publish(RAW, [Record(f"t{name}", b"%d" % i), Record(f"u{i}", b"-1")])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(publish, range(4)))
    got = drain(bus.consumer("g", [RAW]))
    assert len(got) == 200
    for name in range(4):
        assert numbers([m for m in got if m.key == f"t{name}"]) == list(range(25))
    for part in {m.partition for m in got}:
        offsets = [m.offset for m in got if m.partition == part]
        assert offsets == list(range(len(offsets)))


def test_every_topic_has_its_own_log(bus: Bus) -> None:
    bus.publish(POSTS_ANNOTATED.name, records(3))
    assert list(bus.read(RAW)) == []
    assert len(list(bus.read(POSTS_ANNOTATED.name))) == 3
