"""Which posts have passed the door, and in which state (table ``seen_posts``, ``posts.db``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from pipeline.domain.post import Post
from pipeline.posts_db import BUSY_S, PostsDb, to_us

Novelty = Literal["new", "counts", "text", "unchanged"]

_PAGE = 500

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen_posts (
  id TEXT PRIMARY KEY, fetched INTEGER NOT NULL, text BLOB NOT NULL, counts TEXT NOT NULL,
  noted INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_posts_noted ON seen_posts (noted);
"""

State = tuple[int, bytes, str]  # fetched (microseconds), digest of the text, counts


Remembered = tuple[str, int, bytes, str, int]
"""Post id, fetched, digest of the text, counts, noted: times in microseconds."""

_UPSERT = (
    "INSERT INTO seen_posts (id, fetched, text, counts, noted) VALUES (?,?,?,?,?)"
    " ON CONFLICT (id) DO UPDATE SET fetched = excluded.fetched,"
    " text = excluded.text, counts = excluded.counts, noted = excluded.noted"
    " WHERE excluded.fetched >= fetched"
)


class SeenPosts(Protocol):
    """The door's memory, in whatever store."""

    def classify(self, posts: Sequence[Post]) -> list[Novelty]: ...

    def remember(self, posts: Sequence[Post], now: datetime) -> None: ...

    def forget_before(self, before: datetime) -> int: ...

    def restore(self, rows: Sequence[Remembered]) -> None: ...

    def close(self) -> None: ...


class Seen:
    """Remembers posts by id. Thread-safe; several processes may share the file."""

    def __init__(self, path: Path, *, busy_s: float = BUSY_S) -> None:
        self._db = PostsDb(path, SCHEMA, busy_s=busy_s)

    def classify(self, posts: Sequence[Post]) -> list[Novelty]:
        """What each post is, given what is remembered and what stands before it in ``posts``.

        ``new``: never seen; ``text``: title, text or being gone differs; ``counts``: only the
        counts differ; ``unchanged``: nothing to pass on, or older than what is known.
        Raises: EngineDown.
        """
        known = self._known([post.id for post in posts])
        result: list[Novelty] = []
        for post in posts:
            now = state_of(post)
            before = known.get(post.id)
            novelty = compare(before, now)
            if novelty != "unchanged":
                known[post.id] = now
            result.append(novelty)
        return result

    def remember(self, posts: Sequence[Post], now: datetime) -> None:
        """Keep the state of these posts, once they are published. Raises: EngineDown."""
        noted = to_us(now)
        rows = [(post.id, *state_of(post), noted) for post in posts]
        for start in range(0, len(rows), _PAGE):
            with self._db.write() as conn:
                conn.executemany(_UPSERT, rows[start : start + _PAGE])

    def forget_before(self, before: datetime) -> int:
        """Retention: forget posts last noted before; returns how many."""
        gone = 0
        while True:
            with self._db.write() as conn:
                cursor = conn.execute(
                    "DELETE FROM seen_posts WHERE id IN"
                    " (SELECT id FROM seen_posts WHERE noted < ? LIMIT ?)",
                    (to_us(before), _PAGE),
                )
                removed = cursor.rowcount
            gone += removed
            if removed < _PAGE:
                return gone

    def states(self) -> Iterator[Remembered]:
        """Everything remembered, in pages, for another memory."""
        last = ""
        while True:
            with self._db.read() as conn:
                rows = conn.execute(
                    "SELECT id, fetched, text, counts, noted FROM seen_posts WHERE id > ?"
                    " ORDER BY id LIMIT ?",
                    (last, _PAGE),
                ).fetchall()
            yield from rows
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def restore(self, rows: Sequence[Remembered]) -> None:
        """Take in what another memory held; what is newer here stays. Raises: EngineDown."""
        with self._db.write() as conn:
            conn.executemany(_UPSERT, rows)

    def close(self) -> None:
        self._db.close()

    def _known(self, ids: Sequence[str]) -> dict[str, State]:
        known: dict[str, State] = {}
        for start in range(0, len(ids), _PAGE):
            part = ids[start : start + _PAGE]
            marks = ",".join("?" * len(part))
            with self._db.read() as conn:
                rows = conn.execute(
                    f"SELECT id, fetched, text, counts FROM seen_posts WHERE id IN ({marks})",  # noqa: S608
                    part,
                ).fetchall()
            known.update((row[0], (row[1], row[2], row[3])) for row in rows)
        return known


def state_of(post: Post) -> State:
    words = f"{post.title}\0{post.text}\0{post.gone}".encode("utf-8", "replace")
    c = post.counts
    digest = hashlib.blake2b(words, digest_size=8).digest()
    return to_us(post.fetched_at), digest, f"{c.reposts},{c.comments},{c.likes},{c.views}"


def compare(before: State | None, now: State) -> Novelty:
    if before is None:
        return "new"
    if now[0] < before[0]:
        return "unchanged"
    if now[1] != before[1]:
        return "text"
    return "counts" if now[2] != before[2] else "unchanged"
