"""Thresholds for suggesting and confirming, set on posts somebody labelled.

The more claims there are, the likelier an ordinary post resembles one of them by chance. So both
thresholds are measured anew on the claims that are active now: *suggest* on ordinary posts, of
which at most one in two hundred may get a suggestion; *confirm* on repeats, where what joins by
itself must be right at least 98 times in 100, and on ordinary posts, which must never join.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from datetime import date as Date  # noqa: N812

from nlp.claims import CONFIRM, QUESTION_EASE, ClaimIndex, KnownClaim, Thresholds, stance
from nlp.places import Gazetteer

FALSE_SUGGESTIONS = 1 / 200
CONFIRM_PRECISION = 0.98
LOWEST = 0.12
"""No threshold for suggesting is set below this: chance alone reaches it."""
LEAST_CONFIRM = CONFIRM
"""Nor one for confirming below this, whatever few repeats say: a wrong join is the worst error."""
_STEPS = 40


@dataclass(frozen=True, slots=True)
class Repeat:
    """A post that speaks of a known claim. ``role``: repeat, question, debunk or negative (a true
    event that resembles the claim and must never be joined to it). ``at``: when published."""

    text: str
    claim: str
    role: str = "repeat"
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds and what they do on the posts they were set on.

    ``false_per_200``: suggestions per 200 ordinary posts; ``first_right``: share of repeats and
    questions whose claim is suggested first; ``confirm_precision``: of what joins by itself
    (1 where nothing does); ``confirm_recall``: share of repeats that join.
    """

    thresholds: Thresholds
    claims: int
    ordinary: int
    repeats: int
    false_per_200: float
    first_right: float
    confirmed: int
    confirm_precision: float
    confirm_recall: float


def calibrate(
    claims: Sequence[KnownClaim],
    ordinary: Sequence[str],
    repeats: Sequence[Repeat],
    gazetteer: Gazetteer | None = None,
) -> Calibration:
    """The lowest thresholds that keep both promises.

    ``ordinary``: some thousand weather posts that speak of none of the claims; ``repeats``: posts
    that do, questions and look-alikes among them. Raises ValueError without either.
    """
    if not ordinary:
        raise ValueError("no ordinary posts: give a file of weather posts that repeat no claim")
    if not any(r.role in ("repeat", "copy") for r in repeats):
        raise ValueError("no repeats: give a file of posts with the id of the claim they repeat")
    gazetteer = gazetteer or Gazetteer.load()
    suggest = suggest_threshold(claims, ordinary, gazetteer=gazetteer)
    dates = {claim.id: claim.date for claim in claims}
    trusted = [(r, r.at or _told(dates.get(r.claim, ""))) for r in repeats]
    for step in range(_STEPS):
        confirm = round(LEAST_CONFIRM + (1 - LEAST_CONFIRM) * step / (_STEPS - 1), 4)
        found = _measure(
            claims, Thresholds(suggest, max(confirm, suggest)), ordinary, trusted, gazetteer
        )
        if found.confirm_precision >= CONFIRM_PRECISION:
            return found
    return found  # even copies word for word are wrong: the figures say so


def suggest_threshold(
    claims: Sequence[KnownClaim],
    ordinary: Sequence[str],
    share: float = FALSE_SUGGESTIONS,
    gazetteer: Gazetteer | None = None,
) -> float:
    """The lowest threshold at which at most ``share`` of ordinary posts get a suggestion.

    Raises ValueError without ordinary posts.
    """
    index = ClaimIndex(claims, gazetteer, Thresholds(LOWEST))
    scores = []
    for text in ordinary:
        found = index.match(text)
        ease = QUESTION_EASE if found and stance(text) != "repeat" else 0.0
        scores.append(found[0].similarity + ease if found else 0.0)
    if not scores:
        raise ValueError("no ordinary posts: give a file of weather posts that repeat no claim")
    scores.sort(reverse=True)
    return round(max(scores[min(int(share * len(scores)), len(scores) - 1)], LOWEST) + 1e-4, 4)


def _measure(
    claims: Sequence[KnownClaim],
    thresholds: Thresholds,
    ordinary: Sequence[str],
    repeats: Sequence[tuple[Repeat, datetime | None]],
    gazetteer: Gazetteer,
) -> Calibration:
    index = ClaimIndex(claims, gazetteer, thresholds)
    false = sum(bool(index.match(text)) for text in ordinary)
    asked = first = joined = right = repeated = 0
    for r, at in repeats:
        found = index.match(r.text, at=at)
        if r.role in ("repeat", "copy", "question"):
            asked += 1
            first += bool(found) and found[0].id == r.claim
        repeated += r.role in ("repeat", "copy")
        confirmed = [match.id for match in found if match.level == "confirm"]
        joined += len(confirmed)
        right += r.role in ("repeat", "copy") and r.claim in confirmed
    return Calibration(
        thresholds=thresholds,
        claims=len(index),
        ordinary=len(ordinary),
        repeats=asked,
        false_per_200=round(200 * false / len(ordinary), 3),
        first_right=round(first / asked, 4),
        confirmed=joined,
        confirm_precision=round(right / joined, 4) if joined else 1.0,
        confirm_recall=round(right / repeated, 4) if repeated else 0.0,
    )


def _told(day: str) -> datetime | None:
    """A moment when the claim went round: the hardest case for a true event."""
    try:
        return datetime.combine(Date.fromisoformat(day), time(), UTC)
    except ValueError:
        return None
