"""Corrected labels (改标): what a person says against the annotator, kept for training."""

from __future__ import annotations

from nlp.types import KINDS, RUMOURS, SENTIMENTS, URGENCIES
from pipeline.desk.guard import Act, add, need, record
from pipeline.domain.post import mask
from pipeline.domain.rights import Actor, require
from pipeline.errors import MissingFields
from pipeline.store import tables as t
from pipeline.store.sql import Tx

LABELS: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "sentiment": SENTIMENTS,
    "urgency": URGENCIES,
    "rumour": RUMOURS,
}
HEAD_NAMES = {"kind": "类别", "sentiment": "态度", "urgency": "紧急度", "rumour": "传言"}


def correct_label(
    tx: Tx, actor: Actor, post_id: str, head: str, old: str, new: str, text: str
) -> int:
    """Say what a post is; returns the correction's number. The text is kept masked.

    Raises: MissingFields for an unknown head or label, or no change.
    """
    require(actor, "correct_label")
    need(post_id=(post_id, "帖文"), text=(text, "帖文正文"))
    old, new = str(old), str(new)
    if head not in LABELS or new not in LABELS[head]:
        raise MissingFields({"new": f"有效的标签（{HEAD_NAMES.get(head, head)}）"})
    if new == old:
        raise MissingFields({"new": "与原标签不同的新标签"})
    number = add(
        tx,
        t.label_corrections,
        post_id=post_id,
        head=head,
        old=old,
        new=new,
        text=mask(text)[0],
        by=actor.name,
        at=tx.now,
    )
    line = f"{actor.name}改标（{HEAD_NAMES[head]}）：{old} → {new}"
    record(
        tx,
        actor,
        Act(
            "correct_label",
            "label_corrected",
            "post",
            post_id,
            line,
            before={head: old},
            after={head: new},
            data={"head": head, "old": old, "new": new},
        ),
    )
    return number
