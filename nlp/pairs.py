"""Where in a batch of texts may a known word begin? One look at every pair of neighbours.

Word lists are found by their first two characters (``nlp.lexicon.scan``). Looking up each pair of
each text for each list, one at a time, was a tenth of an annotation; here all pairs of a batch go
through one table of bits at once, and only the few places that may begin a word of some list are
looked at by that list. A place named here may be a false one (two pairs share a cell): whoever
gets it compares the characters. No place is ever missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_BITS = 20


class PairTable:
    """Up to eight lists of pairs (strings of two characters) in one table of a million cells."""

    def __init__(self, lists: Sequence[Iterable[str]]) -> None:
        if len(lists) > 8:
            raise ValueError("a cell has eight bits: at most eight lists")
        self._lists = len(lists)
        self._cells = np.zeros(1 << _BITS, np.uint8)
        for number, pairs in enumerate(lists):
            joined = "".join(pairs)
            if joined:
                points = _points(joined)
                self._cells[_cell(points[::2], points[1::2])] |= np.uint8(1 << number)

    def starts(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """For each list, for each text: where a pair of the list may stand, in order."""
        points = _points("".join(texts))
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
        found = self._cells[_cell(points[:-1], points[1:])]
        return [self._of(found, number, offsets) for number in range(self._lists)]

    @staticmethod
    def _of(found: NDArray[np.uint8], number: int, offsets: NDArray[np.int64]) -> list[list[int]]:
        at = np.flatnonzero(found & np.uint8(1 << number))
        cuts = np.searchsorted(at, offsets)
        local = (at - np.repeat(offsets[:-1], np.diff(cuts))).tolist()
        return [local[a:b] for a, b in pairwise(cuts.tolist())]


def _points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _cell(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> NDArray[np.uint32]:
    mixed = (first * np.uint32(0x9E3779B1) + second) * np.uint32(0x85EBCA6B)
    cells: NDArray[np.uint32] = mixed >> np.uint32(32 - _BITS)
    return cells
