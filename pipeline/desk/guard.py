"""The shape every act at the desk shares: load, check, change, record.

row = load(tx.conn, t.cases, case_id, "处置单")     # or NotFound
require(actor, "close_case")                        # or NotAllowed
move(CASE_MOVES, ...)                               # or IllegalTransition
change(tx, t.cases, row, status="closed")           # or Stale
record(tx, actor, Act(...))                         # audit, timeline, fact: one line each
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, insert, select, update

from pipeline.bus.topics import DESK_FACTS
from pipeline.clock import BEIJING
from pipeline.domain.case import OPEN_ASSIGNMENT
from pipeline.domain.rights import Actor, Role
from pipeline.errors import MissingFields, NotAllowed, NotFound, Stale
from pipeline.store import tables as t
from pipeline.store.sql import Tx

Row = dict[str, Any]


def load(conn: Connection, table: Table, key: int | str, what: str) -> Row:
    """One row by its primary key. ``what``: its Chinese name. Raises: NotFound."""
    (column,) = table.primary_key.columns
    row = conn.execute(select(table).where(column == key)).mappings().first()
    if row is None:
        raise NotFound(f"没有找到{what}（{key}），请刷新页面后再试")
    return dict(row)


def rows(conn: Connection, query: Any) -> list[Row]:
    """All rows of a query as dicts."""
    return [dict(r) for r in conn.execute(query).mappings()]


def add(tx: Tx, table: Table, **values: Any) -> int:
    """Insert a row; returns its number."""
    key = tx.conn.execute(insert(table), values).inserted_primary_key
    assert key is not None
    return int(key[0])


def change(tx: Tx, table: Table, row: Row, **values: Any) -> Row:
    """Change a row that nobody changed since it was loaded; returns it as it now is.

    Tables with ``version`` count it up. Raises: Stale.
    """
    (column,) = table.primary_key.columns
    query = update(table).where(column == row[column.name])
    if "version" in table.c:
        query = query.where(table.c.version == row["version"])
        values = {**values, "version": row["version"] + 1}
    if tx.conn.execute(query.values(**values)).rowcount != 1:
        raise Stale("此项刚被他人更改，请刷新后再操作")
    return {**row, **values}


@dataclass(frozen=True, slots=True)
class Act:
    """One act to be recorded.

    ``name``: the button, for the audit. ``fact``: what happened, for timeline and topic.
    ``text``: one Chinese sentence. ``case_id``: None when no case is concerned. ``quiet``: no
    timeline line, for acts that a case's reader does not want to see one by one (saved drafts).
    """

    name: str
    fact: str
    obj: str
    object_id: str | int
    text: str
    case_id: int | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    office: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    quiet: bool = False


def record(tx: Tx, actor: Actor, act: Act) -> None:
    """Exactly one audit line, one timeline line where a case is concerned, one fact."""
    tx.audit(actor, act.name, act.obj, act.object_id, act.before, act.after)
    tell(tx, actor, act)


def tell(tx: Tx, actor: Actor, act: Act) -> None:
    """Timeline line and fact without an audit line: for what no person did."""
    data = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in act.data.items()}
    if act.case_id is not None and not act.quiet:
        tx.conn.execute(
            insert(t.case_timeline),
            {
                "case_id": act.case_id,
                "at": tx.now,
                "actor": actor.name,
                "kind": act.fact,
                "text": act.text,
                "data": data,
            },
        )
    key = str(act.case_id) if act.case_id is not None else f"{act.obj}:{act.object_id}"
    tx.emit(
        DESK_FACTS,
        key,
        {
            "fact": act.fact,
            "case_id": act.case_id,
            "text": act.text,
            "object": act.obj,
            "object_id": str(act.object_id),
            "role": actor.role.value if actor.role else "machine",
            "office": act.office or actor.office,
            "at": tx.now,
            "data": data,
        },
    )


def need(**fields: tuple[Any, str]) -> None:
    """``need(reason=(reason, "原因"))``. Raises: MissingFields naming every empty one."""
    empty = {
        name: label
        for name, (value, label) in fields.items()
        if value is None or (isinstance(value, str) and not value.strip())
    }
    if empty:
        raise MissingFields(empty)


def same_office(actor: Actor, office: str) -> None:
    """An office acts for itself only. Raises: NotAllowed."""
    if actor.role is Role.OFFICE and actor.office != office:
        raise NotAllowed(f"此项由{office}办理，{actor.office or '本'}科室无权操作")


def office_on_case(conn: Connection, actor: Actor, case: Row) -> None:
    """An office works on a case only while it has a part in it. Raises: NotAllowed."""
    if actor.role is not Role.OFFICE:
        return
    a = t.assignments.c
    mine = conn.execute(
        select(a.id).where(
            a.case_id == case["id"],
            a.office == actor.office,
            a.state.in_([*OPEN_ASSIGNMENT, "accepted"]),
        )
    ).first()
    if mine is None:
        raise NotAllowed(f"{case['number']} 没有分办给{actor.office or '本科室'}，无权操作")


def clock_text(at: datetime) -> str:
    """As 11月24日14:02 (Beijing time), for sentences."""
    b = at.astimezone(BEIJING)
    return f"{b.month}月{b.day}日{b:%H:%M}"


def some(words: Iterable[str], limit: int = 5) -> str:
    """A list in a sentence, cut when long."""
    items = [w for w in words if w]
    more = f" 等 {len(items)} 项" if len(items) > limit else ""
    return "、".join(items[:limit]) + more
