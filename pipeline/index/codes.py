"""Small numbers for what is asked often, so that a row of the index is a few bytes.

* A *key* is a row's number: milliseconds since 2005-01-01 in Beijing (41 bits, until 2074), then
  22 bits of the post id. So rows lie in the order in which hits are shown, and a span of time is
  a span of keys (a filter on a time column would read every later row, measured).
* A *mix* is kind, sentiment, rumour, urgency and relevance in one number below 672.
* An *area* is the first 2, 4, 6, 9 or 12 digits of a division code as a number; 0 is everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from nlp.types import HAZARDS, KINDS, RUMOURS, SENTIMENTS, URGENCIES, Annotation, Place
from pipeline.index.base import Facet, Query

TIE_BITS = 22
TOP_KEY = (1 << 63) - 1
EVERYWHERE = 0
COUNTY = (100_000, 999_999)  # areas of six digits

_BASE = datetime(2005, 1, 1, tzinfo=timezone(timedelta(hours=8)))
_MILLISECOND = timedelta(milliseconds=1)
_AREA_DIGITS = (2, 4, 6, 9, 12)
_KINDS = {label: code for code, label in enumerate(KINDS)}
_SENTIMENTS = {label: code for code, label in enumerate(SENTIMENTS)}
_RUMOURS = {label: code for code, label in enumerate(RUMOURS)}
_HAZARDS = {label: 1 << bit for bit, label in enumerate(HAZARDS)}
_MIXES = len(KINDS) * len(SENTIMENTS) * len(RUMOURS) * len(URGENCIES) * 2

# SQL of a facet's code in a mix, and the labels of the codes.
MIX_FACETS: dict[Facet, tuple[str, tuple[str, ...]]] = {
    "kind": ("mix / 96", KINDS),
    "sentiment": ("mix / 32 % 3", SENTIMENTS),
    "rumour": ("mix / 8 % 4", RUMOURS),
    "urgency": ("mix / 2 % 4", URGENCIES),
}


def millis(at: datetime) -> int:
    """Whole milliseconds since 2005 in Beijing, never below 0."""
    return max(0, (at - _BASE) // _MILLISECOND)


def at_millis(value: int) -> datetime:
    """The moment of ``millis``, in UTC."""
    return (_BASE + value * _MILLISECOND).astimezone(timezone.utc)  # noqa: UP017


def first_key(at: datetime) -> int:
    """The lowest key of a millisecond."""
    return millis(at) << TIE_BITS


def row_key(published_at: datetime, post_id: str) -> int:
    """The key a post asks for; when it is taken the next free one is used."""
    try:
        tie = int(post_id[:6], 16) >> 2
    except ValueError:
        tie = int.from_bytes(post_id.encode()[:3].ljust(3, b"\0"), "big") >> 2
    return (millis(published_at) << TIE_BITS) | tie


def mix_of(annotation: Annotation) -> int:
    """The labels of an annotation as one number."""
    code = _KINDS[annotation.kind] * 3 + _SENTIMENTS[annotation.sentiment]
    code = code * 4 + _RUMOURS[annotation.rumour]
    code = code * 4 + min(3, max(0, annotation.urgency))
    return code * 2 + annotation.relevant


def mixes_of(query: Query) -> tuple[int, ...] | None:
    """The mixes a query allows; None when it allows all of them."""
    return _mixes(
        query.kinds, query.sentiments, query.rumours, query.min_urgency, query.relevant_only
    )


@lru_cache(maxsize=256)
def _mixes(
    kinds: tuple[str, ...],
    sentiments: tuple[str, ...],
    rumours: tuple[str, ...],
    min_urgency: int,
    relevant_only: bool,
) -> tuple[int, ...] | None:
    if not (kinds or sentiments or rumours or min_urgency > 0 or relevant_only):
        return None
    return tuple(
        mix
        for mix in range(_MIXES)
        if (not kinds or KINDS[mix // 96] in kinds)
        and (not sentiments or SENTIMENTS[mix // 32 % 3] in sentiments)
        and (not rumours or RUMOURS[mix // 8 % 4] in rumours)
        and mix // 2 % 4 >= min_urgency
        and (not relevant_only or mix % 2)
    )


def hazard_bits(hazards: Iterable[str]) -> int:
    """Hazards as a set of bits; a hazard without a name of its own counts as ``other``."""
    bits = 0
    for hazard in hazards:
        bits |= _HAZARDS.get(hazard, _HAZARDS["other"])
    return bits


def hazards_in(bits: int) -> list[str]:
    """The names of the bits."""
    return [label for label, bit in _HAZARDS.items() if bits & bit]


def areas_of(places: Iterable[Place]) -> frozenset[int]:
    """Every area a post belongs to: each named division and what lies above it."""
    return frozenset().union(*[_areas(place.adcode) for place in places])


@lru_cache(maxsize=50_000)
def _areas(adcode: str) -> tuple[int, ...]:
    if not (adcode.isascii() and adcode.isdigit()):
        return ()
    return tuple(int(adcode[:digits]) for digits in _AREA_DIGITS if digits <= len(adcode))


def counties_in(areas: Iterable[int]) -> str:
    """The six-digit areas, sorted, separated by blanks."""
    return " ".join(str(a) for a in sorted(areas) if COUNTY[0] <= a <= COUNTY[1])


def area_span(prefix: str) -> tuple[int, int]:
    """First and last area that a code prefix means; (1, 0), which is nothing, if it is no code."""
    if not (prefix.isascii() and prefix.isdigit()) or len(prefix) > _AREA_DIGITS[-1]:
        return 1, 0
    digits = next(d for d in _AREA_DIGITS if d >= len(prefix))
    missing = digits - len(prefix)
    return int(prefix + "0" * missing), int(prefix + "9" * missing)


def county_span(prefix: str) -> tuple[int, int]:
    """First and last six-digit area inside a code prefix of 0-6 digits."""
    return (int(prefix.ljust(6, "0")), int(prefix.ljust(6, "9"))) if prefix else COUNTY
