"""A desk to act at: a real SQLite store, people in every role, a clock that is moved by hand."""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

from sqlalchemy import func, insert, select

from pipeline.desk import assignments, cases, clarifications, clocks
from pipeline.domain.rights import Actor, Role
from pipeline.store import tables as t
from pipeline.store.sql import Store, Tx, continue_counters, verify_audit
from tests.stores import copy_store, open_store

R = TypeVar("R")
START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)

DUTY = Actor(1, "李值班", Role.DUTY)
DUTY2 = Actor(2, "王值班", Role.DUTY)
LEADER = Actor(3, "张带班", Role.LEADER)
QXT = Actor(4, "气象台员", Role.OFFICE, "气象台")
BGS = Actor(5, "办公室员", Role.OFFICE, "办公室")
CHECKER = Actor(6, "核稿人", Role.CHECKER)
SECRECY = Actor(7, "保密员", Role.SECRECY)
SIGNER = Actor(8, "签发人", Role.SIGNER)
ADMIN = Actor(9, "系统员", Role.ADMIN)
SECURITY = Actor(10, "安全员", Role.SECURITY)
AUDITOR = Actor(11, "审计员", Role.AUDITOR)
PEOPLE = (
    DUTY, DUTY2, LEADER, QXT, BGS, CHECKER, SECRECY, SIGNER, ADMIN, SECURITY, AUDITOR,
)  # fmt: skip

_templates: dict[str, Path] = {}


def empty_store(folder: Path) -> Store:
    """A migrated store in a new folder; the migrations run once per test session."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "desk.db"
    template = _templates.get("desk")
    if template is None:
        template = _templates["desk"] = Path(mkdtemp(prefix="desk-")) / "template.db"
        atexit.register(shutil.rmtree, template.parent, ignore_errors=True)
        store = open_store(template)
        store.create()
        store.close()
    copy_store(template, path)
    return open_store(path)


class World:
    """Act, look, and let time pass."""

    def __init__(self, folder: Path) -> None:
        self.store = empty_store(folder)
        self.now = START
        self.rules = clocks.shipped_rules()
        with self.store.begin(self.now) as tx:
            for p in PEOPLE:
                assert p.role is not None
                tx.conn.execute(
                    insert(t.users),
                    {
                        "id": p.user_id, "name": p.name, "role": p.role.value,
                        "office": p.office, "password_hash": "-", "created_at": self.now,
                    },
                )  # fmt: skip
            continue_counters(tx.conn)

    def do(self, act: Callable[..., R], actor: Actor, *args: Any, **values: Any) -> R:
        """One act in one transaction."""
        with self.store.begin(self.now) as tx:
            return act(tx, actor, *args, **values)

    def tx(self, act: Callable[[Tx], R]) -> R:
        with self.store.begin(self.now) as tx:
            return act(tx)

    def wait(self, **span: float) -> None:
        self.now += timedelta(**span)

    def all(self, table: Any, **where: Any) -> list[dict[str, Any]]:
        query = select(table)
        for key, value in where.items():
            query = query.where(table.c[key] == value)
        with self.store.read() as conn:
            return [dict(r) for r in conn.execute(query).mappings()]

    def one(self, table: Any, **where: Any) -> dict[str, Any]:
        found = self.all(table, **where)
        assert len(found) == 1, found
        return found[0]

    def counts(self) -> dict[str, int]:
        """Rows of every table: a refused act must leave all of them alone."""
        with self.store.read() as conn:
            return {
                name: conn.execute(select(func.count()).select_from(table)).scalar_one()
                for name, table in t.metadata.tables.items()
            }

    def chain(self) -> int:
        """Audit lines, after proving the chain."""
        with self.store.read() as conn:
            report = verify_audit(conn)
        assert report.ok, report.problem
        return report.lines

    # ---- things that machines put on the desk ---------------------------------------

    def alert(self, fingerprint: str = "a1", **values: Any) -> str:
        row: dict[str, Any] = {
            "fingerprint": fingerprint, "rule": "rumour", "event_id": "E-1", "level": 3,
            "kind": "rumour", "title": "网传水库泄洪", "sentence": "10 分钟转述 37 条",
            "figures": {}, "lead_office": "气象台", "helper_offices": [], "copy_offices": [],
            "links": [], "warning_texts": [], "state": "new", "adcode": "450108",
            "fired_at": self.now, "last_at": self.now, "recorded_at": self.now, **values,
        }  # fmt: skip
        self.tx(lambda tx: tx.conn.execute(insert(t.alerts), row))
        return fingerprint

    def event(self, event_id: str = "E-1", **values: Any) -> str:
        row: dict[str, Any] = {
            "id": event_id, "kind": "rumour", "title": "网传水库今晚泄洪", "first_post_id": "p1",
            "first_at": self.now, "first_seen_at": self.now, "last_at": self.now, "posts": 37,
            "unique_posts": 20, "places": {}, "sources": {"weibo": 37}, "proposed_reasons": [],
            "place_name": "良庆区", "adcode": "450108", "hazard": "flood",
            "updated_at": self.now, **values,
        }  # fmt: skip
        self.tx(lambda tx: tx.conn.execute(insert(t.events), row))
        return event_id

    def help_call(self, **values: Any) -> int:
        row: dict[str, Any] = {
            "post_id": "h1", "text": "桥下困车", "place_name": "白沙大道", "state": "new",
            "published_at": self.now, "seen_at": self.now, **values,
        }  # fmt: skip
        return int(
            self.tx(lambda tx: tx.conn.execute(insert(t.help_calls), row)).inserted_primary_key[0]
        )

    # ---- short ways to a state ------------------------------------------------------

    def case(self, level: int = 3, **values: Any) -> int:
        """An assessed case."""
        values = {"title": "网传水库泄洪", "rules": self.rules, **values}
        case_id = self.do(cases.open_case, DUTY, **values)
        self.do(cases.assess_case, LEADER, case_id, level, "传播快，涉及水库")
        return case_id

    def draft(self, case_id: int, author: Actor = DUTY) -> int:
        """A complete draft."""
        draft = self.do(clarifications.start_draft, author, case_id)
        evidence = self.do(
            clarifications.add_evidence,
            author,
            case_id,
            kind="observation",
            ref="59431",
            title="南宁站雨量",
            text="8时至14时累计12.3毫米",
            station="南宁国家气象观测站",
            at=self.now,
        )
        self.do(
            clarifications.save_draft,
            author,
            draft,
            self.one(t.clarifications, id=draft)["version"],
            title="关于网传水库放水的情况说明",
            claim="某水库今晚放水",
            verdict="失实",
            facts="经与水利部门核实，该水库水位正常，没有放水安排。",
            measures="水库调度信息由水利部门统一发布。",
            results="已提请平台处理。",
            evidence=[evidence],
        )
        return draft

    def checked(self, draft: int) -> int:
        """Submitted, checked, reviewed for confidentiality."""
        self.do(clarifications.submit, DUTY, draft)
        self.do(clarifications.pass_check, CHECKER, draft)
        self.do(clarifications.pass_secrecy, SECRECY, draft, "", self.answers(draft))
        return draft

    def signed(self, draft: int) -> int:
        self.checked(draft)
        self.do(clarifications.sign_off, SIGNER, draft)
        return draft

    def answers(self, draft: int) -> dict[str, str]:
        with self.store.read() as conn:
            return {f.id: "已核对" for f in clarifications.negative_findings(conn, draft)}

    def assignment(self, case_id: int, office: str = "气象台", **values: Any) -> int:
        return self.do(assignments.assign, DUTY, case_id, office, "核实雨量和预报", **values)
