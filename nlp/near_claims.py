"""Claims that words bring near a text, though not near enough to be shown (``nlp.claims``).

Only these are compared by meaning, clause by clause: of a thousand posts two have any, so the
sentence encoder reads a clause or two and never a whole library.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nlp.claims import ClaimIndex, KnownClaim, Thresholds
from nlp.second_tier import NEAR
from nlp.types import ClaimMatch


class NearClaims:
    """The active claims with the vectors of those that were ever near a text."""

    def __init__(self) -> None:
        self._given: Sequence[KnownClaim] = ()
        self._claims: dict[str, KnownClaim] = {}
        self._index = ClaimIndex(())
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def use(self, claims: Sequence[KnownClaim]) -> None:
        """Compare with these from now on; vectors of claims that stay are kept."""
        if claims is self._given:
            return
        known = {claim.id: claim for claim in claims}
        self._index = ClaimIndex(claims, thresholds=Thresholds(suggest=NEAR))
        self._vectors = {
            id_: v for id_, v in self._vectors.items() if known.get(id_) == self._claims[id_]
        }
        self._given, self._claims = claims, known

    def near(self, text: str) -> tuple[ClaimMatch, ...]:
        """Claims near by words, at most three, with the clause that is."""
        return self._index.match(text)

    def without_vector(self, ids: Sequence[str]) -> list[KnownClaim]:
        return [self._claims[id_] for id_ in dict.fromkeys(ids) if id_ not in self._vectors]

    def keep(self, claims: Sequence[KnownClaim], vectors: NDArray[np.float32]) -> None:
        for claim, vector in zip(claims, vectors, strict=True):
            self._vectors[claim.id] = vector

    def vector(self, id_: str) -> NDArray[np.float32]:
        return self._vectors[id_]
