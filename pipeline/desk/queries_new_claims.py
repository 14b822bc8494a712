"""Claims spoken for the first time, the ones to look into first on top."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, select

from pipeline.desk import queries as q
from pipeline.domain.checkworthy import Spoken, Worth, most_worth
from pipeline.index.base import Index
from pipeline.store import tables as t

WITHIN = timedelta(hours=24)
LOOKED_AT = 80
"""Events weighed; beyond that the least hot ones are left out."""
_TRUSTED = ("government", "media")


def new_claims(
    conn: Connection, index: Index | None, now: datetime, *, most: int = 5
) -> list[Worth]:
    """Rumour events of the last day without a known claim and without a release of ours.

    ``index``: for reach and standing of the accounts; None when only the desk's store is at hand.
    """
    e = t.events.c
    answered = (
        select(t.cases.c.event_id)
        .join(t.releases, t.releases.c.case_id == t.cases.c.id)
        .where(t.cases.c.event_id.is_not(None))
    )
    query = (
        select(t.events, t.event_traits.c.traits)
        .join(t.event_traits, t.event_traits.c.event_id == e.id, isouter=True)
        .where(
            e.kind == "rumour",
            e.claim_id == "",
            e.merged_into == "",
            e.last_at >= now - WITHIN,
            e.id.not_in(answered),
        )
        .order_by(e.heat.desc(), e.last_at.desc(), e.id)
        .limit(LOOKED_AT)
    )
    events = q.rows(conn, query)
    if not events:
        return []
    figures = _figures(conn, [row["id"] for row in events], now)
    accounts = _accounts(index, events)
    return most_worth((_spoken(row, figures, accounts) for row in events), most)


def _figures(conn: Connection, ids: list[str], now: datetime) -> dict[str, dict[str, Any]]:
    p = t.event_posts.c
    lately = case((p.at > now - timedelta(hours=1), 1), else_=0)
    said = case((p.author_kind.in_(_TRUSTED) & (p.stance == "debunk"), 1), else_=0)
    query = (
        select(
            p.event_id,
            func.count(p.author.distinct()).label("authors"),
            func.sum(lately).label("last_hour"),
            func.sum(said).label("answers"),
        )
        .where(p.event_id.in_(ids))
        .group_by(p.event_id)
    )
    return {row["event_id"]: row for row in q.rows(conn, query)}


def _typical(row: dict[str, Any]) -> list[dict[str, Any]]:
    return list((row["traits"] or {}).get("links", ()))


def _accounts(index: Index | None, events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Event -> the best-known account among its first and its typical posts."""
    if index is None:
        return {}
    wanted = {
        row["id"]: [row["first_post_id"], *(link["post_id"] for link in _typical(row))]
        for row in events
    }
    found = index.get(list(dict.fromkeys(p for ids in wanted.values() for p in ids)))
    seen: dict[str, dict[str, Any]] = {}
    for event_id, ids in wanted.items():
        posts = [found[i].post for i in ids if i in found]
        if posts:
            seen[event_id] = {
                "followers": max(post.followers for post in posts),
                "is_verified": any(post.verified for post in posts),
                "is_organisation": any(post.author_kind != "person" for post in posts),
                "texts": tuple(post.full_text[:300] for post in posts),
            }
    return seen


def _spoken(
    row: dict[str, Any],
    figures: dict[str, dict[str, Any]],
    accounts: dict[str, dict[str, Any]],
) -> Spoken:
    counted = figures.get(row["id"], {})
    account = dict(accounts.get(row["id"], {}))
    texts = account.pop("texts", ()) or tuple(link["text"] for link in _typical(row))
    return Spoken(
        event_id=row["id"],
        title=row["title"],
        texts=texts,
        first_at=row["first_at"],
        last_at=row["last_at"],
        posts=row["posts"],
        authors=counted.get("authors", 0),
        last_hour=int(counted.get("last_hour") or 0),
        reposts=row["reposts"],
        names_source=bool((row["traits"] or {}).get("sourced")),
        is_answered=bool(counted.get("answers")),
        max_urgency=row["max_urgency"],
        **account,
    )
