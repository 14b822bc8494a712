"""What people say about one label of one post, and what stands when they do not agree.

Everybody's latest word counts. A leader may settle a dispute; a later word by anybody opens it
again, and the earlier words stay on record.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Correction:
    """One word by one person. ``head``: kind, sentiment, urgency or rumour; ``settles``: a leader
    decided between others; ``drawn``: the post was drawn for a spot check, its labels unseen."""

    post_id: str
    head: str
    old: str
    new: str
    text: str
    by: str
    at: datetime
    settles: bool = False
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What people's words come to. ``label``: None while they disagree; ``words``: who says what
    now, in the order in which they first spoke."""

    post_id: str
    head: str
    machine: str
    label: str | None
    text: str
    words: dict[str, str] = field(default_factory=dict)
    settled_by: str = ""
    at: datetime | None = None
    drawn: bool = False

    @property
    def disputed(self) -> bool:
        return self.label is None


def standing(corrections: Iterable[Correction]) -> list[Standing]:
    """One per post and head, in the order of the first word. ``corrections``: oldest first."""
    said: dict[tuple[str, str], list[Correction]] = {}
    for correction in corrections:
        said.setdefault((correction.post_id, correction.head), []).append(correction)
    return [_stands(list_) for list_ in said.values()]


def _stands(said: list[Correction]) -> Standing:
    words: dict[str, str] = {}
    settled: Correction | None = None
    for correction in said:
        words[correction.by] = correction.new
        settled = correction if correction.settles else None
    labels = set(words.values())
    label = settled.new if settled else labels.pop() if len(labels) == 1 else None
    first, last = said[0], said[-1]
    return Standing(
        post_id=first.post_id,
        head=first.head,
        machine=first.old,
        label=label,
        text=last.text,
        words=words,
        settled_by=settled.by if settled else "",
        at=last.at,
        drawn=any(one.drawn for one in said),
    )
