"""Cases (舆情处置单): open, assess, move on, close, and the ways out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from pipeline.clock import BEIJING
from pipeline.desk import clocks
from pipeline.desk.casefile import (
    answered,
    check_desk_user,
    load_case,
    next_number,
    open_case_on,
    open_tasks,
    refuse_open_tasks,
)
from pipeline.desk.clocks import DeskRules
from pipeline.desk.guard import Act, Row, add, change, clock_text, load, need, record, rows
from pipeline.desk.merging import merge_case
from pipeline.domain.alert import ALERT_MOVES, AlertState
from pipeline.domain.case import (
    CASE_MOVES,
    DISMISS_REASONS,
    OPEN_CASE,
    CaseClass,
    CaseStatus,
    case_number,
    move,
)
from pipeline.domain.deadlines import choose
from pipeline.domain.event import Level
from pipeline.domain.rights import Actor, require
from pipeline.errors import DeskError, IllegalTransition, MissingFields
from pipeline.store import tables as t
from pipeline.store.sql import Tx


def _act(case: Row, name: str, fact: str, text: str, **after: Any) -> Act:
    return Act(
        name,
        fact,
        "case",
        case["id"],
        text,
        case_id=case["id"],
        before={"status": case["status"], "level": case["level"]},
        after=after,
        data={k: v for k, v in after.items() if not isinstance(v, dict)},
    )


def _move(case: Row, to: CaseStatus) -> str:
    return move(CASE_MOVES, CaseStatus(case["status"]), to).value


def _event_of(conn: Connection, event_id: str) -> Row:
    """The event, after merging; empty when the store does not hold it."""
    for _ in range(5):
        found = rows(conn, select(t.events).where(t.events.c.id == event_id))
        if not found or not found[0]["merged_into"]:
            return found[0] if found else {}
        event_id = found[0]["merged_into"]
    return {}


# ---- opening ------------------------------------------------------------------------------


def open_case(
    tx: Tx,
    actor: Actor,
    *,
    fingerprint: str | None = None,
    event_id: str | None = None,
    title: str | None = None,
    case_class: str = "opinion",
    rules: DeskRules,
) -> int:
    """Open a case on an alert, an event, or a title alone; returns its number in the table.

    When an open case on the same event exists, the alert joins it and that number is returned.
    The clocks and the reporting lines are copied into the case as they are now.
    """
    require(actor, "open_case")
    alert = load(tx.conn, t.alerts, fingerprint, "预警") if fingerprint else None
    event_id = event_id or (alert["event_id"] if alert else "")
    event = _event_of(tx.conn, event_id) if event_id else {}
    event_id = event.get("id", event_id) or ""
    title = (title or "").strip() or (alert or {}).get("title") or event.get("title") or ""
    need(title=(title, "标题（或选择一条预警、一个事件）"))
    if case_class not in set(CaseClass):
        raise MissingFields({"case_class": "处置单类别"})
    there = open_case_on(tx.conn, event_id) if event_id else None
    if there is not None:
        if alert is not None:
            _take_alert(tx, actor, alert, there["id"])
        text = f"{actor.name}就同一事件再次立单，已归入本单" + (
            f"（预警“{alert['title']}”）" if alert else ""
        )
        record(tx, actor, _act(there, "join_case", "joined", text, fingerprint=fingerprint or ""))
        return int(there["id"])

    route = alert or _newest_alert(tx.conn, event_id)
    year = tx.now.astimezone(BEIJING).year
    number = case_number(rules.short, year, next_number(tx.conn, t.cases.c.number, year))
    case_id = add(
        tx,
        t.cases,
        number=number,
        event_id=event_id,
        title=title,
        case_class=case_class,
        level=int(route.get("level") or event.get("proposed_level") or Level.GENERAL),
        status=CaseStatus.TRIAGE.value,
        owner=actor.name,
        lead_office=route.get("lead_office") or rules.default_office,
        helper_offices=list(route.get("helper_offices") or []),
        copy_offices=list(route.get("copy_offices") or []),
        frozen_rules=rules.frozen(),
        opened_at=tx.now,
        is_drill=rules.is_drill,
    )
    if alert is not None:
        _take_alert(tx, actor, alert, case_id)
    _quiet_others(tx, event_id, case_id, number)
    case = load_case(tx.conn, case_id)
    what = CaseClass(case_class).label
    text = f"{actor.name}立单 {number}（{what}）：{title}"
    after = {"number": number, "event_id": event_id, "case_class": case_class, "title": title}
    record(tx, actor, _act(case, "open_case", "opened", text, **after))
    return case_id


def _newest_alert(conn: Connection, event_id: str) -> Row:
    a = t.alerts
    query = select(a).where(a.c.event_id == event_id).order_by(a.c.level.desc(), a.c.fired_at)
    found = rows(conn, query.limit(1)) if event_id else []
    return found[0] if found else {}


def _take_alert(tx: Tx, actor: Actor, alert: Row, case_id: int) -> None:
    """Opening a case is progress: the alert is claimed and belongs to the case."""
    values: dict[str, Any] = {"case_id": case_id, "progress_at": tx.now}
    state = AlertState(alert["state"])
    if state is not AlertState.CLAIMED:
        values |= {
            "state": move(ALERT_MOVES, state, AlertState.CLAIMED).value,
            "claimed_by": actor.name,
            "claimed_at": tx.now,
            "shelved_until": None,
        }
    change(tx, t.alerts, alert, **values)
    clocks.meet(tx, "alert", alert["fingerprint"], "unclaimed")


def _quiet_others(tx: Tx, event_id: str, case_id: int, number: str) -> None:
    """An open case inhibits the event's other alerts that nobody has taken."""
    if not event_id:
        return
    a = t.alerts
    others = select(a).where(a.c.event_id == event_id, a.c.state == AlertState.NEW)
    for row in rows(tx.conn, others):
        change(
            tx,
            a,
            row,
            state=AlertState.SUPPRESSED.value,
            state_reason=f"已有处置单 {number}",
            case_id=case_id,
        )
        clocks.cancel(tx, "alert", row["fingerprint"], "unclaimed")


# ---- assessing ----------------------------------------------------------------------------


def assess_case(
    tx: Tx,
    actor: Actor,
    case_id: int,
    level: int,
    reason: str,
    case_class: str | None = None,
    *,
    confirmed_at: datetime | None = None,
) -> None:
    """A person decides level and class; the response clocks run from T0 (``confirmed_at``).

    T0 is kept when the level changes later: a matter does not become younger by being graver.
    Raises: NotAllowed for 重大 and above without a leader.
    """
    require(actor, "assess_case")
    need(reason=(reason, "研判理由"))
    if level not in (1, 2, 3, 4):
        raise MissingFields({"level": "舆情等级"})
    if level >= Level.MAJOR:
        require(actor, "assess_major")
    case = load_case(tx.conn, case_id)
    case_class = case_class or case["case_class"]
    if case_class not in set(CaseClass):
        raise MissingFields({"case_class": "处置单类别"})
    if case["level_reason"] and case["level"] >= Level.MAJOR and level < case["level"]:
        require(actor, "assess_major")
    if confirmed_at is not None and confirmed_at > tx.now:
        raise MissingFields({"confirmed_at": "确认时间（不能晚于现在）"})
    t0 = confirmed_at or case["confirmed_at"] or tx.now
    going = (CaseStatus.HANDLING, CaseStatus.RESPONDED, CaseStatus.WATCHING)
    status = case["status"] if case["status"] in going else _move(case, CaseStatus.ASSESSED)
    new = change(
        tx,
        t.cases,
        case,
        status=status,
        level=level,
        level_reason=reason.strip(),
        case_class=case_class,
        confirmed_at=t0,
    )
    _run_case_clocks(tx, new)
    if case["event_id"]:
        tx.conn.execute(
            t.events.update().where(t.events.c.id == case["event_id"]).values(level=level)
        )
    label = Level(level).label
    text = (
        f"{actor.name}研判为{label}（{CaseClass(case_class).label}），"
        f"确认时间{clock_text(t0)}：{reason.strip()}"
    )
    after = {"status": status, "level": level, "case_class": case_class, "t0": t0}
    record(tx, actor, _act(case, "assess_case", "assessed", text, **after))


def _run_case_clocks(tx: Tx, case: Row) -> None:
    """Start what the new level and class ask for, cancel what they no longer ask for."""
    specs = choose(clocks.specs_of(case), "case", case["level"], case["case_class"])
    wanted = []
    for spec in specs:
        if spec.per_line:
            wanted += [clocks.per_line(spec, x) for x in case["frozen_rules"]["report_lines"]]
        else:
            wanted.append(spec)
    clocks.cancel(tx, "case", case["id"])
    for spec in wanted:
        if not clocks.is_met(tx, "case", case["id"], spec.name):
            clocks.start_clock(
                tx, "case", case["id"], spec, start=case["confirmed_at"], case_id=case["id"]
            )


# ---- moving on ----------------------------------------------------------------------------


def mark_responded(tx: Tx, actor: Actor, case_id: int, note: str) -> None:
    """Answered in another way than by a release, as on the telephone or a message board."""
    require(actor, "advance_case")
    need(note=(note, "回应方式和内容"))
    case = load_case(tx.conn, case_id)
    _move(case, CaseStatus.RESPONDED)
    new = answered(tx, case)
    text = f"{actor.name}登记已回应：{note.strip()}"
    record(
        tx,
        actor,
        _act(case, "mark_responded", "responded", text, status=new["status"], note=note.strip()),
    )


def mark_press(tx: Tx, actor: Actor, case_id: int, note: str) -> None:
    """The press event took place: its clock stops."""
    require(actor, "advance_case")
    need(note=(note, "新闻发布会情况"))
    case = load_case(tx.conn, case_id)
    if not clocks.meet(tx, "case", case_id, "press"):
        raise IllegalTransition("本单没有在走的新闻发布会时限")
    text = f"{actor.name}登记新闻发布会：{note.strip()}"
    record(tx, actor, _act(case, "mark_press", "press_held", text, note=note.strip()))


def watch_case(tx: Tx, actor: Actor, case_id: int) -> None:
    """Answered; now watch whether it calms down."""
    require(actor, "advance_case")
    case = load_case(tx.conn, case_id)
    status = _move(case, CaseStatus.WATCHING)
    change(tx, t.cases, case, status=status)
    text = f"{actor.name}转入观察"
    record(tx, actor, _act(case, "watch_case", "watching", text, status=status))


def close_case(tx: Tx, actor: Actor, case_id: int, note: str) -> None:
    """Done. Raises: DeskError listing open tasks while there are any."""
    require(actor, "close_case")
    need(note=(note, "办结说明"))
    case = load_case(tx.conn, case_id)
    status = _move(case, CaseStatus.CLOSED)
    refuse_open_tasks(tx.conn, case, "办结")
    change(tx, t.cases, case, status=status, closed_at=tx.now, close_note=note.strip())
    clocks.cancel(tx, "case", case_id)
    text = f"{actor.name}办结：{note.strip()}"
    record(tx, actor, _act(case, "close_case", "closed", text, status=status))


def archive_case(tx: Tx, actor: Actor, case_id: int) -> None:
    """Into the archive, after its review. Raises: MissingFields without one."""
    require(actor, "close_case")
    case = load_case(tx.conn, case_id)
    status = _move(case, CaseStatus.ARCHIVED)
    if not rows(tx.conn, select(t.reviews.c.case_id).where(t.reviews.c.case_id == case_id)):
        raise MissingFields({"review": "复盘报告（先完成复盘再归档）"})
    change(tx, t.cases, case, status=status)
    text = f"{actor.name}归档"
    record(tx, actor, _act(case, "archive_case", "archived", text, status=status))


def reopen_case(tx: Tx, actor: Actor, case_id: int, reason: str) -> None:
    """Back in hand (or back to triage, from dismissed), with a reason.

    Raises: DeskError when another open case on the same event exists by now.
    """
    require(actor, "reopen_case")
    need(reason=(reason, "重开原因"))
    case = load_case(tx.conn, case_id)
    if case["status"] in OPEN_CASE:
        label = CaseStatus(case["status"]).label
        raise IllegalTransition(f"本单当前为“{label}”，尚未办结，无需重开")
    dismissed = case["status"] == CaseStatus.DISMISSED
    status = _move(case, CaseStatus.TRIAGE if dismissed else CaseStatus.HANDLING)
    other = open_case_on(tx.conn, case["event_id"]) if case["event_id"] else None
    if other is not None:
        raise DeskError(f"同一事件已有处置单 {other['number']}，请在该单中办理")
    change(tx, t.cases, case, status=status, closed_at=None, dismiss_reason="")
    text = f"{actor.name}重开：{reason.strip()}"
    record(tx, actor, _act(case, "reopen_case", "reopened", text, status=status))


def dismiss_case(tx: Tx, actor: Actor, case_id: int, reason_code: str, note: str = "") -> None:
    """不予处置, for a reason from the list. Refused while tasks are open."""
    require(actor, "dismiss_case")
    if reason_code not in DISMISS_REASONS:
        raise MissingFields({"reason_code": "不予处置的理由"})
    case = load_case(tx.conn, case_id)
    status = _move(case, CaseStatus.DISMISSED)
    if case["level_reason"] and case["level"] >= Level.MAJOR:
        require(actor, "assess_major")
    refuse_open_tasks(tx.conn, case, "不予处置")
    change(
        tx,
        t.cases,
        case,
        status=status,
        dismiss_reason=reason_code,
        close_note=note.strip(),
        closed_at=tx.now,
    )
    clocks.cancel(tx, "case", case_id)
    text = f"{actor.name}不予处置：{DISMISS_REASONS[reason_code]}" + (
        f"（{note.strip()}）" if note.strip() else ""
    )
    record(tx, actor, _act(case, "dismiss_case", "dismissed", text, status=status))


def change_owner(tx: Tx, actor: Actor, case_id: int, user_name: str) -> None:
    """Another person of the desk becomes responsible."""
    require(actor, "advance_case")
    case = load_case(tx.conn, case_id)
    if case["status"] not in OPEN_CASE:
        raise IllegalTransition("本单已不在办理中，不能更换经办人")
    check_desk_user(tx.conn, user_name)
    change(tx, t.cases, case, owner=user_name)
    text = f"经办人由{case['owner']}改为{user_name}"
    record(tx, actor, _act(case, "change_owner", "owner_changed", text, owner=user_name))


__all__ = [
    "archive_case",
    "assess_case",
    "change_owner",
    "close_case",
    "dismiss_case",
    "mark_press",
    "mark_responded",
    "merge_case",
    "open_case",
    "open_tasks",
    "reopen_case",
    "watch_case",
]
