"""A night's work while PostgreSQL is disturbed, to be compared with one that nobody disturbs.

The product here has its bus and index in files, so that nothing but PostgreSQL goes wrong:
detection and the desk's own work run as they do in their parts, and an officer works meanwhile.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, insert, select

from pipeline.app import App, build
from pipeline.bus.base import Record
from pipeline.bus.codec import encode_annotated
from pipeline.bus.topics import ALERTS as ALERTS_TOPIC
from pipeline.bus.topics import POSTS_ANNOTATED
from pipeline.desk import alerts, cases
from pipeline.desk_part import desk_part
from pipeline.domain.rights import Actor, Role
from pipeline.errors import NotNow, StoreBusy
from pipeline.parts import detect_part
from pipeline.store import tables as t
from pipeline.store.sql import Store, postgres_url, verify_audit
from scripts.servers.engine import Engine
from tests.engines import unique
from tests.flow.annotated import night
from tests.flow.test_killed import alert_row, prepare

DUTY = Actor(1, "李值班", Role.DUTY)
SEED, POSTS, ALERTS = 7, 900, 30
LIMIT_S = 60.0


@contextmanager
def database(server: Engine) -> Iterator[str]:
    """An empty database of the server."""
    name = unique("f").replace("-", "_")
    with psycopg.connect(server.address, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    yield f"{server.address.rpartition('/')[0]}/{name}"
    with psycopg.connect(server.address, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def product(home: Path, url: str = "") -> App:
    """A folder's product; with its desk on PostgreSQL when ``url`` names one."""
    app = build(prepare(home / "home"))
    if url:
        app.store.close()
        app = replace(app, store=Store(postgres_url(url)))
        app.store.create()
    return app


class Night:
    """Posts that come in, an officer who works, and what they come to."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.longest_s = 0.0  # an act that was refused
        self.refusals: set[str] = set()
        self._stop = threading.Event()
        self._calm = threading.Event()  # nothing is disturbed any more: no pauses
        self._failed: list[BaseException] = []
        with app.store.begin(datetime.now(UTC)) as tx:
            rows = [alert_row(n, tx.now) for n in range(ALERTS)]
            tx.conn.execute(insert(t.alerts), rows)

    def play(self, disturb: Callable[[], None] = lambda: None) -> None:
        """All of the night, while ``disturb`` does what it does."""
        parts = [self._thread(detect_part), self._thread(desk_part)]
        workers = [self._thread(self._feed), self._thread(self._officer)]
        try:
            disturb()
            self._calm.set()
            for thread in workers:
                thread.join(LIMIT_S)
            settle(self.app)
        finally:
            self._calm.set()
            self._stop.set()
        for thread in parts:
            thread.join(LIMIT_S)
        assert not self._failed, self._failed
        assert not any(thread.is_alive() for thread in (*workers, *parts)), "a thread hangs"

    def _thread(self, work: Callable[[App, threading.Event], None]) -> threading.Thread:
        def run() -> None:
            try:
                work(self.app, self._stop)
            except BaseException as error:
                self._failed.append(error)

        thread = threading.Thread(target=run, name=work.__name__, daemon=True)
        thread.start()
        return thread

    def _feed(self, app: App, stop: threading.Event) -> None:
        posts = night(SEED, POSTS)
        for start in range(0, len(posts), 20):
            batch = posts[start : start + 20]
            records = [Record(p.post.id, encode_annotated(p, p.post.fetched_at)) for p in batch]
            app.bus.publish(POSTS_ANNOTATED.name, records)
            self._calm.wait(0.3)

    def _officer(self, app: App, stop: threading.Event) -> None:
        """Takes one alert after the other; looks before pressing again."""
        for number in range(ALERTS):
            self._work_off(f"a{number:04}")
            self._calm.wait(0.5)

    def _work_off(self, alert: str) -> None:
        a, c = t.alerts.c, t.cases.c
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                with self.app.store.read() as conn:
                    state = conn.execute(select(a.state).where(a.fingerprint == alert)).scalar()
                    event = f"E-{int(alert[1:])}"
                    case = conn.execute(select(c.id).where(c.event_id == event)).scalar()
                with self.app.store.begin(datetime.now(UTC)) as tx:
                    if state == "new":
                        alerts.claim_alert(tx, DUTY, alert)
                    elif case is None:
                        cases.open_case(tx, DUTY, fingerprint=alert, rules=self.app.rules)
                    else:
                        return
            except StoreBusy as error:
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.refusals.add(error.words)
                time.sleep(0.2)
        raise AssertionError("the officer could not work")


def settle(app: App) -> None:
    """Until all is detected and sent."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        try:
            with app.store.read() as conn:
                unsent = (
                    select(func.count()).select_from(t.outbox).where(t.outbox.c.sent_at.is_(None))
                )
                left = conn.execute(unsent).scalar_one()
            if left == 0 and app.bus.lag("detect", [POSTS_ANNOTATED.name]) == 0:
                return
        except NotNow:
            pass
        time.sleep(0.2)
    pytest.fail("still on the way")


def told(app: App) -> dict[str, Any]:
    """What it came to, without the moments; every message of the outbox is on the bus, once."""
    with app.store.read() as conn:
        assert verify_audit(conn).ok
        buckets = conn.execute(select(t.event_buckets)).tuples()
        joined = select(t.event_posts.c.post_id, t.event_posts.c.event_id)
        fired = select(t.alerts.c.fingerprint, t.alerts.c.state, t.alerts.c.event_id)
        numbers = select(t.cases.c.number, t.cases.c.event_id)
        acts = select(t.audit.c.act, t.audit.c.object).where(t.audit.c.actor == DUTY.name)
        # how often an event's figures are told depends on the size of the batches
        sent = select(t.outbox.c.key).where(t.outbox.c.topic == ALERTS_TOPIC.name)
        found = {
            "buckets": sorted(str(tuple(row)) for row in buckets),
            "joined": sorted(conn.execute(joined).tuples()),
            "alerts": sorted(map(str, conn.execute(fired).tuples())),
            "cases": sorted(conn.execute(numbers).tuples()),
            "acts": sorted(conn.execute(acts).tuples()),
            "alerts told": sorted(conn.execute(sent).scalars()),
        }
        written = sorted(conn.execute(select(t.outbox.c.message_id)).scalars())
        topics = set(conn.execute(select(t.outbox.c.topic)).scalars())
    heard = sorted(str(json.loads(m.value)["id"]) for name in topics for m in app.bus.read(name))
    assert sorted(set(heard)) == written
    return found


def beats_on(app: App, since: datetime) -> bool:
    h = t.heartbeats.c
    try:
        with app.store.read() as conn:
            rows = conn.execute(select(h.part).where(h.at > since, h.note == "")).scalars()
            return set(rows) >= {"detect", "desk"}
    except NotNow:
        return False


def calm_night(home: Path) -> dict[str, Any]:
    """What it comes to when nobody disturbs it."""
    with closing(product(home)) as app:
        Night(app).play()
        found = told(app)
    assert len(found["joined"]) > 100 and len(found["cases"]) == ALERTS and found["alerts told"]
    return found
