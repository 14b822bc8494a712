"""A stretch of the drill's night through door, annotator, index and detector, by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from crawlers.drill.scenario import load_scenario
from pipeline.app import App
from pipeline.bus.base import Message
from pipeline.bus.codec import decode_annotated
from pipeline.bus.topics import POSTS_ANNOTATED, POSTS_RAW
from pipeline.domain.post import Counts, FetchedPost
from pipeline.stages.annotate import Annotate
from pipeline.stages.index import IndexPosts
from pipeline.worker import Worker

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class NightClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at


def play(app: App, clock: NightClock, start: timedelta, end: timedelta) -> int:
    """The posts of a stretch of the night, through door, annotator, index and detector."""
    count = fetch(app, clock, start, end)
    work(app, clock)
    return count


def fetch(
    app: App,
    clock: NightClock,
    start: timedelta,
    end: timedelta,
    *,
    fetched_at: datetime | None = None,
) -> int:
    """The posts of a stretch come in at the door. ``fetched_at``: all of them only then."""
    posts = [
        FetchedPost(
            source=p.channel,
            text=p.text,
            title=p.title or "",
            published_at=START + p.offset,
            fetched_at=fetched_at or START + p.offset + timedelta(seconds=30),
            native_id=p.id,
            author=p.author,
            author_kind=p.author_kind,
            place_hint=p.place_hint or "",
            repost_of=p.repost_of or "",
            root=p.root or "",
            counts=Counts(**p.counts_at(p.offset)),
        )
        for p in load_scenario("rainstorm_night").posts
        if start <= p.offset < end and not p.after_release
    ]
    clock.at = fetched_at or START + end
    result = app.ingest().accept(posts)
    assert (result.accepted, result.dead) == (len(posts), 0)
    return len(posts)


def work(app: App, clock: NightClock, *, between: Callable[[], object] = lambda: None) -> None:
    """What waits on the bus is worked off. ``between``: after every batch of the detector."""
    detector = app.detector()

    def detect(messages: list[Message]) -> None:
        detector.handle([decode_annotated(m.value) for m in messages])
        between()

    stages: tuple[tuple[str, str, Any], ...] = (
        ("annotate", POSTS_RAW.name, Annotate(app.bus, app.annotator(), clock)),
        ("index", POSTS_ANNOTATED.name, IndexPosts(app.index, clock)),
        ("detect", POSTS_ANNOTATED.name, detect),
    )
    for name, topic, handler in stages:
        worker = Worker(app.bus, name, [topic], handler, stage=name, clock=clock, batch=200)
        worker.run_once()
        assert app.bus.lag(name, [topic]) == 0
