"""Cases as screens read them: the list, one case with its clocks, tasks, drafts and releases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select

from pipeline.desk import queries as q
from pipeline.domain.case import (
    ASSIGNMENT_MOVES,
    CASE_MOVES,
    OPEN_CASE,
    AssignmentState,
    CaseClass,
    CaseStatus,
)
from pipeline.domain.event import Level
from pipeline.domain.release import ClarificationStatus
from pipeline.domain.rights import Actor, Role, may
from pipeline.store import tables as t

GROUPS: dict[str, str] = {"open": "在办", "done": "办结", "all": "全部"}
EDITING_FOR = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class ClockView:
    """A clock as a bar. ``share``: of its time that has passed, 0-1; ``marks``: 50 % and 80 %."""

    name: str
    label: str
    basis: str
    started_at: datetime
    due_at: datetime
    met_at: datetime | None
    cancelled: bool
    share: float
    marks: tuple[float, ...]

    @property
    def is_met(self) -> bool:
        return self.met_at is not None

    @property
    def is_running(self) -> bool:
        return not self.is_met and not self.cancelled


@dataclass(frozen=True, slots=True)
class CaseView:
    """One case. ``can``: acts this person may do now, by role and status."""

    case: dict[str, Any]
    status: CaseStatus
    level: Level
    event: dict[str, Any] | None
    clocks: tuple[ClockView, ...]
    timeline: tuple[dict[str, Any], ...]
    assignments: tuple[dict[str, Any], ...]
    drafts: tuple[dict[str, Any], ...]
    releases: tuple[dict[str, Any], ...]
    reports: tuple[dict[str, Any], ...]
    alerts: tuple[dict[str, Any], ...]
    evidence: tuple[dict[str, Any], ...]
    can: frozenset[str]


def case_list(
    conn: Connection, actor: Actor, *, group: str = "open", words: str = "", limit: int = 60
) -> list[dict[str, Any]]:
    """Cases this person may see, gravest and newest first, each with its next due time."""
    c, k = t.cases.c, t.clocks.c
    due = (
        select(k.case_id, func.min(k.due_at).label("next_due"))
        .where(k.met_at.is_(None), k.cancelled_at.is_(None), k.case_id.is_not(None))
        .group_by(k.case_id)
        .subquery()
    )
    query: Select[Any] = (
        select(t.cases, due.c.next_due)
        .join(due, due.c.case_id == c.id, isouter=True)
        .order_by(c.level.desc(), c.opened_at.desc())
        .limit(limit)
    )
    if group == "open":
        query = query.where(c.status.in_(q.OPEN_CASE_VALUES))
    elif group == "done":
        query = query.where(c.status.not_in(q.OPEN_CASE_VALUES))
    if words.strip():
        like = f"%{words.strip()}%"
        query = query.where(or_(c.title.like(like), c.number.like(like)))
    if actor.role is Role.OFFICE:
        query = query.where(c.id.in_(_own(actor)))
    return q.rows(conn, query)


def _own(actor: Actor) -> Select[Any]:
    """Cases in which the actor's office has or had a part."""
    a = t.assignments.c
    return select(a.case_id).where(a.office == actor.office)


def case_view(conn: Connection, case_id: int, now: datetime, actor: Actor) -> CaseView | None:
    """One case; None when there is none, or it is not this office's."""
    if not may(actor, "see_case"):
        return None
    query = select(t.cases).where(t.cases.c.id == case_id)
    if actor.role is Role.OFFICE:
        query = query.where(t.cases.c.id.in_(_own(actor)))
    case = q.one(conn, query)
    if case is None:
        return None

    def of(table: Any, order: Any, limit: int = 300) -> tuple[dict[str, Any], ...]:
        wanted = select(table).where(table.c.case_id == case_id).order_by(order).limit(limit)
        return tuple(q.rows(conn, wanted))

    status = CaseStatus(case["status"])
    event = None
    if case["event_id"]:
        event = q.one(conn, select(t.events).where(t.events.c.id == case["event_id"]))
    tasks = tuple(
        {**a, "label": AssignmentState(a["state"]).label, "can": assignment_acts(a, actor, status)}
        for a in of(t.assignments, t.assignments.c.id)
    )
    clocks = tuple(case_clocks(conn, case_id, now))
    return CaseView(
        case=case,
        status=status,
        level=Level(case["level"]),
        event=event,
        clocks=clocks,
        timeline=of(t.case_timeline, t.case_timeline.c.id.desc()),
        assignments=tasks,
        drafts=of(t.clarifications, t.clarifications.c.id),
        releases=_releases(conn, case_id),
        reports=of(t.upward_reports, t.upward_reports.c.id),
        alerts=of(t.alerts, t.alerts.c.fired_at),
        evidence=of(t.evidence, t.evidence.c.id),
        can=case_acts(case, actor, clocks),
    )


def _releases(conn: Connection, case_id: int) -> tuple[dict[str, Any], ...]:
    """Releases of a case, each with its channels."""
    r, rc = t.releases.c, t.release_channels.c
    found = q.rows(conn, select(t.releases).where(r.case_id == case_id).order_by(r.id))
    channels = q.rows(
        conn,
        select(t.release_channels)
        .where(rc.release_id.in_([x["id"] for x in found]))
        .order_by(rc.id),
    )
    replaced = {x["of_release"] for x in found if x["of_release"]}
    return tuple(
        {
            **x,
            "channels": [c for c in channels if c["release_id"] == x["id"]],
            "is_current": x["id"] not in replaced and x["kind"] != "withdrawal",
        }
        for x in found
    )


def case_clocks(conn: Connection, case_id: int, now: datetime) -> list[ClockView]:
    """Clocks of a case and its parts: running ones first, soonest first."""
    c = t.clocks.c
    query = select(t.clocks).where(c.case_id == case_id).order_by(c.due_at)
    a = t.assignments.c
    tasks = conn.execute(select(a.id, a.office).where(a.case_id == case_id))
    office = {str(r[0]): r[1] for r in tasks}
    views = []
    for row in q.rows(conn, query):
        whose = office.get(row["owner_id"], "") if row["owner"] == "assignment" else ""
        span = (row["due_at"] - row["started_at"]).total_seconds() or 1.0
        end = row["met_at"] or row["cancelled_at"] or now
        marks = tuple(
            (at - row["started_at"]).total_seconds() / span
            for at in (row["warn50_at"], row["warn80_at"])
            if at is not None
        )
        views.append(
            ClockView(
                name=row["name"],
                label=f"{row['label']}（{whose}）" if whose else row["label"],
                basis=row["basis"],
                started_at=row["started_at"],
                due_at=row["due_at"],
                met_at=row["met_at"],
                cancelled=row["cancelled_at"] is not None,
                share=min(1.0, max(0.0, (end - row["started_at"]).total_seconds() / span)),
                marks=marks,
            )
        )
    views.sort(key=lambda v: (v.cancelled, v.is_met, v.due_at))
    return views


_STEPS: dict[str, tuple[str, CaseStatus]] = {
    "responded": ("advance_case", CaseStatus.RESPONDED),
    "watch": ("advance_case", CaseStatus.WATCHING),
    "close": ("close_case", CaseStatus.CLOSED),
    "archive": ("close_case", CaseStatus.ARCHIVED),
    "dismiss": ("dismiss_case", CaseStatus.DISMISSED),
    "merge": ("merge_case", CaseStatus.MERGED),
}


def case_acts(case: dict[str, Any], actor: Actor, clocks: Sequence[ClockView]) -> frozenset[str]:
    """Which buttons a case has for this person."""
    status = CaseStatus(case["status"])
    is_open = status in OPEN_CASE
    acts = {
        name
        for name, (right, to) in _STEPS.items()
        if to in CASE_MOVES[status] and may(actor, right)
    }
    if is_open and may(actor, "assess_case"):
        acts.add("assess")
    if is_open and may(actor, "advance_case"):
        acts.add("owner")
        if any(k.name == "press" and k.is_running for k in clocks):
            acts.add("press")
    if not is_open and status is not CaseStatus.MERGED and may(actor, "reopen_case"):
        acts.add("reopen")
    if status in OPEN_CASE and status is not CaseStatus.TRIAGE:
        acts |= {n for n, right in (("assign", "assign"), ("draft", "draft")) if may(actor, right)}
    if is_open and may(actor, "write_report"):
        acts.add("report")
    if status in (CaseStatus.CLOSED, CaseStatus.ARCHIVED) and may(actor, "write_review"):
        acts.add("review")
    return frozenset(acts)


_TASK_ACTS: dict[str, tuple[str, AssignmentState]] = {
    "receive": ("receive_assignment", AssignmentState.RECEIVED),
    "reply": ("reply_assignment", AssignmentState.REPLIED),
    "hand_back": ("hand_back", AssignmentState.HANDED_BACK),
    "accept": ("accept_reply", AssignmentState.ACCEPTED),
    "return": ("accept_reply", AssignmentState.RETURNED),
    "reassign": ("reassign", AssignmentState.REASSIGNED),
}


def assignment_acts(a: dict[str, Any], actor: Actor, status: CaseStatus) -> frozenset[str]:
    """Which buttons a task has for this person; an office has its own tasks only."""
    if status not in OPEN_CASE or (actor.role is Role.OFFICE and a["office"] != actor.office):
        return frozenset()
    to = ASSIGNMENT_MOVES[AssignmentState(a["state"])]
    return frozenset(
        name for name, (right, state) in _TASK_ACTS.items() if state in to and may(actor, right)
    )


def clarification_acts(
    row: dict[str, Any], actor: Actor, late_done: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Which buttons a draft has. ``late_done``: checks made after an emergency signature."""
    status = ClarificationStatus(row["status"])
    acts: set[str] = set()
    if status is ClarificationStatus.DRAFT and may(actor, "draft"):
        acts |= {"edit", "submit"}
        if Level(row.get("level") or 1) >= Level.MAJOR:
            acts.add("emergency")
    late = row["emergency"] and status in (ClarificationStatus.SIGNED, ClarificationStatus.RELEASED)
    for step in ("check", "secrecy"):
        if may(actor, step) and (status.value == step or (late and step not in late_done)):
            acts |= {step, "send_back"}
    if status is ClarificationStatus.SIGN and may(actor, "sign"):
        acts |= {"sign", "send_back"}
    if status is ClarificationStatus.SIGNED and may(actor, "release"):
        acts.add("release")
    return frozenset(acts)


def desk_people(conn: Connection) -> list[str]:
    """Names of enabled duty officers and leaders."""
    u = t.users.c
    query = select(u.name).where(u.role.in_(("duty", "leader")), u.disabled.is_(False))
    return [r[0] for r in conn.execute(query.order_by(u.name))]


def other_open_cases(conn: Connection, case_id: int) -> list[dict[str, Any]]:
    """Cases that this one could be merged into."""
    c = t.cases.c
    query = select(c.id, c.number, c.title).where(c.status.in_(q.OPEN_CASE_VALUES), c.id != case_id)
    return q.rows(conn, query.order_by(c.id.desc()).limit(50))


def class_label(value: str) -> str:
    """舆情, 政策解读 ..."""
    return CaseClass(value).label
