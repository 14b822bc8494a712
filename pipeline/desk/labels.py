"""Corrected labels (改标): what a person says against the annotator, kept for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from sqlalchemy import Connection, select

from nlp.types import KINDS, RUMOURS, SENTIMENTS, URGENCIES
from pipeline.desk.guard import Act, add, need, record
from pipeline.domain.corrections import Correction, standing
from pipeline.domain.post import mask
from pipeline.domain.rights import Actor, require
from pipeline.errors import IllegalTransition, MissingFields
from pipeline.store import tables as t
from pipeline.store.sql import Tx

LABELS: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "sentiment": SENTIMENTS,
    "urgency": URGENCIES,
    "rumour": RUMOURS,
}
HEAD_NAMES = {"kind": "类别", "sentiment": "态度", "urgency": "紧急度", "rumour": "传言"}
Labels = tuple[str, str]
"""The machine's label, a person's label."""
_FIELDS = [field.name for field in fields(Correction)]


def correct_label(
    tx: Tx, actor: Actor, post_id: str, head: str, old: str, new: str, text: str
) -> int:
    """Say what a post is; returns the correction's number. The text is kept masked.

    ``old``: the annotator's label. Agreeing with it is a correction too once a colleague said
    otherwise. Nobody's word is overwritten: two who differ stand side by side.

    Raises: MissingFields for an unknown head or label, or no change.
    """
    require(actor, "correct_label")
    old, new = str(old), str(new)
    _known(post_id, head, new, text)
    if new == old and not _words_on(tx.conn, post_id, head):
        raise MissingFields({"new": "与原标签不同的新标签"})
    return _say(tx, actor, "correct_label", post_id, head, old, new, text, settles=False)


def settle_label(
    tx: Tx, actor: Actor, post_id: str, head: str, old: str, new: str, text: str
) -> int:
    """Decide between people who differ; a later word by anybody opens it again.

    Raises: MissingFields for an unknown head or label, IllegalTransition without a dispute.
    """
    require(actor, "settle_label")
    old, new = str(old), str(new)
    _known(post_id, head, new, text)
    stands = standing(_words_on(tx.conn, post_id, head))
    if not stands or not stands[0].disputed:
        raise IllegalTransition("这条帖文的判读没有分歧，不必裁定；需要更正请用“更正判读”")
    return _say(tx, actor, "settle_label", post_id, head, old, new, text, settles=True)


def check_post(tx: Tx, actor: Actor, post_id: str, said: Mapping[str, Labels], text: str) -> None:
    """Read a drawn post (抽查) without having seen the machine's labels: all heads at once.

    ``said``: head -> (the machine's label, the person's). Each is a word like any correction, also
    where both agree. Raises: MissingFields for a head that is missing or a label nobody knows.
    """
    require(actor, "correct_label")
    need(**{head: (said.get(head, ("", ""))[1], name) for head, name in HEAD_NAMES.items()})
    for head, (old, new) in said.items():
        _known(post_id, head, str(new), text)
        _say(
            tx,
            actor,
            "check_post",
            post_id,
            head,
            str(old),
            str(new),
            text,
            settles=False,
            drawn=True,
        )


def corrections(conn: Connection, post_ids: Sequence[str] | None = None) -> list[Correction]:
    """Everything people said, oldest first; of some posts only when ``post_ids`` is given."""
    query = select(t.label_corrections).order_by(t.label_corrections.c.id)
    if post_ids is not None:
        query = query.where(t.label_corrections.c.post_id.in_(post_ids))
    return [
        Correction(**{name: row[name] for name in _FIELDS})
        for row in conn.execute(query).mappings()
    ]


def _words_on(conn: Connection, post_id: str, head: str) -> list[Correction]:
    return [c for c in corrections(conn, [post_id]) if c.head == head]


def _known(post_id: str, head: str, new: str, text: str) -> None:
    need(post_id=(post_id, "帖文"), text=(text, "帖文正文"))
    if head not in LABELS or new not in LABELS[head]:
        raise MissingFields({"new": f"有效的标签（{HEAD_NAMES.get(head, head)}）"})


def _say(
    tx: Tx,
    actor: Actor,
    act: str,
    post_id: str,
    head: str,
    old: str,
    new: str,
    text: str,
    *,
    settles: bool,
    drawn: bool = False,
) -> int:
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
        settles=settles,
        drawn=drawn,
    )
    verb = "裁定" if settles else "抽查" if drawn else "改标"
    record(
        tx,
        actor,
        Act(
            act,
            "label_settled" if settles else "label_corrected",
            "post",
            post_id,
            f"{actor.name}{verb}（{HEAD_NAMES[head]}）：{old} → {new}",
            before={head: old},
            after={head: new},
            data={"head": head, "old": old, "new": new, "drawn": drawn},
        ),
    )
    return number
