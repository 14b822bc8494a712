"""``tingfeng reindex``: the index anew from what it keeps and from ``posts.annotated``.

On the servers a new generation of indices takes the place of the old one while the product runs
(``pipeline.index.elastic_rebuild``).

The embedded index is one file with its posts in it: there the kept messages are put once more,
which adds what is missing and changes nothing else.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import structlog

from pipeline import engines
from pipeline.app import make_clock
from pipeline.bus.base import Bus, Message
from pipeline.bus.codec import decode_annotated
from pipeline.bus.topics import POSTS_ANNOTATED
from pipeline.clock import Clock
from pipeline.domain.post import AnnotatedPost
from pipeline.errors import BadMessage, SettingsError
from pipeline.index.base import Index, Progress, Query
from pipeline.settings import Settings

log = structlog.get_logger("reindex")
PAGE = 500
TOLD = 5_000  # posts between two progress lines

Row = dict[str, Any]


def reindex(settings: Settings) -> Iterator[Row]:
    """Rows ``step, posts`` while it works; the last one, ``step`` "done", also says how many
    posts the index holds and how many messages could not be read.

    Raises: SettingsError when another reindex runs on this folder; EngineDown.
    """
    clock = make_clock(settings)
    with (
        _only_one(settings.home),
        closing(engines.open_bus(settings, clock)) as bus,
        closing(engines.open_index(settings)) as index,
    ):
        log_of_posts = _Tail(bus, clock, settings.retention_days)
        for progress in index.rebuild(log_of_posts):
            of = {"of": progress.of} if progress.of else {}
            yield {"step": progress.step, "posts": progress.posts, **of}
        index.refresh()
        total = index.count(Query())
        yield {"step": "done", "posts": total, "unreadable": log_of_posts.unreadable}


class _Tail:
    """``posts.annotated`` read on and on: every call goes on where the last one ended."""

    def __init__(self, bus: Bus, clock: Clock, retention_days: int) -> None:
        self._bus, self._clock, self._keep = bus, clock, timedelta(days=retention_days)
        self._next: dict[int, int] = {}
        self.unreadable = 0
        self.last = 0

    def into(self, index: Index, step: str) -> Iterator[Progress]:
        """Put all that is there now; ``last`` says how many messages that were."""
        now = self._clock.now()
        count = 0
        messages = iter(self._bus.read(POSTS_ANNOTATED.name, start=self._next))
        while part := list(islice(messages, PAGE)):
            _put(index, self._posts(part, now - self._keep), now)
            self._next.update((m.partition, m.offset + 1) for m in part)
            count += len(part)
            if count % TOLD == 0:
                yield Progress(step, count)
        self.last = count
        yield Progress(step, count)

    def _posts(self, messages: Iterable[Message], floor: datetime) -> list[AnnotatedPost]:
        posts = []
        for message in messages:
            try:
                post = decode_annotated(message.value)
            except BadMessage:  # the index stage has buried it
                self.unreadable += 1
                continue
            if post.post.published_at >= floor:
                posts.append(post)
        return posts


def _put(index: Index, posts: list[AnnotatedPost], now: datetime) -> None:
    try:
        index.put(posts, now)
    except BadMessage as refused:  # the others of the batch are stored; the stage has buried it
        log.warning("post refused by the index", reason=str(refused)[:300])


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """The kernel drops the lock with its holder. Raises: SettingsError."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "reindex.lock").open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(
                f"another `tingfeng reindex` runs on {home}; wait until it is done"
            ) from error
        yield
