"""A broker whose disk is full, and one that is far away: said in one line, and nothing hangs.

The broker is reached by a line that can be made slow; it stands on a small disk of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.bus.base import Consumer, Message, Record
from pipeline.bus.topics import ALERTS
from pipeline.errors import EngineDown
from scripts.servers.engine import Engine
from tests.contract.kafka_rig import RAW, Open, Pump, opened, records
from tests.disks import Ballast
from tests.engines import OwnEngine, free_port
from tests.slow_line import SlowLine, slow_line
from tests.waiting import until

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def line() -> Iterator[SlowLine]:
    with slow_line(free_port()) as line:
        yield line


@pytest.fixture(scope="module")
def broker(own_engine: OwnEngine, line: SlowLine) -> Engine:
    port = line.to_port
    listeners = f"PLAINTEXT://127.0.0.1:{line.port},CONTROLLER://127.0.0.1:{port + 1}"
    return own_engine("kafka", port=port, disk="150m", extra={"advertised.listeners": listeners})


@pytest.fixture
def make(broker: Engine, line: SlowLine) -> Iterator[Open]:
    with opened(f"127.0.0.1:{line.port}") as make:
        yield make
        line.delay_s = 0.0


def test_a_broker_that_answers_after_two_seconds_is_waited_for(make: Open, line: SlowLine) -> None:
    bus = make(answer_s=10.0, lease_s=10.0)
    consumer = bus.consumer("g", [RAW])
    bus.publish(RAW, records(10))
    got = polled(consumer, 10)
    line.delay_s = 2.0
    took = {"publish": seconds(lambda: bus.publish(RAW, records(10, start=10)))}
    took["poll"] = seconds(lambda: got.extend(polled(consumer, 10)))
    took["commit"] = seconds(lambda: consumer.commit(got))
    print({what: round(s, 1) for what, s in took.items()})
    assert sorted(int(m.value) for m in got) == list(range(20))
    assert 2.0 <= took["publish"] < 8.0
    assert max(took.values()) < 8.0
    line.delay_s = 0.0
    assert bus.lag("g", [RAW]) == 0


def test_a_broker_slower_than_the_limit_is_said_and_nothing_hangs(
    make: Open, line: SlowLine
) -> None:
    """That no thread stays is seen to by ``opened``."""
    bus = make(answer_s=0.6)
    bus.publish(RAW, records(10))
    line.delay_s = 2.0
    for attempt in (
        lambda: bus.publish(RAW, records(1)),
        lambda: bus.lag("g", [RAW]),
        lambda: bus.consumer("g", [RAW]),
        lambda: list(bus.read(RAW)),
    ):
        began = time.monotonic()
        with pytest.raises(EngineDown, match="does not answer"):
            attempt()
        assert time.monotonic() - began < 4
    line.delay_s = 0.0
    bus.publish(RAW, records(10, start=10))
    assert {int(m.value) for m in bus.read(RAW)} >= set(range(20))


@pytest.mark.slow
def test_a_full_disk_ends_the_broker_and_loses_nothing_acknowledged(
    make: Open, broker: Engine
) -> None:
    bus = make(answer_s=2.0)
    with Pump(bus) as pump:
        assert until(lambda: pump.acknowledged >= 100)
        ballast = Ballast(broker.base)
        ballast.leave(4 << 20)
        with pytest.raises(EngineDown):
            while True:
                bus.publish(ALERTS.name, [Record("noise", os.urandom(500_000))])
        assert until(lambda: broker.pid() is None), "it ends itself"
        assert until(lambda: len(pump.failures) >= 3)
        acknowledged, said = pump.acknowledged, set(pump.failures)
        ballast.go()
        broker.start(keep=True)
        back = time.monotonic()
        assert until(lambda: pump.acknowledged > acknowledged + 100)
        took = pump.last_ack - back
    print(f"longest call {pump.longest_call_s:.1f} s; goes on within {took:.1f} s of the restart")
    assert pump.longest_call_s < 6
    assert all("does not answer" in line and "a full disk ends a broker" in line for line in said)
    assert {int(m.value) for m in bus.read(RAW)} >= set(range(pump.acknowledged))


def polled(consumer: Consumer, count: int) -> list[Message]:
    got: list[Message] = []
    assert until(lambda: got.extend(consumer.poll(500, 0.5)) or len(got) >= count)
    return got


def seconds(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began
