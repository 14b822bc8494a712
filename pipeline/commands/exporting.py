"""Reading commands: export, search, audit verify."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Table, select

from pipeline.app import App, build
from pipeline.domain.event import Level
from pipeline.domain.post import AnnotatedPost
from pipeline.errors import SettingsError
from pipeline.index.base import Query
from pipeline.settings import Settings
from pipeline.store import tables as t
from pipeline.store.sql import verify_audit

PAGE = 500


def post_record(item: AnnotatedPost) -> dict[str, Any]:
    """A post with its annotation as one flat object. Never the sealed contact or the sketch."""
    post, note = item.post, item.annotation
    return {
        "type": "post",
        "id": post.id,
        "source": post.source,
        "native_id": post.native_id,
        "url": post.url,
        "author": post.author,
        "author_kind": post.author_kind,
        "published_at": post.published_at.isoformat(),
        "fetched_at": post.fetched_at.isoformat(),
        "title": post.title,
        "text": post.text,
        "repost_of": post.repost_of,
        "place_hint": post.place_hint,
        "counts": asdict(post.counts),
        "gone": post.gone,
        "relevant": note.relevant,
        "kind": note.kind,
        "sentiment": note.sentiment,
        "urgency": note.urgency,
        "rumour": note.rumour,
        "hazards": list(note.hazards),
        "places": [{"adcode": p.adcode, "name": p.name} for p in note.places],
        "claims": [
            {"id": c.id, "similarity": round(c.similarity, 4), "level": c.level}
            for c in note.claims
        ],
        "scores": note.scores,
        "model": note.model,
    }


def search_posts(settings: Settings, query: Query) -> Iterator[dict[str, Any]]:
    """Posts, newest first."""
    app = build(settings)
    try:
        for hit in app.index.search(query):
            yield post_record(hit.item)
    finally:
        app.close()


def export_records(
    settings: Settings,
    kinds: Sequence[str],
    since: datetime | None,
    until: datetime | None,
) -> Iterator[dict[str, Any]]:
    """Objects of the named kinds. Raises: SettingsError for a kind that is none."""
    readers = {
        "posts": _posts,
        "events": _events,
        "alerts": _alerts,
        "cases": _cases,
        "releases": _releases,
        "audit": _audit,
    }
    for kind in kinds:
        if kind not in readers:
            raise SettingsError(f"cannot export {kind!r}; choose from {', '.join(readers)}")
    app = build(settings)
    try:
        for kind in kinds:
            yield from readers[kind](app, since, until)
    finally:
        app.close()


def _posts(app: App, since: datetime | None, until: datetime | None) -> Iterator[dict[str, Any]]:
    for hit in app.index.scan(Query(since=since, until=until)):
        yield post_record(hit.item)


def _rows(
    conn: Connection,
    table: Table,
    time: Column[Any],
    since: datetime | None,
    until: datetime | None,
) -> Iterator[dict[str, Any]]:
    query = select(table).order_by(time, *table.primary_key.columns)
    if since is not None:
        query = query.where(time >= since)
    if until is not None:
        query = query.where(time < until)
    for row in conn.execute(query).mappings():
        yield {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()}


def _events(app: App, since: datetime | None, until: datetime | None) -> Iterator[dict[str, Any]]:
    with app.store.read() as conn:
        for row in _rows(conn, t.events, t.events.c.first_at, since, until):
            yield {
                "type": "event",
                **row,
                "proposed_level_name": Level(row["proposed_level"]).label,
                "level_name": Level(row["level"]).label if row["level"] else None,
            }


def _alerts(app: App, since: datetime | None, until: datetime | None) -> Iterator[dict[str, Any]]:
    with app.store.read() as conn:
        for row in _rows(conn, t.alerts, t.alerts.c.fired_at, since, until):
            yield {"type": "alert", **row, "level_name": Level(row["level"]).label}


def _cases(app: App, since: datetime | None, until: datetime | None) -> Iterator[dict[str, Any]]:
    parts = {
        "assignments": (t.assignments, t.assignments.c.sent_at),
        "timeline": (t.case_timeline, t.case_timeline.c.at),
        "clarifications": (t.clarifications, t.clarifications.c.created_at),
        "upward_reports": (t.upward_reports, t.upward_reports.c.created_at),
        "lessons": (t.lessons, t.lessons.c.created_at),
    }
    with app.store.read() as conn:
        inner = {
            name: list(_rows(conn, table, time, None, None))
            for name, (table, time) in parts.items()
        }
        for row in _rows(conn, t.cases, t.cases.c.opened_at, since, until):
            own = {
                name: [r for r in rows if r["case_id"] == row["id"]] for name, rows in inner.items()
            }
            yield {"type": "case", **row, "level_name": Level(row["level"]).label, **own}


def _releases(app: App, since: datetime | None, until: datetime | None) -> Iterator[dict[str, Any]]:
    with app.store.read() as conn:
        channels = list(_rows(conn, t.release_channels, t.release_channels.c.id, None, None))
        for row in _rows(conn, t.releases, t.releases.c.released_at, since, until):
            own = [c for c in channels if c["release_id"] == row["id"]]
            yield {"type": "release", **row, "channels": own}


def _audit(app: App, since: datetime | None, until: datetime | None) -> Iterator[dict[str, Any]]:
    with app.store.read() as conn:
        for row in _rows(conn, t.audit, t.audit.c.at, since, until):
            yield {"type": "audit", **row}


def verify_chain(settings: Settings, expect: str = "") -> dict[str, Any]:
    """The state of the audit chain. ``expect``: a head noted earlier must still be in it."""
    app = build(settings)
    try:
        with app.store.read() as conn:
            report = verify_audit(conn)
            known = not expect or bool(
                conn.execute(select(t.audit.c.seq).where(t.audit.c.hash == expect)).first()
            )
    finally:
        app.close()
    problem = report.problem or ("" if known else "earlier head is gone: lines were cut off")
    return {
        "ok": report.ok and known,
        "lines": report.lines,
        "head": report.head,
        "bad_seq": report.bad_seq,
        "problem": problem,
    }
