"""kill -9 of any part at any moment: nothing missing, nothing doubled.

Two products are fed the same posts in the same order: one is left alone, in the other a part
chosen at random is killed twenty times at random moments. Afterwards posts, events, alerts, help
calls and outgoing messages are the same, and the audit chain holds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from crawlers.drill.scenario import load_scenario
from pipeline.app import DEFAULTS, App, build
from pipeline.commands.exporting import export_records
from pipeline.commands.importing import outstanding
from pipeline.domain.post import Counts, FetchedPost
from pipeline.settings import Settings, load_settings
from pipeline.store import tables as t
from pipeline.store.sql import verify_audit
from pipeline.supervisor import Supervisor, part_command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 20
PARTS = ("annotate", "index", "detect", "desk")
START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
SEED = 20261123
KEY = "the same key on both sides of the comparison"

# when something happened on this machine, not what happened
VOLATILE = {
    "fetched_at", "recorded_at", "updated_at", "created_at", "captured_at", "id", "seq",
    "first_seen_at", "state", "state_reason", "seen_at",
}  # fmt: skip


def night() -> list[FetchedPost]:
    """The drill's posts in the order of their time, each seen once, some seen again."""
    posts = []
    for post in load_scenario("rainstorm_night").posts:
        at = START + post.offset
        posts.append(
            FetchedPost(
                source=post.channel,
                text=post.text,
                title=post.title or "",
                published_at=at,
                fetched_at=at + timedelta(seconds=5),
                native_id=post.id,
                author=post.author,
                author_kind=post.author_kind,
                place_hint=post.place_hint or "",
                repost_of=post.repost_of or "",
                root=post.root or "",
                counts=Counts(**post.counts_at(post.offset)),
            )
        )
    return posts


@contextmanager
def running(settings: Settings) -> Iterator[Supervisor]:
    commands = {name: part_command(name, settings.home) for name in PARTS}
    supervisor = Supervisor(commands, settings.home / "log")
    stop = threading.Event()
    supervisor.start()
    thread = threading.Thread(target=supervisor.run, args=(stop,))
    thread.start()
    try:
        yield supervisor
    finally:
        stop.set()
        thread.join(timeout=30)


def feed(app: App, posts: list[FetchedPost], pause_s: float) -> None:
    ingest = app.ingest()
    for start in range(0, len(posts), 40):
        ingest.accept(posts[start : start + 40])
        time.sleep(pause_s)


def settle(app: App, limit_s: float = 240) -> None:
    """Wait until nothing is on the way, the outbox included."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        with app.store.read() as conn:
            waiting = conn.execute(
                select(func.count()).select_from(t.outbox).where(t.outbox.c.sent_at.is_(None))
            ).scalar_one()
        if outstanding(app) == 0 and waiting == 0:
            return
        time.sleep(0.2)
    pytest.fail(f"still {outstanding(app)} messages on the way after {limit_s} s")


def outcome(app: App) -> dict[str, Any]:
    """What an officer could see, without the moments at which machines did it."""
    kinds = ["posts", "events", "alerts"]
    d = t.deliveries
    records = [
        {k: v for k, v in r.items() if k not in VOLATILE or (r["type"] == "post" and k == "id")}
        for r in export_records(app.settings, kinds, None, None)
    ]
    with app.store.read() as conn:
        calls = sorted(
            conn.execute(select(t.help_calls.c.post_id, t.help_calls.c.place_name)).tuples().all()
        )
        buckets = sorted(
            tuple(map(str, row)) for row in conn.execute(select(t.event_buckets)).tuples().all()
        )
        joined = sorted(
            conn.execute(select(t.event_posts.c.post_id, t.event_posts.c.event_id)).tuples().all()
        )
        messages = sorted(
            conn.execute(
                select(t.outbox.c.topic, t.outbox.c.key).where(t.outbox.c.topic == "alerts")
            )
            .tuples()
            .all()
        )
        told = sorted(
            conn.execute(
                select(d.c.fingerprint, d.c.receiver, d.c.reason).where(
                    d.c.reason == "alert"  # the others come by the clock
                )
            )
            .tuples()
            .all()
        )
        assert verify_audit(conn).ok
    return {
        "told": told,
        "records": sorted(json.dumps(r, sort_keys=True, default=str) for r in records),
        "calls": calls,
        "buckets": buckets,
        "joined": joined,
        "messages": messages,
    }


def prepare(home: Path, more: str = "lease_seconds = 1") -> Settings:
    """A folder with settings and the first tables. ``more``: further lines of tingfeng.toml."""
    home.mkdir(parents=True)
    (home / "tingfeng.toml").write_text(
        f'{more}\nbackfill_hours = 1000000\nsecret_key = "{KEY}"\n', "utf-8"
    )
    # The night lies in the past, so the wall clock would calm its alerts at once; whether a new
    # finding still meets a live alert must not hang on when the desk part looked.
    rules = (DEFAULTS / "rules.toml").read_text("utf-8")
    calm = rules.replace("after_minutes = 120", "after_minutes = 100000000")
    assert calm != rules
    (home / "rules.toml").write_text(calm, "utf-8")
    settings = load_settings(home)
    subprocess.run(
        part_command("setup", home), check=True, capture_output=True, cwd=Path(sys.prefix)
    )
    return settings


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the night comes to when nobody is killed."""
    settings = prepare(tmp_path_factory.mktemp("calm") / "home")
    app = build(settings)
    posts = night()
    with running(settings):
        feed(app, posts, 0)
        settle(app)
    found = outcome(app)
    app.close()
    assert len([r for r in found["records"] if '"type": "post"' in r]) == len(posts)
    assert found["joined"] and found["messages"] and found["told"] and found["calls"]
    return found


def kill(pid: int) -> bool:
    """SIGKILL; False when it had just ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for what, value in expected.items():
        missing = [x for x in value if x not in set(found[what])][:3]
        extra = [x for x in found[what] if x not in set(value)][:3]
        assert found[what] == value, f"{what}: missing {missing}, too much {extra}"


def test_twenty_kills_change_nothing(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    settings = prepare(tmp_path / "home")
    app = build(settings)
    dice = random.Random(SEED)
    # each part five times, in an order and at moments that the dice choose
    victims = dice.sample(PARTS * (KILLS // len(PARTS)), KILLS)
    with running(settings) as supervisor:
        feeding = threading.Thread(target=feed, args=(app, night(), 0.7))
        feeding.start()
        for name in victims:
            time.sleep(dice.uniform(0.3, 2.0))
            while (pid := supervisor.pids().get(name)) is None or not kill(pid):
                time.sleep(0.05)
        feeding.join()
        settle(app)
    found = outcome(app)
    app.close()
    assert_same(found, undisturbed)


def test_a_killed_import_is_run_again(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    """Three imports die half-way, a fourth one reads the same file to its end."""
    settings = prepare(tmp_path / "home")
    file = tmp_path / "night.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for post in night():
            row = {k: v for k, v in asdict(post).items() if k not in ("fetched_at", "media")}
            lines.write(json.dumps(row, default=datetime.isoformat, ensure_ascii=False) + "\n")
    command = [
        sys.executable, "-m", "pipeline.cli", "import", str(file),
        "--config", str(settings.home), "--json",
    ]  # fmt: skip
    app = build(settings)
    dice = random.Random(SEED)
    with running(settings):
        for _ in range(3):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            before, end = app.bus.lag("nobody", ["posts.raw"]), time.monotonic() + 30
            while process.poll() is None and time.monotonic() < end:
                if app.bus.lag("nobody", ["posts.raw"]) > before:
                    break  # it has begun to publish
                time.sleep(0.002)
            time.sleep(dice.uniform(0, 0.1))
            process.kill()
            process.communicate()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        settle(app)
    totals = json.loads(done.stdout)
    assert totals["read"] == len(night()) and totals["dead"] == 0
    found = outcome(app)
    app.close()
    posts = [r for r in found["records"] if '"type": "post"' in r]
    assert posts == [r for r in undisturbed["records"] if '"type": "post"' in r]
    assert len(set(found["joined"])) == len(found["joined"])
    assert [c[0] for c in found["calls"]] == [c[0] for c in undisturbed["calls"]]


ACTS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from pipeline.app import build
from pipeline.desk import alerts, assignments, cases
from pipeline.domain.rights import Actor, Role
from pipeline.settings import load_settings
from pipeline.store import tables as t
from sqlalchemy import select
app = build(load_settings(Path(sys.argv[1])))
duty = Actor(1, "李值班", Role.DUTY)
def act(f, *args, **values):
    with app.store.begin(datetime.now(UTC)) as tx:
        return f(tx, duty, *args, **values)
print("ready", flush=True)
while True:
    with app.store.read() as conn:
        new = conn.execute(select(t.alerts.c.fingerprint).where(t.alerts.c.state == "new")
                           .order_by(t.alerts.c.fingerprint)).scalars().first()
    if new is None:
        break
    act(alerts.claim_alert, new)
    case = act(cases.open_case, fingerprint=new, rules=app.rules)
    act(cases.assess_case, case, 2, "核实后研判")
    act(assignments.assign, case, "气象台", "核实情况")
print("done", flush=True)
"""


def alert_row(number: int, now: datetime) -> dict[str, Any]:
    return {
        "fingerprint": f"a{number:04}", "rule": "rumour", "event_id": f"E-{number}", "level": 2,
        "kind": "rumour", "title": f"第 {number} 条", "sentence": "10 分钟转述 37 条",
        "figures": {}, "lead_office": "气象台", "helper_offices": [], "copy_offices": [],
        "links": [], "warning_texts": [], "state": "new", "adcode": "450108",
        "fired_at": now, "last_at": now, "recorded_at": now,
    }  # fmt: skip


def test_a_killed_officer_leaves_no_half_act(tmp_path: Path) -> None:
    """claim, open, assess, assign in a loop, killed five times: every act is whole or not at all.

    Whole means: the row has changed, one audit line, one outgoing message, and one line in the
    case's timeline where a case is concerned.
    """
    settings = prepare(tmp_path / "home")
    app = build(settings)
    now = datetime.now(UTC)
    with app.store.begin(now) as tx:
        tx.conn.execute(insert(t.alerts), [alert_row(n, now) for n in range(600)])
    before = acts(app)
    dice = random.Random(SEED)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", ACTS, str(settings.home)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(dice.uniform(0.05, 0.6))
        process.kill()
        process.communicate()
        found = acts(app)
        assert sum(found["audit"].values()) > sum(before["audit"].values()), "killed too soon"
        check_whole(app, found, before["seeded"])
        before = found | {"seeded": before["seeded"]}
    app.close()


def acts(app: App) -> dict[str, Any]:
    """How often each thing happened to each object: by the audit, and by the outbox."""
    with app.store.read() as conn:
        assert verify_audit(conn).ok
        audit = Counter(
            conn.execute(select(t.audit.c.object, t.audit.c.object_id, t.audit.c.act)).tuples()
        )
        sent = Counter(
            (body["object"], body["object_id"])
            for (value,) in conn.execute(
                select(t.outbox.c.value).where(t.outbox.c.topic == "desk.facts")
            )
            for body in [json.loads(value)["body"]]
        )
    return {"audit": audit, "sent": sent, "seeded": sum(audit.values())}


def check_whole(app: App, found: dict[str, Any], seeded: int) -> None:
    audit: Counter[tuple[str, str, str]] = found["audit"]
    assert max(n for (obj, _, _), n in audit.items() if obj in ("alert", "case")) == 1
    by_object: Counter[tuple[str, str]] = Counter()
    for (obj, key, _), n in audit.items():
        by_object[obj, key] += n
    for obj in ("alert", "case", "assignment"):
        heard = {k: n for k, n in found["sent"].items() if k[0] == obj}
        assert heard == {k: n for k, n in by_object.items() if k[0] == obj}, obj

    def audited(act: str) -> int:
        return sum(n for (_, _, a), n in audit.items() if a == act)

    with app.store.read() as conn:

        def count(table: Any, *where: Any) -> int:
            query = select(func.count()).select_from(table).where(*where)
            return int(conn.execute(query).scalar_one())

        assert count(t.alerts, t.alerts.c.state == "claimed") == audited("claim_alert")
        assert count(t.cases) == audited("open_case")
        assert count(t.cases, t.cases.c.level_reason != "") == audited("assess_case")
        assert count(t.assignments) == audited("assign")
        told = sum(audited(a) for a in ("open_case", "assess_case", "assign"))
        assert count(t.case_timeline) == told
