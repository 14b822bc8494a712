"""Judging again what the first tier was unsure of, or what may need an officer.

Three things the text alone does not say: what it answers to, who wrote it, what it means in other
words. Each gives new probabilities; the labels follow from them, except that urgency is never
lowered. ``Annotation.tier`` says that a second look was taken, and ``reasons`` why it moved.
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
SHORT_REPLY = 40  # characters of an own text that an answered post may decide
SUGGEST_FROM = 0.5  # 12 of 10,000 ordinary posts reach it (measured on 94 claims)
CHAIN = "//@:"  # as reposts carry what they answer; the model has learned from such chains
PARENT_LIMIT = 120


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


def with_answered(own: str, answered: str) -> str:
    """An own text and what it answers, as one chain."""
    return f"{own}{CHAIN}{answered[:PARENT_LIMIT]}"


def by_thread(annotation: Annotation, chained: Annotation) -> Annotation:
    """The reading of the chain, with the places, claims and tokens of the own text."""
    return replace(
        annotation,
        relevant=annotation.relevant or chained.relevant,
        kind=chained.kind,
        sentiment=chained.sentiment,
        urgency=max(annotation.urgency, chained.urgency),
        rumour=chained.rumour,
        scores=chained.scores,
        reasons=chained.reasons,
        unsure=chained.unsure,
        tier=2,
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
    )


def with_suggestion(
    annotation: Annotation, claims: Sequence[str], likeness: NDArray[np.float32]
) -> Annotation:
    """The known claim of the nearest vector, for a person to look at, where words found none.

    ``claims``: their ids; ``likeness`` (claims,): of ``Blend.comparable`` vectors. Never more than
    a suggestion: no vector holds a place, a date or a number.
    """
    if annotation.claims or annotation.rumour == "none" or not len(likeness):
        return annotation
    best = int(likeness.argmax())
    if likeness[best] < SUGGEST_FROM:
        return annotation
    found = ClaimMatch(claims[best], round(float(likeness[best]), 4))
    return replace(annotation, claims=(found,))


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
    """Labels that follow from new probabilities ``(18,)``; urgency is never lowered."""
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
    return replace(
        annotation,
        kind=cast(Kind, labels["kind"]),
        sentiment=cast(Sentiment, labels["sentiment"]),
        urgency=max(annotation.urgency, int(labels["urgency"])),
        rumour=cast(Rumour, labels["rumour"]),
        scores=scores,
        unsure=tuple(unsure),
        tier=2,
    )


def all_rows(annotations: Sequence[Annotation]) -> NDArray[np.float32]:
    """``as_row`` of several, ``(n, 18)``."""
    return np.stack([as_row(annotation) for annotation in annotations])
