"""Does a text repeat a claim we know?

*Suggest* goes to a person. *Confirm* joins a post to a claim without asking, so it is given only
to near-copies that assert the claim and contradict it in nothing. A match never says that a text
is false, and never lowers urgency. Thresholds were set on our own test posts and on weather posts
as background; set them anew when the library doubles.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from heapq import nlargest
from operator import add
from typing import Literal

from nlp import grams
from nlp.claim_library import VERDICTS, KnownClaim, load_library, read_claims
from nlp.particulars import Particulars, differences, read_particulars, related
from nlp.places import Gazetteer
from nlp.stance import stance
from nlp.types import ClaimMatch

__all__ = [
    "VERDICTS",
    "ClaimIndex",
    "KnownClaim",
    "load_library",
    "read_claims",
    "stance",
    "suggest_threshold",
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
MOST_CLAUSES = 48
MOST_COMPARED = 400
"""Bounds, so that no text is slow: characters read, clauses looked at, clauses times forms of
claims compared (the most of 39,000 real posts: 384)."""

_DENIES = re.compile(
    r"没有?(?!想到)|未(?!来|成年)|并非|不是|不会|不能|无(?!法|数|人机|情)|取消|解除|虚惊|演练|排除|误"
)
"""In a clause whose claim has none of these: the post may say the opposite."""

_LOWEST = 0.12
"""No threshold is set below this: chance alone reaches it."""

_GATE_SHARE = 0.10
"""Share of a claim's pair weight that a text must hold to be compared at all."""
_GATE_HITS = 3
_GATE_MOST = 16
_COMMON_PAIR = 4.5
"""Pairs of less weight (seen in more than about 1 post in 8) do not open the gate."""


@dataclass(slots=True)
class _Held:
    claim: KnownClaim
    forms: list[tuple[frozenset[str], float]]
    pairs: frozenset[str]
    pair_mass: float
    particulars: Particulars
    area: str
    day: date | None


class ClaimIndex:
    """Claims in a form in which a text can be compared with all of them at once."""

    def __init__(
        self,
        claims: Iterable[KnownClaim],
        gazetteer: Gazetteer | None = None,
        suggest: float = SUGGEST,
        confirm: float = CONFIRM,
    ) -> None:
        self._gazetteer = gazetteer or Gazetteer.load()
        self._suggest = suggest
        self._confirm = confirm
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
    ) -> tuple[ClaimMatch, ...]:
        """Claims the text may repeat, ask about or deny, the most similar first, at most three.

        ``rumour``: what the annotator's head says (``none``, ``unverified``, ``question``,
        ``debunk``); a question or denial is never confirmed. ``at``: when the text was published;
        without it a claim that holds no figure or date is never confirmed. ``tokens`` is not
        needed by this matcher; it is part of the call so that another one may use it. ``starts``:
        where ``pairs`` may stand in the text, if it is known already.
        """
        if len(text) > MOST_TEXT:
            text = text[:MOST_TEXT]
        candidates, hits = self._gate(text, starts)
        if not candidates:
            return ()
        asks = stance(text) != "repeat" or rumour in ("question", "debunk")
        threshold = self._suggest - QUESTION_EASE if asks else self._suggest
        best = self._compare(text, candidates, hits, threshold)
        if not best:
            return ()
        post = read_particulars(text, self._gazetteer)
        ranked = []
        for number, (score, clause) in best.items():
            likeness = score * _place_factor(self._held[number].particulars, post)
            if likeness >= threshold:
                ranked.append((-likeness, number, score, clause))
        firm = not asks and grams.content_length(text) >= MIN_CONTENT
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
        return _Held(claim, vectors, pairs, pair_mass, particulars, area, _day(claim.date))

    def _gate(self, text: str, starts: Sequence[int] | None) -> tuple[list[int], frozenset[str]]:
        """Numbers of the claims worth comparing, and the pairs met; most posts end here."""
        postings = self._postings
        if starts is None:
            hits = frozenset(postings.keys() & set(map(add, text, text[1:])))
        elif len(starts) < _GATE_HITS:
            return [], frozenset()
        else:
            hits = frozenset(postings.keys() & {text[start : start + 2] for start in starts})
        if len(hits) < _GATE_HITS:
            return [], hits
        shares: dict[int, float] = {}
        for pair in hits:
            for number, share in postings[pair]:
                shares[number] = shares.get(number, 0.0) + share
        worth = [number for number, share in shares.items() if share >= _GATE_SHARE]
        if len(worth) > _GATE_MOST:
            worth = nlargest(_GATE_MOST, worth, key=shares.__getitem__)
        return worth, hits

    def _compare(
        self, text: str, candidates: list[int], hits: frozenset[str], threshold: float
    ) -> dict[int, tuple[float, str]]:
        """Claim number -> (cosine, clause) of its best clause, where that reaches a threshold."""
        best: dict[int, tuple[float, str]] = {}
        forms = [
            (number, form, form_mass, threshold * threshold * form_mass)
            for number in candidates
            for form, form_mass in self._held[number].forms
        ]
        least = min(needed for _, _, _, needed in forms)
        looked_at = 0
        left = max(MOST_COMPARED, len(forms))
        for clause in grams.clauses(text):
            if len(hits.intersection(map(add, clause, clause[1:]))) < 2:
                continue
            looked_at += 1
            if looked_at > MOST_CLAUSES or left < len(forms):
                break
            found = grams.grams(clause)
            known = found & self._grams  # most grams of a post stand in no claim
            if grams.mass(known) < least:
                continue  # nor can any part of it be enough
            left -= len(forms)
            length = 0.0
            for number, form, form_mass, needed in forms:
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
        if _DENIES.search(clause) and not _DENIES.search(held.claim.claim):
            differs = (*differs, "语气：帖文有否定或转折的字眼")
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


def suggest_threshold(
    claims: Iterable[KnownClaim], background: Iterable[str], share: float = 1 / 200
) -> float:
    """The lowest threshold at which at most ``share`` of ordinary posts get a suggestion.

    ``background``: some thousand weather posts that repeat none of the claims. For
    ``ClaimIndex(claims, suggest=...)``, to be set anew when the library doubles. Raises
    ValueError without background.
    """
    index = ClaimIndex(claims, suggest=_LOWEST)
    scores = []
    for text in background:
        found = index.match(text)
        ease = QUESTION_EASE if found and stance(text) != "repeat" else 0.0
        scores.append(found[0].similarity + ease if found else 0.0)
    if not scores:
        raise ValueError("no background posts: give a file of ordinary weather posts")
    scores.sort(reverse=True)
    return round(max(scores[min(int(share * len(scores)), len(scores) - 1)], _LOWEST) + 1e-4, 4)
