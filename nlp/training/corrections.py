"""What officers corrected, as training data: who may be learned from, who judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from nlp.heads import HEAD
from nlp.kernel import MIN_CONTENT, SKETCH, sketch_texts
from nlp.text import clean
from nlp.training.folds import COPY_AGREEMENT
from nlp.training.labelled import LabelledText

SET_NAME = "corrections"
HELD_SHARE = 5  # one in so many is held back


@dataclass(frozen=True, slots=True)
class CorrectedText:
    """A text and the labels people agree on: head -> label, not every head. ``drawn``: by chance
    for a spot check, not chosen because the machine was wrong."""

    text: str
    labels: Mapping[str, str]
    drawn: bool = False


def held_back(text: str, seed: int) -> bool:
    """Whether a text judges challengers instead of teaching them.

    Decided by the cleaned text, so that copies of a post are on one side whenever they come.
    """
    digest = blake2b(clean(text).encode("utf-8", "surrogatepass"), key=str(seed).encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELD_SHARE == 0


def split(
    corrected: Sequence[CorrectedText], seed: int
) -> tuple[list[LabelledText], list[LabelledText], list[LabelledText]]:
    """Rows to learn from, rows held back, spot checks; unknown labels are left out.

    ``corrected``: oldest first. A near-copy follows the text it resembles, so that nothing judges
    what its copy taught; one that resembles texts of two sides is left out, and so is a spot check
    of what was corrected before. A correction of what was drawn before is a spot check too.
    """
    pairs = [(row, one.drawn) for one in corrected if (row := _labelled(one)) is not None]
    copies = _Copies([row.text for row, _ in pairs])
    sides: list[str] = []
    for n, (row, drawn) in enumerate(pairs):
        near = {sides[i] for i in copies.before(n)} - {""}
        own = "checked" if drawn else "held" if held_back(row.text, seed) else "learn"
        side = near.pop() if len(near) == 1 else "" if near else own
        sides.append("" if drawn and side != "checked" else side)
    learn, held, checked = (
        [row for (row, _), side in zip(pairs, sides, strict=True) if side == wanted]
        for wanted in ("learn", "held", "checked")
    )
    return learn, held, checked


def _labelled(one: CorrectedText) -> LabelledText | None:
    labels = {
        head: HEAD[head].labels.index(label)
        for head, label in one.labels.items()
        if head in HEAD and label in HEAD[head].labels
    }
    return LabelledText(one.text, SET_NAME, labels) if labels else None


def no_copies(texts: Sequence[str], others: Sequence[str]) -> list[str]:
    """Those of the texts that are no near-copy of any of the others."""
    copies = _Copies([*others, *texts])
    n = len(others)
    return [text for i, text in enumerate(texts, n) if not np.any(copies.before(i) < n)]


class _Copies:
    """Which texts are near-copies: by the folds' measure, the same text where one is short."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._sketches, self._exacts, contents = sketch_texts(texts)
        self._long = contents >= MIN_CONTENT

    def before(self, n: int) -> NDArray[np.int64]:
        """Numbers of the earlier texts that text ``n`` resembles."""
        near = self._exacts[:n] == self._exacts[n]
        if self._long[n]:
            agree = np.count_nonzero(self._sketches[:n] == self._sketches[n], axis=1)
            near |= self._long[:n] & (agree >= COPY_AGREEMENT * SKETCH)
        return np.flatnonzero(near)
