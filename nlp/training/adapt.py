"""A challenger from the model in use and officers' corrections, without the data it came from.

Real posts that trained the shipped model may not be handed on, so a bureau cannot train it again.
It can move it: to the linear half a correction is added, fitted so that corrected posts get
people's labels while ordinary posts keep the probabilities they have. For each head

    minimise  sum_corrected -log p(people's label) + sum_ordinary KL(old p || new p)
              + penalty / 2 * |delta|^2

over n-grams that occur in corrected posts (L-BFGS). The penalty is the one that does best on
corrections left out in turn; when none does better than the model as it is, nothing changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import minimize

from nlp import weights as model_file
from nlp.errors import LabelledFileError
from nlp.heads import HEADS
from nlp.kernel import Kernel, gram_keys
from nlp.training.card import write_card
from nlp.training.labelled import LabelledText, own_corpus, read_files

ENOUGH = 20  # corrections of one head, under which that head stays as it is
PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3)
INNER = 5
STEPS = 60

Progress = Callable[[str], None]


def adapt_model(
    corrections: Sequence[LabelledText],
    ordinary: Sequence[str],
    folder: Path,
    *,
    champion: Path | None = None,
    today: date | None = None,
    seed: int = 7,
    progress: Progress = lambda _: None,
) -> Path:
    """Write ``folder/VERSION.npz`` and ``VERSION.md``; returns the model's path.

    ``corrections``: those to learn from (``nlp.training.corrections.split``). ``ordinary``: texts
    whose reading is to stay; our own corpus is always among them. Same input, same bytes.

    Raises LabelledFileError when no head has ``ENOUGH`` corrections.
    """
    champion = model_file.shipped_path() if champion is None else champion
    today = datetime.now(UTC).date() if today is None else today
    weights = model_file.load(champion)
    kernel = Kernel(weights)
    counts = {h.name: sum(h.name in row.labels for row in corrections) for h in HEADS}
    if max(counts.values(), default=0) < ENOUGH:
        raise LabelledFileError(
            f"corrections to learn from: {counts}; a head needs at least {ENOUGH}, "
            "go on correcting and train later"
        )
    kept = [*ordinary, *(row.text for row in read_files(own_corpus(), for_training=True))]
    texts = [*(row.text for row in corrections), *kept]
    logits = kernel.score(texts)[0]
    columns, matrix, gram_weight = _features(weights, texts, len(corrections))
    table = model_file.read_table(champion)
    bias = weights.bias.copy()
    chosen: dict[str, float | None] = {}
    for head in HEADS:
        part = head.columns
        known = np.array([i for i, r in enumerate(corrections) if head.name in r.labels], int)
        chosen[head.name] = None
        if len(known) < ENOUGH:
            continue
        truth = np.array([corrections[i].labels[head.name] for i in known])
        old = logits[:, part]
        stay = np.arange(len(corrections), len(texts))
        problem = _Problem(matrix, old, known, truth, stay)
        penalty = problem.best_penalty(seed)
        chosen[head.name] = penalty
        progress(f"{head.name}: {len(known)} corrections, penalty {penalty}")
        if penalty is None:
            continue
        delta, shift = problem.fit(known, truth, penalty)
        table[columns, part] += delta * gram_weight[:, None]
        bias[part] += shift
    arrays = model_file.pack(weights.keys, table, weights.hidden_bias, weights.output, bias)
    digest = hashlib.sha256(b"".join(a.tobytes() for a in arrays.values())).hexdigest()
    card = {
        **weights.card,
        "version": f"{today.isoformat()}-{digest[:8]}",
        "trained_on": today.isoformat(),
        "seed": seed,
        "adapted": {"from": weights.version, "corrections": counts, "penalty": chosen},
    }
    out = folder / f"{card['version']}.npz"
    model_file.save(out, arrays, card)
    write_card(out.with_suffix(".md"), card)
    return out


def _features(
    weights: model_file.Weights, texts: Sequence[str], corrected: int
) -> tuple[NDArray[np.int64], Any, NDArray[np.float32]]:
    """Rows of the table that occur in the first ``corrected`` texts, all texts over them (unit
    length over *all* n-grams, as the kernel divides), and the n-grams' weights."""
    order = np.argsort(weights.keys, kind="stable")
    keys = weights.keys[order]
    found, ends = gram_keys(texts)
    at = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
    known = keys[at] == found
    starts = np.concatenate(([0], np.cumsum(known)))[ends]
    rows = order[at[known]]
    square = weights.rows[:, model_file.NORM_AT] * weights.scale[model_file.NORM_AT]
    gram = np.sqrt(np.maximum(square, 0)).astype(np.float32)
    full = sp.csr_matrix((gram[rows], rows, starts), shape=(len(texts), len(keys)))
    length = np.sqrt(np.asarray(full.multiply(full).sum(axis=1)).ravel())
    length[length == 0] = 1
    full = sp.diags((1 / length).astype(np.float32)) @ full
    columns = np.unique(full[:corrected].indices).astype(np.int64)
    return columns, full[:, columns].tocsr(), gram[columns]


class _Problem:
    """One head. ``old`` (texts, labels): logits of the champion."""

    def __init__(
        self,
        matrix: Any,
        old: NDArray[np.float32],
        known: NDArray[np.int64],
        truth: NDArray[np.int64],
        stay: NDArray[np.int64],
    ) -> None:
        self.matrix, self.old, self.known, self.truth, self.stay = matrix, old, known, truth, stay

    def best_penalty(self, seed: int) -> float | None:
        """None when no penalty beats the champion on corrections left out."""
        part = np.random.RandomState(seed).permutation(len(self.known)) % INNER
        best: float | None = None
        right = int((self.old[self.known].argmax(axis=1) == self.truth).sum())
        for penalty in PENALTIES:
            hits = 0
            for k in range(INNER):
                out = part == k
                delta, shift = self.fit(self.known[~out], self.truth[~out], penalty)
                said = self.old[self.known[out]] + self.matrix[self.known[out]] @ delta + shift
                hits += int((said.argmax(axis=1) == self.truth[out]).sum())
            if hits > right:
                best, right = penalty, hits
        return best

    def fit(
        self, known: NDArray[np.int64], truth: NDArray[np.int64], penalty: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``delta`` (n-grams, labels), ``shift`` (labels,)."""
        rows = np.concatenate([known, self.stay])
        matrix, old = self.matrix[rows], self.old[rows].astype(np.float64)
        target = _softmax(old)
        target[: len(known)] = 0
        target[np.arange(len(known)), truth] = 1
        grams, labels = matrix.shape[1], old.shape[1]

        def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            whole = flat.reshape(grams + 1, labels)
            new = old + matrix @ whole[:-1] + whole[-1]
            p = _softmax(new)
            error = p - target
            value = -float((target * np.log(np.maximum(p, 1e-12))).sum())
            value += penalty / 2 * float((whole**2).sum())
            slope = np.vstack([matrix.T @ error, error.sum(axis=0)]) + penalty * whole
            return value, slope.ravel()

        start = np.zeros((grams + 1) * labels)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
        whole = found.reshape(grams + 1, labels)
        return whole[:-1], whole[-1]


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
