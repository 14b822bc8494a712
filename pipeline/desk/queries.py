"""Read-only views for screens: the top line, warnings in force, source health, small look-ups.

Everything returns plain dataclasses and dicts; times are aware UTC. The other views live beside:
``queries_board`` (what must be acted on), ``queries_events``, ``queries_cases``,
``queries_library`` (claims, reviews) and ``queries_admin``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, select

from pipeline.domain.alert import AlertState
from pipeline.domain.case import OPEN_CASE, HelpState
from pipeline.store import tables as t

STALE_AFTER = timedelta(seconds=90)
SOON = timedelta(hours=1)
OPEN_CASE_VALUES = tuple(sorted(s.value for s in OPEN_CASE))


def rows(conn: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    """Every row of a query as a dict."""
    return [dict(r) for r in conn.execute(query).mappings()]


def one(conn: Connection, query: Select[Any]) -> dict[str, Any] | None:
    """The first row of a query as a dict, None when there is none."""
    row = conn.execute(query).mappings().first()
    return dict(row) if row is not None else None


def count(conn: Connection, query: Select[Any]) -> int:
    """The single number of a counting query."""
    return int(conn.execute(query).scalar_one() or 0)


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source as the board shows it. ``state``: ok, late, empty, refused, failing, never."""

    source: str
    state: str
    reason: str
    last_success_at: datetime | None
    last_post_at: datetime | None
    every_s: float
    usual_per_hour: float
    runs: int
    failures: int
    items: int
    broken: int
    url: str
    spider: str

    @property
    def is_ok(self) -> bool:
        return self.state == "ok"


@dataclass(frozen=True, slots=True)
class TopLine:
    """What stands on top of every page.

    ``at_war``: a weather process is open, or an orange or red warning is in force.
    ``data_at``: the screen shows everything up to then; the slowest machine part decides.
    ``lag``: messages not yet worked off.
    """

    at_war: bool
    data_at: datetime | None
    lag: int
    sources_ok: int
    sources: int
    unclaimed: int
    help_waiting: int
    failed_deliveries: int
    notes: tuple[str, ...] = ()

    def is_stale(self, now: datetime, speed: float = 1.0) -> bool:
        """Older than 90 s of wall time. ``speed``: drill seconds per wall second, >= 1."""
        return self.data_at is None or now - self.data_at > STALE_AFTER * max(1.0, speed)


def top_line(conn: Connection, now: datetime, newest_post: datetime | None = None) -> TopLine:
    """The figures of the top line. ``newest_post``: when the newest indexed post was fetched."""
    beats = conn.execute(
        select(func.min(t.heartbeats.c.at), func.max(t.heartbeats.c.lag)).where(
            t.heartbeats.c.part != "board"
        )
    ).first()
    slowest, lag = (beats[0], int(beats[1] or 0)) if beats else (None, 0)
    states: dict[str, int] = {
        row[0]: row[1]
        for row in conn.execute(
            select(t.source_health.c.state, func.count()).group_by(t.source_health.c.state)
        )
    }
    return TopLine(
        at_war=_at_war(conn, now),
        data_at=slowest or newest_post,
        lag=lag,
        sources_ok=states.get("ok", 0),
        sources=sum(states.values()),
        unclaimed=count(
            conn,
            select(func.count())
            .select_from(t.alerts)
            .where(t.alerts.c.state == AlertState.NEW.value),
        ),
        help_waiting=count(
            conn,
            select(func.count())
            .select_from(t.help_calls)
            .where(t.help_calls.c.state == HelpState.NEW.value),
        ),
        failed_deliveries=count(
            conn,
            select(func.count())
            .select_from(t.deliveries)
            .where(t.deliveries.c.state.in_(("failed", "given_up"))),
        ),
        notes=tuple(
            conn.execute(
                select(t.heartbeats.c.note)
                .where(t.heartbeats.c.note != "")
                .order_by(t.heartbeats.c.part)
            ).scalars()
        ),
    )


def _at_war(conn: Connection, now: datetime) -> bool:
    process = select(t.processes.c.id).where(t.processes.c.closed_at.is_(None)).limit(1)
    if conn.execute(process).first() is not None:
        return True
    warning = in_force(now).where(t.warnings.c.colour.in_(("orange", "red"))).limit(1)
    return conn.execute(warning).first() is not None


def in_force(now: datetime) -> Select[Any]:
    """Warnings that are issued, not lifted, not superseded and not run out."""
    w = t.warnings.c
    return (
        select(t.warnings)
        .where(w.action != "lifted", w.lifted_at.is_(None), w.superseded_by == "")
        .where((w.expires_at.is_(None)) | (w.expires_at > now))
        .where(w.issued_at <= now)
    )


_COLOURS = {"red": 0, "orange": 1, "yellow": 2, "blue": 3}


def warnings_in_force(
    conn: Connection, now: datetime, *, city: str = "", limit: int = 40
) -> list[dict[str, Any]]:
    """Warnings in force, gravest first. ``city``: first four digits of the division code."""
    query = in_force(now).order_by(t.warnings.c.issued_at.desc()).limit(500)
    if city:
        query = query.where(t.warnings.c.adcode.startswith(city))
    found = rows(conn, query)
    found.sort(key=lambda w: _COLOURS.get(w["colour"], 9))
    return found[:limit]


def sources(conn: Connection) -> list[SourceRow]:
    """Every source, troubled ones first."""
    s = t.source_health.c
    found = [
        SourceRow(
            source=r["source"],
            state=r["state"],
            reason=r["reason"],
            last_success_at=r["last_success_at"],
            last_post_at=r["last_post_at"],
            every_s=r["every_s"],
            usual_per_hour=r["usual_per_hour"],
            runs=r["runs"],
            failures=r["failures"],
            items=r["items"],
            broken=r["broken"],
            url=r["url"],
            spider=r["spider"],
        )
        for r in rows(conn, select(t.source_health).order_by(s.source))
    ]
    found.sort(key=lambda r: (r.is_ok, r.source))
    return found


def sparks(
    conn: Connection, event_ids: Sequence[str], now: datetime, *, steps: int = 24
) -> dict[str, list[int]]:
    """Posts per ten minutes of each event, the last ``steps`` steps, oldest first."""
    if not event_ids:
        return {}
    width = timedelta(minutes=10)
    start = now - width * steps
    series = {e: [0] * steps for e in event_ids}
    b = t.event_buckets.c
    found = conn.execute(
        select(b.event_id, b.start, b.posts).where(b.event_id.in_(series), b.start >= start)
    )
    for event_id, at, posts in found:
        series[event_id][min(steps - 1, int((at - start) / width))] += posts
    return series


def lately(
    conn: Connection, event_ids: Sequence[str], now: datetime, *, minutes: int = 10
) -> dict[str, int]:
    """Posts of each event in the last minutes, copies included."""
    if not event_ids:
        return {}
    p = t.event_posts.c
    query = (
        select(p.event_id, func.count())
        .where(p.event_id.in_(list(event_ids)), p.at > now - timedelta(minutes=minutes))
        .group_by(p.event_id)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def offices(conn: Connection) -> list[str]:
    """Offices that have somebody who can sign for receipt."""
    u = t.users.c
    query = select(u.office).where(u.office != "", u.disabled.is_(False)).distinct()
    return sorted(r[0] for r in conn.execute(query.order_by(u.office)))
