"""What every room of the desk needs of a case: load it, put it in hand, see what is open."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from pipeline.desk import clocks
from pipeline.desk.guard import Row, change, load, rows, some
from pipeline.domain.case import (
    CASE_MOVES,
    OPEN_ASSIGNMENT,
    OPEN_CASE,
    AssignmentState,
    CaseStatus,
    move,
)
from pipeline.domain.release import OPEN_CLARIFICATION, ClarificationStatus
from pipeline.domain.rights import Role
from pipeline.errors import DeskError, IllegalTransition
from pipeline.store import tables as t
from pipeline.store.sql import Tx


def load_case(conn: Connection, case_id: int) -> Row:
    """A case by its number in the table. Raises: NotFound."""
    return load(conn, t.cases, case_id, "处置单")


def open_case_on(conn: Connection, event_id: str) -> Row | None:
    c = t.cases.c
    query = select(t.cases).where(c.event_id == event_id, c.status.in_(OPEN_CASE)).limit(1)
    found = rows(conn, query)
    return found[0] if found else None


def next_number(conn: Connection, column: Any, year: int) -> int:
    """One more than the numbers already given this year."""
    given = select(func.count()).where(column.like(f"%〔{year}〕%"))
    return int(conn.execute(given).scalar_one()) + 1


def begin_handling(tx: Tx, case: Row) -> Row:
    """The first assignment or draft puts an assessed case in hand; later ones change nothing.

    Raises: IllegalTransition while the case waits for its assessment or is out of hand.
    """
    status = CaseStatus(case["status"])
    if status in (CaseStatus.HANDLING, CaseStatus.RESPONDED, CaseStatus.WATCHING):
        return case
    if status is not CaseStatus.ASSESSED:
        next_step = "请先研判" if status is CaseStatus.TRIAGE else "请先重开"
        raise IllegalTransition(f"{case['number']} 当前为“{status.label}”，{next_step}")
    return change(tx, t.cases, case, status=move(CASE_MOVES, status, CaseStatus.HANDLING).value)


def answered(tx: Tx, case: Row) -> Row:
    """The first answer is out: the case is responded and its answer clocks stop."""
    values: dict[str, Any] = {}
    if case["status"] == CaseStatus.HANDLING:
        values["status"] = move(CASE_MOVES, CaseStatus.HANDLING, CaseStatus.RESPONDED).value
    if case["responded_at"] is None:
        values["responded_at"] = tx.now
    for name in ("first_release", "release_target"):
        clocks.meet(tx, "case", case["id"], name)
    return change(tx, t.cases, case, **values) if values else case


def open_tasks(conn: Connection, case_id: int) -> list[str]:
    """What is still to be done in a case, one Chinese line each."""
    a, c, s = t.assignments.c, t.clarifications.c, t.clocks.c
    left = [
        f"{row['office']}：{row['task']}（{AssignmentState(row['state']).label}）"
        for row in rows(
            conn,
            select(t.assignments).where(a.case_id == case_id, a.state.in_(OPEN_ASSIGNMENT)),
        )
    ]
    left += [
        f"澄清稿“{row['title']}”（{ClarificationStatus(row['status']).label}）"
        for row in rows(
            conn,
            select(t.clarifications).where(c.case_id == case_id, c.status.in_(OPEN_CLARIFICATION)),
        )
    ]
    left += [
        row["label"]
        for row in rows(
            conn,
            select(t.clocks).where(
                s.case_id == case_id,
                s.owner == "step",
                s.met_at.is_(None),
                s.cancelled_at.is_(None),
            ),
        )
    ]
    return left


def refuse_open_tasks(conn: Connection, case: Row, what: str) -> None:
    left = open_tasks(conn, case["id"])
    if left:
        raise DeskError(f"还有 {len(left)} 项未办结，不能{what}：{some(left)}")


def check_desk_user(conn: Connection, name: str) -> Row:
    """An enabled 值班员 or 带班领导 of this name. Raises: DeskError."""
    u = t.users.c
    found = rows(
        conn,
        select(t.users).where(
            u.name == name, u.disabled.is_(False), u.role.in_([Role.DUTY, Role.LEADER])
        ),
    )
    if not found:
        raise DeskError(f"“{name}”不是在岗的值班员或带班领导，请另选")
    return found[0]
