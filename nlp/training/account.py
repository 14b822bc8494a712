"""Fit what an account's data add to the rumour head, on CED (posts with accounts and a verdict)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

from nlp.account import FEATURES, Account, features
from nlp.heads import HEAD
from nlp.training.labelled import SIDE_TASKS, LabelledText

SET_NAME = "ced"
LATE = 0.3  # the share of the latest posts that measures it
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


def fit_account(rows: Sequence[LabelledText], rumour: NDArray[np.float32]) -> dict[str, Any] | None:
    """``weight`` and ``mean`` per feature, and what they give on the latest ``LATE`` of the posts
    when fitted on the earlier ones. ``rumour`` (rows, 4): probabilities of that head. None without
    CED rows.
    """
    mine = [i for i, row in enumerate(rows) if row.set_name == SET_NAME and row.raw.get("time")]
    if len(mine) < 200:
        return None
    mine.sort(key=lambda i: str(rows[i].raw["time"]))
    said = SIDE_TASKS["report"].index("rumor")
    truth = np.array([rows[i].labels["report"] == said for i in mine])
    none = rumour[mine, HEAD["rumour"].labels.index("none")].astype(float)
    text = np.log((1 - none + 1e-4) / (none + 1e-4))
    facts = np.array([features(account_of(rows[i].raw)) for i in mine])
    both = np.column_stack([text, facts])
    early = int(len(mine) * (1 - LATE))
    model = _fit(both, truth)
    return {
        "features": list(FEATURES),
        "weight": [round(float(w), 4) for w in model.coef_[0][1:]],
        "mean": [round(float(m), 4) for m in facts.mean(axis=0)],
        "posts": len(mine),
        "text": _measure(text[:, None], truth, early),
        "text_and_account": _measure(both, truth, early),
    }


def _fit(matrix: NDArray[np.float64], truth: NDArray[np.bool_]) -> LogisticRegression:
    return LogisticRegression(C=1.0, max_iter=1000).fit(matrix, truth)


def _measure(matrix: NDArray[np.float64], truth: NDArray[np.bool_], early: int) -> dict[str, float]:
    found = _fit(matrix[:early], truth[:early]).predict_proba(matrix[early:])[:, 1]
    late = truth[early:]
    return {
        "accuracy": round(float(((found > 0.5) == late).mean()), 4),
        "macro_f1": round(float(f1_score(late, found > 0.5, average="macro")), 4),
        "average_precision": round(float(average_precision_score(late, found)), 4),
    }
