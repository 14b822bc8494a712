"""Which posts have passed the door, in PostgreSQL: the same memory for several crawlers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

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
    select,
)
from sqlalchemy.dialects.postgresql import insert
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
        names = ("id", "fetched", "text", "counts", "noted")
        ordered = sorted(rows)  # one order: two crawlers never wait for each other in a ring
        for start in range(0, len(ordered), _PAGE):
            part = [dict(zip(names, row, strict=True)) for row in ordered[start : start + _PAGE]]
            new = insert(seen_posts)
            upsert = new.on_conflict_do_update(
                index_elements=["id"],
                set_={c: new.excluded[c] for c in ("fetched", "text", "counts", "noted")},
                where=new.excluded.fetched >= seen_posts.c.fetched,
            )
            try:
                with self._engine.begin() as conn:
                    conn.execute(upsert, part)
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
        s = seen_posts.c
        try:
            with self._engine.connect() as conn:
                for start in range(0, len(ids), _PAGE):
                    query = select(s.id, s.fetched, s.text, s.counts).where(
                        s.id.in_(ids[start : start + _PAGE])
                    )
                    known.update((r.id, (r.fetched, r.text, r.counts)) for r in conn.execute(query))
        except DBAPIError as error:
            raise _down(error) from error
        return known


def _down(error: DBAPIError) -> EngineDown:
    text = str(error.orig).strip().splitlines()
    return EngineDown(f"PostgreSQL: {text[0] if text else error}; it is tried again")
