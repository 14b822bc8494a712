"""Hand-over (交接班): the open items frozen as they stood, and who answers from now on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from pipeline.desk.casefile import check_desk_user
from pipeline.desk.guard import Act, add, change, record, rows, tell
from pipeline.domain.alert import AlertState
from pipeline.domain.case import OPEN_CASE, CaseStatus, HelpState
from pipeline.domain.event import Level
from pipeline.domain.release import OPEN_CLARIFICATION, ClarificationStatus
from pipeline.domain.rights import Actor, require
from pipeline.errors import NotAllowed
from pipeline.store import tables as t
from pipeline.store.sql import Tx


def open_items(conn: Connection, now: Any) -> dict[str, list[dict[str, Any]]]:
    """What waits at the desk: plain JSON, Chinese labels, times as ISO strings."""
    a, c, h, s, d = (
        t.alerts.c,
        t.cases.c,
        t.help_calls.c,
        t.silences.c,
        t.clarifications.c,
    )
    k = t.clocks.c
    next_due: dict[int, Any] = {
        row.case_id: row.due
        for row in conn.execute(
            select(k.case_id, func.min(k.due_at).label("due"))
            .where(k.case_id.is_not(None), k.met_at.is_(None), k.cancelled_at.is_(None))
            .group_by(k.case_id)
        )
    }
    alerts = select(t.alerts).where(a.state.in_([AlertState.NEW, AlertState.CLAIMED]))
    alerts = alerts.order_by(a.level.desc(), a.fired_at)
    return {
        "alerts": [
            {
                "fingerprint": r["fingerprint"],
                "title": r["title"],
                "level": Level(r["level"]).label,
                "state": AlertState(r["state"]).label,
                "claimed_by": r["claimed_by"],
            }
            for r in rows(conn, alerts)
        ],
        "cases": [
            {
                "id": r["id"],
                "number": r["number"],
                "title": r["title"],
                "level": Level(r["level"]).label,
                "status": CaseStatus(r["status"]).label,
                "owner": r["owner"],
                "next_due": next_due[r["id"]].isoformat() if r["id"] in next_due else "",
            }
            for r in rows(conn, select(t.cases).where(c.status.in_(OPEN_CASE)).order_by(c.id))
        ],
        "help_calls": [
            {
                "id": r["id"],
                "place": r["place_name"],
                "state": HelpState(r["state"]).label,
                "passed_to": r["passed_to"],
                "seen_at": r["seen_at"].isoformat(),
            }
            for r in rows(
                conn,
                select(t.help_calls).where(h.state != HelpState.CLOSED).order_by(h.seen_at),
            )
        ],
        "clarifications": [
            {
                "id": r["id"],
                "case_id": r["case_id"],
                "title": r["title"],
                "status": ClarificationStatus(r["status"]).label,
            }
            for r in rows(conn, select(t.clarifications).where(d.status.in_(OPEN_CLARIFICATION)))
        ],
        "silences": [
            {
                "id": r["id"],
                "matchers": r["matchers"],
                "owner": r["owner"],
                "reason": r["reason"],
                "ends_at": r["ends_at"].isoformat(),
            }
            for r in rows(conn, select(t.silences).where(s.ends_at > now))
        ],
    }


def hand_over(tx: Tx, actor: Actor, to_user: str, note: str = "") -> int:
    """Give the shift to another person of the desk; returns the hand-over's number.

    The giver's claimed alerts and open cases become the taker's. Raises: DeskError when the
    taker is nobody on duty, NotAllowed to oneself.
    """
    require(actor, "hand_over")
    if to_user == actor.name:
        raise NotAllowed("不能交给自己，请选择接班人")
    check_desk_user(tx.conn, to_user)
    items = open_items(tx.conn, tx.now)
    number = add(
        tx,
        t.handovers,
        at=tx.now,
        from_user=actor.name,
        to_user=to_user,
        note=note.strip(),
        open_items=items,
    )
    a, c = t.alerts, t.cases
    mine = select(a).where(a.c.state == AlertState.CLAIMED, a.c.claimed_by == actor.name)
    for alert in rows(tx.conn, mine):
        change(tx, a, alert, claimed_by=to_user)
    owned = rows(tx.conn, select(c).where(c.c.status.in_(OPEN_CASE), c.c.owner == actor.name))
    for case in owned:
        change(tx, c, case, owner=to_user)
        line = f"交接班：经办人由{actor.name}改为{to_user}"
        tell(
            tx,
            actor,
            Act("hand_over", "owner_changed", "case", case["id"], line, case_id=case["id"]),
        )
    counts = {key: len(value) for key, value in items.items()}
    text = (
        f"{actor.name}向{to_user}交班：预警 {counts['alerts']}、处置单 {counts['cases']}、"
        f"求助 {counts['help_calls']}、稿件 {counts['clarifications']}"
    )
    record(
        tx,
        actor,
        Act(
            "hand_over",
            "handed_over",
            "handover",
            number,
            text,
            after={"to": to_user, "cases": [r["number"] for r in owned], **counts},
            data=dict(counts),
        ),
    )
    return number
