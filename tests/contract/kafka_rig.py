"""What the tests of the Kafka bus share: buses that leave nothing behind, and traffic on them."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

import pytest

from pipeline.bus.base import Message, Record
from pipeline.bus.topics import POSTS_RAW
from pipeline.errors import EngineDown, NotNow
from tests.engines import unique
from tests.waiting import until

pytest.importorskip("kafka")
from pipeline.bus.kafka import KafkaBus

RAW = POSTS_RAW.name
LIMIT_S = 30.0

Open = Callable[..., KafkaBus]


@contextmanager
def opened(servers: str) -> Iterator[Open]:
    """Buses on one cluster with topics of their own; afterwards no thread of theirs is left."""
    before = set(threading.enumerate())
    made: list[KafkaBus] = []
    prefix = f"{unique()}."

    def make(**options: object) -> KafkaBus:
        values = {"prefix": prefix, "lease_s": 2.0, "answer_s": 5.0, **options}
        made.append(KafkaBus(servers.split(","), **values))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for bus in made:
        bus.close()
    left = until(lambda: not (set(threading.enumerate()) - before), 10)
    assert left, f"threads stay after close: {set(threading.enumerate()) - before}"


def records(count: int, start: int = 0, size: int = 0) -> list[Record]:
    return [Record(f"k{i % 40}", b"%d" % i + b" " * size) for i in range(start, start + count)]


def receive(bus: KafkaBus, group: str, count: int) -> list[Message]:
    consumer = bus.consumer(group, [RAW])
    got: list[Message] = []
    end = time.monotonic() + LIMIT_S
    while len(got) < count and time.monotonic() < end:
        got += consumer.poll(500, 0.2)
    consumer.close()
    assert len(got) == count
    return got


class Busy:
    """Something that goes on in a thread of its own while the test does something else."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        raise NotImplementedError


class Pump(Busy):
    """Publishes numbers for ever, each batch until it was acknowledged, as a crawler would."""

    def __init__(
        self, bus: KafkaBus, *, batch: int = 20, pause_s: float = 0.05, size: int = 500
    ) -> None:
        super().__init__()
        self.acknowledged = 0
        self.last_ack = 0.0
        self.longest_call_s = 0.0
        self.failures: list[str] = []
        self._bus, self._batch, self._pause_s, self._size = bus, batch, pause_s, size

    def _run(self) -> None:
        for start in itertools.count(0, self._batch):
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    self._bus.publish(RAW, records(self._batch, start, self._size))
                except NotNow as error:
                    self.failures.append(str(error))
                    self._stop.wait(0.1)
                else:
                    self.acknowledged = start + self._batch
                    self.last_ack = time.monotonic()
                    break
                finally:
                    self.longest_call_s = max(self.longest_call_s, time.monotonic() - began)
            if self._stop.wait(self._pause_s):
                return


class Sink(Busy):
    """Consumes and commits for ever, as a worker would."""

    def __init__(self, bus: KafkaBus) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.last_seen = 0.0
        self._bus = bus

    def _run(self) -> None:
        consumer = self._bus.consumer("sink", [RAW])
        while not self._stop.is_set():
            try:
                batch = consumer.poll(500, 0.5)
                consumer.commit(batch)
            except NotNow:
                consumer.rewind()
                self._stop.wait(0.1)
                continue
            if batch:
                self.seen += [int(m.value) for m in batch]
                self.last_seen = time.monotonic()
        with suppress(EngineDown):
            consumer.close()
