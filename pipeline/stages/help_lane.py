"""The help lane: one row per call for help, its contact in the vault; a copy only counts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select, update

from pipeline.domain.case import HelpState
from pipeline.domain.post import mask
from pipeline.stages.matter import Reading
from pipeline.store import tables as t
from pipeline.store.bulk import insert_many
from pipeline.store.sql import Tx


@dataclass(frozen=True, slots=True)
class HelpCall:
    """A post that is a call for help (``is_new``) or a copy of one."""

    event_id: str
    post: Reading
    is_new: bool


def record_calls(tx: Tx, calls: Sequence[HelpCall]) -> None:
    """Write the calls of a batch, each with the first contact that was seen."""
    h = t.help_calls
    new = []
    copies: dict[str, int] = {}
    contacts: dict[str, str] = {}  # event -> the first sealed contact of this batch
    for call in calls:
        post, place = call.post.post, call.post.place
        if post.sealed_contact:
            contacts.setdefault(call.event_id, post.sealed_contact)
        if not call.is_new:
            copies[call.event_id] = copies.get(call.event_id, 0) + 1
            continue
        new.append(
            {
                "post_id": post.id,
                "event_id": call.event_id,
                "text": mask(post.full_text)[0],
                "url": post.url,
                "source": post.source,
                "place_name": place.name[:64] if place else "",
                "adcode": place.adcode if place else "",
                "published_at": post.published_at,
                "seen_at": post.fetched_at,
                "probability": call.post.call,
                "state": HelpState.NEW.value,
            }
        )
    insert_many(tx.conn, h, new)
    if copies:
        tx.conn.execute(
            update(h)
            .where(h.c.event_id == bindparam("b_event"))
            .values(copies=h.c.copies + bindparam("b_more")),
            [{"b_event": event, "b_more": more} for event, more in copies.items()],
        )
    if contacts:
        _seal_away(tx, contacts)


def _seal_away(tx: Tx, contacts: dict[str, str]) -> None:
    """One contact per call into the vault; the first that was seen stays."""
    h, v = t.help_calls.c, t.vault
    rows = tx.conn.execute(
        select(h.id, h.event_id)
        .outerjoin(v, v.c.help_call_id == h.id)
        .where(h.event_id.in_(contacts), v.c.id.is_(None))
        .order_by(h.id)
    ).all()
    for row in rows:
        tx.conn.execute(
            insert(v),
            {
                "help_call_id": row.id,
                "ciphertext": _sealed(contacts[row.event_id]),
                "created_at": tx.now,
            },
        )


def _sealed(text: str) -> bytes:
    """The vault's bytes of a sealed contact; they were made on entry and stay sealed here."""
    try:
        return base64.urlsafe_b64decode(text)
    except (binascii.Error, ValueError):
        return text.encode()
