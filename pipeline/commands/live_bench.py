"""How long an officer's click takes while the pipeline is busy, on the real parts."""

from __future__ import annotations

import platform
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import insert

from pipeline.app import App, build
from pipeline.commands.importing import machine_parts, outstanding
from pipeline.desk.alerts import claim_alert, release_claim
from pipeline.domain.post import FetchedPost
from pipeline.domain.rights import Actor, Role
from pipeline.settings import load_settings
from pipeline.store import tables as t

DUTY = Actor(1, "bench", Role.DUTY)


def bench_click(n: int) -> dict[str, Any]:
    """``n`` posts go through door, annotate, index and detect, while an officer claims and gives
    back an alert ten times a second. Milliseconds per act, posts per second of the whole chain,
    and the memory of the parts at their largest (MB)."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(Path(folder))
        app = build(settings)
        with app.store.begin(app.now()) as tx:
            tx.conn.execute(insert(t.alerts), _alert(tx.now))
        with machine_parts(settings):
            time.sleep(4)  # loading is not the question
            stop = threading.Event()
            clicks: list[float] = []
            sizes: list[float] = []
            officer = threading.Thread(target=_click, args=(app, stop, clicks))
            watcher = threading.Thread(target=_watch, args=(stop, sizes))
            officer.start()
            watcher.start()
            began = time.perf_counter()
            ingest = app.ingest()
            posts = _posts(n)
            for start in range(0, n, 500):
                ingest.accept(posts[start : start + 500])
            while outstanding(app):
                time.sleep(0.02)
            took = time.perf_counter() - began
            stop.set()
            officer.join()
            watcher.join()
        app.close()
    ordered = sorted(clicks)
    return {
        "n": n,
        "posts_per_s": round(n / took),
        "clicks": len(ordered),
        "click_p50_ms": round(1000 * statistics.median(ordered), 1),
        "click_p99_ms": round(1000 * ordered[int(len(ordered) * 0.99)], 1),
        "click_max_ms": round(1000 * ordered[-1], 1),
        "parts_mb": round(max(sizes, default=0.0)),
        "machine": f"{platform.machine()} {platform.system()}, {psutil.cpu_count()} cores",
        "versions": {"python": platform.python_version()},
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _posts(n: int) -> list[FetchedPost]:
    """The drill's night again and again, each time by other people on another day."""
    from crawlers.drill.scenario import load_scenario

    story = [p for p in load_scenario("rainstorm_night").posts if not p.after_release]
    start = datetime.now(UTC) - timedelta(days=n // len(story) + 2)
    posts = []
    for i in range(n):
        night, number = divmod(i, len(story))
        post = story[number]
        at = start + timedelta(days=night) + post.offset
        posts.append(
            FetchedPost(
                source=post.channel,
                text=post.text,
                published_at=at,
                fetched_at=at + timedelta(seconds=20),
                native_id=f"{night}-{post.id}",
                author=f"{post.author}{night}",
                author_kind=post.author_kind,
                repost_of=f"{night}-{post.repost_of}" if post.repost_of else "",
                root=f"{night}-{post.root}" if post.root else "",
            )
        )
    return posts


def _click(app: App, stop: threading.Event, clicks: list[float]) -> None:
    act = claim_alert
    while not stop.wait(0.1):
        began = time.perf_counter()
        with app.store.begin(app.now()) as tx:
            act(tx, DUTY, "bench")
        clicks.append(time.perf_counter() - began)
        act = release_claim if act is claim_alert else claim_alert


def _watch(stop: threading.Event, sizes: list[float]) -> None:
    me = psutil.Process()
    while not stop.wait(0.5):
        total = 0
        for child in me.children():
            try:
                total += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        sizes.append(total / 1024**2)


def _alert(now: datetime) -> dict[str, Any]:
    return {
        "fingerprint": "bench", "rule": "rumour", "event_id": "bench", "level": 2,
        "kind": "rumour", "title": "bench", "sentence": "bench", "figures": {},
        "lead_office": "气象台", "helper_offices": [], "copy_offices": [], "links": [],
        "warning_texts": [], "state": "new", "fired_at": now, "last_at": now, "recorded_at": now,
    }  # fmt: skip
