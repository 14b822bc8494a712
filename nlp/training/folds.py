"""Folds that are honest: near-copies stay together, and so do our own texts on one matter.

Two texts are near-copies when their sketches agree in half of the values. Our own texts were
written in families (a rumour, the question about it, its denial), so those that share much of
their rarer three-character sequences are kept together as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from nlp.kernel import MIN_CONTENT, SKETCH
from nlp.training.labelled import LabelledText
from nlp.training.vocabulary import Features

BAND = 4
COPY_AGREEMENT = 0.5
MATTER_SHARE = 0.35
RARE = 60  # an n-gram in more texts than this says nothing about a matter


def assign_folds(
    rows: Sequence[LabelledText],
    features: Features,
    sketches: NDArray[np.uint32],
    exacts: NDArray[np.uint64],
    contents: NDArray[np.int32],
    folds: int,
    seed: int,
    *,
    everyone: bool = False,
) -> NDArray[np.int64]:
    """Fold of every row, -1 for a side-task row that resembles no guide row.

    A side-task row that is a near-copy of a guide row takes that row's fold, so that it leaves
    the training data together with it. ``everyone``: side-task rows get folds of their own too.
    """
    links = _copies(sketches, exacts, contents) + _matters(rows, features)
    one, other = (np.array(side, np.int64) for side in zip(*links, strict=True))
    n = len(rows)
    graph = sp.coo_matrix((np.ones(len(one)), (one, other)), shape=(n, n))
    _, group = connected_components(graph, directed=False)
    guide = np.array([row.guide for row in rows])
    guided = np.unique(group if everyone else group[guide])
    shuffled = np.random.RandomState(seed).permutation(guided)
    fold_of = np.full(group.max() + 1, -1, np.int64)
    fold_of[shuffled] = np.arange(len(shuffled)) % folds
    assigned: NDArray[np.int64] = fold_of[group]
    return assigned


def _copies(
    sketches: NDArray[np.uint32], exacts: NDArray[np.uint64], contents: NDArray[np.int32]
) -> list[tuple[int, int]]:
    links: list[tuple[int, int]] = []
    seen: dict[int, int] = {}
    for i, exact in enumerate(exacts.tolist()):
        links.append((seen.setdefault(exact, i), i))
    usable = np.flatnonzero(contents >= MIN_CONTENT)
    for band in range(0, SKETCH, BAND):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for i in usable.tolist():
            near = buckets[sketches[i, band : band + BAND].tobytes()]
            links.extend(
                (j, i)
                for j in near[-8:]
                if np.count_nonzero(sketches[i] == sketches[j]) >= COPY_AGREEMENT * SKETCH
            )
            near.append(i)
    return links


def _matters(rows: Sequence[LabelledText], features: Features) -> list[tuple[int, int]]:
    own = np.array([i for i, row in enumerate(rows) if row.own], np.int64)
    if not len(own):
        return []
    grams = features.matrix[own]
    seen = np.asarray(grams.sum(axis=0)).ravel()
    grams = grams[:, (seen >= 2) & (seen <= RARE)]
    size = np.asarray(grams.sum(axis=1)).ravel()
    shared = (grams @ grams.T).tocoo()
    smaller = np.minimum(size[shared.row], size[shared.col])
    near = (shared.row < shared.col) & (shared.data >= MATTER_SHARE * smaller) & (shared.data >= 6)
    return list(zip(own[shared.row[near]].tolist(), own[shared.col[near]].tolist(), strict=True))
