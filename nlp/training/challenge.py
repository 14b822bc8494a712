"""Champion against challenger: the same texts, differences with intervals, a plain verdict.

Intervals are of the *difference*, from a paired bootstrap (both models answer the same drawn
texts; Efron and Tibshirani, 1993): far narrower than two intervals side by side. A head is
*better* when accuracy or macro-F1 rose beyond chance and neither fell, *worse* the other way
round, *mixed* when one rose and the other fell. Texts that taught one of the two say nothing.

Corrections are *selected*: each was made because the model in use was wrong there, so any other
model does better on them, a coin too. They say how much is repaired and get no verdict; fixed sets
and spot checks, drawn without looking at the answer, decide. What share of ordinary posts would be
answered otherwise is shown beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlp import weights as model_file
from nlp.heads import HEADS, chosen_labels, probabilities
from nlp.kernel import Kernel
from nlp.training import metrics
from nlp.training.evaluate import HELP_RECALL, set_name
from nlp.training.labelled import LabelledText, read_files

DRAWS = 500
AT_ONCE = 50  # draws in memory
FEW = 30
HELD = "held-back corrections"
CHECKED = "spot checks"
ORDINARY = "newest posts"

Counts = NDArray[np.float32]
"""How often each text was drawn, ``(draws, texts)``."""


def compare_models(
    champion: Path | None,
    challenger: Path,
    files: Sequence[Path],
    held: Sequence[LabelledText] = (),
    *,
    checked: Sequence[LabelledText] = (),
    ordinary: Sequence[str] = (),
    seed: int = 7,
) -> list[dict[str, Any]]:
    """A row per set and head: ``set, head, n, verdict`` and, of the one in use and the new one,
    ``accuracy, accuracy_new, accuracy_by: [low, high]``, ``macro_f1...`` alike, ``ece, ece_new``.

    A set with help calls has a row ``help``: ``precision, precision_new, precision_by`` at the
    threshold that finds 95 % of them, ``n`` being the calls. ``..._by``: 95 % interval of the
    difference. ``verdict``: better, worse, mixed, no clear difference, too few (under 30 texts),
    selected.

    ``held``: corrections that taught neither model; ``checked``: spot checks alike. ``ordinary``:
    posts without labels, of which rows say what share is answered otherwise: ``changed``.

    Raises ModelMissing, ModelUnreadable, LabelledFileError.
    """
    kernels = [Kernel(model_file.load(path)) for path in (champion, challenger)]
    rows: list[dict[str, Any]] = []
    sets = [(set_name(path), read_files([path], for_training=False)) for path in files]
    for name, labelled in [*sets, (CHECKED, list(checked)), (HELD, list(held))]:
        if labelled:
            rows.extend(_rows(name, labelled, kernels, seed))
    if ordinary:
        old, new = (chosen_labels(probabilities(k.score(ordinary)[0])) for k in kernels)
        for head, share in zip(HEADS, (old != new).mean(axis=0), strict=True):
            row = {"set": ORDINARY, "head": head.name, "n": len(ordinary)}
            rows.append(row | {"changed": round(float(share), 4), "verdict": ""})
    return rows


def _rows(
    name: str, labelled: list[LabelledText], kernels: Sequence[Kernel], seed: int
) -> Iterator[dict[str, Any]]:
    texts = [row.text for row in labelled]
    selected = {"verdict": "selected"} if name == HELD else {}
    scores = [probabilities(kernel.score(texts)[0]) for kernel in kernels]
    for head in HEADS:
        known = np.array([head.name in row.labels for row in labelled])
        if not known.any():
            continue
        truth = np.array([row.labels[head.name] for row in labelled if head.name in row.labels])
        old, new = (s[known][:, head.columns] for s in scores)
        yield {"set": name, "head": head.name, **_head(old, new, truth, seed), **selected}
        if head.name == "kind":
            number = head.labels.index("help")
            if (truth == number).any():
                calls = [s[:, number] for s in (old, new)]
                found = _help(calls, truth == number, seed)
                yield {"set": name, "head": "help", **found, **selected}


def _head(
    old: NDArray[np.float32], new: NDArray[np.float32], truth: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    was, now = old.argmax(axis=1), new.argmax(axis=1)
    accuracy, macro_f1 = [], []
    for counts in _draws(len(truth), seed):
        accuracy.append(counts @ ((now == truth).astype(np.float32) - (was == truth)) / len(truth))
        macro_f1.append(_macro_f1(counts, truth, now) - _macro_f1(counts, truth, was))
    by = {"accuracy": _interval(accuracy), "macro_f1": _interval(macro_f1)}
    before, after = (metrics.head_scores(s, truth) for s in (old, new))
    row: dict[str, Any] = {"n": len(truth)}
    for measure in ("accuracy", "macro_f1"):
        row |= {measure: before[measure], f"{measure}_new": after[measure]}
        row[f"{measure}_by"] = by[measure]
    return row | {
        "ece": before["ece"],
        "ece_new": after["ece"],
        "verdict": verdict(len(truth), list(by.values())),
    }


def _help(
    calls: Sequence[NDArray[np.float32]], truth: NDArray[np.bool_], seed: int
) -> dict[str, Any]:
    everyone = np.ones((1, len(truth)), np.float32)
    before, after = (float(_precision(everyone, score, truth)[0]) for score in calls)
    drawn = [
        _precision(counts, calls[1], truth) - _precision(counts, calls[0], truth)
        for counts in _draws(len(truth), seed)
    ]
    by, n = _interval(drawn), int(truth.sum())
    return {
        "n": n,
        "precision": round(before, 4),
        "precision_new": round(after, 4),
        "precision_by": by,
        "verdict": verdict(n, [by]),
    }


def _draws(n: int, seed: int) -> Iterator[Counts]:
    random = np.random.RandomState(seed)
    for _ in range(DRAWS // AT_ONCE):
        yield random.multinomial(n, np.full(n, 1 / n), size=AT_ONCE).astype(np.float32)


def _macro_f1(
    counts: Counts, truth: NDArray[np.int64], said: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Of each draw, over the labels that occur in it."""
    total = np.zeros(len(counts))
    labels = np.zeros(len(counts))
    for label in np.unique(truth):
        is_, says = truth == label, said == label
        there = counts @ is_.astype(np.float32)
        hits = counts @ (is_ & says).astype(np.float32)
        f1 = 2 * hits / np.maximum(there + counts @ says.astype(np.float32), 1)
        total += np.where(there > 0, f1, 0)
        labels += there > 0
    return np.asarray(total / np.maximum(labels, 1), np.float64)


def _precision(
    counts: Counts, score: NDArray[np.float32], truth: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Of each draw: the best precision among thresholds that find 95 % of what is true."""
    order = np.argsort(-score, kind="stable")
    drawn = counts[:, order].astype(np.float64)
    said = np.cumsum(drawn, axis=1)
    hits = np.cumsum(drawn * truth[order], axis=1)
    cut = np.append(np.diff(score[order]) != 0, True)  # equal scores pass together or not at all
    reached = cut & (hits >= HELP_RECALL * hits[:, -1:]) & (said > 0)
    return np.asarray(np.where(reached, hits / np.maximum(said, 1), 0).max(axis=1), np.float64)


def _interval(drawn: Sequence[NDArray[np.floating[Any]]]) -> list[float]:
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    return [round(float(low), 4), round(float(high), 4)]


def verdict(n: int, intervals: Sequence[Sequence[float]]) -> str:
    """What intervals of differences, ``[low, high]`` each, come to.

    >>> verdict(500, [[0.01, 0.03], [-0.01, 0.02]])
    'better'
    """
    if n < FEW:
        return "too few"
    rose = any(low > 0 for low, _ in intervals)
    fell = any(high < 0 for _, high in intervals)
    if rose and fell:
        return "mixed"
    return "better" if rose else "worse" if fell else "no clear difference"


def as_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The rows side by side, in use → new with the interval of the difference."""
    head = (
        *("set", "head", "n", "accuracy", "macro-F1", "precision at .95", "ECE"),
        *("changed", "verdict"),
    )
    body = [
        (
            str(row["set"]),
            str(row["head"]),
            str(row["n"]),
            _change(row, "accuracy"),
            _change(row, "macro_f1"),
            _change(row, "precision"),
            _change(row, "ece"),
            f"{row['changed']:.1%}" if "changed" in row else "",
            str(row["verdict"]),
        )
        for row in rows
    ]
    wide = [max(len(line[c]) for line in (head, *body)) for c in range(len(head))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(line, wide, strict=True)).rstrip()
        for line in (head, *body)
    ]


def _change(row: dict[str, Any], measure: str) -> str:
    if measure not in row:
        return ""
    said = f"{row[measure]:.3f} → {row[f'{measure}_new']:.3f}"
    by = row.get(f"{measure}_by")
    return f"{said} [{by[0]:+.3f}, {by[1]:+.3f}]" if by else said
