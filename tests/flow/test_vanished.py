"""The host of the servers vanishes from the network: one line each, bounded waiting, no loss.

Nobody says that it is gone: what is sent to it is dropped. All three servers run there; detection
and the desk's own work go on as in ``disturbed``, posts are published, consumed and
indexed meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dashboard.watch import Away, Watch
from pipeline.app import App
from pipeline.bus.kafka import KafkaBus
from pipeline.domain.rights import Actor, Role
from pipeline.errors import NotNow, StoreBusy
from pipeline.index.base import Query
from pipeline.index.elastic import ElasticIndex
from pipeline.index.elastic_server import ASIDE_S
from pipeline.store.sql import BUSY_S, Store, postgres_url
from pipeline.store.trouble import AWAY
from scripts.servers.engine import Engine
from tests.contract.kafka_rig import RAW, Busy, Pump, Sink, opened
from tests.distributed import Servers
from tests.engines import OwnEngine, unique
from tests.fakes import NIGHT, annotated
from tests.far_host import FarHost, far_host
from tests.flow.disturbed import Night, beats_on, calm_night, database, product, told
from tests.flow.test_faults_postgres import BOUND_S
from tests.waiting import wait_for

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.timeout(300)]

ANSWER_S = 4.0  # of Kafka and Elasticsearch; usually 10
SAID_S = 10.0  # so soon the board says it
BACK_S = 60.0  # and so soon all works again, on the busiest machine
BATCH = 20
OTHER = Actor(2, "王值班", Role.DUTY)


@pytest.fixture(scope="module")
def host() -> Iterator[FarHost]:
    with far_host() as made:
        yield made


@pytest.fixture(scope="module")
def servers(host: FarHost, own_engine: OwnEngine) -> Servers:
    def start(name: str) -> Engine:
        return own_engine(name, far=host)

    names = ("kafka", "es", "pg")
    with ThreadPoolExecutor() as threads:
        return dict(zip(names, threads.map(start, names), strict=True))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return calm_night(tmp_path_factory.mktemp("calm"))


@dataclass
class Calls:
    """How long calls took, and what was said of those that failed."""

    longest_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    last_good: float = 0.0

    def make(self, call: Callable[[], object]) -> bool:
        began = time.monotonic()
        try:
            call()
        except NotNow as error:
            self.failures.append(str(error))
            return False
        else:
            self.last_good = time.monotonic()
            return True
        finally:
            self.longest_s = max(self.longest_s, time.monotonic() - began)


class Indexing(Busy):
    """Puts posts and looks for them, as the index part and a page do."""

    def __init__(self, index: ElasticIndex) -> None:
        super().__init__()
        self.puts, self.looks = Calls(), Calls()
        self.kept = 0
        self._index = index

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            batch = [annotated(n) for n in range(self.kept, self.kept + 5)]
            if self.puts.make(partial(self._index.put, batch, NIGHT)):
                self.kept += 5
            self.looks.make(partial(self._index.search, Query(limit=10)))


class Product:
    """What goes on between this host and the servers, and what it comes to."""

    def __init__(self, app: App, bus: KafkaBus, consuming: KafkaBus, index: ElasticIndex) -> None:
        self.pump, self.sink, self.indexing = (
            Pump(bus, batch=BATCH),
            Sink(consuming),
            Indexing(index),
        )
        self.app, self.night = app, Night(app)
        self.watch = Watch(
            {
                "store": app.store.ping,
                "bus": lambda: bus.lag("sink", [RAW]),
                "index": index.newest_at,
            }
        )

    def away(self) -> dict[str, Away]:
        return self.watch.away(datetime.now(UTC))

    def has_begun(self) -> bool:
        return bool(self.pump.acknowledged and self.sink.seen and self.indexing.kept)

    def is_refused(self) -> bool:
        kinds = (self.pump, self.indexing.puts, self.indexing.looks)
        return bool(self.night.refusals) and all(kind.failures for kind in kinds)

    def bounded(self) -> list[str]:
        """The longest calls; what was said of those that failed is one line each."""
        calls = {
            "publish": (self.pump.longest_call_s, 2 * ANSWER_S, self.pump.failures),
            "put": (self.indexing.puts.longest_s, ANSWER_S + ASIDE_S, self.indexing.puts.failures),
            "search": (self.indexing.looks.longest_s, ANSWER_S, self.indexing.looks.failures),
        }
        for name, (longest_s, limit_s, lines) in calls.items():
            assert longest_s < limit_s + 4.0, name
            assert lines and all("does not answer" in x and "\n" not in x for x in lines), name
        assert self.night.refusals == {AWAY}
        assert self.night.longest_s < BOUND_S + BUSY_S, "for the server, then for others' locks"
        return [f"the longest {name} {longest_s:.1f} s" for name, (longest_s, *_) in calls.items()]

    def at_work(self, since: datetime, since_s: float) -> dict[str, Callable[[], bool]]:
        """Whether each of it went well since then, by the clock and in monotonic seconds."""
        return {
            "detect and desk": lambda: beats_on(self.app, since),
            "publishing": lambda: self.pump.last_ack > since_s,
            "consuming": lambda: self.sink.last_seen > since_s,
            "indexing": lambda: self.indexing.puts.last_good > since_s,
            "searching": lambda: self.indexing.looks.last_good > since_s,
            "nothing said": lambda: not self.away(),
        }


def test_a_host_that_vanishes_is_said_and_nothing_is_missing_or_doubled(
    host: FarHost,
    servers: Servers,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = set(threading.enumerate())
    figures: list[str] = []
    with (
        database(servers["pg"]) as address,
        closing(product(tmp_path, address)) as app,
        opened(servers["kafka"].address) as make,
        closing(
            ElasticIndex([servers["es"].address], prefix=unique(), timeout_s=ANSWER_S)
        ) as index,
    ):
        bus = make(answer_s=ANSWER_S)
        work = Product(app, bus, make(answer_s=ANSWER_S), index)

        def disturb() -> None:
            wait_for(work.has_begun, "all is at work")
            wait_for(lambda: not work.away(), "nothing is said")
            # whoever is cut off in the middle of an act does not keep the others out for long
            with suppress(StoreBusy), app.store.begin(datetime.now(UTC)), host.vanished():
                gone_s = time.monotonic()
                said_s = wait_for(lambda: len(work.away()) == 3, "all three are said", SAID_S)
                figures.append(f"said after {said_s:.1f} s")
                host.call(lambda: wait_for(lambda: act(address), "an officer there acts", 45.0))
                figures.append(f"an officer there acts after {time.monotonic() - gone_s:.1f} s")
                wait_for(work.is_refused, "every kind of call ends")
            since, since_s = datetime.now(UTC), time.monotonic()
            waiting = work.at_work(since, since_s)
            while waiting:
                assert time.monotonic() < since_s + BACK_S, f"still not: {list(waiting)}"
                for what in [what for what, is_so in waiting.items() if is_so()]:
                    del waiting[what]
                    figures.append(f"{what} {time.monotonic() - since_s:.1f} s after")
                time.sleep(0.05)

        with work.pump, work.sink, work.indexing:
            work.night.play(disturb)
        found = told(app)
        index.refresh()
        indexed = {hit.item.post.id for hit in index.scan(Query())}
        there = [int(message.value) for message in bus.read(RAW)]
    figures += work.bounded()
    with capsys.disabled():
        print("\n" + "\n".join(figures))
    assert found == undisturbed
    assert indexed == {annotated(n).post.id for n in range(work.indexing.kept)}
    assert set(there) >= set(range(work.pump.acknowledged))
    twice = len(there) - len(set(there))
    assert twice <= BATCH * len(work.pump.failures), "only what was not acknowledged comes again"
    assert set(there) == set(work.sink.seen)
    wait_for(lambda: set(threading.enumerate()) <= before, "no thread is left", 10.0)


def act(address: str) -> bool:
    """Whether it went well: what our other threads know of the server, this one believes too."""
    with (
        suppress(StoreBusy),
        closing(Store(postgres_url(address))) as store,
        store.begin(datetime.now(UTC)) as tx,
    ):
        tx.audit(OTHER, "log_in", "user", OTHER.user_id)
        return True
    return False
