"""The outbox reaches its readers once and in order, whatever dies on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from prometheus_client.core import Metric
from sqlalchemy import func, select

from pipeline.app import build
from pipeline.bus.base import Bus, Message, decode_envelope
from pipeline.bus.sqlite import SqliteBus
from pipeline.bus.topics import ALERTS, DESK_FACTS
from pipeline.desk_part import desk_part
from pipeline.errors import EngineDown
from pipeline.metrics_store import of_the_store
from pipeline.settings import load_settings
from pipeline.stages.relay import Relay
from pipeline.stages.sweep import sweep
from pipeline.store import tables as t
from pipeline.store.sql import Store, postgres_url, sqlite_url
from tests.engines import OwnEngine, unique
from tests.fakes import HandClock
from tests.waiting import until

TOPICS = (ALERTS, DESK_FACTS)
KEYS = 12
LIMIT_S = 60.0
PER_MINUTE = 8


@contextmanager
def database(server: str) -> Iterator[str]:
    """An empty database of that server, dropped at the end."""
    name = unique()
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"'.encode())
    yield f"{server.rpartition('/')[0]}/{name}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@dataclass
class Desk:
    """Somebody whose acts leave messages. ``told``: (topic, key) -> message ids in order."""

    store: Store
    clock: HandClock
    told: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def act(self, count: int) -> None:
        for _ in range(count):
            number = sum(map(len, self.told.values()))
            topic, key = TOPICS[number % 2], f"k{number // 2 % KEYS}"
            with self.store.begin(self.clock.now()) as tx:
                id_ = tx.emit(topic, key, {"number": number, "text": "x" * 1000})
            self.told.setdefault((topic.name, key), []).append(id_)

    def waiting(self) -> int:
        with self.store.read() as conn:
            query = select(func.count()).where(t.outbox.c.sent_at.is_(None))
            return int(conn.execute(query).scalar_one())

    def oldest_age_s(self) -> float:
        with self.store.read() as conn:
            found = {m.name: m for m in of_the_store(conn, self.clock.now(), 1.0)}
        metric: Metric = found["tingfeng_outbox_oldest_age_seconds"]
        return float(metric.samples[0].value)


def read_once(bus: Bus) -> tuple[dict[tuple[str, str], list[str]], int]:
    """What readers make of the topics: repeats dropped by message id; and how many those were."""
    got: dict[tuple[str, str], list[str]] = {}
    seen: set[str] = set()
    repeats = 0
    for topic in TOPICS:
        messages: list[Message] = list(bus.read(topic.name))
        for message in messages:
            id_ = decode_envelope(message.value).id
            if id_ in seen:
                repeats += 1
                continue
            seen.add(id_)
            got.setdefault((message.topic, message.key), []).append(id_)
    return got, repeats


@contextmanager
def relaying(relay: Relay) -> Iterator[list[str]]:
    """The relay at work, as in the part ``desk``; what it complained of."""
    said: list[str] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.05):
            try:
                relay.run_once()
            except EngineDown as error:
                said.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield said
    finally:
        stop.set()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


@pytest.mark.engines
@pytest.mark.slow
def test_an_hour_without_kafka_loses_and_doubles_nothing(
    own_engine: OwnEngine, pg_url: str
) -> None:
    from pipeline.bus.kafka import KafkaBus

    broker = own_engine("kafka")
    with database(pg_url) as url:
        clock = HandClock()
        desk = Desk(Store(postgres_url(url)), clock)
        desk.store.create()
        bus = KafkaBus([broker.address], clock=clock, answer_s=0.5)
        relay = Relay(desk.store, bus, clock=clock, limit=100)
        with relaying(relay) as said:
            for _ in range(10):
                clock.move(minutes=1)
                desk.act(PER_MINUTE)
            broker.kill()  # with messages on their way
            gone_at = clock.now()
            desk.act(1)
            assert until(lambda: bool(said), LIMIT_S)
            before = psutil.Process().memory_info().rss
            for _ in range(60):
                clock.move(minutes=1)
                desk.act(PER_MINUTE)
                time.sleep(0.1)
            grown = psutil.Process().memory_info().rss - before
            piled_up, tries, age = desk.waiting(), len(said), desk.oldest_age_s()
            broker.start(keep=True)
            back = time.monotonic()
            assert until(lambda: not desk.waiting(), LIMIT_S)
            took = time.monotonic() - back
        bus.close()
        bus = KafkaBus([broker.address])
        got, repeats = read_once(bus)
        bus.close()
        desk.store.close()
    print(
        f"{piled_up} messages waited, {tries} tries, {grown >> 20} MB grown; all sent {took:.1f} s"
        f" after the broker's return; {repeats} repeats"
    )
    assert piled_up >= 60 * PER_MINUTE
    assert age >= (clock.now() - gone_at).total_seconds()
    assert all(f"Kafka at {broker.address} does not answer" in line for line in said[:tries])
    assert grown < 30 << 20
    assert took < 15
    assert got == desk.told, "every message once, in the order of its key"


def test_the_clocks_do_not_wait_with_a_bus_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking it takes seconds each time; deadlines are looked at all the same."""
    from pipeline.bus.kafka import KafkaBus

    app = build(load_settings(tmp_path))
    app.bus.close()
    app = replace(app, bus=KafkaBus(["127.0.0.1:1"], answer_s=1.5))
    with app.store.begin(app.now()) as tx:
        tx.emit(ALERTS, "k", {})
    swept: list[float] = []

    def watched(*given: Any) -> None:
        swept.append(time.monotonic())
        sweep(*given)

    stop = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.stages.sweep.sweep", watched)
        part = threading.Thread(target=desk_part, args=(app, stop))
        part.start()
        assert until(lambda: len(swept) > 5, LIMIT_S)
        assert until(lambda: "does not answer" in note_of(app.store, "desk"), LIMIT_S)
        stop.set()
        part.join(LIMIT_S)
    app.close()
    gaps = [later - earlier for earlier, later in pairwise(swept)]
    assert max(gaps) < 1.5


def note_of(store: Store, part: str) -> str:
    with store.read() as conn:
        h = t.heartbeats.c
        return conn.execute(select(h.note).where(h.part == part)).scalar() or ""


# ---- the relay dies between sending and noting it ------------------------------------------------

_KILLED = """
import os, signal
from pipeline.settings import load_settings
from pipeline.stages.relay import Relay
from pipeline.stages.sweep import sweep
from pipeline.store.sql import Store

class Deadly:
    def publish(self, topic, records):
        bus.publish(topic, records)
        os.kill(os.getpid(), signal.SIGKILL)

Relay(Store({url!r}), Deadly()).run_once()
"""


@pytest.fixture(params=["sqlite", pytest.param("servers", marks=pytest.mark.engines)])
def ends(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, str, Callable[[], Bus]]]:
    """Address of a store, a script that opens ``bus``, and the same here; all on one log."""
    if request.param == "sqlite":
        path = tmp_path / "posts.db"
        script = f"""
            from pathlib import Path
            from pipeline.bus.sqlite import SqliteBus
            bus = SqliteBus(Path({str(path)!r}))
            """
        yield sqlite_url(tmp_path / "desk.db"), script, lambda: SqliteBus(path)
        return
    from pipeline.bus.kafka import KafkaBus

    servers, prefix = request.getfixturevalue("kafka_address").split(","), f"{unique()}."
    script = f"""
        from pipeline.bus.kafka import KafkaBus
        bus = KafkaBus({servers!r}, prefix={prefix!r})
        """
    with database(request.getfixturevalue("pg_url")) as url:
        yield postgres_url(url), script, lambda: KafkaBus(servers, prefix=prefix)
        KafkaBus(servers, prefix=prefix).forget_everything()


def test_a_relay_killed_before_it_notes_what_it_sent_is_heard_once(
    ends: tuple[str, str, Callable[[], Bus]],
) -> None:
    url, script, open_bus = ends
    desk = Desk(Store(url), HandClock())
    desk.store.create()
    desk.act(40)
    program = textwrap.dedent(script) + _KILLED.format(url=url)
    killed = subprocess.run([sys.executable, "-c", program], timeout=LIMIT_S, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert desk.waiting() == 40, "nothing was noted"
    bus = open_bus()
    relay = Relay(desk.store, bus, clock=desk.clock)
    while relay.run_once():
        pass
    got, repeats = read_once(bus)
    bus.close()
    desk.store.close()
    assert repeats > 0, "what the killed one had sent came again"
    assert got == desk.told
