"""Is this text a near-copy of an earlier one?

A sketch is 64 MinHash values over the character n-grams of a cleaned text (``nlp.kernel`` makes
it). Two texts whose n-gram sets have Jaccard similarity *s* agree in a share *s* of the values.
The index cuts a sketch into 16 bands of 4 values: texts that agree in a whole band become
candidates, found with probability ``1 - (1 - s**4)**16`` (.44 at s = .4, .96 at .65, .999 at .8),
and only candidates are compared value by value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

VALUES = 64
BANDS = 16
BAND_BYTES = VALUES // BANDS * 4
SKETCH_HEX = VALUES * 8

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


def similarity(one: Sketch, other: Sketch) -> float:
    """Estimated Jaccard similarity of two sketches, standard error about .06 at .5."""
    return float(np.count_nonzero(one == other)) / VALUES


class SketchIndex:
    """Sketches of recent texts, for the nearest earlier one.

    ``ceiling`` bounds how many candidates of one band are looked at (the newest): a template
    that arrives ten thousand times would otherwise make every look-up slow.
    """

    def __init__(self, ceiling: int = 16) -> None:
        self._ceiling = ceiling
        self._sketches: dict[Hashable, Sketch] = {}
        self._keys: dict[Hashable, tuple[bytes, ...]] = {}
        self._bands: dict[bytes, list[Hashable]] = {}
        self._order: deque[tuple[datetime, Hashable]] = deque()
        self._times: dict[Hashable, datetime] = {}

    def __len__(self) -> int:
        return len(self._sketches)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._sketches

    @staticmethod
    def _band_keys(values: Sketch) -> tuple[bytes, ...]:
        raw = values.tobytes()
        return tuple(
            bytes((band,)) + raw[band * BAND_BYTES : (band + 1) * BAND_BYTES]
            for band in range(BANDS)
        )

    def add(self, key: Hashable, sketch: str | Sketch, at: datetime) -> None:
        """Remember a text. A key that is already held only gets the later time."""
        if key in self._sketches:
            if at > self._times[key]:
                self._times[key] = at
                self._order.append((at, key))
            return
        values = read_sketch(sketch)
        if values is None:
            return
        keys = self._band_keys(values)
        self._sketches[key] = values
        self._keys[key] = keys
        self._times[key] = at
        self._order.append((at, key))
        bands = self._bands
        for band in keys:
            held = bands.get(band)
            if held is None:
                bands[band] = [key]
            else:
                held.append(key)

    def nearest(self, sketch: str | Sketch) -> tuple[Hashable, float] | None:
        """The most similar text that shares a band, with its estimated similarity; the earliest
        added of equals. ``None`` when nothing shares a band."""
        values = read_sketch(sketch)
        if values is None:
            return None
        seen: set[Hashable] = set()
        bands = self._bands
        for band in self._band_keys(values):
            held = bands.get(band)
            if held is not None:
                # the first one is the root of a chain of copies, the newest are the likeliest
                seen.add(held[0])
                seen.update(held[-self._ceiling :])
        if not seen:
            return None
        sketches = self._sketches
        best: tuple[Hashable, float] | None = None
        best_at: datetime | None = None
        for key in seen:
            score = similarity(values, sketches[key])
            at = self._times[key]
            if best is None or score > best[1] or (score == best[1] and best_at and at < best_at):
                best, best_at = (key, score), at
        return best

    def expire(self, before: datetime) -> int:
        """Forget texts last seen before a time; returns how many were forgotten."""
        forgotten = 0
        order = self._order
        while order and order[0][0] < before:
            at, key = order.popleft()
            if self._times.get(key) != at:
                continue  # seen again later: a newer entry of the queue speaks for it
            self._forget(key)
            forgotten += 1
        return forgotten

    def _forget(self, key: Hashable) -> None:
        del self._sketches[key]
        del self._times[key]
        for band in self._keys.pop(key):
            held = self._bands[band]
            if len(held) == 1:
                del self._bands[band]
            else:
                held.remove(key)


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
