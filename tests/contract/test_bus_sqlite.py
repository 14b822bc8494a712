"""What the embedded bus promises beyond the contract: one order over all partitions, all or
nothing, leases by the machine's clock, and clear words about the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.bus.base import Consumer, Message, Record
from pipeline.bus.sqlite import SqliteBus
from pipeline.bus.topics import ALERTS, POSTS_RAW
from pipeline.errors import EngineDown
from tests.fakes import HandClock, HandTicks

RAW = POSTS_RAW.name
LEASE_S = 10.0

BusFactory = Callable[..., SqliteBus]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ticks() -> HandTicks:
    return HandTicks()


@pytest.fixture
def bus_factory(tmp_path: Path, clock: HandClock, ticks: HandTicks) -> Iterator[BusFactory]:
    """Makes connections to one and the same log, as several processes would."""
    made: list[SqliteBus] = []

    def make(busy_s: float = 30.0) -> SqliteBus:
        bus = SqliteBus(
            tmp_path / "posts.db", clock=clock, ticks=ticks, lease_s=LEASE_S, busy_s=busy_s
        )
        made.append(bus)
        return bus

    yield make
    for bus in made:
        bus.close()


@pytest.fixture
def bus(bus_factory: BusFactory) -> SqliteBus:
    return bus_factory()


def records(count: int, *, start: int = 0) -> list[Record]:
    return [Record(f"k{i % 7}", b"%d" % i) for i in range(start, start + count)]


def drain(consumer: Consumer) -> list[Message]:
    got: list[Message] = []
    while batch := consumer.poll(50, 0.0):
        got += batch
        consumer.commit(batch)
    return got


def numbers(messages: list[Message]) -> list[int]:
    return [int(m.value) for m in messages]


def test_a_second_member_gets_nothing_until_the_first_has_committed(
    bus_factory: BusFactory,
) -> None:
    bus_factory().publish(RAW, records(100))
    a, b = bus_factory().consumer("g", [RAW]), bus_factory().consumer("g", [RAW])
    held = a.poll(50, 0.0)
    assert b.poll(50, 0.0) == [], "the first member owns all partitions"
    a.commit(held)
    a.commit(a.poll(1, 0.0))
    assert b.poll(50, 0.0)


def test_two_topics_keep_their_common_order(bus: SqliteBus) -> None:
    for i in range(20):
        bus.publish((RAW, ALERTS.name)[i % 2], records(1, start=i))
    assert numbers(drain(bus.consumer("g", [RAW, ALERTS.name]))) == list(range(20))


def test_a_slow_member_alone_may_still_commit(bus: SqliteBus, ticks: HandTicks) -> None:
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


def test_retention_forgets_old_messages_and_keeps_offsets(
    bus_factory: BusFactory, clock: HandClock
) -> None:
    bus = bus_factory()
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
