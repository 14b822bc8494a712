"""kill -9 of any part at any moment: nothing missing, nothing doubled.

Two products are fed the same posts in the same order: one is left alone, in the other a part
chosen at random is killed twenty times at random moments. Afterwards posts, events, alerts, help
calls and outgoing messages are the same, and the audit chain holds.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from crawlers.drill.scenario import load_scenario
from pipeline.app import App, build
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
        assert verify_audit(conn).ok
    return {
        "records": sorted(json.dumps(r, sort_keys=True, default=str) for r in records),
        "calls": calls,
        "buckets": buckets,
        "joined": joined,
        "messages": messages,
    }


def prepare(home: Path) -> Settings:
    home.mkdir(parents=True)
    (home / "tingfeng.toml").write_text("lease_seconds = 1\nbackfill_hours = 1000000\n", "utf-8")
    settings = load_settings(home)
    subprocess.run(
        part_command("setup", home), check=True, capture_output=True, cwd=Path(sys.prefix)
    )
    return settings


def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    posts = night()
    calm = prepare(tmp_path / "calm")
    app = build(calm)
    with running(calm):
        feed(app, posts, 0)
        settle(app)
    expected = outcome(app)
    app.close()
    assert len([r for r in expected["records"] if '"type": "post"' in r]) == len(posts)
    assert expected["joined"] and expected["messages"]

    stormy = prepare(tmp_path / "stormy")
    app = build(stormy)
    dice = random.Random(SEED)
    killed: list[str] = []
    with running(stormy) as supervisor:
        feeding = threading.Thread(target=feed, args=(app, posts, 0.5))
        feeding.start()
        while len(killed) < KILLS:
            time.sleep(dice.uniform(0.2, 2.2))
            alive = supervisor.pids()
            if not alive:
                continue
            name = dice.choice(sorted(alive))
            try:
                subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(alive[name])], check=True)
            except subprocess.CalledProcessError:
                continue  # it had just ended
            killed.append(name)
        feeding.join()
        settle(app)
    assert set(killed) == set(PARTS), "the dice must hit every part"
    found = outcome(app)
    app.close()
    for what, value in expected.items():
        assert found[what] == value, f"{what} differ after {KILLS} kills"
