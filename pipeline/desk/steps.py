"""The steps of a clarification: each keeps the text as it stood, so that differences show."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from pipeline.desk.guard import Row, add, rows
from pipeline.domain.release import Step
from pipeline.domain.rights import Actor
from pipeline.errors import NotFound
from pipeline.store import tables as t
from pipeline.store.sql import Tx

FIELD_LABELS: dict[str, str] = {
    "title": "标题",
    "claim": "网传内容",
    "verdict": "核查结论",
    "facts": "事实真相",
    "measures": "政策措施",
    "results": "处置结果",
    "evidence": "依据",
    "channels": "发布渠道",
    "disclosure": "公开属性",
    "valid_until": "有效期",
}
"""The fields of a draft that people write, in the order of the form."""


def content_of(row: Row) -> dict[str, Any]:
    """The written fields as plain JSON."""
    return {
        key: row[key].isoformat() if isinstance(row[key], datetime) else row[key]
        for key in FIELD_LABELS
    }


def add_step(
    tx: Tx,
    actor: Actor,
    row: Row,
    step: str,
    outcome: str,
    comment: str = "",
    findings: list[dict[str, Any]] | None = None,
) -> None:
    """Keep a step with the text as it stands in ``row``."""
    add(
        tx,
        t.clarification_steps,
        clarification_id=row["id"],
        at=tx.now,
        step=str(step),
        outcome=outcome,
        actor=actor.name,
        actor_id=actor.user_id,
        comment=comment.strip(),
        findings=findings or [],
        content=content_of(row),
        version=row["version"],
    )


def history(conn: Connection, clarification_id: int) -> list[Row]:
    """All steps, oldest first."""
    s = t.clarification_steps
    return rows(conn, select(s).where(s.c.clarification_id == clarification_id).order_by(s.c.id))


def diff(
    conn: Connection, clarification_id: int, from_version: int, to_version: int
) -> list[tuple[str, list[str]]]:
    """What changed between two versions: (field label, unified diff lines), changed fields only.

    Long Chinese paragraphs are compared sentence by sentence. Raises: NotFound.
    """
    by_version = {s["version"]: s["content"] for s in history(conn, clarification_id)}
    for version in (from_version, to_version):
        if version not in by_version:
            raise NotFound(f"没有找到第 {version} 版，请刷新后再选")
    old, new = by_version[from_version], by_version[to_version]
    changed = []
    for key, label in FIELD_LABELS.items():
        a, b = _lines(old.get(key)), _lines(new.get(key))
        if a != b:
            lines = list(difflib.unified_diff(a, b, lineterm="", n=1))[2:]
            changed.append((label, lines))
    return changed


def _lines(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(v) for v in value]
    text = str(value or "")
    for mark in "。；！？":
        text = text.replace(mark, mark + "\n")
    return [line.strip() for line in text.splitlines() if line.strip()]


def steps_since_submit(conn: Connection, clarification_id: int) -> list[Row]:
    """Steps of the present round: after the last submission."""
    steps = history(conn, clarification_id)
    last = max((i for i, s in enumerate(steps) if s["step"] == "submit"), default=-1)
    return steps[last + 1 :]


def last_passed(conn: Connection, clarification_id: int, step: Step) -> Row | None:
    """The passing of a step in the present round, if it happened."""
    found = [
        s
        for s in steps_since_submit(conn, clarification_id)
        if s["step"] == step and s["outcome"] == "passed"
    ]
    return found[-1] if found else None


def authors(conn: Connection, clarification_id: int) -> set[int]:
    """Everybody who wrote a version."""
    s = t.clarification_steps.c
    query = select(s.actor_id).where(
        s.clarification_id == clarification_id, s.step.in_(["start", "save", "submit"])
    )
    return {int(i) for (i,) in conn.execute(query)}


def corrects(conn: Connection, clarification_id: int) -> tuple[int, str] | None:
    """(release, reason) that a draft was started to correct; None for a first draft."""
    for step in history(conn, clarification_id):
        if step["step"] == "start" and step["findings"]:
            found = step["findings"][0]
            if "of_release" in found:
                return int(found["of_release"]), step["comment"]
    return None
