"""One pass over a batch of texts: clean, hash n-grams, score every head, sketch.

Per text, without a Python object: map and mark the code points (the rules of ``nlp.text.clean``),
roll an FNV-1a hash over its distinct character 1- to 3-grams, look each up in an exact table of
32-bit keys, add the model's integer row of that n-gram, and turn the sums into logits. The same
pass makes the near-copy sketch: 64 one-permutation MinHash values over the 4-grams of its content
characters (letters, digits, CJK).

A key is 32 bits, so of 64,000 known n-grams about one text in three hundred meets one wrong row;
whoever aims at that wins a wrong suggestion, no more. Without numba ``nlp.portable`` gives the
same answers about thirty times slower.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nlp.compiled import (
    build_index,
    clean_batch,
    explain_batch,
    keys_batch,
    score_batch,
    sketch_batch,
)
from nlp.text import READ_LIMIT, fold_table
from nlp.weights import GRAM, MIN_CONTENT, REASONS, SKETCH, Weights

__all__ = [
    "MIN_CONTENT",
    "REASONS",
    "SKETCH",
    "Kernel",
    "clean_texts",
    "code_points",
    "gram_keys",
    "sketch_texts",
]


def code_points(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """All texts as one array of code points, and where each begins and ends ``(n + 1,)``."""
    joined = "".join(texts).encode("utf-32-le", "surrogatepass")
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
    return np.frombuffer(joined, np.uint32), offsets


def clean_texts(texts: Sequence[str]) -> list[str]:
    """``nlp.text.clean`` of every text, about ten times faster."""
    points, offsets = code_points(texts)
    out = np.empty(len(points) + 1, np.uint32)
    ends = np.zeros(len(offsets), np.int64)
    clean_batch(points, offsets, fold_table(), READ_LIMIT, out, ends)
    joined = out[: ends[-1]].tobytes().decode("utf-32-le")
    bounds = ends.tolist()
    return [joined[a:b] for a, b in pairwise(bounds)]


def gram_keys(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Distinct n-gram keys of every text, sorted within each, and the ends ``(n + 1,)``."""
    points, offsets = code_points(texts)
    out = np.empty(len(points) * GRAM + 1, np.uint32)
    ends = np.zeros(len(offsets), np.int64)
    keys_batch(points, offsets, fold_table(), READ_LIMIT, out, ends)
    return out[: ends[-1]].copy(), ends


def sketch_texts(
    texts: Sequence[str],
) -> tuple[NDArray[np.uint32], NDArray[np.uint64], NDArray[np.int32]]:
    """Sketches ``(n, 64)``, exact hashes and content lengths ``(n,)``, without any model."""
    points, offsets = code_points(texts)
    sketches = np.empty((len(texts), SKETCH), np.uint32)
    exacts, contents = np.empty(len(texts), np.uint64), np.empty(len(texts), np.int32)
    sketch_batch(points, offsets, fold_table(), READ_LIMIT, sketches, exacts, contents)
    return sketches, exacts, contents


class Kernel:
    """The compiled pass with one model's tables. One per thread: it keeps scratch marks."""

    def __init__(self, weights: Weights) -> None:
        self._w = weights
        self._slots, self._bitmap = build_index(weights.keys)
        self._stamp = np.zeros(len(weights.keys), np.int32)
        self._mark = 1

    def _next_mark(self, texts: int) -> int:
        """Marks tell which text last met a row; they start over before they overflow."""
        if self._mark + texts >= 2**31 - 2:
            self._stamp[:] = 0
            self._mark = 1
        mark = self._mark
        self._mark += texts
        return mark

    def score(
        self, texts: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint32], NDArray[np.uint64], NDArray[np.int32]]:
        """Logits ``(n, labels)``, sketches ``(n, 64)``, exact hashes, content lengths ``(n,)``."""
        n, w = len(texts), self._w
        points, offsets = code_points(texts)
        logits = np.empty((n, w.output.shape[1]), np.float32)
        sketches = np.empty((n, SKETCH), np.uint32)
        exacts = np.empty(n, np.uint64)
        contents = np.empty(n, np.int32)
        score_batch(
            points, offsets, fold_table(), READ_LIMIT, self._slots, self._bitmap, self._stamp,
            self._next_mark(n), w.rows, w.scale, w.hidden_bias, w.output, w.bias,
            logits, sketches, exacts, contents,
        )  # fmt: skip
        return logits, sketches, exacts, contents

    def explain(
        self,
        texts: Sequence[str],
        chosen: NDArray[np.int64],
        words: Sequence[Sequence[str]],
        spans: NDArray[np.int64],
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Word numbers and signed weights, both ``(n, heads, REASONS)``; see ``explain_batch``.

        ``words``: the words of every cleaned text, from the beginning and without gaps; all of
        them, or as many as are to be weighed.
        """
        n, w = len(texts), self._w
        points, offsets = code_points(texts)
        ends = np.zeros(n + 1, np.int64)
        np.cumsum(np.fromiter(map(len, words), np.int64, n), out=ends[1:])
        sizes = np.fromiter((len(x) for ws in words for x in ws), np.int32, int(ends[-1]))
        shape = (n, len(spans) - 1, REASONS)
        top, weights = np.empty(shape, np.int32), np.empty(shape, np.float32)
        explain_batch(
            points, offsets, fold_table(), READ_LIMIT, self._slots, self._bitmap, self._stamp,
            self._next_mark(n), w.rows, w.scale, w.hidden_bias, w.output,
            spans, chosen, sizes, ends, top, weights,
        )  # fmt: skip
        return top, weights
