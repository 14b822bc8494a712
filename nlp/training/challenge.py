"""Champion against challenger: the same texts, differences with intervals, a plain verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlp import weights as model_file
from nlp.heads import HEAD, HEADS, probabilities
from nlp.kernel import Kernel
from nlp.training import metrics
from nlp.training.labelled import LabelledText, read_files

DRAWS = 500
HELP_RECALL = 0.95
FEW = 30


def compare_models(
    champion: Path | None,
    challenger: Path,
    files: Sequence[Path],
    held: Sequence[LabelledText] = (),
    seed: int = 7,
) -> list[dict[str, Any]]:
    """A row per set and head: ``set, head, n, accuracy, accuracy_new, macro_f1, macro_f1_new,
    ece, ece_new, low, high, verdict``; a row ``help`` per set labelled by the guide.

    ``low``, ``high``: 95 % interval of the difference in accuracy, paired bootstrap. ``verdict``:
    better, worse, no clear difference, too few (under 30 texts). ``held``: corrections that taught
    neither model.

    Raises ModelMissing, ModelUnreadable, LabelledFileError.
    """
    kernels = [Kernel(model_file.load(path)) for path in (champion, challenger)]
    rows: list[dict[str, Any]] = []
    sets = [(path.name.split(".")[0], read_files([path], for_training=False)) for path in files]
    for name, labelled in [*sets, ("held-back corrections", list(held))]:
        if labelled:
            rows.extend(_rows(name, labelled, kernels, seed))
    return rows


def _rows(
    name: str, labelled: list[LabelledText], kernels: Sequence[Kernel], seed: int
) -> Iterator[dict[str, Any]]:
    texts = [row.text for row in labelled]
    scores = [probabilities(kernel.score(texts)[0]) for kernel in kernels]
    for head in HEADS:
        known = np.array([head.name in row.labels for row in labelled])
        if not known.any():
            continue
        truth = np.array([row.labels[head.name] for row in labelled if head.name in row.labels])
        old, new = (s[known][:, head.columns] for s in scores)
        yield {"set": name, "head": head.name, **_difference(old, new, truth, seed)}
    if all(row.guide for row in labelled):
        number = HEAD["kind"].labels.index("help")
        truth = np.array([row.labels["kind"] == number for row in labelled])
        if truth.any():
            at = HEAD["kind"].start + number
            found = [metrics.precision_at_recall(s[:, at], truth, HELP_RECALL) for s in scores]
            yield {
                "set": name,
                "head": "help",
                "n": int(truth.sum()),
                "precision": found[0]["precision"],
                "precision_new": found[1]["precision"],
            }


def _difference(
    old: NDArray[np.float32], new: NDArray[np.float32], truth: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    was, now = old.argmax(axis=1), new.argmax(axis=1)
    change = (now == truth).astype(float) - (was == truth)
    random = np.random.RandomState(seed)
    drawn = change[random.randint(len(truth), size=(DRAWS, len(truth)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    before, after = (metrics.head_scores(s, truth) for s in (old, new))
    return {
        "n": len(truth),
        "accuracy": before["accuracy"],
        "accuracy_new": after["accuracy"],
        "macro_f1": before["macro_f1"],
        "macro_f1_new": after["macro_f1"],
        "ece": before["ece"],
        "ece_new": after["ece"],
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "verdict": _verdict(len(truth), float(low), float(high)),
    }


def _verdict(n: int, low: float, high: float) -> str:
    if n < FEW:
        return "too few"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no clear difference"
