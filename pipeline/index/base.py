"""How annotated posts are kept and searched: the Index protocol, Query and Hit.

Both adapters store the tokens made by ``nlp.text`` and split on blanks, so the same query gives
the same hits in the same order on either. Order is newest first: ``published_at`` descending,
then post id descending.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pipeline.domain.post import AnnotatedPost, Counts

Facet = Literal["kind", "sentiment", "rumour", "urgency", "source", "adcode", "hazard"]
Step = Literal["10min", "hour", "day"]


@dataclass(frozen=True, slots=True)
class Query:
    """Which posts. Empty fields do not restrict; several values of one field mean *or*.

    ``words``: as typed by a person; they are cut by the same segmenter as the posts, and all
    must occur. ``since`` inclusive, ``until`` exclusive (UTC). ``adcode``: prefix, so ``4501``
    means all of Nanning. ``after``: ``(published_at, post id)`` of the last hit of the page
    before. ``limit``: 1-1000.
    """

    words: str = ""
    kinds: tuple[str, ...] = ()
    sentiments: tuple[str, ...] = ()
    rumours: tuple[str, ...] = ()
    min_urgency: int = 0
    sources: tuple[str, ...] = ()
    hazards: tuple[str, ...] = ()
    adcode: str = ""
    relevant_only: bool = False
    since: datetime | None = None
    until: datetime | None = None
    ids: tuple[str, ...] = ()
    after: tuple[datetime, str] | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Hit:
    """A found post. ``series``: counts over time, oldest first."""

    item: AnnotatedPost
    first_seen_at: datetime
    versions: int = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """A post with all that an index keeps about it: what moves from one index to another."""

    item: AnnotatedPost
    first_seen_at: datetime
    wordings: tuple[AnnotatedPost, ...] = ()
    counts: tuple[tuple[datetime, Counts], ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram: posts of one label in one step of time."""

    start: datetime
    label: str
    posts: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long work is. ``of``: posts in all, 0 when that is not known."""

    step: str
    posts: int
    of: int = 0


class Feed(Protocol):
    """Annotated posts that come and come: every call goes on where the last one ended."""

    last: int
    """How many messages the last call found."""

    def into(self, index: Index, step: str) -> Iterator[Progress]:
        """Put all that is there now."""


class Index(Protocol):
    """Annotated posts, full text, counts over time."""

    def put(self, items: Sequence[AnnotatedPost], now: datetime) -> int:
        """Store or refresh; returns how many were new. Idempotent.

        The same post again updates counts (kept as a small time series, never going back to an
        older ``counted_at``); a changed text keeps both versions.
        """

    def search(self, query: Query) -> list[Hit]:
        """Matching posts, newest first."""

    def scan(self, query: Query) -> Iterator[Hit]:
        """Every matching post, newest first, as of one moment; ``limit`` is ignored."""

    def count(self, query: Query) -> int:
        """How many posts match (``limit`` and ``after`` are ignored)."""

    def facets(self, query: Query, facet: Facet) -> dict[str, int]:
        """Posts per value of one field, most first."""

    def histogram(self, query: Query, step: Step, by: Facet | None = None) -> list[Bar]:
        """Posts per step of time and label, oldest first; label ``""`` when ``by`` is None."""

    def get(self, post_ids: Sequence[str]) -> dict[str, AnnotatedPost]:
        """Posts by id; unknown ids are left out."""

    def versions(self, post_id: str) -> list[AnnotatedPost]:
        """Every wording of a post, oldest fetch first."""

    def counts_series(self, post_id: str) -> list[tuple[datetime, Counts]]:
        """How a post's counts grew, oldest first."""

    def newest_at(self) -> datetime | None:
        """When the newest indexed post was fetched, None when empty."""

    def mark_gone(self, post_ids: Sequence[str], now: datetime) -> None:
        """These posts have vanished from their source; they stay, marked."""

    def drop_before(self, before: datetime) -> int:
        """Retention: forget posts published before; returns how many."""

    def kept(self, post_ids: Sequence[str]) -> list[Kept]:
        """Posts with everything kept about them; unknown ids are left out."""

    def restore(self, posts: Sequence[Kept]) -> None:
        """Take in what another index kept. Idempotent; what is newer here stays."""

    def rebuild(self, feed: Feed) -> Iterator[Progress]:
        """Anew from what is kept here and from ``feed``, while others read and write; says how far
        it is. What others write meanwhile must come by ``feed`` too."""

    def refresh(self) -> None:
        """Make every write so far visible to searches."""

    def close(self) -> None: ...
