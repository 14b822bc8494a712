"""Assignments (分办): who does what by when; signing for receipt is not reading and not doing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select

from pipeline.desk import clocks
from pipeline.desk.casefile import begin_handling, load_case
from pipeline.desk.guard import (
    Act,
    Row,
    add,
    change,
    clock_text,
    load,
    need,
    record,
    rows,
    same_office,
)
from pipeline.domain.case import (
    ASSIGNMENT_MOVES,
    OPEN_ASSIGNMENT,
    OPEN_CASE,
    PARTS,
    AssignmentState,
    CaseStatus,
    move,
)
from pipeline.domain.deadlines import choose
from pipeline.domain.rights import Actor, require
from pipeline.errors import DeskError, IllegalTransition, MissingFields
from pipeline.store import tables as t
from pipeline.store.sql import Tx


def _load(tx: Tx, assignment_id: int) -> tuple[Row, Row]:
    row = load(tx.conn, t.assignments, assignment_id, "分办任务")
    case = load_case(tx.conn, row["case_id"])
    if case["status"] not in OPEN_CASE:
        raise IllegalTransition(
            f"{case['number']} 为“{CaseStatus(case['status']).label}”，不能再办理其任务"
        )
    return row, case


def _move(row: Row, to: AssignmentState) -> str:
    return move(ASSIGNMENT_MOVES, AssignmentState(row["state"]), to).value


def _act(row: Row, name: str, fact: str, text: str, **after: Any) -> Act:
    return Act(
        name,
        fact,
        "assignment",
        row["id"],
        text,
        case_id=row["case_id"],
        before={"state": row["state"]},
        after=after,
        office=row["office"],
        data={"assignment": row["id"], "office": row["office"], "state": after.get("state", "")},
    )


def assign(
    tx: Tx,
    actor: Actor,
    case_id: int,
    office: str,
    task: str,
    *,
    part: str = "lead",
    due_at: datetime | None = None,
) -> int:
    """Send a task to an office; the first one puts the case in hand. Returns its number.

    One lead office at a time. ``due_at``: when the reply is due, else by the level's clock.
    """
    require(actor, "assign")
    need(office=(office, "承办科室"), task=(task, "任务"))
    if part not in PARTS:
        raise MissingFields({"part": "牵头或协办"})
    if due_at is not None and due_at <= tx.now:
        raise MissingFields({"due_at": "反馈时限（须晚于现在）"})
    case = begin_handling(tx, load_case(tx.conn, case_id))
    if part == "lead":
        a = t.assignments.c
        busy = rows(
            tx.conn,
            select(t.assignments).where(
                a.case_id == case_id,
                a.part == "lead",
                a.office != office,
                a.state.in_(OPEN_ASSIGNMENT),
            ),
        )
        if busy:
            raise DeskError(f"{busy[0]['office']}正在牵头；请改派该任务，或把{office}设为协办科室")
    row = _send(tx, actor, case, office, task.strip(), part, due_at, None)
    values: dict[str, Any] = {}
    if part == "lead" and case["lead_office"] != office:
        values["lead_office"] = office
    if part == "helper" and office not in case["helper_offices"]:
        values["helper_offices"] = [*case["helper_offices"], office]
    if values:
        change(tx, t.cases, case, **values)
    text = (
        f"{actor.name}分办{office}（{PARTS[part]}）：{task.strip()}，"
        f"{clock_text(row['due_at'])}前反馈"
    )
    record(tx, actor, _act(row, "assign", "assigned", text, state=row["state"], part=part))
    return int(row["id"])


def _send(
    tx: Tx,
    actor: Actor,
    case: Row,
    office: str,
    task: str,
    part: str,
    due_at: datetime | None,
    replaces: int | None,
) -> Row:
    number = add(
        tx,
        t.assignments,
        case_id=case["id"],
        office=office,
        part=part,
        task=task,
        state=AssignmentState.SENT.value,
        sent_at=tx.now,
        sent_by=actor.name,
        due_at=due_at or tx.now,
        replaces=replaces,
    )
    specs = {
        s.name: s
        for s in choose(clocks.specs_of(case), "assignment", case["level"], case["case_class"])
    }
    if "receipt" in specs:
        clocks.start_clock(tx, "assignment", number, specs["receipt"], case_id=case["id"])
    if "reply" in specs:
        due = clocks.start_clock(
            tx, "assignment", number, specs["reply"], case_id=case["id"], due_at=due_at
        )
        row = load(tx.conn, t.assignments, number, "分办任务")
        change(tx, t.assignments, row, due_at=due)
    return load(tx.conn, t.assignments, number, "分办任务")


def receive(tx: Tx, actor: Actor, assignment_id: int) -> None:
    """签收, by the office itself."""
    require(actor, "receive_assignment")
    row, _ = _load(tx, assignment_id)
    same_office(actor, row["office"])
    state = _move(row, AssignmentState.RECEIVED)
    change(
        tx,
        t.assignments,
        row,
        state=state,
        received_at=tx.now,
        received_by=actor.name,
    )
    clocks.meet(tx, "assignment", assignment_id, "receipt")
    text = f"{row['office']}（{actor.name}）签收"
    record(tx, actor, _act(row, "receive_assignment", "received", text, state=state))


def hand_back(tx: Tx, actor: Actor, assignment_id: int, reason: str) -> None:
    """退办: not ours, with the reason; the desk decides what next."""
    require(actor, "hand_back")
    need(reason=(reason, "退办理由"))
    row, _ = _load(tx, assignment_id)
    same_office(actor, row["office"])
    state = _move(row, AssignmentState.HANDED_BACK)
    change(tx, t.assignments, row, state=state, comment=reason.strip())
    clocks.cancel(tx, "assignment", assignment_id)
    text = f"{row['office']}（{actor.name}）退办：{reason.strip()}"
    record(tx, actor, _act(row, "hand_back", "handed_back", text, state=state))


def reassign(tx: Tx, actor: Actor, assignment_id: int, office: str, reason: str) -> int:
    """改派: another office gets the task as it stands; returns the new assignment's number."""
    require(actor, "reassign")
    need(office=(office, "改派科室"), reason=(reason, "改派原因"))
    row, case = _load(tx, assignment_id)
    if office == row["office"] and row["state"] != AssignmentState.HANDED_BACK:
        raise DeskError(f"任务已在{office}，请另选科室")
    state = _move(row, AssignmentState.REASSIGNED)
    change(
        tx,
        t.assignments,
        row,
        state=state,
        comment=reason.strip(),
        decided_at=tx.now,
        decided_by=actor.name,
    )
    clocks.cancel(tx, "assignment", assignment_id)
    due_at = row["due_at"] if row["due_at"] > tx.now else None
    new = _send(tx, actor, case, office, row["task"], row["part"], due_at, row["id"])
    if row["part"] == "lead" and case["lead_office"] != office:
        change(tx, t.cases, case, lead_office=office)
    text = f"{actor.name}将{row['office']}的任务改派{office}：{reason.strip()}"
    act = _act(row, "reassign", "reassigned", text, state=state, new=new["id"], to=office)
    record(tx, actor, act)
    return int(new["id"])


def reply(tx: Tx, actor: Actor, assignment_id: int, text: str) -> None:
    """反馈, by the office itself: what was found and done."""
    require(actor, "reply_assignment")
    need(text=(text, "反馈内容"))
    row, _ = _load(tx, assignment_id)
    same_office(actor, row["office"])
    state = _move(row, AssignmentState.REPLIED)
    change(
        tx,
        t.assignments,
        row,
        state=state,
        reply=text.strip(),
        replied_at=tx.now,
        replied_by=actor.name,
    )
    clocks.meet(tx, "assignment", assignment_id, "reply")
    line = f"{row['office']}（{actor.name}）反馈：{text.strip()}"
    record(tx, actor, _act(row, "reply_assignment", "replied", line, state=state))


def accept_reply(tx: Tx, actor: Actor, assignment_id: int, comment: str = "") -> None:
    """审定通过; for a task that was handed back: nothing more is to be done."""
    require(actor, "accept_reply")
    row, _ = _load(tx, assignment_id)
    state = _move(row, AssignmentState.ACCEPTED)
    _decide(tx, actor, row, state, comment)
    clocks.cancel(tx, "assignment", assignment_id)
    back = row["state"] == AssignmentState.HANDED_BACK
    text = f"{actor.name}{'同意退办' if back else '审定通过'}（{row['office']}）"
    text += f"：{comment.strip()}" if comment.strip() else ""
    record(tx, actor, _act(row, "accept_reply", "reply_accepted", text, state=state))


def return_reply(tx: Tx, actor: Actor, assignment_id: int, comment: str) -> None:
    """退回补充: what is missing, and the reply clock runs anew."""
    require(actor, "accept_reply")
    need(comment=(comment, "需要补充的内容"))
    row, case = _load(tx, assignment_id)
    state = _move(row, AssignmentState.RETURNED)
    specs = choose(clocks.specs_of(case), "assignment", case["level"], case["case_class"])
    due = row["due_at"]
    for spec in specs:
        if spec.name == "reply":
            due = clocks.start_clock(tx, "assignment", assignment_id, spec, case_id=case["id"])
    new = change(tx, t.assignments, row, due_at=due)
    _decide(tx, actor, new, state, comment)
    text = f"{actor.name}退回{row['office']}补充：{comment.strip()}"
    record(tx, actor, _act(row, "return_reply", "reply_returned", text, state=state))


def _decide(tx: Tx, actor: Actor, row: Row, state: str, comment: str) -> None:
    change(
        tx,
        t.assignments,
        row,
        state=state,
        comment=comment.strip() or row["comment"],
        decided_at=tx.now,
        decided_by=actor.name,
    )
