"""Rows written many at once are the rows that SQLAlchemy would have written one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import LargeBinary, Text, bindparam, cast, insert, select, update
from sqlalchemy.exc import IntegrityError

from pipeline.store import tables as t
from pipeline.store.bulk import insert_many, update_many
from pipeline.store.sql import Store
from tests.contract.test_store import make_url, store  # noqa: F401

NOW = datetime(2026, 11, 24, 6, 0, 0, 120, tzinfo=UTC)
BEIJING = timezone(timedelta(hours=8))


def event(number: int) -> dict[str, Any]:
    return {
        "id": f"e{number}",
        "kind": "rumour",
        "title": "网传：“水库”今晚放水 \\ {a,b} NULL",
        "first_post_id": "",
        "first_at": NOW.astimezone(BEIJING) - timedelta(minutes=number),
        "first_seen_at": NOW,
        "last_at": NOW,
        "updated_at": NOW,
        "heat": 1.5 + number,
        "views": number,
        "level": None if number % 2 else 2,
        "places": {"450100": number, "说": "'\"\\"},
        "sources": {},
        "proposed_reasons": ["一", "", "{}"],
    }


def raw(store: Store, table: Any) -> list[tuple[Any, ...]]:  # noqa: F811
    """Every column as the database's own text: two ways of saying one time would differ."""
    columns = [c if isinstance(c.type, LargeBinary) else cast(c, Text) for c in table.columns]
    with store.read() as conn:
        rows = [tuple(row) for row in conn.execute(select(*columns))]
    return sorted(rows, key=repr)


def test_inserted_rows_are_those_of_sqlalchemy(store: Store) -> None:  # noqa: F811
    rows = [event(n) for n in range(5)]
    post = {
        "post_id": "p", "event_id": "e0", "at": NOW, "seen_at": NOW, "source": "weibo",
        "kind": "talk", "sentiment": "neg", "sketch": bytes(range(256)), "urgency": 3,
    }  # fmt: skip
    bare = post | {"post_id": "q", "sketch": None}
    with store.begin(NOW) as tx:
        tx.conn.execute(insert(t.events), rows)
        tx.conn.execute(insert(t.event_posts), [post, bare])
    one = raw(store, t.events), raw(store, t.event_posts)
    with store.begin(NOW) as tx:
        tx.conn.execute(t.event_posts.delete())
        tx.conn.execute(t.events.delete())
        insert_many(tx.conn, t.events, rows)
        insert_many(tx.conn, t.event_posts, [post, bare])
        insert_many(tx.conn, t.event_posts, [])
    assert (raw(store, t.events), raw(store, t.event_posts)) == one
    assert len(one[0]) == 5


def test_updated_rows_are_those_of_sqlalchemy(store: Store) -> None:  # noqa: F811
    bucket = {"event_id": "e1", "posts": 1}
    starts = [NOW + timedelta(minutes=10 * n) for n in range(3)]
    with store.begin(NOW) as tx:
        insert_many(tx.conn, t.events, [event(n) for n in range(3)])
        insert_many(tx.conn, t.event_buckets, [bucket | {"start": s} for s in starts])
    news = [{"start": s, "event_id": "e1", "posts": n, "heat": n / 3} for n, s in enumerate(starts)]
    later = [{"id": f"e{n}", "places": {"x": n}, "last_at": NOW, "level": n} for n in range(2)]
    with store.begin(NOW) as tx:
        update_many(tx.conn, t.event_buckets, ["event_id", "start"], news[1:])
        update_many(tx.conn, t.events, ["id"], later)
        update_many(tx.conn, t.events, ["id"], [])
    mine = raw(store, t.event_buckets), raw(store, t.events)
    b, e = t.event_buckets, t.events
    with store.begin(NOW) as tx:
        tx.conn.execute(update(b).values(posts=1, heat=0.0))
        tx.conn.execute(update(e).values(places={}))
        tx.conn.execute(
            update(b)
            .where(b.c.event_id == bindparam("b_event"), b.c.start == bindparam("b_start"))
            .values(posts=bindparam("b_posts"), heat=bindparam("b_heat")),
            [
                {"b_event": n["event_id"], "b_start": n["start"], "b_posts": n["posts"],
                 "b_heat": n["heat"]}
                for n in news[1:]
            ],
        )  # fmt: skip
        for n in range(3):
            places = {"x": n} if n < 2 else event(2)["places"]
            tx.conn.execute(update(e).where(e.c.id == f"e{n}").values(places=places))
            if n < 2:
                tx.conn.execute(update(e).where(e.c.id == f"e{n}").values(level=n))
    assert (raw(store, t.event_buckets), raw(store, t.events)) == mine


def test_what_the_database_refuses_is_refused(store: Store) -> None:  # noqa: F811
    with pytest.raises(ValueError, match="without zone"), store.begin(NOW) as tx:
        insert_many(tx.conn, t.events, [event(1) | {"last_at": NOW.replace(tzinfo=None)}])
    with pytest.raises(IntegrityError), store.begin(NOW) as tx:
        insert_many(tx.conn, t.events, [event(1), event(1)])
    with store.read() as conn:
        assert conn.execute(select(t.events.c.id)).all() == []
