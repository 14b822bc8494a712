"""The three servers and the workers are killed at random moments: nothing missing or doubled.

One product runs on SQLite and is left alone; the other runs on servers of its own, of which one
at a time is killed with SIGKILL and started again while posts come in and an officer works.
Afterwards both tell the same: posts, events, figures, alerts, cases, audit, outgoing messages.

FAULT_ROUNDS=10 plays more rounds than the suite does, FAULT_SEED=7 others.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select

from dashboard.context import Desk
from pipeline.app import App, build
from pipeline.commands.exporting import export_records
from pipeline.commands.importing import outstanding
from pipeline.desk import alerts, assignments, cases
from pipeline.domain.post import FetchedPost
from pipeline.domain.rights import Actor, Role
from pipeline.errors import NotNow, StoreBusy
from pipeline.store import tables as t
from pipeline.store.sql import Store, Tx, postgres_url, verify_audit
from tests.distributed import Servers, settings_lines, three_servers
from tests.engines import OwnEngine, unique
from tests.flow.test_killed import (
    PARTS,
    alert_row,
    assert_same,
    night,
    outcome,
    prepare,
    running,
)
from tests.waiting import wait_for

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "2"))
SERVERS = ("kafka", "es", "pg")
VICTIMS = ("worker", *SERVERS)
SEED = int(os.environ.get("FAULT_SEED", "20261124"))
OFFICERS_ALERTS = 40
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.+]+|(\d\d-\d\d )?\d\d:\d\d(:\d\d)?")
# second looks have a budget in wall time: which posts get one hangs on the machine
ALIKE = {"second_tier_ms": 0}
DUTY = Actor(1, "李值班", Role.DUTY)
LIMIT_S = 120.0
SAID_S = 10.0  # so soon the board says that a server is away


@dataclass
class Figures:
    """What was measured: ``victim -> seconds``, one per kill."""

    said: dict[str, list[float]] = field(default_factory=dict)
    ready: dict[str, list[float]] = field(default_factory=dict)
    caught_up: dict[str, list[float]] = field(default_factory=dict)

    def add(self, victim: str, said_s: float, ready_s: float, caught_up_s: float) -> None:
        self.said.setdefault(victim, []).append(said_s)
        self.ready.setdefault(victim, []).append(ready_s)
        self.caught_up.setdefault(victim, []).append(caught_up_s)

    def __str__(self) -> str:
        return "\n".join(
            f"{victim}: {len(self.ready[victim])} kills, said after {_spread(self.said[victim])} s,"
            f" down {_spread(self.ready[victim])} s, all parts at work after {_spread(back)} s more"
            for victim, back in self.caught_up.items()
        )


def _spread(seconds: list[float]) -> str:
    return f"{min(seconds):.1f}-{max(seconds):.1f}"


@pytest.fixture(scope="module")
def servers(own_engine: OwnEngine) -> Servers:
    return three_servers(own_engine)


# ---- who works meanwhile ------------------------------------------------------------------------


def patiently(act: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Do it again while a server is away, as crawlers do and officers are told to."""
    end = time.monotonic() + limit_s
    while True:
        try:
            act()
        except NotNow:
            assert time.monotonic() < end, "still not now"
            time.sleep(0.3)
        else:
            return


def feed(app: App, posts: list[FetchedPost], done: threading.Event, pause_s: float) -> None:
    """The crawler. It goes slowly, so that every kill meets posts on their way."""
    ingest = app.ingest()
    for start in range(0, len(posts), 10):
        patiently(partial(ingest.accept, posts[start : start + 10]))
        done.wait(pause_s)


def work_off(app: App, done: threading.Event, pause_s: float) -> None:
    """An officer takes alerts one after the other, looking at each before every act."""
    c, a, d = t.cases.c, t.alerts.c, t.assignments.c

    def case_of(conn: Connection, alert: str) -> Any:
        return conn.execute(
            select(c.id, c.level_reason).where(c.event_id == f"E-{int(alert[1:])}")
        ).first()

    def next_act(conn: Connection, alert: str) -> Callable[[Tx], object] | None:
        state = conn.execute(select(a.state).where(a.fingerprint == alert)).scalar_one()
        case = case_of(conn, alert)
        if state == "new":
            return lambda tx: alerts.claim_alert(tx, DUTY, alert)
        if case is None:
            return lambda tx: cases.open_case(tx, DUTY, fingerprint=alert, rules=app.rules)
        if not case.level_reason:
            return lambda tx: cases.assess_case(tx, DUTY, case.id, 2, "核实后研判")
        given = select(func.count()).select_from(t.assignments).where(d.case_id == case.id)
        if not conn.execute(given).scalar_one():
            return lambda tx: assignments.assign(tx, DUTY, case.id, "气象台", "核实情况")
        return None

    def work(alert: str) -> None:
        while True:
            with app.store.read() as conn:
                act = next_act(conn, alert)
            if act is None:
                return
            with app.store.begin(datetime.now(UTC)) as tx:
                act(tx)
            done.wait(pause_s)

    for number in range(OFFICERS_ALERTS):
        patiently(partial(work, f"a{number:04}"))


def play(app: App, pause_s: float, disturb: Callable[[], None]) -> None:
    """The night with its officer, while ``disturb`` does what it does."""
    failed: list[BaseException] = []
    done = threading.Event()

    def guarded(work: Callable[..., None], *arguments: Any) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    now = datetime.now(UTC)
    with app.store.begin(now) as tx:
        tx.conn.execute(insert(t.alerts), [alert_row(n, now) for n in range(OFFICERS_ALERTS)])
    threads = [
        guarded(feed, app, night(), done, pause_s),
        guarded(work_off, app, done, pause_s),
    ]
    try:
        disturb()
    finally:
        done.set()  # no more pauses
        for thread in threads:
            thread.join(LIMIT_S)
    assert not failed, failed
    settle(app)


def settle(app: App) -> None:
    """Wait until nothing is on the way, the outbox included."""
    end = time.monotonic() + LIMIT_S
    left: Any = None
    while time.monotonic() < end:
        with suppress(NotNow):
            with app.store.read() as conn:
                unsent = (
                    select(func.count()).select_from(t.outbox).where(t.outbox.c.sent_at.is_(None))
                )
                left = (conn.execute(unsent).scalar_one(), outstanding(app))
            if left == (0, 0):
                return
        time.sleep(0.2)
    pytest.fail(f"still on the way: (outbox, posts) {left}")


def _lasting(record: dict[str, Any]) -> str:
    """What an alert or case comes to, without moments and row numbers (PostgreSQL leaves gaps)."""
    if record["type"] == "alert":
        of_alert = ("fingerprint", "state", "claimed_by", "level", "event_id")
        return json.dumps([record[name] for name in of_alert])
    of_case = ("number", "event_id", "status", "level", "level_reason", "owner")
    tasks = [[a["office"], a["part"], a["state"], a["task"]] for a in record["assignments"]]
    steps = [[s["kind"], MOMENT.sub("*", s["text"])] for s in record["timeline"]]
    return json.dumps([[record[name] for name in of_case], tasks, steps], ensure_ascii=False)


def told(app: App) -> dict[str, Any]:
    """As ``outcome``, and what the officer did, and what readers of the bus have got."""
    found = outcome(app)
    own = {f"a{n:04}" for n in range(OFFICERS_ALERTS)}
    found["records"] = [r for r in found["records"] if json.loads(r).get("fingerprint") not in own]
    # what the officer worked on, without when
    found["worked on"] = sorted(
        _lasting(r)
        for r in export_records(app.settings, ["alerts", "cases"], None, None)
        if r["type"] == "case" or r["fingerprint"] in own
    )
    a = t.audit.c
    with app.store.read() as conn:
        assert verify_audit(conn).ok
        of_case = dict(conn.execute(select(t.cases.c.id, t.cases.c.event_id)).tuples().all())
        acts = conn.execute(select(a.act, a.object, a.object_id).where(a.actor == DUTY.name))
        found["audit"] = sorted(
            (act, of_case[int(key)] if obj == "case" else key if obj == "alert" else obj)
            for act, obj, key in acts.tuples()
        )
        written = dict(conn.execute(select(t.outbox.c.message_id, t.outbox.c.topic)).tuples().all())
    heard = {
        str(json.loads(m.value)["id"]): topic
        for topic in sorted(set(written.values()))
        for m in app.bus.read(topic)
    }
    missing = written.keys() - heard.keys()
    assert heard == written, f"{len(missing)} of the outbox's messages are not on the bus"
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the night comes to on SQLite when nothing is killed."""
    settings = prepare(
        tmp_path_factory.mktemp("calm") / "home", "lease_seconds = 1\nsecond_tier_ms = 0"
    )
    app = build(settings)
    with running(settings):
        play(app, 0, lambda: None)
    found = told(app)
    app.close()
    assert (
        len(found["audit"]) == 4 * OFFICERS_ALERTS
        and len(found["worked on"]) == 2 * OFFICERS_ALERTS
    )
    assert found["joined"] and found["messages"] and found["told"] and found["calls"]
    return found


# ---- what goes wrong ----------------------------------------------------------------------------


def parts_at_work(app: App, since: datetime) -> bool:
    """Every part has beaten since, and complains of nothing."""
    h = t.heartbeats.c
    with suppress(NotNow), app.store.read() as conn:
        rows = conn.execute(select(h.part).where(h.at > since, h.note == "")).scalars().all()
        return set(rows) >= set(PARTS)
    return False


def is_said(desk: Desk, victim: str) -> bool:
    """Whether the board knows that this server is away."""
    if victim == "pg":
        try:
            with desk.store.read():
                return False
        except NotNow:
            return True
    return {"es": "index", "kafka": "bus"}[victim] in desk.watch.away(desk.now())


def kill_worker(supervisor: Any, name: str) -> None:
    """SIGKILL of a part, whichever process it is now; the supervisor starts it again."""
    while True:
        pid = supervisor.pids().get(name)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return
        time.sleep(0.05)


def test_kills_of_servers_and_workers_change_nothing(
    tmp_path: Path,
    servers: Servers,
    undisturbed: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = unique("f")
    settings = prepare(tmp_path / "home", settings_lines(servers, name, lease_seconds=3, **ALIKE))
    app = build(settings)
    dice = random.Random(SEED)
    victims = dice.sample(VICTIMS * ROUNDS, len(VICTIMS) * ROUNDS)
    figures = Figures()
    desk = Desk(app)

    with running(settings) as supervisor:
        start = datetime.now(UTC)
        wait_for(lambda: parts_at_work(app, start), "every part beats")

        def disturb() -> None:
            for victim in victims:
                time.sleep(dice.uniform(0.5, 3.0))
                began = time.monotonic()
                if victim == "worker":
                    kill_worker(supervisor, dice.choice(PARTS))
                    said_s = 0.0
                else:
                    servers[victim].kill()
                    said_s = wait_for(partial(is_said, desk, victim), f"{victim} is away", SAID_S)
                    time.sleep(dice.uniform(0.0, 1.0))
                    servers[victim].start(keep=True)
                ready_s, since = time.monotonic() - began, datetime.now(UTC)
                back_s = wait_for(partial(parts_at_work, app, since), f"back after {victim}")
                wait_for(lambda: not desk.watch.away(desk.now()), "the board takes it back")
                figures.add(victim, said_s, ready_s, back_s)

        play(app, 1.5 * ROUNDS, disturb)
    found = told(app)
    app.index.forget_everything()  # type: ignore[attr-defined]
    app.close()
    with capsys.disabled():
        print(f"\n{figures}")
    assert_same(found, undisturbed)


def test_of_three_brokers_one_dies_and_the_night_is_the_same(
    tmp_path: Path,
    own_engine: OwnEngine,
    servers: Servers,
    undisturbed: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    brokers = own_engine("kafka", nodes=3, heap="256m")
    lines = settings_lines(
        {**servers, "kafka": brokers}, unique("r"), lease_seconds=3, kafka_replication=3, **ALIKE
    )
    settings = prepare(tmp_path / "home", lines)
    app = build(settings)
    with running(settings):
        start = datetime.now(UTC)
        wait_for(lambda: parts_at_work(app, start), "every part beats")

        def disturb() -> None:
            time.sleep(1)
            # the one that our admin client takes for the controller is the hardest to do without;
            # when it has not needed one yet, the first that everybody is told of
            brokers.kill(node=app.bus._cluster._admin._controller_id or 1)  # type: ignore[attr-defined]
            assert len(brokers.running()) == 2
            back_s = wait_for(partial(parts_at_work, app, datetime.now(UTC)), "back with two")
            with capsys.disabled():
                print(f"\none of three brokers: all parts at work after {back_s:.1f} s")

        play(app, 0.5, disturb)
    assert len(brokers.running()) == 2
    found = told(app)
    app.index.forget_everything()  # type: ignore[attr-defined]
    app.close()
    assert_same(found, undisturbed)


def test_a_wrong_database_password_is_one_line(servers: Servers) -> None:
    address = servers["pg"].address.replace(":engines@", ":not-the-word@")
    store = Store(postgres_url(address))
    try:
        with pytest.raises(StoreBusy, match="账号或密码不对，请检查 database_url") as caught:
            store.create()
        assert "not-the-word" not in str(caught.value) and "\n" not in str(caught.value)
    finally:
        store.close()
