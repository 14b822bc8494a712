"""The heads: four questions asked of every text, their labels and the columns of the scores.

``kind`` what is it, ``sentiment`` how does the writer feel, ``urgency`` how soon must an officer
act (0-3), ``rumour`` is there a claim to check. Labels follow ``docs/annotation.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlp.types import KINDS, RUMOURS, SENTIMENTS, URGENCIES


@dataclass(frozen=True, slots=True)
class Head:
    """One question. ``start``: its first column among the scores of all heads."""

    name: str
    labels: tuple[str, ...]
    start: int

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + len(self.labels))


def _lay_out(*heads: tuple[str, tuple[str, ...]]) -> tuple[Head, ...]:
    laid: list[Head] = []
    start = 0
    for name, labels in heads:
        laid.append(Head(name, labels, start))
        start += len(labels)
    return tuple(laid)


HEADS = _lay_out(
    ("kind", KINDS), ("sentiment", SENTIMENTS), ("urgency", URGENCIES), ("rumour", RUMOURS)
)
HEAD = {head.name: head for head in HEADS}
COLUMNS = sum(len(head.labels) for head in HEADS)
SPANS = np.array([head.start for head in HEADS] + [COLUMNS], np.int64)


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax within each head: ``(n, COLUMNS)`` to the same shape, each head sums to 1."""
    out = np.empty_like(logits)
    for head in HEADS:
        part = logits[:, head.columns]
        grown = np.exp(part - part.max(axis=1, keepdims=True))
        out[:, head.columns] = grown / grown.sum(axis=1, keepdims=True)
    return out


def chosen_labels(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number of the best label of each head, ``(n, heads)``."""
    return np.stack([scores[:, head.columns].argmax(axis=1) for head in HEADS], axis=1)


def best_scores(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability of the best label of each head, ``(n, heads)``."""
    return np.stack([scores[:, head.columns].max(axis=1) for head in HEADS], axis=1)
