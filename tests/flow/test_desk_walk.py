"""A random walk through the desk: random people press random buttons on random objects.

Whatever they do: no illegal move, no act without its right, every success is exactly one audit
line, every refusal leaves no trace, and what is released went the whole way.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from pipeline.desk import alerts, assignments, cases, releases
from pipeline.desk import clarifications as cl
from pipeline.desk import help as calls
from pipeline.domain.alert import ALERT_MOVES
from pipeline.domain.case import (
    ASSIGNMENT_MOVES,
    CASE_MOVES,
    HELP_MOVES,
    OPEN_CASE,
    HelpState,
)
from pipeline.domain.release import CLARIFICATION_MOVES
from pipeline.domain.rights import Actor, Role
from pipeline.errors import DeskError
from pipeline.stages.sweep import sweep
from pipeline.store import tables as t
from pipeline.store.sql import verify_audit
from tests.unit.pipeline.desk.world import (
    BGS,
    CHECKER,
    DUTY,
    DUTY2,
    LEADER,
    PEOPLE,
    QXT,
    SECRECY,
    SIGNER,
    World,
)

# people who changed their post between two acts: the same person in another role
ACTORS: tuple[Actor, ...] = (
    *PEOPLE,
    replace(DUTY, role=Role.CHECKER),
    replace(DUTY2, role=Role.SIGNER),
    replace(SECRECY, role=Role.SIGNER),
    replace(SIGNER, role=Role.SECRECY),
)

DESK = {"duty", "leader"}
OFFICE = {"office"}
MAY: dict[str, set[str]] = {  # DESIGN: who may do what, written down again by hand
    "claim": DESK, "give_back": DESK, "shelve": DESK, "close_alert": DESK, "reopen_alert": DESK,
    "open": DESK, "assess": DESK, "assign": DESK, "reassign": DESK, "accept": DESK,
    "return": DESK, "responded": DESK, "watch": DESK, "close": DESK, "reopen": DESK,
    "dismiss": DESK, "merge": DESK, "owner": DESK,
    "receive": OFFICE, "hand_back": OFFICE, "reply": OFFICE,
    "draft": DESK | OFFICE, "save": DESK | OFFICE, "submit": DESK | OFFICE,
    "emergency": DESK | OFFICE, "discard": DESK | OFFICE,
    "check": {"checker"}, "secrecy": {"secrecy"}, "sign": {"signer"},
    "send_back": {"checker", "secrecy", "signer"},
    "release": DESK | {"signer"}, "correct": DESK, "withdraw": {"leader", "signer"},
    "pass": DESK, "answer": DESK, "close_help": DESK, "reopen_help": DESK,
}  # fmt: skip

WATCHED: dict[str, tuple[Any, str, str, dict[Any, frozenset[Any]]]] = {
    "alert": (t.alerts, "fingerprint", "state", ALERT_MOVES),
    "case": (t.cases, "id", "status", CASE_MOVES),
    "assignment": (t.assignments, "id", "state", ASSIGNMENT_MOVES),
    "clarification": (t.clarifications, "id", "status", CLARIFICATION_MOVES),
    "help": (t.help_calls, "id", "state", HELP_MOVES),
}

FULL = {
    "title": "情况说明", "claim": "水库今晚放水", "verdict": "失实", "facts": "没有放水安排。",
    "measures": "水利部门统一发布。", "results": "已提请处理。",
}  # fmt: skip


class DeskWalk(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder)
        self.successes = 0

    def teardown(self) -> None:
        with self.world.store.read() as conn:
            report = verify_audit(conn)
        assert report.ok, report.problem
        self.world.store.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- looking ------------------------------------------------------------------------

    def states(self) -> dict[tuple[str, Any], str]:
        with self.world.store.read() as conn:
            return {
                (name, key): state
                for name, (table, pk, column, _) in WATCHED.items()
                for key, state in conn.execute(select(table.c[pk], table.c[column]))
            }

    def everything(self) -> dict[str, list[Any]]:
        with self.world.store.read() as conn:
            return {
                name: [tuple(r) for r in conn.execute(select(table))]
                for name, table in t.metadata.tables.items()
            }

    def lines(self) -> int:
        return len(self.world.all(t.audit))

    def check_moves(self, before: dict[tuple[str, Any], str]) -> None:
        for (name, key), now in self.states().items():
            old = before.get((name, key))
            if old is not None and old != now:
                moves = WATCHED[name][3]
                kind = type(next(iter(moves)))
                assert kind(now) in moves[kind(old)], f"{name} {key}: {old} -> {now}"

    # ---- acting -------------------------------------------------------------------------

    def attempt(self, name: str, actor: Actor, act: Callable[[], Any]) -> bool:
        before, states = self.everything(), self.states()
        try:
            act()
        except DeskError as error:
            assert str(error).strip()
            assert self.everything() == before, f"{name} was refused and left a trace"
            return False
        assert actor.role is not None and actor.role.value in MAY[name], (name, actor.role)
        after = self.everything()
        new = after["audit"][len(before["audit"]) :]
        assert len(new) == 1, f"{name} wrote {len(new)} audit lines"
        assert len(after["outbox"]) > len(before["outbox"])
        self.check_moves(states)
        return True

    def call(self, name: str, actor: Actor, x: int, y: int) -> Callable[[], Any]:
        """The button ``name`` pressed on object number ``x`` (which may not exist)."""
        w, now = self.world, self.world.now

        def on(act: Callable[..., Any], *args: Any, **values: Any) -> Callable[[], Any]:
            return lambda: w.do(act, actor, *args, **values)

        office = ("气象台", "办公室", "业务科")[y % 3]
        level = 1 + y % 4
        table: dict[str, Callable[[], Any]] = {
            "claim": on(alerts.claim_alert, f"a{x}"),
            "give_back": on(alerts.release_claim, f"a{x}"),
            "shelve": on(alerts.shelve_alert, f"a{x}", now + timedelta(hours=1 + y), "等回复"),
            "close_alert": on(alerts.close_alert, f"a{x}", "玩梗", bool(y % 2)),
            "reopen_alert": on(alerts.reopen_alert, f"a{x}", "又有新帖"),
            "open": on(cases.open_case, fingerprint=f"a{x}", rules=w.rules),
            "assess": on(cases.assess_case, x, level, "理由"),
            "assign": on(assignments.assign, x, office, "核实", part=("lead", "helper")[y % 2]),
            "reassign": on(assignments.reassign, x, office, "改派"),
            "receive": on(assignments.receive, x),
            "hand_back": on(assignments.hand_back, x, "不属本科室"),
            "reply": on(assignments.reply, x, "已核实"),
            "accept": on(assignments.accept_reply, x),
            "return": on(assignments.return_reply, x, "请补充"),
            "responded": on(cases.mark_responded, x, "已电话答复"),
            "watch": on(cases.watch_case, x),
            "close": on(cases.close_case, x, "已平息"),
            "reopen": on(cases.reopen_case, x, "又起"),
            "dismiss": on(cases.dismiss_case, x, "no_matter"),
            "merge": on(cases.merge_case, x, 1 + y % 3, "同一事"),
            "owner": on(cases.change_owner, x, (DUTY2, CHECKER, LEADER)[y % 3].name),
            "draft": on(cl.start_draft, x),
            "save": lambda: self.save(actor, x, y),
            "submit": on(cl.submit, x),
            "emergency": on(cl.submit, x, emergency=True),
            "discard": on(cl.discard_draft, x, "另稿"),
            "check": on(cl.pass_check, x),
            "secrecy": lambda: w.do(cl.pass_secrecy, actor, x, "", self.answers(x, y)),
            "sign": on(cl.sign_off, x),
            "send_back": on(cl.send_back, x, "请改"),
            "release": on(releases.release, x, ["portal"]),
            "correct": on(releases.correct, x, "数字有误"),
            "withdraw": on(releases.withdraw, x, "另有发布"),
            "pass": on(calls.pass_on, x, "119"),
            "answer": on(calls.answer, x, "已到场"),
            "close_help": on(calls.close_help, x, "已脱困"),
            "reopen_help": on(calls.reopen_help, x),
        }
        return table[name]

    def save(self, actor: Actor, x: int, y: int) -> Any:
        row = next(iter(self.world.all(t.clarifications, id=x)), None)
        version = (row or {"version": 1})["version"] - (y == 7)  # now and then a stale one
        evidence = self.world.all(t.evidence, case_id=(row or {"case_id": 0})["case_id"])
        fields: dict[str, Any] = {**FULL, "evidence": [e["id"] for e in evidence]}
        if not evidence:
            fields["verdict"] = "尚待核实"
        return self.world.do(cl.save_draft, actor, x, version, **fields)

    def answers(self, x: int, y: int) -> dict[str, str]:
        if y == 7 or not self.world.all(t.clarifications, id=x):
            return {}
        return self.world.answers(x)

    # ---- rules --------------------------------------------------------------------------

    @initialize()
    def morning(self) -> None:
        for n in range(1, 4):
            self.world.alert(f"a{n}", event_id=f"E-{(n + 1) // 2}", level=n + 1)
        self.world.help_call()

    @rule(
        name=st.sampled_from(sorted(MAY)),
        actor=st.sampled_from(ACTORS),
        x=st.integers(1, 4),
        y=st.integers(0, 7),
    )
    def anybody_presses_anything(self, name: str, actor: Actor, x: int, y: int) -> None:
        self.attempt(name, actor, self.call(name, actor, x, y))

    @rule(
        name=st.sampled_from(sorted(MAY)),
        which=st.integers(0, 5),
        x=st.integers(1, 3),
        y=st.integers(0, 7),
    )
    def somebody_with_the_right_presses(self, name: str, which: int, x: int, y: int) -> None:
        able = [a for a in ACTORS if a.role is not None and a.role.value in MAY[name]]
        self.attempt(name, able[which % len(able)], self.call(name, able[which % len(able)], x, y))

    @rule(x=st.integers(1, 3), steps=st.integers(1, 3))
    def a_case_goes_forward(self, x: int, steps: int) -> None:
        """The right people take the next steps of a case."""
        for _ in range(steps):
            found = self.world.all(t.cases, id=x)
            if not found:
                self.attempt("open", DUTY, self.call("open", DUTY, x, 0))
                return
            name, actor = {
                "triage": ("assess", LEADER),
                "assessed": ("assign", DUTY),
                "handling": ("responded", DUTY),
                "responded": ("watch", DUTY),
                "watching": ("close", DUTY),
            }.get(found[0]["status"], ("reopen", DUTY))
            self.attempt(name, actor, self.call(name, actor, x, 6))

    @rule(x=st.integers(1, 4), steps=st.integers(1, 3))
    def an_office_does_its_work(self, x: int, steps: int) -> None:
        for _ in range(steps):
            for row in self.world.all(t.assignments, id=x):
                name = {"sent": "receive", "received": "reply", "returned": "reply"}.get(
                    row["state"], "accept"
                )
                worker = QXT if row["office"] == QXT.office else BGS
                actor = DUTY if name == "accept" else worker
                self.attempt(name, actor, self.call(name, actor, x, 0))

    @rule(x=st.integers(1, 3), steps=st.integers(1, 7), emergency=st.booleans())
    def a_draft_goes_forward(self, x: int, steps: int, emergency: bool) -> None:
        for _ in range(steps):
            found = self.world.all(t.clarifications, id=x)
            if not found:
                self.attempt("draft", DUTY, self.call("draft", DUTY, 1 + x % 2, 0))
                continue
            row = found[0]
            late = row["emergency"] and row["status"] in ("signed", "released")
            if row["status"] == "draft" and row["facts"] != FULL["facts"]:
                name, actor = "save", DUTY
            elif late and emergency:
                self.attempt("check", CHECKER, self.call("check", CHECKER, x, 0))
                name, actor = "secrecy", SECRECY
            else:
                name, actor = {
                    "draft": ("emergency" if emergency else "submit", DUTY),
                    "check": ("check", CHECKER),
                    "secrecy": ("secrecy", SECRECY),
                    "sign": ("sign", SIGNER),
                    "signed": ("release", DUTY),
                }.get(row["status"], ("correct", DUTY))
            self.attempt(name, actor, self.call(name, actor, x, 0))

    @rule(minutes=st.sampled_from([1, 4, 30, 70, 600, 4000]))
    def time_passes(self, minutes: int) -> None:
        self.world.wait(minutes=minutes)
        states = self.states()
        sweep(self.world.store, self.world.now, self.world.rules)
        self.check_moves(states)
        before = self.everything()
        assert sweep(self.world.store, self.world.now, self.world.rules) == 0
        assert self.everything() == before

    # ---- what always holds --------------------------------------------------------------

    @invariant()
    def one_open_case_per_event(self) -> None:
        events = [c["event_id"] for c in self.world.all(t.cases) if c["status"] in OPEN_CASE]
        assert len(events) == len(set(events))

    @invariant()
    def what_is_out_went_the_whole_way(self) -> None:
        for out in self.world.all(t.releases):
            assert releases.verify_release(out)
            if out["kind"] == "withdrawal":
                continue
            draft = self.world.one(t.clarifications, id=out["clarification_id"])
            with self.world.store.read() as conn:
                steps = cl.history(conn, draft["id"])
            writers = {s["actor_id"] for s in steps if s["step"] in ("start", "save", "submit")}
            start = max(i for i, s in enumerate(steps) if s["step"] == "submit")
            by = {s["step"]: s["actor_id"] for s in steps[start:] if s["outcome"] == "passed"}
            assert "sign" in by
            if not draft["emergency"]:
                assert {"check", "secrecy", "sign"} <= set(by)
            assert not writers & set(by.values())
            assert by.get("secrecy") != by["sign"]

    @invariant()
    def finished_things_have_no_running_clock(self) -> None:
        running = {
            (c["owner"], c["owner_id"])
            for c in self.world.all(t.clocks, met_at=None)
            if c["cancelled_at"] is None
        }
        for case in self.world.all(t.cases):
            if case["status"] not in OPEN_CASE:
                assert ("case", str(case["id"])) not in running
        for row in self.world.all(t.assignments):
            if row["state"] in ("accepted", "reassigned", "handed_back"):
                assert ("assignment", str(row["id"])) not in running
        for call in self.world.all(t.help_calls):
            if call["state"] != HelpState.NEW:
                assert ("help", str(call["id"])) not in running

    @invariant()
    def an_alert_is_claimed_by_somebody_or_not_claimed(self) -> None:
        for alert in self.world.all(t.alerts):
            assert bool(alert["claimed_by"]) or alert["state"] != "claimed"


TestDeskWalk = DeskWalk.TestCase
TestDeskWalk.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
