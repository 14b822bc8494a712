"""Fit what an account's data add to the rumour head, on CED (posts with accounts and a verdict).

The text's part is a logistic regression of its own over character n-grams, read out of fold: the
annotator itself has learned from these posts, and beside its answers accounts would look useless.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

from nlp.account import FEATURES, Account, features
from nlp.training.labelled import SIDE_TASKS, LabelledText
from nlp.training.vocabulary import Features, gram_weights, weighted

SET_NAME = "ced"
ENOUGH = 200  # posts with an account, under which nothing is fitted
LATE = 0.3  # the share of the latest posts that measures it
TEXT_PENALTY = 10.0  # LogisticRegression's C
FOLDS = 5
_KINDS = {1: "government", 3: "media", 2: "organisation"} | dict.fromkeys(
    range(4, 8), "organisation"
)


def account_of(raw: Any) -> Account:
    """The account of a CED row (``extra``: verified, verified_type, followers)."""
    extra = raw["extra"]
    followers = int(extra.get("followers") or 0)
    return Account(
        kind=_KINDS.get(int(extra.get("verified_type") or -1), "person"),
        verified=bool(extra.get("verified")),
        followers=10 ** (len(str(followers)) - 1) if followers > 0 else 0,
    )


def fit_account(rows: Sequence[LabelledText]) -> dict[str, Any] | None:
    """``weight`` of each of ``FEATURES`` in logits, and what accounts give on the latest ``LATE``
    of the posts when everything was fitted on the earlier ones. None without CED rows.
    """
    mine = [row for row in rows if row.set_name == SET_NAME and row.raw.get("time")]
    if len(mine) < ENOUGH:
        return None
    mine.sort(key=lambda row: (str(row.raw["time"]), row.text))
    said = SIDE_TASKS["report"].index("rumor")
    truth = np.array([row.labels["report"] == said for row in mine])
    grams = Features.of([row.text for row in mine])
    matrix = weighted(grams.matrix, gram_weights(grams.texts_with, len(mine)))
    facts = np.array([features(account_of(row.raw)) for row in mine])
    early = int(len(mine) * (1 - LATE))

    before = _unseen(matrix[:early], truth[:early])
    after = _text_model(matrix[:early], truth[:early]).decision_function(matrix[early:])
    text = _measure(before[:, None], after[:, None], truth, early)
    both = _measure(
        np.column_stack([before, facts[:early]]),
        np.column_stack([after, facts[early:]]),
        truth,
        early,
    )
    model = _fit(np.column_stack([_unseen(matrix, truth), facts]), truth)
    return {
        "features": list(FEATURES),
        "weight": [round(float(w), 4) for w in model.coef_[0][1:]],
        "posts": len(mine),
        "text": text,
        "text_and_account": both,
    }


def _unseen(matrix: Any, truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What the text says of every post, by models that had not seen it, in logits."""
    part = np.arange(len(truth)) % FOLDS
    found = np.zeros(len(truth))
    for k in range(FOLDS):
        inside = part == k
        found[inside] = _text_model(matrix[~inside], truth[~inside]).decision_function(
            matrix[inside]
        )
    return found


def _text_model(matrix: Any, truth: NDArray[np.bool_]) -> LogisticRegression:
    return LogisticRegression(C=TEXT_PENALTY, max_iter=1000).fit(matrix, truth)


def _fit(matrix: NDArray[np.float64], truth: NDArray[np.bool_]) -> LogisticRegression:
    return LogisticRegression(C=1.0, max_iter=1000).fit(matrix, truth)


def _measure(
    before: NDArray[np.float64], after: NDArray[np.float64], truth: NDArray[np.bool_], early: int
) -> dict[str, float]:
    found = _fit(before, truth[:early]).predict_proba(after)[:, 1]
    late = truth[early:]
    return {
        "accuracy": round(float(((found > 0.5) == late).mean()), 4),
        "macro_f1": round(float(f1_score(late, found > 0.5, average="macro")), 4),
        "average_precision": round(float(average_precision_score(late, found)), 4),
    }
