"""How fast the three servers are here, with topics, indices and a database of the bench's own.

The same posts, parts and questions as ``pipeline.bench``. Figures, never a test.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import make_url

from pipeline import engines
from pipeline.app import App, build
from pipeline.bench import (
    LIMIT_S,
    Ask,
    ask_all,
    board_questions,
    chain,
    fetched,
    here,
    milliseconds,
)
from pipeline.bench_servers import own_servers
from pipeline.bus.base import decode_envelope
from pipeline.bus.codec import decode_annotated
from pipeline.bus.topics import ALERTS, POSTS_ANNOTATED
from pipeline.errors import SettingsError, StageStopped
from pipeline.index.base import Facet, Index, Query
from pipeline.settings import Settings, load_settings
from pipeline.supervisor import Supervisor, part_command

INDEXED = 200_000  # posts behind the board's questions
CHAIN = 40_000  # posts through the whole chain
WARM = 60_000  # before them: until about there the Java servers compile what they do often
PER_S = 300  # posts a second while alerts are timed
SECONDS = 40
HELPING = 30  # posts handed in at a time
PAGE_FACETS: tuple[Facet, ...] = ("kind", "sentiment", "rumour")  # of the search page


def bench_engines(settings: Settings | None, n: int = 0) -> Iterator[dict[str, Any]]:
    """One row per measure. ``n``: posts behind the board's questions (0 = 200,000); a fifth of it,
    at most 40,000, goes through the chain. ``settings``: of servers that run; None starts three
    and ends them. Raises: SettingsError when the settings name no servers; EngineDown."""
    if settings is None:
        home = Path("var/bench-engines")
        with own_servers(home) as own:
            yield from bench_engines(own, n)
        return
    if settings.profile != "distributed":
        raise SettingsError(
            "bench engines needs settings that name the three servers; without --config it starts"
            " its own, as `make bench-engines` does"
        )
    indexed = n or INDEXED
    through = min(CHAIN, max(1_000, indexed // 5))
    with tempfile.TemporaryDirectory(prefix="tingfeng-bench-") as folder:
        app = build(load_settings(Path(folder)))
        try:
            embedded = chain(app, through)
        finally:
            app.close()
    yield {"what": "chain, embedded", "n": through, **embedded, "cores": os.cpu_count(), **here()}
    # first, so that the servers are no longer cold when the chain is measured
    with _servers(settings) as app:
        yield {"what": "index and board", **ask_all(app.index, indexed, _questions)}
    for workers in (1, 2):
        with _servers(settings, workers) as app:
            found = chain(app, through, annotators=workers, warm=min(WARM, 2 * through))
            share = found["whole_chain_in_parts_per_s"] / embedded["whole_chain_in_parts_per_s"]
            yield {
                "what": f"chain, servers, annotate workers: {workers}",
                "n": through,
                **found,
                "of_embedded": round(share, 2),
            }
            if workers == 1:
                yield {"what": "consumer of one partition", **_consumed(app)}
    with _servers(settings) as app:
        yield {"what": "alert after post", **_alerts(app)}


def _questions(index: Index, end: datetime) -> dict[str, Ask]:
    """Those of the board, and its search page with all that it asks at a look. The page's span ends
    now, so it is another one every time and the server remembers only its whole days."""
    looks = count()

    def page(words: str, days: int) -> None:
        since = end - timedelta(days=days, seconds=next(looks))
        query = Query(words=words, since=since, relevant_only=True, limit=20)
        for facet in PAGE_FACETS:
            index.facets(query, facet)
        index.count(query)
        index.search(query)

    ids = [hit.item.post.id for hit in index.search(Query(until=end - timedelta(days=9), limit=40))]
    start = end - timedelta(days=3)
    return {
        **board_questions(index, end),
        **{f"page_days_{days}": partial(page, "", days) for days in (1, 7, 30)},
        **{f"page_words_days_{days}": partial(page, "白沙大道 积水", days) for days in (7, 30)},
        "posts_of_an_event": lambda: index.get(ids),
        "bars_of_a_spot_check": lambda: index.histogram(
            Query(since=start, until=start + timedelta(days=1)), "10min"
        ),
    }


def _consumed(app: App) -> dict[str, Any]:
    """Messages of the one partition of ``posts.annotated``, decoded, committed at every poll."""
    consumer = app.bus.consumer("bench", [POSTS_ANNOTATED.name])
    seen, took = 0, 0.0
    try:
        while not (batch := consumer.poll(500, 5.0)):
            pass  # joining the group is not the question
        while batch:
            began = time.perf_counter()
            for message in batch:
                decode_annotated(message.value)
            consumer.commit(batch)
            seen += len(batch)
            batch = consumer.poll(500, 0.0) or _last(consumer.lag(), consumer.poll)
            took += time.perf_counter() - began
    finally:
        consumer.close()
    return {"n": seen, "messages_per_s": round(seen / took)}


def _last(lag: int, poll: Any) -> Any:
    return poll(500, 5.0) if lag else []


def _alerts(app: App) -> dict[str, Any]:
    """Posts at an even pace, each of another second of the day before: an alert names the second
    of the post that made it."""
    parts = ("annotate", "index", "detect", "desk")
    home = app.settings.home
    supervisor = Supervisor({part: part_command(part, home) for part in parts}, home / "logs")
    sent: dict[int, float] = {}
    seconds: list[float] = []
    stop = threading.Event()

    def listen() -> None:
        consumer = app.bus.consumer("bench", [ALERTS.name])
        while not stop.is_set():
            batch = consumer.poll(500, 0.2)
            now = time.monotonic()
            for message in batch:
                body = msgspec.json.decode(decode_envelope(message.value).body)
                fired = int(datetime.fromisoformat(body["fired_at"]).timestamp())
                if fired in sent:
                    seconds.append(now - sent[fired])
            consumer.commit(batch)
        consumer.close()

    listener = threading.Thread(target=listen)
    total = PER_S * SECONDS
    first, *posts = fetched(total + 1, app.now())
    ingest = app.ingest()
    supervisor.start()
    listener.start()
    try:
        ingest.accept([first])
        until = time.monotonic() + LIMIT_S
        while app.bus.lag("detect", [POSTS_ANNOTATED.name]) or not app.index.count(Query()):
            if time.monotonic() > until:
                raise StageStopped("a part of the bench gave up; run: tingfeng doctor")
            time.sleep(0.1)
        time.sleep(5)  # the listener's group and the desk part settle
        began = time.monotonic()
        for start in range(0, total, HELPING):
            batch = posts[start : start + HELPING]
            now = time.monotonic()
            sent.update((int(post.published_at.timestamp()), now) for post in batch)
            ingest.accept(batch)
            time.sleep(max(0.0, began + (start + HELPING) / PER_S - time.monotonic()))
        behind = time.monotonic() - began - SECONDS
        time.sleep(5)
    finally:
        stop.set()
        listener.join()
        supervisor.stop()
    seconds.sort()
    return {
        "posts": total,
        "posts_per_s": round(total / (SECONDS + max(0.0, behind))),
        "alerts": len(seconds),
        "p50_ms": milliseconds([1000 * s for s in seconds], 0.5) if seconds else None,
        "p99_ms": milliseconds([1000 * s for s in seconds], 0.99) if seconds else None,
    }


@contextmanager
def _servers(settings: Settings, annotators: int = 1) -> Iterator[App]:
    """An app on the servers with names of its own, which are removed at the end."""
    import psycopg

    name = f"bench-{uuid4().hex[:12]}"
    address = settings.database_url.get_secret_value()
    database = make_url(address).set(database=name).render_as_string(hide_password=False)
    given = {
        "profile": "distributed",
        "kafka_servers": list(settings.kafka_servers),
        "kafka_security": settings.kafka_security,
        "kafka_user": settings.kafka_user,
        "kafka_password": settings.kafka_password.get_secret_value(),
        "kafka_mechanism": settings.kafka_mechanism,
        "kafka_partitions": annotators,
        "elastic_urls": list(settings.elastic_urls),
        "elastic_user": settings.elastic_user,
        "elastic_password": settings.elastic_password.get_secret_value(),
        "tls_ca_file": settings.tls_ca_file,
        "database_url": database,
        "prefix": name,
        "one_of_several": annotators > 1,
    }
    with psycopg.connect(address, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
    try:
        with tempfile.TemporaryDirectory(prefix="tingfeng-bench-") as folder:
            lines = (f"{key} = {json.dumps(value)}\n" for key, value in given.items())
            (Path(folder) / "tingfeng.toml").write_text("".join(lines), encoding="utf-8")
            app = build(load_settings(Path(folder)))
            try:
                yield app
            finally:
                index = engines.open_index(app.settings)
                index.forget_everything()  # type: ignore[attr-defined]
                index.close()
                app.bus.forget_everything()  # type: ignore[attr-defined]
                app.close()
    finally:
        with psycopg.connect(address, autocommit=True) as conn:
            conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
