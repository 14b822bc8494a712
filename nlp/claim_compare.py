"""A known claim and a post that may repeat it, side by side: what differs, what agrees, and where.

For a person who must decide at a glance. Places, dates and numbers are compared by value (299 毫米
and 二百九十九毫米 agree, 武鸣 lies in 南宁), the rest by the phrases both texts hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from difflib import SequenceMatcher
from typing import Literal

from nlp.claim_library import KnownClaim
from nlp.claims import FRESH
from nlp.particulars import Spot, mentions, related
from nlp.places import Gazetteer
from nlp.stance import Stance, denial_at, denies, stance_towards

Kind = Literal["place", "date", "number", "denial", "phrase"]
KIND_WORDS: dict[Kind, str] = {
    "place": "地点",
    "date": "日期",
    "number": "数字",
    "denial": "否定",
    "phrase": "词句",
}
MOST_TEXT = 800
"""Characters of a post that are compared: as far as the annotator looks."""
_LEAST_PHRASE = 3


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of a text: ``text[start:end]``. ``agrees``: the other text says the same."""

    start: int
    end: int
    kind: Kind
    agrees: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """``claim_marks``, ``post_marks``: in order, without overlaps. ``agrees``: kind -> what both
    say, in the post's words. ``differs``: kinds in which the two contradict each other."""

    stance: Stance
    claim_marks: tuple[Mark, ...]
    post_marks: tuple[Mark, ...]
    agrees: dict[Kind, tuple[str, ...]]
    differs: tuple[Kind, ...]


def compare(
    claim: KnownClaim, text: str, gazetteer: Gazetteer, *, clause: str = "", rumour: str = "none"
) -> Comparison:
    """Set a claim beside a post. ``clause``: the part of the post that was found alike;
    ``rumour``: what the annotator's head says of the post."""
    text = text[:MOST_TEXT]
    ours, theirs = mentions(claim.claim, gazetteer), mentions(text, gazetteer)
    claim_marks, post_marks = [], []
    told = _told(claim, ours)
    for spot in ours:
        verdict = _verdict(spot, theirs)
        if verdict is not None:
            claim_marks.append(Mark(spot.start, spot.end, spot.kind, verdict))
    for spot in theirs:
        verdict = _verdict(spot, ours)
        if verdict is None and _verdict(spot, told) is False:
            verdict = False  # agreeing with what only the library says is nothing to show
        if verdict is not None:
            post_marks.append(Mark(spot.start, spot.end, spot.kind, verdict))
    if denies(clause or text, claim.claim):
        post_marks += [Mark(a, b, "denial", False) for a, b in denial_at(text)]
    blocks = SequenceMatcher(None, claim.claim, text, autojunk=False).get_matching_blocks()
    for block in blocks:
        if block.size >= _LEAST_PHRASE:
            claim_marks.append(Mark(block.a, block.a + block.size, "phrase", True))
            post_marks.append(Mark(block.b, block.b + block.size, "phrase", True))
    left, right = _apart(claim_marks), _apart(post_marks)
    agrees: dict[Kind, tuple[str, ...]] = {}
    for kind in KIND_WORDS:
        said = [text[m.start : m.end] for m in right if m.kind == kind and m.agrees]
        said = [s for s in dict.fromkeys(s.strip("，。！？、：“” ") for s in said) if s]
        if said:
            agrees[kind] = tuple(said)
    return Comparison(
        stance=stance_towards(text, clause or text, claim.claim, rumour),
        claim_marks=left,
        post_marks=right,
        agrees=agrees,
        differs=tuple(
            kind for kind in KIND_WORDS if any(m.kind == kind and not m.agrees for m in right)
        ),
    )


def _told(claim: KnownClaim, ours: Iterable[Spot]) -> list[Spot]:
    """Place and time of a claim that its own words do not name: where it is about, the year and
    the days around that on which it was looked into."""
    kinds = {(spot.kind, spot.unit) for spot in ours}
    told = []
    if claim.adcode and ("place", "") not in kinds:
        told.append(Spot(0, 0, "place", "", frozenset((claim.adcode,))))
    try:
        day = date.fromisoformat(claim.date)
    except ValueError:  # none, or a month only
        return told
    if ("date", "year") not in kinds:
        told.append(Spot(0, 0, "date", "year", frozenset((str(day.year),))))
    if ("date", "day") not in kinds:
        near = [day + timedelta(days=n) for n in range(-FRESH.days, FRESH.days + 1)]
        said = {f"{d.month}-{d.day}" for d in near}
        told.append(Spot(0, 0, "date", "day", frozenset(said)))
    return told


def _verdict(spot: Spot, others: Iterable[Spot]) -> bool | None:
    """True: the other text says the same; False: it says otherwise; None: it says nothing."""
    comparable = [o for o in others if o.kind == spot.kind and o.unit == spot.unit]
    if not comparable:
        return None
    if spot.kind == "place":
        return any(related(a, b) for o in comparable for a in spot.values for b in o.values)
    if spot.unit == "day":  # 3日 agrees with 7月3日, 8月3日 does not
        return any(_same_day(a, b) for o in comparable for a in spot.values for b in o.values)
    return any(spot.values & o.values for o in comparable)


def _same_day(one: str, other: str) -> bool:
    if one.startswith("-") or other.startswith("-"):
        return one.rpartition("-")[2] == other.rpartition("-")[2]
    return one == other


def _apart(marks: Iterable[Mark]) -> tuple[Mark, ...]:
    """Marks in order without overlaps: what differs first, then figures, then phrases (cut)."""
    rank = {"denial": 1, "place": 2, "date": 2, "number": 2, "phrase": 3}
    taken: list[Mark] = []
    for mark in sorted(marks, key=lambda m: (m.agrees, rank[m.kind], m.start, -m.end)):
        at = mark.start
        for held in sorted((h for h in taken if h.end > mark.start and h.start < mark.end),
                           key=lambda h: h.start):  # fmt: skip
            if held.start > at and mark.kind == "phrase":
                taken.append(Mark(at, held.start, "phrase", True))
            at = max(at, held.end)
        if at < mark.end and (at == mark.start or mark.kind == "phrase"):
            taken.append(Mark(at, mark.end, mark.kind, mark.agrees))
    return tuple(sorted(taken, key=lambda m: m.start))
