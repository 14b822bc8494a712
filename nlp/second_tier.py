"""Judging again what the first tier was unsure of, or what may need an officer.

Three things the text alone does not say: what it answers to, who wrote it, what it means in other
words. Each gives new probabilities; the labels follow from them, except that urgency is never
lowered, and a help call stays one. ``Annotation.tier`` and ``looks`` say that a second look was
taken and at what, ``reasons`` why it moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nlp import account as accounts
from nlp.account import Account
from nlp.heads import COLUMNS, HEADS
from nlp.types import Annotation, ClaimMatch, Kind, Rumour, Sentiment

FLAGGED_HELP = 0.1  # P(help) from which a post is looked at again
FLAGGED = 0.1  # P(help) or P(rumour) from which its vector is
SHORT_REPLY = 40  # characters of an own text that an answered post may decide
NEAR = 0.13  # likeness by words, too little to show, from which a claim's meaning is compared
SUGGEST_FROM = 0.5  # likeness of vectors from which it is shown (docs/second-tier.md)
CHAIN = "//@:"  # as reposts carry what they answer; the model has learned from such chains
PARENT_LIMIT = 120

_NAMES = tuple(head.name for head in HEADS)


def wants_second_look(annotation: Annotation) -> bool:
    """Unsure on some head, or flagged: a claim, a possible help call, a known claim."""
    if not annotation.relevant and annotation.rumour == "none":
        return False
    return bool(
        annotation.unsure
        or annotation.rumour != "none"
        or annotation.claims
        or annotation.scores.get("kind", {}).get("help", 0.0) >= FLAGGED_HELP
    )


def wants_encoder(annotation: Annotation) -> bool:
    """Whether a sentence vector may help: it was measured to bring nothing to kind and urgency."""
    return pressing(annotation) >= FLAGGED or not {"sentiment", "rumour"}.isdisjoint(
        annotation.unsure
    )


def wants_claims(annotation: Annotation) -> bool:
    """Whether a known claim is sought by meaning, where words showed none."""
    return not annotation.claims and 1 - annotation.scores["rumour"]["none"] >= FLAGGED


def pressing(annotation: Annotation) -> float:
    """Who is looked at first: the likeliest help call or claim, 0-1."""
    scores = annotation.scores
    return max(scores["kind"]["help"], 1 - scores["rumour"]["none"])


def with_answered(own: str, answered: str) -> str:
    """An own text and what it answers, as one chain."""
    return f"{own}{CHAIN}{answered[:PARENT_LIMIT]}"


def by_thread(annotation: Annotation, chained: Annotation) -> Annotation:
    """The reading of the chain, with the places, claims and tokens of the own text."""
    is_help = annotation.kind == "help"
    return replace(
        annotation,
        relevant=annotation.relevant or chained.relevant,
        kind="help" if is_help else chained.kind,
        sentiment=chained.sentiment,
        urgency=max(annotation.urgency, chained.urgency),
        rumour=chained.rumour,
        scores=chained.scores,
        reasons=chained.reasons,
        unsure=chained.unsure,
        tier=2,
        looks=_looked(annotation, "thread"),
    )


def by_account(
    annotation: Annotation, account: Account, weights: Mapping[str, Any] | None, unsure_at: float
) -> Annotation:
    """The rumour head after a look at who wrote it. ``weights``: ``card["account"]``.

    A bureau or a newspaper is a responsible source, so its post may lose the label *unverified*.
    A person with many followers may not: what they say is likelier true, but spreads furthest;
    their post keeps the label and the head says that it is unsure.
    """
    rumour = annotation.scores.get("rumour")
    if weights is None or rumour is None:
        return annotation
    logits = accounts.shift(account, weights)
    if not account.responsible:
        logits = max(logits, accounts.least_shift(list(rumour.values())))
    if logits == 0.0:
        return annotation
    moved = accounts.moved(list(rumour.values()), logits)
    names = list(rumour)
    best = int(moved.argmax())
    unsure = tuple(h for h in annotation.unsure if h != "rumour")
    if moved[best] < unsure_at:
        unsure = (*unsure, "rumour")
    why = annotation.reasons.get("rumour", [])
    return replace(
        annotation,
        rumour=cast(Rumour, names[best]),
        scores={
            **annotation.scores,
            "rumour": dict(zip(names, np.round(moved, 4).tolist(), strict=True)),
        },
        reasons={
            **annotation.reasons,
            "rumour": [*why, (accounts.words_for(account), round(logits, 3))],
        },
        unsure=unsure,
        tier=2,
        looks=_looked(annotation, "account"),
    )


def with_suggestion(
    annotation: Annotation, near: Sequence[ClaimMatch], likeness: Sequence[float]
) -> Annotation:
    """The claim nearest in meaning, for a person to look at, where words were not enough.

    ``near``: claims that words bring near, with their clause; ``likeness``: of each, by vectors of
    clause and claim. Never more than a suggestion: no vector holds a place, a date or a number.
    """
    if annotation.claims or not near:
        return annotation
    best = max(range(len(near)), key=likeness.__getitem__)
    if likeness[best] < SUGGEST_FROM:
        return annotation
    found = replace(near[best], similarity=round(float(likeness[best]), 4), level="suggest")
    return replace(annotation, claims=(found,), tier=2, looks=_looked(annotation, "meaning"))


def _looked(annotation: Annotation, what: str) -> tuple[str, ...]:
    return annotation.looks if what in annotation.looks else (*annotation.looks, what)


def as_row(annotation: Annotation) -> NDArray[np.float32]:
    """Probabilities of all heads, ``(18,)``."""
    row = np.zeros(COLUMNS, np.float32)
    for head in HEADS:
        given = annotation.scores[head.name]
        row[head.columns] = [given[label] for label in head.labels]
    return row


def by_scores(
    annotation: Annotation, row: NDArray[np.float32], unsure_at: Mapping[str, float]
) -> Annotation:
    """Labels that follow from new probabilities ``(18,)``. Urgency is never lowered; a help call
    stays one, and where the new reading differs the head says that it is unsure."""
    labels: dict[str, str] = {}
    scores: dict[str, dict[str, float]] = {}
    unsure: list[str] = []
    for head in HEADS:
        part = row[head.columns]
        labels[head.name] = head.labels[int(part.argmax())]
        scores[head.name] = dict(
            zip(head.labels, np.round(part.astype(float), 4).tolist(), strict=True)
        )
        if part.max() < unsure_at[head.name]:
            unsure.append(head.name)
    if annotation.kind == "help" != labels["kind"]:
        labels["kind"] = "help"
        unsure = [name for name in _NAMES if name in (*unsure, "kind")]
    return replace(
        annotation,
        kind=cast(Kind, labels["kind"]),
        sentiment=cast(Sentiment, labels["sentiment"]),
        urgency=max(annotation.urgency, int(labels["urgency"])),
        rumour=cast(Rumour, labels["rumour"]),
        scores=scores,
        unsure=tuple(unsure),
        tier=2,
        looks=_looked(annotation, "meaning"),
    )


def all_rows(annotations: Sequence[Annotation]) -> NDArray[np.float32]:
    """``as_row`` of several, ``(n, 18)``."""
    return np.stack([as_row(annotation) for annotation in annotations])
