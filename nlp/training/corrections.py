"""What officers corrected, as training data: who may be learned from, who judges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from nlp.heads import HEAD
from nlp.text import clean
from nlp.training.labelled import LabelledText

SET_NAME = "corrections"
HELD_SHARE = 5  # one in so many is held back


@dataclass(frozen=True, slots=True)
class CorrectedText:
    """A text and the labels people agree on: head -> label, not every head."""

    text: str
    labels: Mapping[str, str]


def held_back(text: str, seed: int) -> bool:
    """Whether a text judges challengers instead of teaching them.

    Decided by the cleaned text, so that copies of a post are on one side whenever they come.
    """
    digest = blake2b(clean(text).encode("utf-8", "surrogatepass"), key=str(seed).encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELD_SHARE == 0


def split(
    corrected: Iterable[CorrectedText], seed: int
) -> tuple[list[LabelledText], list[LabelledText]]:
    """Rows to learn from and rows held back; unknown labels are left out."""
    learn: list[LabelledText] = []
    held: list[LabelledText] = []
    for one in corrected:
        labels = {
            head: HEAD[head].labels.index(label)
            for head, label in one.labels.items()
            if head in HEAD and label in HEAD[head].labels
        }
        if labels:
            side = held if held_back(one.text, seed) else learn
            side.append(LabelledText(one.text, SET_NAME, labels))
    return learn, held


def texts_of(rows: Sequence[LabelledText]) -> list[str]:
    return [row.text for row in rows]
