"""The document of a post in Elasticsearch: fields to search by, and the packed post itself."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from nlp.types import Place
from pipeline.clock import BEIJING
from pipeline.domain.post import AnnotatedPost, Counts
from pipeline.index.base import Kept
from pipeline.index.codes import areas_of, at_millis, counties_in, hazard_bits, hazards_in, millis
from pipeline.index.documents import pack, unpack
from pipeline.index.merge import other_wording, refreshed, wording_digest
from pipeline.posts_db import from_us, to_us

KEYWORDS = ("kind", "sentiment", "rumour", "source", "hazards", "areas", "counties")
MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        # Milliseconds since 2005 in Beijing, as in the embedded index: both round alike. A date to
        # the server all the same, which then passes over days outside a span and answers for those
        # wholly inside from its cache; of plain numbers it does neither.
        "at": {"type": "date", "format": "epoch_millis"},
        "pid": {"type": "keyword"},
        "fetched": {"type": "long"},
        **{name: {"type": "keyword"} for name in KEYWORDS},
        "urgency": {"type": "byte"},
        "relevant": {"type": "boolean"},
        "tokens": {
            "type": "text",
            "analyzer": "whitespace",
            "index_options": "docs",
            "norms": False,
        },
        # Kept beside, never searched: the packed post, other wordings, counts, first fetch.
        "kept": {"type": "object", "enabled": False},
    },
}
DAY_FORMAT = "%Y.%m.%d"
_DAY_MS = 24 * 3_600_000


@dataclass(slots=True)
class Stored:
    """A post with what the index keeps beside it.

    ``seen``: first fetch, microseconds. ``wordings``: digest (hex) -> other wordings. ``series``:
    counted at (microseconds) -> counts. ``where``: index, sequence number and primary term of the
    stored document; None when it is new.
    """

    item: AnnotatedPost
    seen: int
    wordings: dict[str, str] = field(default_factory=dict)
    series: dict[str, list[int]] = field(default_factory=dict)
    where: tuple[str, int, int] | None = None

    @classmethod
    def new(cls, item: AnnotatedPost) -> Stored:
        return cls(item, to_us(item.post.fetched_at), series=_series(item))

    @classmethod
    def of(cls, kept: Kept) -> Stored:
        """From what another index kept."""
        return cls(
            kept.item,
            to_us(kept.first_seen_at),
            {wording_digest(w).hex(): _close(w) for w in kept.wordings},
            {str(to_us(at)): [c.reposts, c.comments, c.likes, c.views] for at, c in kept.counts},
        )

    def kept(self) -> Kept:
        """For another index."""
        wordings = tuple(map(_open, self.wordings.values()))
        return Kept(self.item, self.first_seen_at, wordings, tuple(self.counts()))

    def joined(self, kept: Kept) -> Stored:
        """With what another index kept of the same post."""
        other, again = Stored.of(kept), self.again(kept.item)
        chosen = wording_digest(again.item).hex()
        wordings = other.wordings | again.wordings
        wordings.pop(chosen, None)
        return Stored(
            again.item,
            min(again.seen, other.seen),
            wordings,
            other.series | again.series,
            self.where,
        )

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Stored:
        """From a hit of a search or an answer of mget."""
        kept = found["_source"]["kept"]
        return cls(
            item=_open(kept["body"]),
            seen=kept["seen"],
            wordings=dict(kept.get("wordings", {})),
            series=dict(kept.get("series", {})),
            where=(found["_index"], found["_seq_no"], found["_primary_term"]),
        )

    def again(self, item: AnnotatedPost) -> Stored:
        """After the same post came once more."""
        chosen, other = refreshed(self.item, item), other_wording(self.item, item)
        wordings = dict(self.wordings)
        if other is not None:
            wordings.setdefault(wording_digest(other).hex(), _close(other))
            wordings.pop(wording_digest(chosen).hex(), None)
        return Stored(
            item=chosen,
            seen=min(self.seen, to_us(item.post.fetched_at)),
            wordings=wordings,
            series=_series(item) | self.series,
            where=self.where,
        )

    def document(self) -> dict[str, Any]:
        """What is sent to the server."""
        post, note = self.item.post, self.item.annotation
        areas, counties = _divisions(tuple(place.adcode for place in note.places))
        return {
            "at": millis(post.published_at),
            "pid": post.id,
            "fetched": to_us(post.fetched_at),
            "kind": note.kind,
            "sentiment": note.sentiment,
            "rumour": note.rumour,
            "urgency": min(3, max(0, note.urgency)),
            "relevant": note.relevant,
            "source": post.source,
            "hazards": hazards_in(hazard_bits(note.hazards)),
            "areas": areas,
            "counties": counties,
            "tokens": note.tokens,
            "kept": {
                "body": _close(self.item),
                "seen": self.seen,
                "wordings": self.wordings,
                "series": self.series,
            },
        }

    def is_as(self, other: Stored) -> bool:
        """Whether writing this one over the other would change nothing."""
        return (self.item, self.seen, self.wordings, self.series) == (
            other.item,
            other.seen,
            other.wordings,
            other.series,
        )

    @property
    def versions(self) -> int:
        return 1 + len(self.wordings)

    @property
    def first_seen_at(self) -> datetime:
        return from_us(self.seen)

    def all_wordings(self) -> Iterable[AnnotatedPost]:
        return sorted(
            [*map(_open, self.wordings.values()), self.item], key=lambda i: i.post.fetched_at
        )

    def counts(self) -> list[tuple[datetime, Counts]]:
        ordered = sorted((int(at), counts) for at, counts in self.series.items())
        return [(from_us(at), Counts(*counts)) for at, counts in ordered]


def day_of(at: datetime) -> str:
    """The name of a post's day, in Beijing, at the precision of the index."""
    return _day(millis(at) // _DAY_MS)


@lru_cache(maxsize=10_000)
def _day(number: int) -> str:
    """``number``: days since the first of 2005."""
    return at_millis(number * _DAY_MS).astimezone(BEIJING).strftime(DAY_FORMAT)


@lru_cache(maxsize=10_000)
def _divisions(adcodes: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(areas, counties) of some places: few sets of them come again and again."""
    areas = areas_of(Place(adcode, "") for adcode in adcodes)
    return tuple(sorted(map(str, areas))), tuple(counties_in(areas).split())


def _series(item: AnnotatedPost) -> dict[str, list[int]]:
    post, c = item.post, item.post.counts
    if post.counted_at is None:
        return {}
    return {str(to_us(post.counted_at)): [c.reposts, c.comments, c.likes, c.views]}


def _close(item: AnnotatedPost) -> str:
    return base64.b64encode(pack(item)).decode()


def _open(body: str) -> AnnotatedPost:
    return unpack(base64.b64decode(body))
