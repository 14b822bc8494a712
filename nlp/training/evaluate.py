"""Measure a model on labelled files, per head and set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlp import weights as model_file
from nlp.heads import HEAD, HEADS, probabilities
from nlp.kernel import Kernel
from nlp.semantic import Blend, Encoder
from nlp.training import metrics
from nlp.training.labelled import LabelledText, read_files
from nlp.training.semantic import BLENDED, read_again

HELP_RECALL = 0.95


def evaluate_model(
    files: Sequence[Path],
    model: Path | None = None,
    encoder: Encoder | None = None,
    blend: Blend | None = None,
) -> list[dict[str, Any]]:
    """One row per file and head: ``set, head, accuracy, macro_f1, ece, n, half_interval, model``.

    A file adds a row ``help``: precision at a recall of .95 and the threshold that gives it, and
    what the model's own threshold gives. Labels that a set does not have are passed over, so SMP
    emotions are read as sentiment (``surprise`` left out). A score on texts the model was trained
    on says nothing; keep a part back.

    Raises ModelMissing, ModelUnreadable, LabelledFileError.
    """
    weights = model_file.load(model)
    kernel = Kernel(weights)
    rows: list[dict[str, Any]] = []
    for path in files:
        labelled = read_files([path], for_training=False)
        if not labelled:
            continue
        texts = [row.text for row in labelled]
        scores = probabilities(kernel.score(texts)[0])
        found = list(_rows(set_name(path), labelled, scores, weights))
        if encoder is not None and blend is not None:
            again = read_again(texts, scores, weights.card["thresholds"], encoder, blend)
            second = list(_rows(set_name(path), labelled, again, weights))
            found = [{**row, "tier": 1} for row in found]
            found += [{**row, "tier": 2} for row in second if row["head"] in (*BLENDED, "help")]
        rows.extend(found)
    return rows


def set_name(path: Path) -> str:
    """What a labelled file is called in reports."""
    stem = path.name.split(".")[0]
    return f"{path.parent.name}/{stem}" if stem in ("train", "dev", "test") else stem


def _rows(
    name: str,
    labelled: list[LabelledText],
    scores: NDArray[np.float32],
    weights: model_file.Weights,
) -> Iterator[dict[str, Any]]:
    for head in HEADS:
        known = np.array([head.name in row.labels for row in labelled])
        if not known.any():
            continue
        truth = np.array([row.labels[head.name] for row in labelled if head.name in row.labels])
        measured = metrics.head_scores(scores[known][:, head.columns], truth)
        yield {"set": name, "head": head.name, **measured, "model": weights.version}
    if labelled[0].guide:
        yield {"set": name, "head": "help", **_help(labelled, scores, weights)}


def _help(
    labelled: list[LabelledText], scores: NDArray[np.float32], weights: model_file.Weights
) -> dict[str, Any]:
    number = HEAD["kind"].labels.index("help")
    truth = np.array([row.labels["kind"] == number for row in labelled])
    score = scores[:, HEAD["kind"].start + number]
    if not truth.any():
        return {"n": 0, "model": weights.version}
    threshold = float(weights.card["thresholds"]["help"])
    called = score >= threshold
    return {
        **metrics.precision_at_recall(score, truth, HELP_RECALL),
        "shipped_threshold": threshold,
        "shipped_precision": round(float(truth[called].mean()), 4) if called.any() else 0.0,
        "shipped_recall": round(float(called[truth].mean()), 4),
        "n": int(truth.sum()),
        "model": weights.version,
    }
