"""Known claims and reviewed cases as screens read them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select

from pipeline.desk import queries as q
from pipeline.domain.case import CaseStatus
from pipeline.store import tables as t


def claim_list(
    conn: Connection,
    now: datetime,
    *,
    words: str = "",
    state: str = "active",
    limit: int = 60,
) -> tuple[list[dict[str, Any]], int]:
    """Claims and how many there are. ``state``: active, due (for review), retired, all.

    ``words``: all must occur in claim, correction or place. Own claims come first, newest first.
    """
    c = t.claims.c
    query = select(t.claims)
    if state == "active":
        query = query.where(c.active.is_(True))
    elif state == "retired":
        query = query.where(c.active.is_(False))
    elif state == "due":
        query = query.where(c.active.is_(True), c.review_at <= now)
    for word in words.split():
        escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        like = f"%{escaped}%"
        query = query.where(
            or_(
                c.id == word,
                c.claim.like(like, escape="\\"),
                c.correction.like(like, escape="\\"),
                c.place.like(like, escape="\\"),
            )
        )
    total = q.count(conn, select(func.count()).select_from(query.subquery()))
    found = q.rows(conn, query.order_by(c.origin != "own", c.created_at.desc(), c.id).limit(limit))
    lives = claim_lives(conn, [r["id"] for r in found])
    return [{**r, "life": lives.get(r["id"], [])} for r in found], total


def claim_lives(conn: Connection, claim_ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The events in which each claim came back, newest first."""
    e = t.events.c
    query = (
        select(e.claim_id, e.id, e.title, e.posts, e.first_at, e.last_at)
        .where(e.claim_id.in_(claim_ids), e.merged_into == "")
        .order_by(e.last_at.desc())
    )
    lives: dict[str, list[dict[str, Any]]] = {}
    for row in q.rows(conn, query):
        lives.setdefault(row["claim_id"], []).append(row)
    return lives


def claim_rows(conn: Connection, claim_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Claims by id, retired ones too: a post found alike keeps pointing at them."""
    wanted = sorted(set(claim_ids))
    if not wanted:
        return {}
    found = q.rows(conn, select(t.claims).where(t.claims.c.id.in_(wanted)))
    return {row["id"]: row for row in found}


def posts_to_compare(
    conn: Connection, claim_id: str, *, event_id: str = "", limit: int = 40
) -> list[str]:
    """Ids of posts in the events of a claim (or one of them), copies left out, newest first."""
    p, e = t.event_posts.c, t.events.c
    query = (
        select(p.post_id)
        .join(t.events, e.id == p.event_id)
        .where(e.claim_id == claim_id, e.merged_into == "", p.copy_of == "")
        .order_by(p.at.desc(), p.post_id)
        .limit(limit)
    )
    if event_id:
        query = query.where(e.id == event_id)
    return list(conn.execute(query).scalars())


def releases_of(conn: Connection, clarification_id: int | None) -> list[dict[str, Any]]:
    """What went out of a clarification: release, corrections, withdrawal."""
    r = t.releases.c
    query = select(t.releases).where(r.clarification_id == clarification_id).order_by(r.id)
    return q.rows(conn, query)


def reviewable(conn: Connection, *, limit: int = 100) -> list[dict[str, Any]]:
    """Closed and archived cases, newest first, with whether a review was written."""
    c = t.cases.c
    query = (
        select(t.cases, t.reviews.c.made_at)
        .join(t.reviews, t.reviews.c.case_id == c.id, isouter=True)
        .where(c.status.in_((CaseStatus.CLOSED.value, CaseStatus.ARCHIVED.value)))
        .order_by(c.closed_at.desc())
        .limit(limit)
    )
    return q.rows(conn, query)
