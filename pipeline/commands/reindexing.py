"""``tingfeng reindex``: the index anew from what it keeps and from ``posts.annotated``.

On the servers a new generation of day indices is filled beside the old one, in three steps: what
the old one keeps, all messages of ``posts.annotated``, and again those that came meanwhile. Then
the old one takes no more writes (the index stage waits and tries again), the last messages are
read, and the alias is turned over in one step; searches never see a gap. The old generation is
dropped last. After a failure at any point a new run throws the half-made generation away first.

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
from typing import TYPE_CHECKING, Any, cast

import structlog

from pipeline import engines
from pipeline.app import make_clock
from pipeline.bus.base import Bus, Message
from pipeline.bus.codec import decode_annotated
from pipeline.bus.topics import POSTS_ANNOTATED
from pipeline.clock import Clock
from pipeline.domain.post import AnnotatedPost
from pipeline.errors import BadMessage, SettingsError
from pipeline.index.base import Index, Query
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.index.elastic import ElasticIndex

log = structlog.get_logger("reindex")
PAGE = 500
TOLD = 5_000  # posts between two progress lines
PASSES = 10  # over the messages that came meanwhile, before writes are held back
FEW = 500  # so many messages may be left for the moment in which writes wait

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
        if settings.profile == "embedded":
            yield from log_of_posts.into(index, "messages")
        else:
            yield from _new_generation(cast("ElasticIndex", index), log_of_posts)
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

    def into(self, index: Index, step: str) -> Iterator[Row]:
        """Put all that is there now; ``last`` says how many messages that were."""
        now = self._clock.now()
        count = 0
        messages = iter(self._bus.read(POSTS_ANNOTATED.name, start=self._next))
        while part := list(islice(messages, PAGE)):
            _put(index, self._posts(part, now - self._keep), now)
            self._next.update((m.partition, m.offset + 1) for m in part)
            count += len(part)
            if count % TOLD == 0:
                yield {"step": step, "posts": count}
        self.last = count
        yield {"step": step, "posts": count}

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


def _new_generation(old: ElasticIndex, tail: _Tail) -> Iterator[Row]:
    sets = old.generations
    sets.clean()
    before = sets.in_use()
    number = sets.newest(before) + 1
    new = old.building(number)
    yield from _kept_posts(old, new)
    for _ in range(PASSES):
        yield from tail.into(new, "messages")
        if tail.last <= FEW:
            break
    sets.block(sets.in_use())
    try:
        yield from tail.into(new, "last messages")
        new.refresh()
        sets.swap(number)
    except BaseException:
        sets.let_write(sets.in_use())
        raise
    # A writer may have made a day in the old generation just then. What it wrote is a message too.
    late = [index for index in sets.in_use() if sets.number(index) != number]
    sets.block(late)
    yield from tail.into(old, "after the swap")
    used = set(sets.in_use()) - set(late)
    sets.drop(index for index in sets.everything() if index not in used)


def _kept_posts(old: ElasticIndex, new: ElasticIndex) -> Iterator[Row]:
    """What the old generation keeps, with other wordings, counts over time and first fetch."""
    total, moved = old.count(Query()), 0
    hits = old.scan(Query())
    while part := list(islice(hits, PAGE)):
        new.restore(old.kept([hit.item.post.id for hit in part]))
        moved += len(part)
        if moved % TOLD == 0:
            yield {"step": "kept posts", "posts": moved, "of": total}
    yield {"step": "kept posts", "posts": moved, "of": max(moved, total)}


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
