"""The sweeper: what becomes true because time passes.

Clocks fire at 50 %, 80 %, when due and at each rung after it, once each; a claim without
progress falls back; shelved alerts return; releases expire; a cited warning that changed asks for
review; contacts of closed help calls are destroyed. Everything is read from the tables and
written in one transaction, so sweeping twice at the same time changes nothing. After a stop it
catches up with one digest per receiver.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from pipeline.desk import clocks
from pipeline.desk.clarifications import ask_review
from pipeline.desk.clocks import DeskRules
from pipeline.desk.guard import Act, Row, change, record, rows
from pipeline.desk.help import destroy_contacts
from pipeline.desk.releases import expire_due
from pipeline.domain.alert import ALERT_MOVES, AlertState, lateness
from pipeline.domain.case import HelpState, move
from pipeline.domain.deadlines import choose
from pipeline.domain.release import OPEN_CLARIFICATION, ClarificationStatus
from pipeline.domain.rights import MACHINE
from pipeline.stages.chase import DESK, Bell, due_rungs, fire
from pipeline.store import tables as t
from pipeline.store.sql import Store, Tx

LAST = "sweep.at"
REMEMBER_EVERY = timedelta(minutes=1)


def sweep(store: Store, now: datetime, rules: DeskRules) -> int:
    """Do all that is due; returns how many things were done, 0 when nothing was.

    Raises: StoreBusy when the database does not let us in; try again.
    """
    with store.read() as conn:
        last = _last(conn)
        if not _anything(conn, now, rules):
            if last is not None and now - last < REMEMBER_EVERY:
                return 0
            work = False
        else:
            work = True
    with store.begin(now) as tx:
        last = _last(tx.conn)  # another sweeper may have been here meanwhile
        done = _do(tx, rules, last) if work else 0
        _remember(tx, last)
    return done


def _do(tx: Tx, rules: DeskRules, last: datetime | None) -> int:
    stopped = last is not None and tx.now - last > rules.catch_up_after
    bell = Bell(tx, rules, since=last if stopped else None)
    done = _fall_back(tx, rules, bell)
    done += _return_shelved(tx, bell)
    done += _settle_clocks(tx, rules)
    done += fire(tx, rules, bell)
    done += expire_due(tx)
    done += _review_changed(tx, bell)
    done += _destroy(tx, rules)
    bell.ring()
    return done


def _anything(conn: Connection, now: datetime, rules: DeskRules) -> bool:
    return bool(
        due_rungs(conn, now, rules)
        or _stale_claims(conn, now, rules)
        or _shelved_due(conn, now)
        or _unclocked(conn, rules)
        or _overtaken(conn)
        or _expired(conn, now)
        or _changed_warnings(conn)
        or _destroyable(conn, now, rules)
    )


def _last(conn: Connection) -> datetime | None:
    value = conn.execute(select(t.meta.c.value).where(t.meta.c.key == LAST)).scalar()
    return datetime.fromisoformat(value) if value else None


def _remember(tx: Tx, last: datetime | None) -> None:
    value = max(tx.now, last).isoformat() if last else tx.now.isoformat()
    if last is None:
        tx.conn.execute(insert(t.meta), {"key": LAST, "value": value})
    else:
        tx.conn.execute(update(t.meta).where(t.meta.c.key == LAST).values(value=value))


# ---- alerts -------------------------------------------------------------------------------


def _stale_claims(conn: Connection, now: datetime, rules: DeskRules) -> list[Row]:
    a = t.alerts.c
    return rows(
        conn,
        select(t.alerts).where(
            a.state == AlertState.CLAIMED,
            a.case_id.is_(None),
            func.coalesce(a.progress_at, a.claimed_at) <= now - rules.claim_progress,
        ),
    )


def _fall_back(tx: Tx, rules: DeskRules, bell: Bell) -> int:
    found = _stale_claims(tx.conn, tx.now, rules)
    minutes = int(rules.claim_progress.total_seconds() // 60)
    for row in found:
        why = f"{row['claimed_by']}认领后 {minutes} 分钟无进展，已退回待认领"
        _back_to_new(tx, row, why, "fall_back", "alert_fell_back")
        for receiver in dict.fromkeys((row["claimed_by"], DESK)):
            bell.say(
                receiver,
                "fallback",
                f"【认领退回】{row['title']}",
                why,
                key=f"fallback:{row['fingerprint']}:{row['version']}",
                fingerprint=row["fingerprint"],
            )
    return len(found)


def _shelved_due(conn: Connection, now: datetime) -> list[Row]:
    a = t.alerts.c
    query = select(t.alerts).where(a.state == AlertState.SHELVED, a.shelved_until <= now)
    return rows(conn, query)


def _return_shelved(tx: Tx, bell: Bell) -> int:
    found = _shelved_due(tx.conn, tx.now)
    for row in found:
        why = f"暂挂到期（{row['state_reason']}）"
        _back_to_new(tx, row, why, "unshelve", "alert_returned")
        bell.say(
            DESK,
            "reminder",
            f"【暂挂到期】{row['title']}",
            why,
            key=f"unshelve:{row['fingerprint']}:{row['version']}",
            fingerprint=row["fingerprint"],
        )
    return len(found)


def _back_to_new(tx: Tx, row: Row, why: str, act: str, fact: str) -> None:
    state = move(ALERT_MOVES, AlertState(row["state"]), AlertState.NEW).value
    change(
        tx,
        t.alerts,
        row,
        state=state,
        state_reason=why,
        claimed_by="",
        claimed_at=None,
        progress_at=tx.now,
        shelved_until=None,
    )
    record(
        tx,
        MACHINE,
        Act(
            act,
            fact,
            "alert",
            row["fingerprint"],
            f"预警“{row['title']}”：{why}",
            case_id=row["case_id"],
            before={"state": row["state"], "claimed_by": row["claimed_by"]},
            after={"state": state},
            office=row["lead_office"],
            data={"level": row["level"]},
        ),
    )


# ---- clocks that no person starts or stops ------------------------------------------------


def _running() -> Any:
    c = t.clocks.c
    return c.met_at.is_(None) & c.cancelled_at.is_(None)


def _unclocked(conn: Connection, rules: DeskRules) -> list[tuple[str, str, int, datetime]]:
    """(owner, id, level, start) of new alerts and help calls whose clock does not run yet."""
    c, a, h = t.clocks.c, t.alerts.c, t.help_calls.c
    levels = {n for s in rules.clocks if s.owner == "alert" for n in s.levels}
    clocked = select(c.owner_id).where(c.owner == "alert", _running())
    alerts = select(a.fingerprint, a.level, a.progress_at, a.fired_at, a.recorded_at).where(
        a.state == AlertState.NEW, a.level.in_(levels), a.fingerprint.not_in(clocked)
    )
    found = [
        ("alert", r.fingerprint, r.level, r.progress_at or _known(r.fired_at, r.recorded_at))
        for r in conn.execute(alerts)
    ]
    if any(s.owner == "help" for s in rules.clocks):
        running = set(
            conn.execute(select(c.owner_id).where(c.owner == "help", _running())).scalars()
        )
        calls = (
            select(h.id, h.seen_at, func.min(a.recorded_at).label("recorded_at"))
            .outerjoin(t.alerts, a.event_id == h.event_id)
            .where(h.state == HelpState.NEW)
            .group_by(h.id, h.seen_at)
        )
        found += [
            ("help", str(r.id), 1, _known(r.seen_at, r.recorded_at or r.seen_at))
            for r in conn.execute(calls)
            if str(r.id) not in running
        ]
    return found


def _known(since: datetime, recorded: datetime) -> datetime:
    """When the desk could know of what was there ``since``: nobody is late with what the machines
    brought late. After a stop such things come all at once, and their clocks start together at
    the full minute, so that chasing them is one digest and no storm."""
    if not lateness(since, recorded):
        return max(since, recorded)
    return recorded.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _overtaken(conn: Connection) -> list[int]:
    """Running clocks of alerts and help calls that no longer wait (calmed, suppressed ...)."""
    c, a, h = t.clocks.c, t.alerts.c, t.help_calls.c
    waiting = set(conn.execute(select(a.fingerprint).where(a.state == AlertState.NEW)).scalars())
    calls = set(conn.execute(select(h.id).where(h.state == HelpState.NEW)).scalars())
    open_ = {"alert": waiting, "help": {str(i) for i in calls}}
    query = select(c.id, c.owner, c.owner_id).where(c.owner.in_(open_), _running())
    return [r.id for r in conn.execute(query) if r.owner_id not in open_[r.owner]]


def _settle_clocks(tx: Tx, rules: DeskRules) -> int:
    gone = _overtaken(tx.conn)
    c = t.clocks.c
    if gone:
        tx.conn.execute(update(t.clocks).where(c.id.in_(gone)).values(cancelled_at=tx.now))
    started = 0
    for owner, owner_id, level, start in _unclocked(tx.conn, rules):
        for spec in choose(rules.clocks, owner, level, ""):
            before = select(c.id).where(
                c.owner == owner, c.owner_id == owner_id, c.started_at >= start
            )
            # it ran from there before and was stopped: it is new again from now on
            again = tx.conn.execute(before).first() is not None
            clocks.start_clock(tx, owner, owner_id, spec, start=tx.now if again else start)
            started += 1
    return len(gone) + started


# ---- clarifications and contacts ----------------------------------------------------------


def _expired(conn: Connection, now: datetime) -> bool:
    c = t.clarifications.c
    query = select(c.id).where(c.status == ClarificationStatus.RELEASED, c.valid_until <= now)
    return conn.execute(query.limit(1)).first() is not None


def _changed_warnings(conn: Connection) -> list[tuple[Row, str]]:
    """Clarifications that cite a warning which was lifted or replaced after they were written."""
    c, e, w = t.clarifications.c, t.evidence.c, t.warnings.c
    alive = [*OPEN_CLARIFICATION, ClarificationStatus.RELEASED]
    found = []
    for row in rows(
        conn, select(t.clarifications).where(c.status.in_(alive), c.needs_review == "")
    ):
        if not row["evidence"]:
            continue
        query = (
            select(w.type_name, w.colour, w.superseded_by, w.lifted_at, e.captured_at)
            .join(t.evidence, e.ref == w.id)
            .where(e.id.in_(row["evidence"]), e.kind == "warning", w.lifted_at.is_not(None))
        )
        for one in conn.execute(query):
            if one.lifted_at > max(one.captured_at, row["updated_at"]):
                how = "已变更" if one.superseded_by else "已解除"
                found.append((row, f"引用的{one.type_name}{one.colour}预警{how}"))
                break
    return found


def _review_changed(tx: Tx, bell: Bell) -> int:
    found = _changed_warnings(tx.conn)
    for row, why in found:
        ask_review(tx, MACHINE, row, why)
        owner = tx.conn.execute(
            select(t.cases.c.owner).where(t.cases.c.id == row["case_id"])
        ).scalar()
        for receiver in dict.fromkeys((owner or DESK, row["author"])):
            bell.say(
                receiver,
                "reminder",
                f"【待复核】{row['title']}",
                f"{why}，请核对稿件是否需要更新",
                key=f"review:{row['id']}:{row['version']}",
                case_id=row["case_id"],
            )
    return len(found)


def _destroyable(conn: Connection, now: datetime, rules: DeskRules) -> list[int]:
    h, v = t.help_calls.c, t.vault.c
    held = select(v.help_call_id).where(v.held_reason != "")
    query = (
        select(h.id)
        .join(t.vault, v.help_call_id == h.id)
        .where(
            h.state == HelpState.CLOSED,
            h.closed_at <= now - rules.destroy_after,
            v.ciphertext.is_not(None),
            h.id.not_in(held),
        )
        .distinct()
    )
    return [int(i) for i in conn.execute(query).scalars()]


def _destroy(tx: Tx, rules: DeskRules) -> int:
    found = _destroyable(tx.conn, tx.now, rules)
    for help_id in found:
        destroy_contacts(tx, MACHINE, help_id)
    return len(found)
