"""Silences (静默): a person mutes matching alerts until a time, with a reason.

Alerts that already sound keep their state; the alert stage asks ``active_silence`` before it
sounds a new one. Nothing is deleted: a muted alert is there, marked with who muted it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from pipeline.desk.alerts import check_until
from pipeline.desk.guard import Act, Row, add, change, clock_text, load, need, record, rows
from pipeline.domain.alert import AlertState
from pipeline.domain.rights import Actor, require
from pipeline.errors import IllegalTransition, MissingFields
from pipeline.store import tables as t
from pipeline.store.sql import Tx

MATCHER_LABELS: dict[str, str] = {
    "rule": "规则",
    "kind": "类型",
    "adcode": "区域",
    "hazard": "灾种",
    "event_id": "事件",
    "fingerprint": "预警",
    "max_level": "最高等级",
}


def silence_matches(matchers: Mapping[str, Any], alert: Mapping[str, Any]) -> bool:
    """True when every matcher fits. A place fits what lies in it; ``max_level``: this or lower."""
    for key, want in matchers.items():
        if key == "max_level":
            if int(alert["level"]) > int(want):
                return False
        elif key == "adcode":
            if not str(alert["adcode"]).startswith(_stem(str(want))):
                return False
        elif str(alert.get(key, "")) != str(want):
            return False
    return bool(matchers)


def _stem(adcode: str) -> str:
    """450100 -> 4501, 450000 -> 45: what codes inside the place begin with."""
    return adcode[:2] if adcode[2:6] == "0000" else adcode[:4] if adcode[4:6] == "00" else adcode


def active_silence(conn: Connection, alert: Mapping[str, Any], now: datetime) -> Row | None:
    """The silence that mutes an alert now, if any."""
    s = t.silences.c
    for row in rows(conn, select(t.silences).where(s.starts_at <= now, s.ends_at > now)):
        if silence_matches(row["matchers"], alert):
            return row
    return None


def preview_silence(conn: Connection, matchers: Mapping[str, Any]) -> list[Row]:
    """Alerts that nobody has taken and that would have been muted: look before you mute."""
    a = t.alerts
    waiting = select(a).where(a.c.state == AlertState.NEW).order_by(a.c.fired_at.desc())
    return [row for row in rows(conn, waiting) if silence_matches(matchers, row)]


def _checked(matchers: Mapping[str, Any]) -> dict[str, Any]:
    clean = {k: v for k, v in matchers.items() if v not in (None, "")}
    if not clean:
        raise MissingFields({"matchers": "静默条件（不能静默全部预警）"})
    unknown = [k for k in clean if k not in MATCHER_LABELS]
    if unknown:
        known = "、".join(MATCHER_LABELS.values())
        raise MissingFields({k: f"有效的条件（“{k}”不是条件；可用：{known}）" for k in unknown})
    if "max_level" in clean and str(clean["max_level"]) not in ("1", "2", "3", "4"):
        raise MissingFields({"max_level": "最高等级（1 至 4）"})
    return clean


def matchers_text(matchers: Mapping[str, Any]) -> str:
    """As 规则=burst，区域=450100."""
    return "，".join(f"{MATCHER_LABELS.get(k, k)}={v}" for k, v in sorted(matchers.items()))


def add_silence(
    tx: Tx, actor: Actor, matchers: Mapping[str, Any], reason: str, ends_at: datetime
) -> int:
    """Mute matching alerts from now on; returns the silence's number.

    Raises: NotAllowed when longer than the role may, MissingFields for none or unknown matchers.
    """
    require(actor, "silence_short")
    need(reason=(reason, "静默原因"))
    clean = _checked(matchers)
    check_until(tx, actor, ends_at, "静默")
    number = add(
        tx,
        t.silences,
        matchers=clean,
        owner=actor.name,
        reason=reason.strip(),
        starts_at=tx.now,
        ends_at=ends_at,
    )
    text = f"{actor.name}静默（{matchers_text(clean)}）至{clock_text(ends_at)}：{reason.strip()}"
    after = {"matchers": clean, "ends_at": ends_at, "reason": reason.strip()}
    record(
        tx,
        actor,
        Act("add_silence", "silenced", "silence", number, text, after=after, data=dict(clean)),
    )
    return number


def end_silence(tx: Tx, actor: Actor, silence_id: int) -> None:
    """End it now."""
    require(actor, "silence_short")
    row = load(tx.conn, t.silences, silence_id, "静默")
    if row["ends_at"] <= tx.now:
        raise IllegalTransition("此静默已结束")
    change(tx, t.silences, row, ends_at=tx.now, ended_by=actor.name)
    record(
        tx,
        actor,
        Act(
            "end_silence",
            "silence_ended",
            "silence",
            silence_id,
            f"{actor.name}提前结束静默（{matchers_text(row['matchers'])}）",
            before={"ends_at": row["ends_at"]},
            after={"ends_at": tx.now},
        ),
    )
