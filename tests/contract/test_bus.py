"""What every bus promises. One suite; ``rig`` says which adapter is asked.

What only the embedded adapter promises (one order over all partitions, all or nothing, leases
that tests can turn forward) stands in ``test_bus_sqlite.py``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from pipeline.bus.base import Bus, Consumer, DeadLetter, Message, Record
from pipeline.bus.topics import ALERTS, POSTS_ANNOTATED, POSTS_RAW
from pipeline.errors import BadMessage, LostLease, NotFound
from tests.contract.bus_rig import LIMIT_S, RAW, Rig, numbers, records
from tests.fakes import NIGHT, HandClock


def take(consumer: Consumer, count: int) -> list[Message]:
    """The next ``count`` messages, however many polls that takes."""
    got: list[Message] = []
    until = time.monotonic() + LIMIT_S
    while len(got) < count and time.monotonic() < until:
        got += consumer.poll(count - len(got), 0.0)
    assert len(got) == count
    return got


def drain(consumer: Consumer, count: int, *, commit: bool = True) -> list[Message]:
    """``count`` messages and then no more."""
    got: list[Message] = []
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        batch = consumer.poll(50, 0.0)
        got += batch
        if batch and commit:
            consumer.commit(batch)
        if not batch and len(got) >= count:
            break
    assert len(got) == count
    return got


def check_order(rig: Rig, got: list[Message], wanted: range) -> None:
    """Each once; in the order of publishing, as far as the adapter promises one."""
    if rig.has_one_order:
        assert numbers(got) == list(wanted)
    assert sorted(numbers(got)) == list(wanted)
    lanes: dict[tuple[str, str], list[int]] = {}
    offsets: dict[tuple[str, int], list[int]] = {}
    for message in got:
        lanes.setdefault((message.topic, message.key), []).append(int(message.value))
        offsets.setdefault((message.topic, message.partition), []).append(message.offset)
    assert all(lane == sorted(lane) for lane in [*lanes.values(), *offsets.values()])


def letter(value: bytes = b"x", **changes: object) -> DeadLetter:
    values: dict[str, object] = {
        "id": 0, "topic": RAW, "partition": 1, "offset": 5, "key": "k1", "value": value,
        "stage": "annotate", "error": "not a post", "tries": 1, "at": NIGHT, **changes,
    }  # fmt: skip
    return DeadLetter(**values)  # type: ignore[arg-type]


def test_one_member_sees_everything_in_the_order_of_publishing(rig: Rig, bus: Bus) -> None:
    bus.publish(RAW, records(120))
    bus.publish(RAW, records(30, start=120))
    check_order(rig, drain(bus.consumer("g", [RAW]), 150), range(150))


def test_a_message_comes_back_as_it_was_published(bus: Bus, clock: HandClock) -> None:
    bus.publish(RAW, [Record("键", b"\x00\xff raw")])
    (message,) = take(bus.consumer("g", [RAW]), 1)
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


def test_two_members_share_the_partitions_and_lose_nothing(rig: Rig) -> None:
    bus = rig.make()
    a, b = rig.make().consumer("g", [RAW]), rig.make().consumer("g", [RAW])
    got: dict[str, list[Message]] = {"a": [], "b": []}

    def work() -> None:
        for name, member in (("a", a), ("b", b)):
            batch = member.poll(20, 0.0)
            member.commit(batch)
            got[name] += batch

    published = 0
    until = time.monotonic() + LIMIT_S
    while not all(got.values()) and time.monotonic() < until:
        bus.publish(RAW, records(40, keys=40, start=published))
        published += 40
        work()
    while bus.lag("g", [RAW]) and time.monotonic() < until:
        work()
    before = {name: len(messages) for name, messages in got.items()}
    bus.publish(RAW, records(200, keys=40, start=published))
    while bus.lag("g", [RAW]) and time.monotonic() < until:
        work()
    everything = got["a"] + got["b"]
    assert sorted(numbers(everything)) == list(range(published + 200)), "each message once"
    late = {name: {m.partition for m in got[name][before[name] :]} for name in got}
    assert late["a"] and late["b"] and late["a"].isdisjoint(late["b"])
    for key in {m.key for m in everything}:
        for messages in got.values():
            mine = [int(m.value) for m in messages if m.key == key]
            assert mine == sorted(mine), "order per key"


def test_a_member_that_leaves_gives_its_partitions_to_the_others(rig: Rig) -> None:
    bus = rig.make()
    bus.publish(RAW, records(20, keys=20))
    a, b = rig.make().consumer("g", [RAW]), rig.make().consumer("g", [RAW])
    a.commit(take(a, 10))
    a.poll(5, 0.0)  # and never committed
    a.close()
    assert len(drain(b, 10)) == 10


def test_two_groups_do_not_know_each_other(bus: Bus) -> None:
    bus.publish(RAW, records(10))
    drain(bus.consumer("a", [RAW]), 10)
    drain(bus.consumer("b", [RAW]), 10)


def test_a_silent_member_is_replaced_and_cannot_commit_any_more(rig: Rig) -> None:
    bus = rig.make()
    bus.publish(RAW, records(20, keys=1))
    slow, quick = bus.consumer("g", [RAW]), rig.make().consumer("g", [RAW])
    slow.commit(take(slow, 5))
    held = take(slow, 5)  # polled and not committed
    rig.silence()
    assert numbers(drain(quick, 15, commit=False)) == list(range(5, 20))
    with pytest.raises(LostLease):
        slow.commit(held)
    assert bus.lag("g", [RAW]) == 15


def test_what_was_not_committed_comes_again(rig: Rig) -> None:
    bus = rig.make()
    bus.publish(RAW, records(10, keys=1))
    first = bus.consumer("g", [RAW])
    first.commit(take(first, 4))
    take(first, 4)
    first.close()
    assert numbers(drain(rig.make().consumer("g", [RAW]), 6)) == list(range(4, 10))


def test_rewind_returns_to_the_last_commit(bus: Bus) -> None:
    bus.publish(RAW, records(10, keys=1))
    consumer = bus.consumer("g", [RAW])
    consumer.commit(take(consumer, 3))
    again = numbers(take(consumer, 4))
    consumer.rewind()
    assert numbers(take(consumer, 4)) == again == [3, 4, 5, 6]


def test_rewind_before_any_commit_returns_to_the_oldest(bus: Bus) -> None:
    bus.publish(RAW, records(10))
    consumer = bus.consumer("g", [RAW])
    first = numbers(take(consumer, 10))
    consumer.rewind()
    assert sorted(numbers(take(consumer, 10))) == sorted(first)


def test_a_commit_never_goes_back(bus: Bus) -> None:
    bus.publish(RAW, records(10, keys=1))
    consumer = bus.consumer("g", [RAW])
    early, late = take(consumer, 5), take(consumer, 5)
    consumer.commit(late)
    consumer.commit(early)
    assert bus.lag("g", [RAW]) == 0
    consumer.rewind()
    assert consumer.poll(5, 0.0) == []


def test_a_commit_covers_what_came_before(bus: Bus) -> None:
    bus.publish(RAW, records(10, keys=1))
    consumer = bus.consumer("g", [RAW])
    got = take(consumer, 10)
    consumer.commit([got[6]])
    assert consumer.lag() == bus.lag("g", [RAW]) == 3


def test_lag_counts_what_waits(bus: Bus) -> None:
    assert bus.lag("g", [RAW]) == 0
    bus.publish(RAW, records(30))
    bus.publish(ALERTS.name, records(2))
    assert bus.lag("g", [RAW, ALERTS.name]) == 32
    consumer = bus.consumer("g", [RAW])
    consumer.commit(take(consumer, 10))
    assert bus.lag("g", [RAW, ALERTS.name]) == 22
    assert consumer.lag() == 20


def test_lag_of_a_new_member_counts_what_it_may_get(bus: Bus) -> None:
    """A caller that works until nothing is left must not stop before it began."""
    bus.publish(RAW, records(30))
    consumer = bus.consumer("g", [RAW])
    got = 0
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        batch = consumer.poll(50, 0.0)
        consumer.commit(batch)
        got += len(batch)
        if not batch and not consumer.lag() and got:
            break
        assert batch or got == 30 or bus.lag("g", [RAW]) == 30
    assert got == 30


def test_a_consumer_of_two_topics_gets_both(rig: Rig, bus: Bus) -> None:
    for i in range(20):
        bus.publish((RAW, ALERTS.name)[i % 2], records(1, start=i))
    check_order(rig, drain(bus.consumer("g", [RAW, ALERTS.name]), 20), range(20))


def test_poll_waits_for_a_message_of_another_process(rig: Rig) -> None:
    consumer = rig.make().consumer("g", [RAW])
    began = time.monotonic()
    assert consumer.poll(1, 0.05) == []
    assert time.monotonic() - began >= 0.05
    rig.make().publish(RAW, records(1))
    assert len(consumer.poll(1, 10.0)) == 1


def test_a_new_group_replays_and_read_starts_at_a_time(
    rig: Rig, bus: Bus, clock: HandClock
) -> None:
    bus.publish(RAW, records(700))
    later = clock.move(minutes=5)
    bus.publish(RAW, records(600, start=700))
    drain(bus.consumer("old", [RAW]), 1300)
    check_order(rig, drain(bus.consumer("new", [RAW]), 1300), range(1300))
    check_order(rig, list(bus.read(RAW)), range(1300))
    check_order(rig, list(bus.read(RAW, since=later)), range(700, 1300))
    assert len(list(bus.read(RAW, since=later, limit=3))) == 3
    assert list(bus.read(RAW, limit=0)) == []


def test_a_replay_goes_by_the_time_of_publishing(bus: Bus, clock: HandClock) -> None:
    for i in range(60):
        bus.publish(RAW, records(1, start=i))
        clock.move(seconds=1)
    assert numbers(list(bus.read(RAW))) == list(range(60))


def test_read_starts_at_any_offset(bus: Bus) -> None:
    bus.publish(RAW, records(200, keys=40))
    every = list(bus.read(RAW))
    assert {m.partition for m in every} == set(range(POSTS_RAW.partitions))
    start: Mapping[int, int] = {0: 10, 1: 3, 2: 10**6}
    wanted = [m for m in every if m.offset >= start.get(m.partition, 0)]
    got = list(bus.read(RAW, start=start))
    assert sorted(numbers(got)) == sorted(numbers(wanted))
    assert len(got) < len(every)


def test_a_dead_letter_can_be_retried_once(bus: Bus) -> None:
    bus.bury(letter(b"first"))
    bus.bury(letter(b"second", error="\u4e0d\u662f\u5e16\u5b50"))
    assert bus.dead_count() == 2
    second, first = bus.dead()
    assert (first.value, first.stage, first.error, first.tries) == (
        b"first", "annotate", "not a post", 1,
    )  # fmt: skip
    assert (first.partition, first.offset, first.key, first.at) == (1, 5, "k1", NIGHT)
    bus.retry(first.id, NIGHT + timedelta(hours=1))
    assert [d.id for d in bus.dead()] == [second.id]
    assert bus.dead_count() == 1
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


def test_the_number_of_dead_letters_counts_what_others_did(rig: Rig, clock: HandClock) -> None:
    mine, other = rig.make(), rig.make()
    assert mine.dead_count() == 0
    for i in range(5):
        other.bury(letter(b"%d" % i))
        other.bury(letter(b"%d" % i))  # another try, not another letter
    assert mine.dead_count() == other.dead_count() == 5
    for found in other.dead(limit=3):
        other.retry(found.id, clock.now())
    assert mine.dead_count() == 2
    other.bury(letter(b"4"))  # refused again after its retry
    assert mine.dead_count() == 3 == len(mine.dead())
    mine.prune(clock.now() + timedelta(days=31))
    assert mine.dead_count() == rig.make().dead_count() == 3


def test_too_large_a_message_is_refused_with_its_whole_batch(bus: Bus) -> None:
    with pytest.raises(BadMessage, match="too large"):
        bus.publish(RAW, [Record("a", b"small"), Record("b", b"x" * 1_000_000)])
    assert list(bus.read(RAW)) == []


def test_an_unknown_topic_is_a_programming_error(bus: Bus) -> None:
    with pytest.raises(ValueError, match="no topic"):
        bus.publish("posts.row", records(1))


def test_threads_may_publish_at_once(bus: Bus) -> None:
    def publish(name: int) -> None:
        for i in range(25):
            bus.publish(RAW, [Record(f"t{name}", b"%d" % i), Record(f"u{i}", b"-1")])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(publish, range(4)))
    got = drain(bus.consumer("g", [RAW]), 200)
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
