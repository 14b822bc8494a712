"""Which posts have passed the door, in PostgreSQL: the same memory for several crawlers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
)
from sqlalchemy.exc import DBAPIError

from pipeline.domain.post import Post
from pipeline.errors import EngineDown
from pipeline.posts_db import to_us
from pipeline.store.seen import Novelty, Remembered, State, compare, state_of
from pipeline.store.sql import make_engine

_PAGE = 500

metadata = MetaData()
seen_posts = Table(
    "seen_posts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("fetched", BigInteger, nullable=False),
    Column("text", LargeBinary, nullable=False),
    Column("counts", Text, nullable=False),
    Column("noted", BigInteger, nullable=False),
    Index("seen_posts_noted", "noted"),
)

# A page of posts is one text on its way, not hundreds of values bound one by one.
_KNOWN = (
    "SELECT s.id, s.fetched, s.text, s.counts FROM json_array_elements_text(%s::json) AS asked(id)"
    " JOIN seen_posts s ON s.id = asked.id"
)
_UPSERT = (
    "INSERT INTO seen_posts (id, fetched, text, counts, noted)"
    " SELECT p->>0, (p->>1)::bigint, decode(p->>2, 'hex'), p->>3, (p->>4)::bigint"
    " FROM json_array_elements(%s::json) AS page(p)"
    " ON CONFLICT (id) DO UPDATE SET fetched = excluded.fetched, text = excluded.text,"
    " counts = excluded.counts, noted = excluded.noted"
    " WHERE excluded.fetched >= seen_posts.fetched"
)


class SqlSeen:
    """As ``pipeline.store.seen.Seen``, on a database server. Thread-safe."""

    def __init__(self, url: str, *, busy_s: float = 30.0) -> None:
        self._engine = make_engine(url, busy_s)
        try:
            metadata.create_all(self._engine)
        except DBAPIError as error:
            raise _down(error) from error

    def classify(self, posts: Sequence[Post]) -> list[Novelty]:
        """What each post is, given what is remembered and what stands before it in ``posts``.

        Raises: EngineDown.
        """
        known = self._known([post.id for post in posts])
        result: list[Novelty] = []
        for post in posts:
            now = state_of(post)
            novelty = compare(known.get(post.id), now)
            if novelty != "unchanged":
                known[post.id] = now
            result.append(novelty)
        return result

    def remember(self, posts: Sequence[Post], now: datetime) -> None:
        """Keep the state of these posts, once they are published. Raises: EngineDown."""
        noted = to_us(now)
        latest: dict[str, State] = {}
        for post in posts:
            state = state_of(post)
            if post.id not in latest or state[0] >= latest[post.id][0]:
                latest[post.id] = state
        self.restore([(id_, *state, noted) for id_, state in latest.items()])

    def restore(self, rows: Sequence[Remembered]) -> None:
        """Keep these states; what is newer here stays. Raises: EngineDown."""
        ordered = sorted(rows)  # one order: two crawlers never wait for each other in a ring
        for start in range(0, len(ordered), _PAGE):
            page = [
                (id_, fetched, text.hex(), counts, noted)
                for id_, fetched, text, counts, noted in ordered[start : start + _PAGE]
            ]
            try:
                with self._engine.begin() as conn:
                    conn.exec_driver_sql(_UPSERT, (msgspec.json.encode(page).decode(),))
            except DBAPIError as error:
                raise _down(error) from error

    def forget_before(self, before: datetime) -> int:
        """Retention: forget posts last noted before; returns how many."""
        try:
            with self._engine.begin() as conn:
                gone = conn.execute(delete(seen_posts).where(seen_posts.c.noted < to_us(before)))
                return int(gone.rowcount)
        except DBAPIError as error:
            raise _down(error) from error

    def close(self) -> None:
        self._engine.dispose()

    def _known(self, ids: Sequence[str]) -> dict[str, State]:
        known: dict[str, State] = {}
        try:
            with self._engine.connect() as conn:
                for start in range(0, len(ids), _PAGE):
                    page = msgspec.json.encode(ids[start : start + _PAGE]).decode()
                    rows = conn.exec_driver_sql(_KNOWN, (page,))
                    known.update((row[0], (row[1], row[2], row[3])) for row in rows)
        except DBAPIError as error:
            raise _down(error) from error
        return known


def _down(error: DBAPIError) -> EngineDown:
    text = str(error.orig).strip().splitlines()
    return EngineDown(f"PostgreSQL: {text[0] if text else error}; it is tried again")
