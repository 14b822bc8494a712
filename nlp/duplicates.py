"""Is this text a near-copy of an earlier one?

A sketch is 64 MinHash values over the character n-grams of a cleaned text (``nlp.kernel`` makes
it). Two texts whose n-gram sets have Jaccard similarity *s* agree in a share *s* of the values.
The index cuts a sketch into 16 bands of 4 values: texts that agree in a whole band become
candidates, found with probability ``1 - (1 - s**4)**16`` (.44 at s = .4, .96 at .65, .999 at .8),
and only candidates are compared value by value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

VALUES = 64
BANDS = 16
SKETCH_HEX = VALUES * 8

_MIX = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93],
    dtype=np.uint64,
)

Sketch = NDArray[np.uint32]


def read_sketch(sketch: str | Sketch) -> Sketch | None:
    """The 64 values of a sketch given as 512 hexadecimal digits or as an array.

    ``None`` for an empty sketch (a text too short to have one). Raises ValueError for anything
    that is neither: a sketch of another length comes from another version of the annotator.
    """
    if isinstance(sketch, str):
        if not sketch:
            return None
        if len(sketch) != SKETCH_HEX:
            raise ValueError(
                f"a sketch has {SKETCH_HEX} hexadecimal digits, this one {len(sketch)}; "
                "annotate the post again with this version"
            )
        return np.frombuffer(bytes.fromhex(sketch), dtype=">u4").astype(np.uint32)
    values = np.asarray(sketch, dtype=np.uint32)
    if values.shape != (VALUES,):
        raise ValueError(f"a sketch has {VALUES} values, this one has shape {values.shape}")
    return values


@dataclass(frozen=True, slots=True)
class Banded:
    """A sketch ready to be looked up. ``values`` (64,); ``bands`` (16,): a hash of each band."""

    values: Sketch
    bands: NDArray[np.int64]


def read_sketches(sketches: Sequence[str]) -> dict[str, Banded]:
    """Many sketches of 512 hexadecimal digits at once, by their digits; others are left out."""
    good = [sketch for sketch in dict.fromkeys(sketches) if len(sketch) == SKETCH_HEX]
    if not good:
        return {}
    read = np.frombuffer(bytes.fromhex("".join(good)), dtype=">u4").astype(np.uint32)
    values = read.reshape(-1, VALUES)
    bands = _bands(values)
    return {s: Banded(v, b) for s, v, b in zip(good, values, bands, strict=True)}


def similarity(one: Sketch, other: Sketch) -> float:
    """Estimated Jaccard similarity of two sketches, standard error about .06 at .5."""
    return float(np.count_nonzero(one == other)) / VALUES


class SketchIndex:
    """Sketches of recent texts, for the nearest earlier one. About 550 bytes a text.

    Each band has a table from a hash of its four values to the two newest texts that hold them;
    a collision only costs one comparison, for every candidate is compared with all 64 values.
    Add the first of a chain of copies, not every copy: the tables stay small and a chain does
    not drift. Not safe for threads.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._times: dict[Hashable, datetime] = {}
        self._slots: dict[Hashable, int] = {}
        self._keys: list[Hashable | None] = []
        self._free: list[int] = []
        self._order: deque[tuple[datetime, Hashable]] = deque()
        self._sketches = np.zeros((max(capacity, 16), VALUES), dtype=np.uint32)
        self._build_tables()

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._slots

    def add(self, key: Hashable, sketch: str | Sketch | Banded, at: datetime) -> None:
        """Remember a text. A key that is already held only gets the later time."""
        if key in self._slots:
            if at > self._times[key]:
                self._times[key] = at
                self._order.append((at, key))
            return
        banded = _banded(sketch)
        if banded is None:
            return
        slot = self._take_slot(key)
        self._sketches[slot] = banded.values
        self._slots[key] = slot
        self._times[key] = at
        self._order.append((at, key))
        self._enter(slot, banded.bands)

    def nearest(self, sketch: str | Sketch | Banded) -> tuple[Hashable, float] | None:
        """The most similar text that shares a band, with its estimated similarity; the earliest
        of equals. ``None`` when nothing shares a band."""
        banded = _banded(sketch)
        if banded is None or not self._slots:
            return None
        cells = (banded.bands & self._mask) + self._rows
        slots = {*self._newest.take(cells).tolist(), *self._older.take(cells).tolist()}
        slots.discard(-1)
        if not slots:
            return None
        held = list(slots)
        equal = self._sketches.take(held, axis=0) == banded.values
        agree = np.add.reduce(equal, axis=1).tolist()
        shares = np.logical_or.reduce(equal.view(np.uint32) == _ALL_EQUAL, axis=1).tolist()
        best: tuple[int, datetime, Hashable] | None = None
        for slot, count, in_a_band in zip(held, agree, shares, strict=True):
            key = self._keys[slot]
            if key is None or not in_a_band or (best is not None and count < -best[0]):
                continue  # forgotten, or a collision of the table
            rank = (-count, self._times[key], key)
            if best is None or rank[:2] < best[:2]:
                best = rank
        return None if best is None else (best[2], -best[0] / VALUES)

    def expire(self, before: datetime) -> int:
        """Forget texts last seen before a time; returns how many were forgotten."""
        forgotten = 0
        order = self._order
        while order and order[0][0] < before:
            at, key = order.popleft()
            if self._times.get(key) != at:
                continue  # seen again later: a newer entry of the queue speaks for it
            slot = self._slots.pop(key)
            del self._times[key]
            self._keys[slot] = None
            self._free.append(slot)
            forgotten += 1
        return forgotten

    # -- parts -------------------------------------------------------------------------------

    def _take_slot(self, key: Hashable) -> int:
        if self._free:
            slot = self._free.pop()
            self._keys[slot] = key
            return slot
        if len(self._keys) == len(self._sketches):
            self._sketches = np.concatenate((self._sketches, np.zeros_like(self._sketches)))
            self._build_tables()
        self._keys.append(key)
        return len(self._keys) - 1

    def _build_tables(self) -> None:
        """Tables of two cells a text, filled anew from the texts held."""
        size = 1 << (len(self._sketches) * 2 - 1).bit_length()
        self._mask = np.int64(size - 1)
        self._rows = np.arange(BANDS, dtype=np.int64) * size
        self._newest = np.full(BANDS * size, -1, dtype=np.int32)
        self._older = np.full(BANDS * size, -1, dtype=np.int32)
        held = sorted(self._slots.values(), key=lambda slot: self._times[self._keys[slot]])
        for slot, bands in zip(held, _bands(self._sketches[held]), strict=True):
            self._enter(slot, bands)

    def _enter(self, slot: int, bands: NDArray[np.int64]) -> None:
        cells = (bands & self._mask) + self._rows
        self._older[cells] = self._newest.take(cells)
        self._newest[cells] = slot


_ALL_EQUAL = np.uint32(0x01010101)
"""Four times True in a row: a whole band agrees."""


def _banded(sketch: str | Sketch | Banded) -> Banded | None:
    if isinstance(sketch, Banded):
        return sketch
    values = read_sketch(sketch)
    return None if values is None else Banded(values, _bands(values)[0])


def _bands(values: Sketch) -> NDArray[np.int64]:
    """Hash of each band of some sketches ``(n, 16)``: multiply its four values, and fold."""
    parts = values.reshape(-1, BANDS, VALUES // BANDS).astype(np.uint64)
    mixed = (parts * _MIX).sum(axis=2, dtype=np.uint64)
    bands: NDArray[np.int64] = (mixed ^ (mixed >> np.uint64(29))).view(np.int64)
    return bands


def shingles(text: str, size: int = 4) -> frozenset[str]:
    """Character n-grams of a text without its white space."""
    dense = "".join(text.split())
    if len(dense) <= size:
        return frozenset((dense,)) if dense else frozenset()
    return frozenset(dense[i : i + size] for i in range(len(dense) - size + 1))


def jaccard(text_a: str, text_b: str) -> float:
    """Exact Jaccard similarity of two texts on character 4-grams, 0-1; two empty texts: 0."""
    one, other = shingles(text_a), shingles(text_b)
    if not one or not other:
        return 0.0
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
