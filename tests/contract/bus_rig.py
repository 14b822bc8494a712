"""One bus for each adapter, opened as several processes would, for what every bus promises."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from pipeline.bus.base import Bus, Message, Record
from pipeline.bus.sqlite import SqliteBus
from pipeline.bus.topics import POSTS_RAW
from tests.engines import unique
from tests.fakes import HandClock, HandTicks

if TYPE_CHECKING:
    from pipeline.bus.kafka import KafkaBus

RAW = POSTS_RAW.name
LEASE_S = 10.0
LIMIT_S = 30.0  # how long a test waits for what must happen


class Rig(Protocol):
    """Makes connections to one and the same log, as several processes would."""

    has_one_order: bool
    script: str  # opens the bus as ``bus`` in another process

    def make(self, **options: object) -> Bus: ...

    def silence(self) -> None:
        """Let so much time pass that a member who said nothing meanwhile is taken for dead."""

    def close(self) -> None: ...


class SqliteRig:
    has_one_order = True

    def __init__(self, path: Path, clock: HandClock) -> None:
        self.script = f"""
            from pathlib import Path
            from pipeline.bus.sqlite import SqliteBus
            bus = SqliteBus(Path({str(path)!r}), lease_s=0.5)
            """
        self._path, self._clock, self._ticks = path, clock, HandTicks()
        self._made: list[Bus] = []

    def make(self, **options: object) -> Bus:
        values = {"clock": self._clock, "ticks": self._ticks, "lease_s": LEASE_S, **options}
        bus = SqliteBus(self._path, **values)  # type: ignore[arg-type]
        self._made.append(bus)
        return bus

    def silence(self) -> None:
        self._ticks.seconds += LEASE_S + 1

    def close(self) -> None:
        for bus in self._made:
            bus.close()


class KafkaRig:
    has_one_order = False
    SLOW_S = 2.0

    def __init__(self, address: str, clock: HandClock) -> None:
        self._prefix = f"{unique()}."
        self._servers, self._clock = address.split(","), clock
        self._made: list[KafkaBus] = []
        self.script = f"""
            from pipeline.bus.kafka import KafkaBus
            bus = KafkaBus({self._servers!r}, prefix={self._prefix!r}, lease_s=1.0)
            """

    def make(self, **options: object) -> KafkaBus:
        from pipeline.bus.kafka import KafkaBus

        values = {"clock": self._clock, "prefix": self._prefix, **options}
        bus = KafkaBus(self._servers, slow_s=self.SLOW_S, lease_s=self.SLOW_S, **values)  # type: ignore[arg-type]
        self._made.append(bus)
        return bus

    def silence(self) -> None:
        time.sleep(self.SLOW_S + 0.5)  # the brokers' clock is not ours to turn

    def close(self) -> None:
        self.make().forget_everything()
        for bus in self._made:
            bus.close()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.engines)])
def rig(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock) -> Iterator[Rig]:
    made: Rig
    if request.param == "kafka":
        made = KafkaRig(request.getfixturevalue("kafka_address"), clock)
    else:
        made = SqliteRig(tmp_path / "posts.db", clock)
    yield made
    made.close()


@pytest.fixture
def bus(rig: Rig) -> Bus:
    return rig.make()


def records(count: int, *, keys: int = 7, start: int = 0) -> list[Record]:
    return [Record(f"k{i % keys}", b"%d" % i) for i in range(start, start + count)]


def numbers(messages: list[Message]) -> list[int]:
    return [int(m.value) for m in messages]
