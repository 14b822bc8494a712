"""What Prometheus reads at ``/metrics``: figures of bus, index and store at the time of asking.

Nothing is counted in this process, so any board of a product gives the same answer and a restart
of the board forgets nothing. Labels name parts, topics, groups, sources and states; never a person,
a post, an event or a receiver. In a drill, ages of what machines do are divided by its pace, so
that one rule fits both; what people do, and delays of alerts and notices, are in the drill's time.

The three are asked side by side, each for at most ``ANSWER_S``: one that does not answer says so in
``tingfeng_engine_up`` and its figures are missing; the others are there.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from time import monotonic
from typing import Protocol

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.bus.base import Bus
from pipeline.bus.topics import POSTS_ANNOTATED, POSTS_RAW
from pipeline.clock import Clock
from pipeline.index.base import Index, Query
from pipeline.metrics_store import of_the_store, one, seconds
from pipeline.settings import Settings
from pipeline.store.sql import Store

log = structlog.get_logger("metrics")

CONTENT_TYPE = CONTENT_TYPE_LATEST
GROUPS = (
    ("annotate", POSTS_RAW.name),
    ("index", POSTS_ANNOTATED.name),
    ("detect", POSTS_ANNOTATED.name),
)
ANSWER_S = 4.0
Read = Callable[[], Sequence[Metric]]


class Parts(Protocol):
    """What is measured; ``pipeline.app.App`` has it."""

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def store(self) -> Store: ...
    @property
    def bus(self) -> Bus: ...
    @property
    def index(self) -> Index: ...
    @property
    def is_drill(self) -> bool: ...


class Scrape(Collector):
    """Every figure of one product. Thread-safe; ``answer_s`` bounds the waiting for an engine."""

    def __init__(self, parts: Parts, *, answer_s: float = ANSWER_S) -> None:
        self._parts = parts
        self._answer_s = answer_s
        self._askers = {
            name: _Asker(name, read)
            for name, read in (("store", self._store), ("bus", self._bus), ("index", self._index))
        }

    def text(self) -> bytes:
        """The exposition, in Prometheus' text format."""
        return generate_latest(self)  # type: ignore[no-untyped-call, no-any-return, unused-ignore]

    def collect(self) -> Iterator[Metric]:
        """Everything, engine by engine."""
        yield from self._machine()
        until = monotonic() + self._answer_s
        for asker in self._askers.values():
            asker.begin()
        up = GaugeMetricFamily(
            "tingfeng_engine_up",
            "1 when bus, index or store answered this scrape.",
            labels=["engine"],
        )
        for name, asker in self._askers.items():
            found = asker.end(until - monotonic())
            up.add_metric([name], 0 if found is None else 1)
            yield from found or ()
        yield up

    def _machine(self) -> Iterator[Metric]:
        settings = self._parts.settings
        about = {"version": version("tingfeng"), "profile": settings.profile}
        yield InfoMetricFamily("tingfeng", "Version and profile.", value=about)
        yield one("tingfeng_drill", "1 while a drill is played.", self._parts.is_drill)
        disk = shutil.disk_usage(settings.home)
        yield one("tingfeng_disk_size_bytes", "Disk of the data folder.", disk.total)
        yield one("tingfeng_disk_free_bytes", "Free on the disk of the data folder.", disk.free)

    @property
    def _pace(self) -> float:
        """Drill seconds per wall second."""
        return float(getattr(self._parts.clock, "pace", 1.0))

    # ---- bus and index ------------------------------------------------------------------------

    def _bus(self) -> Sequence[Metric]:
        bus = self._parts.bus
        lag = GaugeMetricFamily(
            "tingfeng_bus_lag_messages",
            "Messages of a topic that a group has not finished.",
            labels=["group", "topic"],
        )
        for group, topic in GROUPS:
            lag.add_metric([group, topic], bus.lag(group, [topic]))
        dead = one(
            "tingfeng_dead_letters_waiting_messages",
            "Refused messages nobody has dealt with.",
            bus.dead_count(),
        )
        return lag, dead

    def _index(self) -> Sequence[Metric]:
        index, now = self._parts.index, self._parts.clock.now()
        found = [one("tingfeng_index_posts", "Posts that can be searched.", index.count(Query()))]
        newest = index.newest_at()
        if newest is not None:
            age = seconds(now - newest) / self._pace
            found.append(
                one("tingfeng_index_newest_age_seconds", "Since the newest post was fetched.", age)
            )
        return found

    # ---- store --------------------------------------------------------------------------------

    def _store(self) -> Sequence[Metric]:
        now, pace = self._parts.clock.now(), self._pace
        with self._parts.store.read() as conn:
            return list(of_the_store(conn, now, pace))


class _Asker:
    """Asks an engine on a thread of its own, so that a frozen one cannot hold the scrape.

    A question that is still open at the next scrape is waited for, not asked again: there is never
    more than one thread per engine.
    """

    def __init__(self, name: str, read: Read) -> None:
        self._name, self._read = name, read
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._found: Sequence[Metric] | None = None
        self._trouble = ""

    def begin(self) -> None:
        with self._lock:
            if self._asking is None or not self._asking.is_alive():
                self._found = None
                self._asking = threading.Thread(
                    target=self._ask, name=f"metrics-{self._name}", daemon=True
                )
                self._asking.start()

    def end(self, timeout_s: float) -> Sequence[Metric] | None:
        """What was found; None when it failed or is not there yet."""
        asking = self._asking
        assert asking is not None
        asking.join(max(0.0, timeout_s))
        return None if asking.is_alive() else self._found

    def _ask(self) -> None:
        try:
            self._found = self._read()
            self._trouble = ""
        except Exception as error:  # whatever it is, the other engines' figures must go out
            if self._trouble != type(error).__name__:
                self._trouble = type(error).__name__
                log.warning("no figures", engine=self._name, error=self._trouble)
