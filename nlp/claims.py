"""Does a text repeat a claim we know?

*Suggest* goes to a person. *Confirm* joins a post to a claim without asking, so it is given only
to near-copies that assert the claim and contradict it in nothing. A match never says that a text
is false, and never lowers urgency. Thresholds were set on our own test posts and on weather posts
as background; set them anew when the library doubles.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from operator import add
from typing import Literal

from nlp import claim_search, grams
from nlp.claim_library import VERDICTS, KnownClaim, load_library, read_claims
from nlp.particulars import Particulars, differences, read_particulars, related
from nlp.places import Gazetteer
from nlp.stance import denies, stance
from nlp.types import ClaimMatch, Place

__all__ = [
    "VERDICTS",
    "ClaimIndex",
    "KnownClaim",
    "Thresholds",
    "load_library",
    "read_claims",
    "stance",
]

SUGGEST = 0.21
"""Likeness (cosine of the best clause times the place factor) from which a claim is shown."""
QUESTION_EASE = 0.02
"""How much less is asked of a text that asks or denies: it is about some claim already."""
NO_PLACE = 0.8
OTHER_PLACE = 0.7
"""Place factors, where the claim names a place and the text names none, or only others."""
CONFIRM = 0.62
"""Cosine from which a match may join by itself, if nothing contradicts."""
COPY = 0.90
"""Cosine of a copy word for word, which need not repeat the place by name."""
FRESH = timedelta(days=45)
"""A post this near to the day a claim was looked into speaks of the same matter; a year later the
same words may tell a true event."""
MIN_CONTENT = 8
"""Content characters below which a text only ever suggests."""
MOST = 3
"""Claims suggested for one text at most."""
MOST_TEXT = 2000
"""Characters read of a text; what is compared is bounded in ``nlp.claim_search``."""

_DIGITS = re.compile(r"\d+(?:\.\d+)?")

_COMMON_PAIR = 4.5
"""Pairs of less weight (seen in more than about 1 post in 8) do not open the gate."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which likeness a claim is shown (``suggest``) and may join by itself (``confirm``),
    0-1. Measured anew by ``nlp.claim_calibration``."""

    suggest: float = SUGGEST
    confirm: float = CONFIRM


@dataclass(slots=True)
class _Held:
    claim: KnownClaim
    forms: list[tuple[frozenset[str], float]]
    pairs: frozenset[str]
    pair_mass: float
    particulars: Particulars
    area: str
    day: date | None
    numbers: frozenset[str]


class ClaimIndex:
    """Claims in a form in which a text can be compared with all of them at once."""

    def __init__(
        self,
        claims: Iterable[KnownClaim],
        gazetteer: Gazetteer | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        self._gazetteer = gazetteer or Gazetteer.load()
        thresholds = thresholds or Thresholds()
        self._suggest = thresholds.suggest
        self._confirm = thresholds.confirm
        self._held: list[_Held] = []
        self._postings: dict[str, tuple[tuple[int, float], ...]] = {}
        postings: dict[str, list[tuple[int, float]]] = {}
        for claim in claims:
            if not claim.active:
                continue
            held = self._hold(claim)
            number = len(self._held)
            self._held.append(held)
            for pair in held.pairs:
                share = grams.weight(pair) / held.pair_mass
                postings.setdefault(pair, []).append((number, share))
        self._postings = {pair: tuple(found) for pair, found in postings.items()}
        self._grams = frozenset(g for held in self._held for form, _ in held.forms for g in form)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def pairs(self) -> Iterable[str]:
        """Pairs of characters of which a text must hold some (see ``nlp.pairs``)."""
        return self._postings.keys()

    def match(
        self,
        text: str,
        tokens: str = "",
        rumour: str = "none",
        at: datetime | None = None,
        starts: Sequence[int] | None = None,
        places: Sequence[Place] | None = None,
    ) -> tuple[ClaimMatch, ...]:
        """Claims the text may repeat, ask about or deny, the most similar first, at most three.

        ``rumour``: what the annotator's head says (``none``, ``unverified``, ``question``,
        ``debunk``); a question or denial is never confirmed. ``at``: when the text was published;
        without it a claim that holds no figure or date is never confirmed. ``tokens`` is not
        needed by this matcher; it is part of the call so that another one may use it. ``starts``:
        where ``pairs`` may stand in the text, and ``places``: what the gazetteer found in it, if
        that is known already.
        """
        if starts is not None and len(starts) < claim_search.GATE_HITS:
            return ()
        if len(text) > MOST_TEXT:
            text = text[:MOST_TEXT]
        hits, end = claim_search.find_hits(text, self._postings, starts)
        if len(hits) < claim_search.GATE_HITS:
            return ()
        worth = claim_search.candidates(hits, self._postings)
        if not worth:
            return ()
        is_whole = end == len(text)
        text = text[:end]
        best = self._compare(text, worth, hits, self._suggest - QUESTION_EASE)
        if not best:
            return ()
        asks = stance(text) != "repeat" or rumour in ("question", "debunk")
        threshold = self._suggest - QUESTION_EASE if asks else self._suggest
        post = read_particulars(text, self._gazetteer, places)
        ranked = []
        for number, (score, clause) in best.items():
            likeness = score * _place_factor(self._held[number].particulars, post)
            if likeness >= threshold:
                ranked.append((-likeness, number, score, clause))
        firm = is_whole and not asks and grams.content_length(text) >= MIN_CONTENT
        return tuple(
            self._judge(self._held[number], -likeness, score, clause, post, at, firm)
            for likeness, number, score, clause in sorted(ranked)[:MOST]
        )

    # -- parts -------------------------------------------------------------------------------

    def _hold(self, claim: KnownClaim) -> _Held:
        whole = "".join(grams.pieces(claim.claim))
        forms = [whole]
        parts = grams.clauses(claim.claim)
        if len(whole) > grams.MAX_CLAUSE:
            forms.extend(part for part in parts if len(part) >= 16)
        vectors = []
        for form in dict.fromkeys(forms):
            found = grams.grams(form)
            vectors.append((found, grams.mass(found)))
        pairs = frozenset(
            pair for pair in map(add, whole, whole[1:]) if grams.weight(pair) >= _COMMON_PAIR
        )
        particulars = read_particulars(claim.claim, self._gazetteer)
        area = claim.adcode
        if not area and claim.place:
            found_places = self._gazetteer.find(claim.place)
            area = found_places[0].adcode[:6] if found_places else ""
        pair_mass = sum(map(grams.weight, pairs)) or 1.0
        return _Held(
            claim, vectors, pairs, pair_mass, particulars, area, _day(claim.date),
            frozenset(_DIGITS.findall(whole)),
        )  # fmt: skip

    def _compare(
        self, text: str, worth: list[int], hits: claim_search.Hits, threshold: float
    ) -> dict[int, tuple[float, str]]:
        """Claim number -> (cosine, clause) of its best clause, where that reaches a threshold."""
        best: dict[int, tuple[float, str]] = {}
        counts = [len(self._held[number].forms) for number in worth]
        forms = {
            number: [
                (form, form_mass, threshold * threshold * form_mass)
                for form, form_mass in self._held[number].forms
            ]
            for number in worth
        }
        least = min(needed for found in forms.values() for _, _, needed in found)
        plan = claim_search.plan(text, hits, self._postings, worth, counts)
        for clause, numbers in plan.items():
            found = grams.grams(clause)
            known = found & self._grams  # most grams of a post stand in no claim
            if grams.mass(known) < least:
                continue  # nor can any part of it be enough
            length = 0.0
            for number in numbers:
                for form, form_mass, needed in forms[number]:
                    shared = grams.mass(form & known)
                    if shared < needed:
                        continue  # the cosine is at most the root of shared / form_mass
                    length = length or grams.mass(found)
                    score = shared / math.sqrt(form_mass * length)
                    if score >= threshold and score > best.get(number, (0.0, ""))[0]:
                        best[number] = (score, clause)
        return best

    def _judge(
        self,
        held: _Held,
        likeness: float,
        score: float,
        clause: str,
        post: Particulars,
        at: datetime | None,
        firm: bool,
    ) -> ClaimMatch:
        differs = differences(held.particulars, post, held.area)
        if denies(clause, held.claim.claim):
            differs = (*differs, "语气：帖文有否定或转折的字眼")
        if held.day is not None:
            differs = (*differs, *_other_times(held.day, held.particulars, post))
        if not any(said.startswith("数字") for said in differs):
            differs = (*differs, *_other_numbers(held.numbers, clause))
        sure = (
            firm
            and score >= self._confirm
            and not differs
            and not held.claim.suggest_only
            and _grounded(held, post, score, at)
        )
        level: Literal["suggest", "confirm"] = "confirm" if sure else "suggest"
        return ClaimMatch(held.claim.id, round(min(likeness, 1.0), 4), level, clause, differs)


def _place_factor(claim: Particulars, post: Particulars) -> float:
    """Whether text and claim name one place: most true events that read like a claim do not."""
    if not claim.places:
        return 1.0
    if not post.places:
        return NO_PLACE
    same = any(related(code, other) for code in claim.places for other in post.places)
    return 1.0 if same else OTHER_PLACE


def _day(said: str) -> date | None:
    try:
        return date.fromisoformat(said)
    except ValueError:  # none, or a month only
        return None


def _other_times(day: date, claim: Particulars, post: Particulars) -> Iterator[str]:
    """Years and days named in a post that are not those when the claim was looked into."""
    if not claim.days:
        far = []
        for month, number in sorted(post.days):
            apart = abs((month - day.month) * 30 + number - day.day)
            if month and min(apart, 365 - apart) > FRESH.days:
                far.append(f"{month}月{number}日")
        if far:
            yield f"日期：帖文{'、'.join(far)}，库中{day:%Y-%m-%d}核查"
    years = post.years - claim.years - {day.year}
    if years and not (claim.years and not claim.years & post.years):  # that one is named already
        told = "、".join(f"{year}年" for year in sorted(years))
        yield f"年份：帖文{told}，库中{day:%Y-%m-%d}核查"


def _other_numbers(numbers: frozenset[str], clause: str) -> Iterator[str]:
    """Numbers with a unit we do not know (110千伏, 1号线) that are not the claim's."""
    strange = set(_DIGITS.findall(clause)) - numbers
    if numbers and strange:
        yield f"数字：帖文{'、'.join(sorted(strange))}，库中{'、'.join(sorted(numbers))}"


def _grounded(held: _Held, post: Particulars, score: float, at: datetime | None) -> bool:
    """Whether time, place and figures pin the post to this claim and no later true event."""
    figures = held.particulars.figures
    repeats_figures = all(
        values <= post.figures.get(unit, frozenset()) for unit, values in figures.items()
    )
    if at is not None and held.day is not None:
        if abs(at.date() - held.day) > FRESH:
            return False
    elif not (figures and repeats_figures) and not held.particulars.days:
        return False
    if score >= COPY:
        return True
    return repeats_figures and (not held.area or bool(post.places))
