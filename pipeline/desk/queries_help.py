"""Help calls as the lane reads them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from pipeline.desk import queries as q
from pipeline.domain.case import HelpState
from pipeline.store import tables as t


def help_counts(conn: Connection) -> dict[str, int]:
    """Calls per state."""
    h = t.help_calls.c
    return {r[0]: r[1] for r in conn.execute(select(h.state, func.count()).group_by(h.state))}


def help_calls(conn: Connection, state: str, *, limit: int = 60) -> list[dict[str, Any]]:
    """Calls of one state with their clock's due time; oldest first, closed ones newest first."""
    h, c = t.help_calls.c, t.clocks.c
    order = h.closed_at.desc() if state == HelpState.CLOSED.value else h.seen_at
    calls = q.rows(
        conn, select(t.help_calls).where(h.state == state).order_by(order, h.id).limit(limit)
    )
    due: dict[str, Any] = {}
    if calls:
        query = select(c.owner_id, func.min(c.due_at)).where(
            c.owner == "help",
            c.owner_id.in_([str(r["id"]) for r in calls]),
            c.met_at.is_(None),
            c.cancelled_at.is_(None),
        )
        due = {r[0]: r[1] for r in conn.execute(query.group_by(c.owner_id))}
    return [{**r, "due_at": due.get(str(r["id"]))} for r in calls]


def help_call(conn: Connection, help_id: int) -> dict[str, Any] | None:
    """One call, None when there is none.

    ``contacts``: how many it has that are not destroyed; ``held``: who keeps them as evidence and
    why, empty when nobody does.
    """
    call = q.one(conn, select(t.help_calls).where(t.help_calls.c.id == help_id))
    if call is None:
        return None
    v = t.vault.c
    alive = q.rows(
        conn,
        select(v.held_reason).where(v.help_call_id == help_id, v.ciphertext.is_not(None)),
    )
    held = next((k["held_reason"] for k in alive if k["held_reason"]), "")
    return {**call, "contacts": len(alive), "held": held}


def open_by_county(conn: Connection, city: str) -> dict[str, tuple[int, int]]:
    """County code -> (calls not yet closed, 0). ``city``: first four digits of the code."""
    h = t.help_calls.c
    county = func.substr(h.adcode, 1, 6)
    query = (
        select(county, func.count())
        .where(h.state != HelpState.CLOSED.value, h.adcode.startswith(city))
        .group_by(county)
    )
    return {r[0]: (r[1], 0) for r in conn.execute(query)}
