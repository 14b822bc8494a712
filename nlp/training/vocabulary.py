"""Which n-grams the model knows: exact 32-bit keys, pruned, as a sparse matrix of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from nlp.kernel import gram_keys

MIN_TEXTS = 3


@dataclass(frozen=True, slots=True)
class Features:
    """``keys`` (V,) sorted; ``matrix`` (texts, V) of ones; ``texts_with`` (V,)."""

    keys: NDArray[np.uint32]
    matrix: Any
    texts_with: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str], min_texts: int = MIN_TEXTS) -> Features:
        """Every n-gram that at least ``min_texts`` of the texts hold."""
        found, ends = gram_keys(texts)
        keys, counts = np.unique(found, return_counts=True)
        keys = keys[counts >= min_texts]
        at = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
        known = keys[at] == found
        kept = np.concatenate(([0], np.cumsum(known)))[ends]
        matrix = sp.csr_matrix(
            (np.ones(int(kept[-1]), np.float32), at[known].astype(np.int32), kept),
            shape=(len(texts), len(keys)),
        )
        return cls(keys, matrix, counts[counts >= min_texts])

    def only(self, columns: NDArray[np.int64]) -> Features:
        """The same texts with fewer n-grams."""
        return Features(
            self.keys[columns], self.matrix[:, columns].tocsr(), self.texts_with[columns]
        )


def gram_weights(texts_with: NDArray[np.int64], texts: int) -> NDArray[np.float32]:
    """Square root of the inverse document frequency: rarer n-grams count a little more."""
    weights: NDArray[np.float32] = np.sqrt(np.log((1 + texts) / (1 + texts_with)) + 1).astype(
        np.float32
    )
    return weights


def weighted(matrix: Any, weights: NDArray[np.float32]) -> Any:
    """Rows of length 1 after weighing the n-grams."""
    scaled = matrix @ sp.diags(weights)
    length = np.sqrt(np.asarray(scaled.multiply(scaled).sum(axis=1)).ravel())
    length[length == 0] = 1
    return (sp.diags((1 / length).astype(np.float32)) @ scaled).tocsr()
