"""What a threshold gives, read off the curves that training leaves on a model's card.

Apart from the measuring itself, so that a screen need not load scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def at_level(
    curve: Sequence[Sequence[float]], level: float
) -> tuple[float | None, float | None, float | None]:
    """Precision, recall and share at a level, between the measured ones by a straight line;
    None outside them. ``curve``: ``[level, precision, recall, share]``, levels rising.

    >>> at_level([[0.1, 0.5, 0.9, 0.3], [0.2, 0.7, 0.7, 0.1]], 0.15)
    (0.6, 0.8, 0.2)
    """
    for low, high in pairwise(curve):
        if low[0] <= level <= high[0]:
            part = (level - low[0]) / (high[0] - low[0])
            p, r, s = (round(a + part * (b - a), 6) for a, b in zip(low[1:], high[1:], strict=True))
            return p, r, s
    return None, None, None
