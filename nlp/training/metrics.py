"""How good a set of probabilities is. Small, so that training and evaluation agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_curve

BINS = 15
WINDOW = 400
SURE_ENOUGH = 0.5
LEAST_UNSURE = 0.02
SHOWN = 4


def calibration_error(best: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over 15 equal bins."""
    bins = np.minimum((best * BINS).astype(int), BINS - 1)
    gap = 0.0
    for b in range(BINS):
        inside = bins == b
        if inside.any():
            gap += float(inside.mean()) * abs(
                float(best[inside].mean()) - float(right[inside].mean())
            )
    return gap


def head_scores(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> dict[str, Any]:
    """``accuracy, macro_f1, ece, n`` and the half width of accuracy's 95 % interval.

    ``macro_f1`` runs over the labels that occur in ``truth``.
    """
    chosen = scores.argmax(axis=1)
    right = chosen == truth
    accuracy = float(right.mean())
    return {
        "accuracy": round(accuracy, 4),
        "macro_f1": round(
            float(f1_score(truth, chosen, labels=np.unique(truth), average="macro")), 4
        ),
        "ece": round(calibration_error(scores.max(axis=1), right), 4),
        "n": len(truth),
        "half_interval": round(1.96 * float(np.sqrt(accuracy * (1 - accuracy) / len(truth))), 4),
    }


def confusions(
    truth: NDArray[np.int64], chosen: NDArray[np.int64], labels: Sequence[str]
) -> list[tuple[str, str, int, int]]:
    """The commonest mistakes: what it is, what was said, how often, and how many there are of it.

    At most ``SHOWN`` of them, the commonest first.
    """
    table = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(table, (truth, chosen), 1)
    of_label = table.sum(axis=1)
    np.fill_diagonal(table, 0)
    worst = np.argsort(-table.ravel(), kind="stable")[:SHOWN]
    pairs = [divmod(int(at), len(labels)) for at in worst]
    return [
        (labels[is_], labels[said], int(table[is_, said]), int(of_label[is_]))
        for is_, said in pairs
        if table[is_, said]
    ]


def precision_at_recall(
    score: NDArray[np.float32], truth: NDArray[np.bool_], recall: float
) -> dict[str, float]:
    """Best precision among thresholds that reach the recall, and that threshold."""
    precisions, recalls, thresholds = precision_recall_curve(truth, score)
    reached = recalls[:-1] >= recall
    best = int(np.argmax(np.where(reached, precisions[:-1], -1)))
    return {
        "threshold": round(float(thresholds[best]), 4),
        "precision": round(float(precisions[best]), 4),
        "recall": round(float(recalls[best]), 4),
    }


def unsure_below(best: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """The probability under which a head should say that it is unsure.

    Answers are sorted by confidence; the threshold is the last place where ``WINDOW`` neighbours
    are right less often than ``SURE_ENOUGH``. A head that is never that weak, because one label
    is by far the commonest, still doubts the weakest ``LEAST_UNSURE`` of its answers.
    """
    order = np.argsort(best, kind="stable")
    window = min(WINDOW, len(order))
    summed = np.concatenate(([0], np.cumsum(right[order])))
    local = (summed[window:] - summed[:-window]) / window
    weak = np.flatnonzero(local < SURE_ENOUGH)
    least = float(np.quantile(best, LEAST_UNSURE))
    found = float(best[order[weak[-1] + window // 2]]) if len(weak) else 0.0
    return round(max(found, least), 3)


def curve(
    score: NDArray[np.float32], truth: NDArray[np.bool_], levels: NDArray[np.float64]
) -> list[list[float]]:
    """``[level, precision, recall, share]`` of ``score >= level`` as a sign of ``truth``."""
    rows: list[list[float]] = []
    for level in levels:
        said = score >= level
        hits = float((said & truth).sum())
        precision = hits / max(1, int(said.sum()))
        recall = hits / max(1, int(truth.sum()))
        rows.append([round(float(v), 3) for v in (level, precision, recall, said.mean())])
    return rows


def highest_missing(score: NDArray[np.float32], missed: float) -> float:
    """The threshold that a share ``missed`` of the scores reaches or passes."""
    return round(float(np.quantile(score, 1 - missed)), 4)
