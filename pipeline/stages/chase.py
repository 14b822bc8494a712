"""Chasing (督办): clocks whose next rung has come, and who hears of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from pipeline.desk.clocks import DeskRules, specs_of
from pipeline.desk.guard import Act, Row, clock_text, rows, tell
from pipeline.domain.deadlines import ClockSpec, choose, left_text, passed_rungs
from pipeline.domain.rights import MACHINE, Role
from pipeline.store import tables as t
from pipeline.store.sql import Tx

DESK = "值班台"
"""The receiver that stands for whoever is on duty."""
ROLES = {
    "duty": DESK,
    **{r.value: r.label for r in (Role.LEADER, Role.CHECKER, Role.SECRECY, Role.SIGNER)},
}


END = "end"
"""Mark in ``clocks.fired`` after the last rung: the sweeper need not look at the row again."""


@dataclass(frozen=True, slots=True)
class _Notice:
    receiver: str
    reason: str
    title: str
    body: str
    key: str
    case_id: int | None
    fingerprint: str


@dataclass(slots=True)
class Bell:
    """Collects what is to be said in one sweep and says it at the end.

    ``since``: the last sweep before a stop, None in ordinary running. After a stop, or when
    there is too much for one receiver, the receiver gets one digest.
    """

    tx: Tx
    rules: DeskRules
    since: datetime | None = None
    notices: list[_Notice] = field(default_factory=list)

    def say(
        self,
        receiver: str,
        reason: str,
        title: str,
        body: str,
        *,
        key: str,
        case_id: int | None = None,
        fingerprint: str = "",
    ) -> None:
        """``key``: the same thing is said to one receiver once, ever."""
        if receiver:
            key = f"{key}:{receiver}"[:96]
            self.notices.append(_Notice(receiver, reason, title, body, key, case_id, fingerprint))

    def ring(self) -> None:
        """Write the deliveries; ``notify`` sends them."""
        d = t.deliveries.c
        keys = [n.key for n in self.notices]
        said = set(self.tx.conn.execute(select(d.dedup_key).where(d.dedup_key.in_(keys))).scalars())
        by_receiver: dict[str, dict[str, _Notice]] = {}
        for notice in self.notices:
            if notice.key not in said:
                by_receiver.setdefault(notice.receiver, {})[notice.key] = notice
        for receiver, found in by_receiver.items():
            notices = list(found.values())
            many = len(notices) > 1 if self.since else len(notices) > self.rules.digest_over
            for notice in [self._digest(receiver, notices)] if many else notices:
                self._write(notice)

    def _digest(self, receiver: str, notices: list[_Notice]) -> _Notice:
        n = len(notices)
        title = f"【汇总】{n} 项时限提醒"
        if self.since is not None:
            title += f"（{clock_text(self.since)}至{clock_text(self.tx.now)}系统停运）"
        urgent = sorted(notices, key=lambda x: x.reason != "escalation")
        body = "\n".join(f"{i}. {x.title}：{x.body}" for i, x in enumerate(urgent, start=1))
        key = f"digest:{self.tx.now.isoformat()}:{receiver}"[:96]
        return _Notice(receiver, "digest", title, body, key, None, "")

    def _write(self, notice: _Notice) -> None:
        self.tx.conn.execute(
            insert(t.deliveries),
            {
                "dedup_key": notice.key,
                "reason": notice.reason,
                "fingerprint": notice.fingerprint,
                "case_id": notice.case_id,
                "receiver": notice.receiver,
                "channel": "",
                "title": notice.title,
                "body": notice.body,
                "state": "waiting",
                "not_before": self.tx.now,
                "created_at": self.tx.now,
            },
        )


@dataclass(frozen=True, slots=True)
class Rung:
    """A running clock with the rungs it has newly passed."""

    clock: Row
    spec: ClockSpec | None
    names: tuple[str, ...]
    case: Row
    subject: Row

    @property
    def is_last(self) -> bool:
        """True when the clock has nothing more to say after this."""
        up = len(self.spec.up) if self.spec else 0
        return self.names[-1] == (f"up{up}" if up else "due")


def due_rungs(conn: Connection, now: datetime, rules: DeskRules) -> list[Rung]:
    """Running clocks that have something new to say."""
    c = t.clocks.c
    query = (
        select(t.clocks)
        .where(c.met_at.is_(None), c.cancelled_at.is_(None))
        .where((c.warn50_at <= now) | (c.due_at <= now))
        .order_by(c.due_at, c.id)
    )
    cases: dict[int, tuple[Row, list[ClockSpec]]] = {}
    found = []
    for clock in rows(conn, query):
        if _has_said_all(clock, now):
            continue
        case, specs = _of_case(conn, clock["case_id"], cases)
        subject = _subject(conn, clock)
        spec = _spec(clock, case, subject, specs or list(rules.clocks))
        passed = passed_rungs(
            now,
            clock["warn50_at"],
            clock["warn80_at"],
            clock["due_at"],
            spec.up if spec else (),
        )
        new = tuple(r for r in passed if r not in clock["fired"])
        if new:
            found.append(Rung(clock, spec, new, case, subject))
    return found


def _has_said_all(clock: Row, now: datetime) -> bool:
    """True when nothing can be new: seen from the row alone, for this runs twice a second."""
    if now >= clock["due_at"]:
        return END in clock["fired"]
    return all(
        at is None or at > now or name in clock["fired"]
        for name, at in (("50", clock["warn50_at"]), ("80", clock["warn80_at"]))
    )


def _of_case(
    conn: Connection, case_id: int | None, known: dict[int, tuple[Row, list[ClockSpec]]]
) -> tuple[Row, list[ClockSpec]]:
    if case_id is None:
        return {}, []
    if case_id not in known:
        found = rows(conn, select(t.cases).where(t.cases.c.id == case_id))
        known[case_id] = (found[0], specs_of(found[0])) if found else ({}, [])
    return known[case_id]


_SUBJECTS: dict[str, Any] = {
    "alert": (t.alerts, t.alerts.c.fingerprint),
    "assignment": (t.assignments, t.assignments.c.id),
    "help": (t.help_calls, t.help_calls.c.id),
    "step": (t.clarifications, t.clarifications.c.id),
}


def _subject(conn: Connection, clock: Row) -> Row:
    if clock["owner"] not in _SUBJECTS:
        return {}
    table, column = _SUBJECTS[clock["owner"]]
    key: Any = clock["owner_id"] if clock["owner"] == "alert" else int(clock["owner_id"])
    found = rows(conn, select(table).where(column == key))
    return found[0] if found else {}


def _spec(clock: Row, case: Row, subject: Row, specs: list[ClockSpec]) -> ClockSpec | None:
    name = clock["name"].split(":")[0]
    level = subject.get("level") or case.get("level") or 1
    chosen = choose(specs, clock["owner"], level, case.get("case_class", ""))
    fitting = [s for s in chosen if s.name == name]
    # the level changed under a clock that keeps running: any line of that name will do
    return next(iter(fitting or [s for s in specs if s.name == name]), None)


def fire(tx: Tx, rules: DeskRules, bell: Bell) -> int:
    """Fire what has come: mark it, write one line and one fact, tell who has to know."""
    found = due_rungs(tx.conn, tx.now, rules)
    for rung in found:
        clock = rung.clock
        fired = {**clock["fired"], **{name: tx.now.isoformat() for name in rung.names}}
        if rung.is_last:
            fired[END] = tx.now.isoformat()
        tx.conn.execute(update(t.clocks).where(t.clocks.c.id == clock["id"]).values(fired=fired))
        told = _tell_receivers(rung, bell)
        tell(tx, MACHINE, _fact(tx, rung, told))
    return len(found)


def _fact(tx: Tx, rung: Rung, told: list[str]) -> Act:
    clock, top = rung.clock, rung.names[-1]
    fact = {"50": "reminded", "80": "reminded", "due": "overdue"}.get(top, "escalated")
    text = f"{_what(rung)}：{_how(rung, tx.now)}"
    if told:
        text += f"，已{'报' if fact == 'escalated' else '提醒'}{'、'.join(told)}"
    owner = clock["owner"]
    return Act(
        "clock",
        fact,
        "clarification" if owner == "step" else owner,
        clock["owner_id"],
        text,
        case_id=clock["case_id"],
        office=rung.subject.get("office", ""),
        data={
            "clock": clock["name"],
            "label": clock["label"],
            "rungs": list(rung.names),
            "due_at": clock["due_at"],
        },
    )


def _what(rung: Rung) -> str:
    subject = rung.subject
    who = subject.get("office") or subject.get("title") or subject.get("place_name") or ""
    return f"{rung.clock['label']}（{who}）" if who else str(rung.clock["label"])


def _how(rung: Rung, now: datetime) -> str:
    clock = rung.clock
    share = {"50": "时限过半，", "80": "时限已过八成，"}.get(rung.names[-1], "")
    return f"{share}{left_text(now, clock['due_at'])}（{clock_text(clock['due_at'])}到期）"


def _tell_receivers(rung: Rung, bell: Bell) -> list[str]:
    """Reminders for 50, 80, due; escalations for the rungs above. Returns who is told."""
    if rung.spec is None:
        return []
    plan: dict[str, tuple[str, str]] = {}
    plain = [n for n in rung.names if not n.startswith("up")]
    if plain:
        for to in rung.spec.remind:
            plan.setdefault(_receiver(rung, to), ("reminder", plain[-1]))
    for name in rung.names:
        if name.startswith("up"):
            for to in rung.spec.up[int(name[2:]) - 1].to:
                plan[_receiver(rung, to)] = ("escalation", name)
    clock = rung.clock
    matter = rung.case.get("title") or rung.subject.get("title") or rung.subject.get("text", "")
    number = rung.case.get("number", "")
    for receiver, (reason, name) in plan.items():
        word = {"50": "过半", "80": "将到期", "due": "到期"}.get(name, "超时升级")
        body = f"{number}{'：' if number else ''}{matter[:60]}\n{_how(rung, bell.tx.now)}"
        bell.say(
            receiver,
            reason,
            f"【{word}】{_what(rung)}",
            f"{body}\n依据：{clock['basis']}",
            key=f"clock:{clock['id']}:{name}",
            case_id=clock["case_id"],
            fingerprint=clock["owner_id"] if clock["owner"] == "alert" else "",
        )
    return list(plan)


def _receiver(rung: Rung, to: str) -> str:
    if to == "owner":
        return str(rung.case.get("owner") or DESK)
    if to == "office":
        return str(rung.subject.get("office") or rung.case.get("lead_office") or DESK)
    return ROLES.get(to, to)


__all__ = ["DESK", "Bell", "due_rungs", "fire"]
