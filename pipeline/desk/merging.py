"""并入: two cases on one matter become one; all that was done moves along."""

from __future__ import annotations

from sqlalchemy import select, update

from pipeline.desk import clocks
from pipeline.desk.casefile import begin_handling, load_case
from pipeline.desk.guard import Act, change, need, record, rows, tell
from pipeline.domain.case import CASE_MOVES, OPEN_CASE, CaseStatus, move
from pipeline.domain.event import Level
from pipeline.domain.rights import Actor, require
from pipeline.errors import DeskError, IllegalTransition
from pipeline.store import tables as t
from pipeline.store.sql import Tx

MOVED = (
    t.assignments,
    t.clarifications,
    t.releases,
    t.evidence,
    t.upward_reports,
    t.lessons,
    t.alerts,
)


def merge_case(tx: Tx, actor: Actor, case_id: int, into_id: int, reason: str) -> None:
    """Close ``case_id`` into ``into_id``: assignments, drafts, evidence and alerts move along.

    Raises: IllegalTransition when the target is not open, or not assessed while work moves;
    DeskError when the case is graver than the target: assess the target first.
    """
    require(actor, "merge_case")
    need(reason=(reason, "并入原因"))
    case, into = load_case(tx.conn, case_id), load_case(tx.conn, into_id)
    if case_id == into_id:
        raise IllegalTransition("不能并入本单自身，请另选目标")
    status = move(CASE_MOVES, CaseStatus(case["status"]), CaseStatus.MERGED).value
    if into["status"] not in OPEN_CASE:
        label = CaseStatus(into["status"]).label
        raise IllegalTransition(f"目标 {into['number']} 为“{label}”，不能并入；请先重开")
    if case["level_reason"] and case["level"] > into["level"]:
        label = Level(case["level"]).label
        raise DeskError(f"本单为{label}，高于目标单；请先把目标单研判到{label}再并入")
    works = [
        table
        for table in (t.assignments, t.clarifications)
        if rows(tx.conn, select(table.c.id).where(table.c.case_id == case_id).limit(1))
    ]
    if works:
        begin_handling(tx, into)
    clocks.cancel(tx, "case", case_id)
    for table in MOVED:
        tx.conn.execute(update(table).where(table.c.case_id == case_id).values(case_id=into_id))
    tx.conn.execute(
        update(t.clocks)
        .where(t.clocks.c.case_id == case_id, t.clocks.c.owner != "case")
        .values(case_id=into_id)
    )
    change(tx, t.cases, case, status=status, merged_into=into_id, closed_at=tx.now)
    text = f"{actor.name}将本单并入 {into['number']}：{reason.strip()}"
    record(
        tx,
        actor,
        Act(
            "merge_case",
            "merged",
            "case",
            case_id,
            text,
            case_id=case_id,
            before={"status": case["status"]},
            after={"status": status, "merged_into": into_id},
            data={"into": into_id, "number": into["number"]},
        ),
    )
    received = f"{case['number']} 并入本单：{reason.strip()}"
    tell(
        tx,
        actor,
        Act("merge_case", "received_merge", "case", into_id, received, case_id=into_id),
    )
