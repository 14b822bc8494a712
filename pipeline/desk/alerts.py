"""Alerts at the desk: claim, give back, put aside, close, open again."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline.desk import clocks
from pipeline.desk.guard import Act, Row, change, clock_text, load, need, record
from pipeline.domain.alert import ALERT_MOVES, AlertState
from pipeline.domain.case import move
from pipeline.domain.rights import Actor, Role, may, require
from pipeline.errors import IllegalTransition, NotAllowed
from pipeline.store import tables as t
from pipeline.store.sql import Tx

LONGEST_DUTY = timedelta(hours=4)
LONGEST_LEADER = timedelta(days=7)


def _load(tx: Tx, fingerprint: str) -> Row:
    return load(tx.conn, t.alerts, fingerprint, "预警")


def _move(row: Row, to: AlertState) -> str:
    return move(ALERT_MOVES, AlertState(row["state"]), to).value


def _act(row: Row, name: str, fact: str, text: str, **after: object) -> Act:
    return Act(
        name,
        fact,
        "alert",
        row["fingerprint"],
        text,
        case_id=row["case_id"],
        before={"state": row["state"], "claimed_by": row["claimed_by"]},
        after=dict(after),
        office=row["lead_office"],
        data={"level": row["level"], "rule": row["rule"]},
    )


def claim_alert(tx: Tx, actor: Actor, fingerprint: str) -> None:
    """I take it. Raises: NotAllowed, NotFound, IllegalTransition (naming who has it)."""
    require(actor, "claim_alert")
    row = _load(tx, fingerprint)
    if row["state"] == AlertState.CLAIMED:
        when = clock_text(row["claimed_at"]) if row["claimed_at"] else ""
        raise IllegalTransition(f"已由{row['claimed_by']}于{when}认领；需要接手请先由其释放")
    state = _move(row, AlertState.CLAIMED)
    change(
        tx,
        t.alerts,
        row,
        state=state,
        state_reason="",
        claimed_by=actor.name,
        claimed_at=tx.now,
        progress_at=tx.now,
        shelved_until=None,
    )
    clocks.meet(tx, "alert", fingerprint, "unclaimed")
    text = f"{actor.name}认领预警“{row['title']}”"
    record(tx, actor, _act(row, "claim_alert", "alert_claimed", text, state=state))


def release_claim(tx: Tx, actor: Actor, fingerprint: str) -> None:
    """I give it back: new again, its clock starts anew. Only the claimer, or a leader."""
    require(actor, "claim_alert")
    row = _load(tx, fingerprint)
    if row["state"] != AlertState.CLAIMED:
        move(ALERT_MOVES, AlertState(row["state"]), AlertState.CLAIMED)
        raise IllegalTransition("此预警未被认领，无需释放")
    if row["claimed_by"] != actor.name and actor.role is not Role.LEADER:
        raise NotAllowed(f"此预警由{row['claimed_by']}认领，请由本人或带班领导释放")
    state = _move(row, AlertState.NEW)
    change(
        tx,
        t.alerts,
        row,
        state=state,
        state_reason=f"{actor.name}释放认领",
        claimed_by="",
        claimed_at=None,
        progress_at=tx.now,
    )
    text = f"{actor.name}释放对预警“{row['title']}”的认领"
    record(tx, actor, _act(row, "release_claim", "alert_given_back", text, state=state))


def shelve_alert(tx: Tx, actor: Actor, fingerprint: str, until: datetime, reason: str) -> None:
    """Put aside until a time, with a reason; it comes back by itself.

    Raises: NotAllowed when ``until`` is further away than the role may choose.
    """
    require(actor, "shelve_alert")
    need(reason=(reason, "暂挂原因"))
    row = _load(tx, fingerprint)
    state = _move(row, AlertState.SHELVED)
    check_until(tx, actor, until, "暂挂")
    clocks.cancel(tx, "alert", fingerprint, "unclaimed")
    change(
        tx,
        t.alerts,
        row,
        state=state,
        state_reason=f"{actor.name}：{reason.strip()}",
        shelved_until=until,
    )
    text = f"{actor.name}暂挂预警“{row['title']}”至{clock_text(until)}：{reason.strip()}"
    record(tx, actor, _act(row, "shelve_alert", "alert_shelved", text, state=state, until=until))


def check_until(tx: Tx, actor: Actor, until: datetime, what: str) -> None:
    """The end lies ahead and not further than the role may choose."""
    if until <= tx.now:
        raise NotAllowed(f"{what}的结束时间须晚于现在")
    limit = LONGEST_LEADER if may(actor, "silence_long") else LONGEST_DUTY
    if until - tx.now > limit:
        hours = int(limit.total_seconds() // 3600)
        more = "" if may(actor, "silence_long") else "；更长请由带班领导操作"
        raise NotAllowed(f"{what}最长 {hours} 小时{more}")


def close_alert(
    tx: Tx, actor: Actor, fingerprint: str, reason: str, useful: bool | None = None
) -> None:
    """Done with it. ``useful``: the desk's judgement for the review, None when not judged."""
    require(actor, "close_alert")
    need(reason=(reason, "关闭原因"))
    row = _load(tx, fingerprint)
    state = _move(row, AlertState.CLOSED)
    clocks.cancel(tx, "alert", fingerprint, "unclaimed")
    change(
        tx,
        t.alerts,
        row,
        state=state,
        state_reason=f"{actor.name}：{reason.strip()}",
        useful=useful,
        closed_at=tx.now,
        shelved_until=None,
    )
    text = f"{actor.name}关闭预警“{row['title']}”：{reason.strip()}"
    record(tx, actor, _act(row, "close_alert", "alert_closed", text, state=state, useful=useful))


def reopen_alert(tx: Tx, actor: Actor, fingerprint: str, reason: str) -> None:
    """Back to new, from closed, shelved, calmed or suppressed."""
    require(actor, "close_alert")
    need(reason=(reason, "重开原因"))
    row = _load(tx, fingerprint)
    if row["state"] == AlertState.CLAIMED:
        raise IllegalTransition("此预警已认领；如需退回请使用“释放认领”")
    state = _move(row, AlertState.NEW)
    change(
        tx,
        t.alerts,
        row,
        state=state,
        state_reason=f"{actor.name}：{reason.strip()}",
        claimed_by="",
        claimed_at=None,
        progress_at=tx.now,
        shelved_until=None,
        closed_at=None,
    )
    text = f"{actor.name}重开预警“{row['title']}”：{reason.strip()}"
    record(tx, actor, _act(row, "reopen_alert", "alert_reopened", text, state=state))
