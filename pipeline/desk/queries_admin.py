"""Deliveries, silences, users and audit as the administrators' screens read them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from pipeline.desk import queries as q
from pipeline.store import tables as t

FAILED = ("failed", "given_up")


def deliveries(conn: Connection, *, failed: bool, limit: int = 60) -> list[dict[str, Any]]:
    """Notices, newest first. ``failed``: only those that did not arrive."""
    d = t.deliveries.c
    query = select(t.deliveries).order_by(d.id.desc()).limit(limit)
    return q.rows(conn, query.where(d.state.in_(FAILED)) if failed else query)


def silences(conn: Connection, now: datetime) -> list[dict[str, Any]]:
    """Silences in force and those that ended in the last day, so that one sees what was muted."""
    s = t.silences.c
    query = select(t.silences).where(s.ends_at > now - timedelta(days=1)).order_by(s.ends_at.desc())
    return [{**r, "is_on": r["ends_at"] > now} for r in q.rows(conn, query)]


def heartbeats(conn: Connection) -> list[dict[str, Any]]:
    """Machine parts and when each last moved."""
    return q.rows(conn, select(t.heartbeats).order_by(t.heartbeats.c.part))


def users(conn: Connection) -> list[dict[str, Any]]:
    """Accounts without their password hashes."""
    u = t.users.c
    query = select(
        u.id, u.name, u.display, u.role, u.office, u.disabled, u.must_change, u.locked_until
    )
    return q.rows(conn, query.order_by(u.id))


def audit_lines(
    conn: Connection, *, actor: str = "", act: str = "", limit: int = 100
) -> list[dict[str, Any]]:
    """Audit lines, newest first."""
    a = t.audit.c
    query = select(t.audit).order_by(a.seq.desc()).limit(limit)
    if actor:
        query = query.where(a.actor == actor)
    if act:
        query = query.where(a.act == act)
    return q.rows(conn, query)
