"""What goes wrong with Kafka and its Python client, and that our bus stays usable.

Each test is named for the trap. Those that freeze or kill a broker have brokers of their own.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from pipeline.bus.base import Message, Record
from pipeline.bus.topics import ALERTS, DEAD, Topic
from pipeline.errors import BadMessage, EngineDown
from pipeline.worker import Worker
from scripts.servers.engine import Engine
from tests.engines import OwnEngine
from tests.fakes import HandClock

kafka = pytest.importorskip("kafka")
from pipeline.bus.kafka import KafkaBus  # noqa: E402
from pipeline.bus.kafka_cluster import topic_config  # noqa: E402
from tests.contract.kafka_rig import (  # noqa: E402
    LIMIT_S,
    RAW,
    Open,
    Pump,
    Sink,
    opened,
    receive,
    records,
)
from tests.waiting import until  # noqa: E402

pytestmark = pytest.mark.engines


@pytest.fixture
def make(kafka_address: str) -> Iterator[Open]:
    with opened(kafka_address) as make:
        yield make


@pytest.fixture(scope="module")
def broker(own_engine: OwnEngine) -> Engine:
    return own_engine("kafka")


@pytest.fixture
def frail(broker: Engine) -> Iterator[Open]:
    """Buses on a broker that the test may freeze and kill."""
    broker.start(keep=True)
    with opened(broker.address) as make:
        yield make
        broker.thaw()
        broker.start(keep=True)


# -- sending --------------------------------------------------------------------------------


def test_a_record_the_broker_refuses_does_not_poison_the_producer(make: Open) -> None:
    bus = make()
    bus.publish(RAW, records(5))
    admin = kafka.KafkaAdminClient(bootstrap_servers=bus._cluster._servers)
    resource = kafka.admin.ConfigResource("TOPIC", bus._cluster.name(RAW))
    resource.configs = {"max.message.bytes": "2000"}
    admin.alter_configs([resource])
    admin.close()

    def is_refused() -> bool:  # the new limit needs a moment to reach the broker
        try:
            bus.publish(RAW, [Record("k1", os.urandom(50_000))])
        except BadMessage:
            return True
        return False

    assert until(is_refused)
    for i in range(3):
        bus.publish(RAW, records(2, start=100 + i))
    assert {int(m.value) for m in bus.read(RAW) if len(m.value) < 9} >= {100, 101, 102, 103}


def test_a_clock_that_is_wrong_neither_poisons_nor_ends_a_message(make: Open) -> None:
    """Brokers refuse times an hour ahead, and forget at once what is older than they keep."""
    for year in (2001, 2099):
        bus = make(clock=HandClock(datetime(year, 1, 1, tzinfo=UTC)))
        bus.publish(RAW, records(3))
    assert sorted(m.at.year for m in make().read(RAW)) == [2001] * 3 + [2099] * 3


def test_what_is_too_large_is_refused_before_it_is_sent(make: Open) -> None:
    bus = make()
    with pytest.raises(BadMessage, match="a key of 20000 bytes"):
        bus.publish(RAW, [Record("a", b"1"), Record("k" * 20_000, b"2")])
    assert list(bus.read(RAW)) == []
    bus.publish(RAW, [Record("k" * 10_000, b"\xff" * 900_000)])
    assert [len(m.value) for m in bus.read(RAW)] == [900_000]


def test_more_copies_than_brokers_is_explained(make: Open) -> None:
    with pytest.raises(EngineDown, match="fewer brokers than kafka_replication = 3"):
        make(replication=3, answer_s=1.0).publish(RAW, records(1))


# -- receiving ------------------------------------------------------------------------------


def test_bytes_of_any_kind_neither_stop_nor_spin_a_consumer(make: Open) -> None:
    bus = make()
    bus.publish(RAW, records(1))
    foreign = kafka.KafkaProducer(bootstrap_servers=bus._cluster._servers)
    name = bus._cluster.name(RAW)
    foreign.send(name, value=None, key=b"\xff\xfe", headers=[("at", b"not a number")], partition=0)
    foreign.send(name, value=b"\x00\xff{", key=None, partition=0)
    foreign.send(name, value=b"[" * 500_000, key=b"deep", headers=[("at", b"9" * 30)], partition=0)
    foreign.flush()
    foreign.close()
    consumer = bus.consumer("g", [RAW])
    values: set[bytes] = set()

    def all_four() -> bool:
        values.update(m.value for m in consumer.poll(500, 0.2))
        return len(values) == 4

    assert until(all_four)
    assert values == {b"0", b"", b"\x00\xff{", b"[" * 500_000}
    cpu, began = time.process_time(), time.monotonic()
    assert consumer.poll(500, 1.0) == []
    assert time.monotonic() - began < 3
    assert time.process_time() - cpu < 0.7


def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on(make: Open) -> None:
    bus = make()
    bus.publish(RAW, [Record(f"k{i}", b"bad" if i % 10 == 0 else b"%d" % i) for i in range(100)])
    done: set[int] = set()
    worker = Worker(
        bus, "g", [RAW], lambda batch: done.update(int(m.value) for m in batch), stage="annotate",
        clock=HandClock(), dead_share_limit=0.5,
    )  # fmt: skip
    assert worker.run_once() >= 100
    assert len(done) == 90
    letters = bus.dead()
    assert len(letters) == 10
    assert {(x.value, x.topic, x.stage) for x in letters} == {(b"bad", RAW, "annotate")}
    assert bus.lag("g", [RAW]) == 0


def test_dead_letters_survive_a_restart_and_old_ones_are_forgotten(make: Open) -> None:
    clock = HandClock()
    bus = make(clock=clock)
    bus.publish(RAW, [Record("k", b"bad")] * 30)

    def refuse(_: list[Message]) -> None:
        raise BadMessage("never")

    worker = Worker(bus, "g", [RAW], refuse, stage="s", clock=clock, dead_share_limit=1.0)
    worker.run_once()
    numbers = [x.id for x in make().dead()]
    assert len(numbers) == len(set(numbers)) == 30
    for number in numbers[10:]:
        bus.retry(number, clock.now())
    assert [x.id for x in make().dead()] == numbers[:10]
    bus.prune(clock.move(days=31))
    kept = make().dead(include_handled=True)
    assert [x.id for x in kept] == numbers[:10]
    (part,) = bus._cluster.partitions(DEAD.name)
    assert bus._cluster.starts([part])[part] == numbers[9], "the log itself was cut"


def test_a_consumer_of_an_unknown_topic_is_an_error_at_once(make: Open) -> None:
    with pytest.raises(ValueError, match="no topic"):
        make().consumer("g", ["posts.row"])


def test_a_topic_that_disappears_is_an_error_not_silence(make: Open) -> None:
    bus = make()
    bus.publish(RAW, records(5))
    consumer = bus.consumer("g", [RAW])
    assert until(lambda: bool(consumer.poll(10, 0.2)))
    admin = kafka.KafkaAdminClient(bootstrap_servers=bus._cluster._servers)
    admin.delete_topics([bus._cluster.name(RAW)])
    admin.close()
    with pytest.raises(EngineDown, match="lost one of our topics"):
        until(lambda: bool(consumer.poll(10, 0.5)), LIMIT_S)


def test_closing_commits_nothing_that_was_only_polled(make: Open) -> None:
    bus = make()
    bus.publish(RAW, records(50))
    assert len(receive(bus, "g", 50)) == 50
    assert bus.lag("g", [RAW]) == 50
    assert len(receive(bus, "g", 50)) == 50


def test_a_long_replay_is_merged_and_complete(make: Open) -> None:
    clock = HandClock()
    bus = make(clock=clock)
    for i in range(0, 20_000, 100):
        bus.publish(RAW, records(100, start=i, size=400))
        clock.move(seconds=1)
    got = [(m.at, int(m.value)) for m in bus.read(RAW)]
    assert sorted(number for _, number in got) == list(range(20_000))
    assert [at for at, _ in got] == sorted(at for at, _ in got)


def test_retention_is_the_brokers_and_what_is_gone_does_not_count_as_waiting(make: Open) -> None:
    brief = Topic(RAW, "post/1", "post id", 2, timedelta(seconds=3))
    bus = make(topics={RAW: brief, DEAD.name: DEAD})
    bus.publish(RAW, records(20))
    assert bus.prune(datetime.now(UTC)) == 0
    assert until(lambda: list(bus.read(RAW)) == [], 60)
    assert bus.lag("g", [RAW]) == 0
    bus.publish(RAW, records(1))
    (message,) = bus.read(RAW)
    assert message.offset > 0, "offsets are never given twice"


def test_topics_are_made_as_they_are_described(make: Open) -> None:
    bus = make()
    bus.publish(ALERTS.name, records(1))
    admin = kafka.KafkaAdminClient(bootstrap_servers=bus._cluster._servers)
    name = bus._cluster.name(ALERTS.name)
    found = admin.describe_configs([kafka.admin.ConfigResource("TOPIC", name)], config_filter="all")
    admin.close()
    text = str(found)
    assert len(bus._cluster.partitions(ALERTS.name)) == ALERTS.partitions
    for key, value in topic_config(ALERTS, 1).items():
        assert f"'{key}': {{'value': '{value}'" in text, key
    assert topic_config(DEAD, 3)["retention.ms"] == "-1"
    assert topic_config(ALERTS, 3)["min.insync.replicas"] == "2"


# -- reaching the brokers ------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:9092", "silent"])
def test_a_wrong_address_is_one_sentence_in_bounded_time(address: str, silent: str) -> None:
    address = silent if address == "silent" else address
    with opened(address) as make:
        bus = make(answer_s=1.0)
        for attempt in (
            lambda: bus.publish(RAW, records(1)),
            lambda: bus.consumer("g", [RAW]),
            lambda: list(bus.read(RAW)),
            lambda: bus.lag("g", [RAW]),
            lambda: bus.dead(),
        ):
            began = time.monotonic()
            with pytest.raises(EngineDown, match=f"Kafka at {address} does not answer"):
                attempt()
            assert time.monotonic() - began < 5


def old_broker(server: socket.socket) -> None:
    """Answers as a broker of 2016 does: which requests it knows, and who it is."""
    port = server.getsockname()[1]
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client, suppress(OSError, struct.error):
            while head := client.recv(4, socket.MSG_WAITALL):
                request = client.recv(struct.unpack(">i", head)[0], socket.MSG_WAITALL)
                key, version, number = struct.unpack(">hhi", request[:8])
                known = {0: 2, 1: 2, 2: 0, 3: 0, 18: 0}
                if key == 18:
                    error = 35 if version > 0 else 0
                    body = struct.pack(">hi", error, len(known))
                    body += b"".join(struct.pack(">hhh", k, 0, v) for k, v in known.items())
                else:
                    host = b"127.0.0.1"
                    body = struct.pack(f">iih{len(host)}sii", 1, 1, len(host), host, port, 0)
                client.sendall(struct.pack(">ii", len(body) + 4, number) + body)


def test_brokers_of_a_wrong_version_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=old_broker, args=(server,), daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(EngineDown, match=r"is version 0\.10.*needs 3\.0 or newer"):
            KafkaBus([address], answer_s=3.0).publish(RAW, records(1))
        server.shutdown(socket.SHUT_RDWR)


# -- brokers that freeze and die -----------------------------------------------------------


def test_a_frozen_broker_makes_every_call_fail_in_bounded_time(frail: Open, broker: Engine) -> None:
    bus = frail(answer_s=1.0)
    bus.publish(RAW, records(20))
    consumer = bus.consumer("g", [RAW])
    assert until(lambda: bool(consumer.poll(10, 0.2)))
    broker.freeze()
    for attempt in (
        lambda: bus.publish(RAW, records(1)),
        lambda: bus.lag("g", [RAW]),
        consumer.lag,
        lambda: list(bus.read(RAW)),
        lambda: until(lambda: bool(consumer.poll(500, 0.2) and False), 20),
    ):
        began = time.monotonic()
        with pytest.raises(EngineDown):
            attempt()
        assert time.monotonic() - began < 10
    consumer.rewind()
    began = time.monotonic()
    bus.close()
    assert time.monotonic() - began < 10


def test_a_full_window_makes_publishers_wait_and_then_say_so(frail: Open, broker: Engine) -> None:
    bus = frail(answer_s=1.5, window_bytes=50_000)
    bus.publish(RAW, records(1))
    broker.freeze()
    said: list[str] = []

    def publish() -> None:
        with pytest.raises(EngineDown) as caught:
            bus.publish(RAW, records(1, size=40_000))
        said.append(str(caught.value))

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(said) == 4
    assert any("too slowly" in text for text in said)
    broker.thaw()
    bus.publish(RAW, records(1))


@pytest.mark.slow
def test_a_minute_of_a_frozen_broker_takes_no_memory_and_ends_in_two_seconds(
    frail: Open, broker: Engine
) -> None:
    bus = frail()
    with Pump(bus, batch=100) as pump, Sink(frail()) as sink:  # 2,000 messages a second
        assert until(lambda: pump.acknowledged > 4000 and len(sink.seen) > 4000)
        before = psutil.Process().memory_info().rss
        broker.freeze()
        time.sleep(60)
        grown = psutil.Process().memory_info().rss - before
        broker.thaw()
        thawed = time.monotonic()
        assert until(lambda: pump.last_ack > thawed and sink.last_seen > thawed)
        back = pump.last_ack - thawed, sink.last_seen - thawed
        assert until(lambda: pump.acknowledged > 8000)
    print(f"grown {grown >> 20} MB; back after {back}; longest call {pump.longest_call_s:.1f} s")
    assert grown < 50 << 20
    assert max(back) < 2.0
    assert pump.longest_call_s < 15
    assert {int(m.value) for m in bus.read(RAW)} >= set(range(pump.acknowledged))


@pytest.mark.slow
def test_a_killed_broker_loses_nothing_and_is_found_again_in_two_seconds(
    frail: Open, broker: Engine
) -> None:
    bus = frail()
    with Pump(bus) as pump, Sink(frail()) as sink:
        assert until(lambda: pump.acknowledged > 1000 and len(sink.seen) > 1000)
        broker.kill()
        time.sleep(5)
        broker.start(keep=True)
        started = time.monotonic()
        assert until(lambda: pump.last_ack > started and sink.last_seen > started)
        back = pump.last_ack - started, sink.last_seen - started
        assert until(lambda: pump.acknowledged > 2000)
        goal = pump.acknowledged
        assert until(lambda: set(sink.seen) >= set(range(goal)))
    print(f"back after {back}")
    assert max(back) < 2.0
    assert {int(m.value) for m in bus.read(RAW)} >= set(range(pump.acknowledged))


@pytest.mark.slow
def test_of_three_brokers_one_dies_and_nothing_acknowledged_is_lost(own_engine: OwnEngine) -> None:
    brokers = own_engine("kafka", nodes=3)
    with opened(brokers.address) as make:
        bus = make(replication=3)
        with Pump(bus) as pump, Sink(make(replication=3)) as sink:
            assert until(lambda: pump.acknowledged > 1000 and len(sink.seen) > 1000)
            died = time.monotonic()
            brokers.kill(1)
            at_death = pump.acknowledged
            assert until(lambda: pump.acknowledged > at_death + 500)
            paused = pump.last_ack - died
            goal = pump.acknowledged
            assert until(lambda: set(sink.seen) >= set(range(goal)))
        print(f"500 more within {paused:.1f} s; failures told: {len(pump.failures)}")
        assert {int(m.value) for m in bus.read(RAW)} >= set(range(pump.acknowledged))
