"""The kernel's answers without numba: numpy and scipy, about thirty times slower.

Same cleaner, same hashes, same integer sums; a test holds the two together. ``nlp.annotator``
takes this one, with a warning, where numba cannot be imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from nlp.text import NUMBER, clean, mask_numbers
from nlp.weights import (
    GRAM,
    HIDDEN_AT,
    MIN_CONTENT,
    NORM_AT,
    REASONS,
    SHINGLE,
    SKETCH,
    Weights,
)

_BASIS, _PRIME = np.uint32(2166136261), np.uint32(16777619)
_EMPTY = 0xFFFFFFFF


def _points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _mix(h: NDArray[np.uint32]) -> NDArray[np.uint32]:
    g = (h ^ (h >> np.uint32(15))) * np.uint32(0x85EBCA6B)
    return np.asarray(g ^ (g >> np.uint32(13)), np.uint32)


def _grams(points: NDArray[np.uint32]) -> list[NDArray[np.uint32]]:
    """Hash of the n-gram that begins at each place, for n = 1 to ``SHINGLE``."""
    hashes: list[NDArray[np.uint32]] = []
    running = np.full(len(points), _BASIS, np.uint32)
    for n in range(min(SHINGLE, len(points))):
        running = (running[: len(points) - n] ^ points[n:]) * _PRIME
        hashes.append(running)
    return hashes


def _sketch(content: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], int]:
    exact = 1469598103934665603
    for c in content.tolist():
        exact = ((exact ^ c) * 1099511628211) & 0xFFFFFFFFFFFFFFFF
    bins = np.full(SKETCH, _EMPTY, np.uint32)
    if len(content) < MIN_CONTENT:
        return bins, exact
    keys = _mix(_grams(content)[SHINGLE - 1])
    values = _mix(keys * np.uint32(0x9E3779B1) + np.uint32(1))
    np.minimum.at(bins, (keys & np.uint32(SKETCH - 1)).astype(np.intp), values)
    first = int(np.flatnonzero(bins != _EMPTY)[0])
    value, distance = int(bins[first]), 0
    for back in range(1, SKETCH):
        b = (first - back) % SKETCH
        if bins[b] == _EMPTY:
            distance += 1
            bins[b] = (value + distance * 0x10001) & 0xFFFFFFFF
        else:
            value, distance = int(bins[b]), 0
    return bins, exact


def _content(points: NDArray[np.uint32]) -> NDArray[np.uint32]:
    kept = ((points >= 0x4E00) & (points < 0xA000)) | ((points >= 97) & (points < 123))
    return points[kept | ((points >= 48) & (points < 58))]


def clean_texts(texts: Sequence[str]) -> list[str]:
    """``nlp.text.clean`` of every text."""
    return [clean(text) for text in texts]


class Kernel:
    """Same methods as ``nlp.kernel.Kernel``."""

    def __init__(self, weights: Weights) -> None:
        self._w = weights
        order = np.argsort(weights.keys, kind="stable")
        self._sorted = weights.keys[order]
        self._row = order

    def _rows(self, symbols: str) -> dict[int, tuple[int, int]]:
        """Row -> (first place, size) of the distinct known n-grams."""
        found: list[tuple[int, int, int]] = []
        for n, hashes in enumerate(_grams(_points(symbols))[:GRAM], 1):
            keys = _mix(hashes)
            at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
            known = np.flatnonzero(self._sorted[at] == keys)
            rows = self._row[at[known]]
            found.extend(zip(known.tolist(), [n] * len(known), rows.tolist(), strict=True))
        first: dict[int, tuple[int, int]] = {}
        for start, n, row in sorted(found):
            first.setdefault(row, (start, n))
        return first

    def score(
        self, texts: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint32], NDArray[np.uint64], NDArray[np.int32]]:
        """Logits ``(n, labels)``, sketches ``(n, 64)``, exact hashes and content lengths."""
        sketches = np.empty((len(texts), SKETCH), np.uint32)
        exacts, contents = np.empty(len(texts), np.uint64), np.empty(len(texts), np.int32)
        columns: list[int] = []
        ends = [0]
        for i, text in enumerate(texts):
            cleaned = clean(text)
            content = _content(_points(cleaned))
            sketches[i], exact = _sketch(content)
            exacts[i], contents[i] = np.uint64(exact), len(content)
            columns.extend(self._rows(mask_numbers(cleaned)))
            ends.append(len(columns))
        ones = np.ones(len(columns), np.int64)
        known = sp.csr_matrix((ones, columns, ends), shape=(len(texts), len(self._w.keys)))
        return self._logits(known), sketches, exacts, contents

    def _logits(self, known: Any) -> NDArray[np.float32]:
        w = self._w
        labels, hidden = w.output.shape[1], len(w.hidden_bias)
        total = (known @ w.rows.astype(np.int64)) * w.scale
        count = np.maximum(np.diff(known.indptr), 1)
        flat = total[:, :labels] / np.sqrt(np.maximum(total[:, NORM_AT], 1e-12))[:, None]
        deep = total[:, HIDDEN_AT : HIDDEN_AT + hidden] / np.sqrt(count)[:, None] + w.hidden_bias
        return np.asarray(flat + np.maximum(deep, 0) @ w.output + w.bias, np.float32)

    def explain(
        self,
        texts: Sequence[str],
        chosen: NDArray[np.int64],
        words: Sequence[Sequence[str]],
        spans: NDArray[np.int64],
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Word numbers and signed weights, ``(n, heads, REASONS)``; see ``nlp.kernel``."""
        shape = (len(texts), len(spans) - 1, REASONS)
        top, weights = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        for i, text in enumerate(texts):
            share = self._shares(clean(text), chosen[i], spans)
            start = 0
            per_word = np.zeros((len(words[i]), len(spans) - 1), np.float32)
            for number, word in enumerate(words[i]):
                if word.strip(" "):
                    per_word[number] = share[start : start + len(word)].sum(axis=0)
                start += len(word)
            for h in range(len(spans) - 1):
                best = np.argsort(-np.abs(per_word[:, h]), kind="stable")[:REASONS]
                for k, number in enumerate(best.tolist()):
                    if abs(per_word[number, h]) > 0.005:
                        top[i, h, k], weights[i, h, k] = number, per_word[number, h]
        return top, weights

    def _shares(
        self, cleaned: str, chosen: NDArray[np.int64], spans: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """What each character of the cleaned text added, ``(length, heads)``."""
        w = self._w
        masked = mask_numbers(cleaned)
        origin = _origins(cleaned, masked)
        share = np.zeros((len(cleaned) + 1, len(spans) - 1), np.float32)
        found = self._rows(masked)
        if not found:
            return share
        labels, hidden = w.output.shape[1], len(w.hidden_bias)
        rows = w.rows[list(found)] * w.scale
        flat = rows[:, :labels] / np.sqrt(rows[:, NORM_AT].sum())
        deep = rows[:, HIDDEN_AT : HIDDEN_AT + hidden] / np.sqrt(len(found))
        on = deep.sum(axis=0) + w.hidden_bias > 0
        for h in range(len(spans) - 1):
            part = slice(spans[h], spans[h + 1])
            pick = spans[h] + chosen[h]
            slope = np.where(on, w.output[:, pick] - w.output[:, part].mean(axis=1), 0)
            added = flat[:, pick] - flat[:, part].mean(axis=1) + deep @ slope
            for (start, n), value in zip(found.values(), added.tolist(), strict=True):
                for place in origin[start : start + n]:
                    share[place, h] += value / n
        return share


def _origins(cleaned: str, masked: str) -> list[int]:
    """For each symbol of the masked text, where it begins in the cleaned one."""
    origin: list[int] = []
    i = 0
    for symbol in masked:
        origin.append(i)
        i += 1
        if symbol == NUMBER:
            while i < len(cleaned) and cleaned[i].isascii() and cleaned[i].isdigit():
                i += 1
    return origin
