"""The embedded index: full text and rollups in ``posts.db``.

``sqlite_query`` finds rows, ``sqlite_cells`` counts them, ``sqlite_rows`` keeps tables and rollups.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.domain.post import AnnotatedPost, Counts
from pipeline.index import sqlite_cells
from pipeline.index import sqlite_rows as rows
from pipeline.index.base import Bar, Facet, Feed, Hit, Kept, Progress, Query, Step
from pipeline.index.codes import TIE_BITS, at_millis, first_key, millis
from pipeline.index.documents import pack, unpack
from pipeline.index.sqlite_cells import STEP_MS, cells, facet_cells, labels_of
from pipeline.index.sqlite_query import SLACK, listed, match_of
from pipeline.posts_db import PostsDb, from_us, to_us

BATCH = 500  # posts in one transaction: about 40 ms, so that others get their turn


class SqliteIndex:
    """The Index of the embedded profile. Thread-safe; many processes may read and write.

    Times are compared by the millisecond. Days of a histogram are days in Beijing.
    """

    def __init__(self, path: Path, *, busy_s: float = 30.0) -> None:
        self._db = PostsDb(path, rows.SCHEMA, busy_s=busy_s)

    def put(self, items: Sequence[AnnotatedPost], now: datetime) -> int:
        """Store or refresh; returns how many were new. Raises: EngineDown."""
        new = 0
        for batch in _batches(items):
            with self._db.write() as conn:
                new += rows.put(conn, batch)
        return new

    def search(self, query: Query) -> list[Hit]:
        """Matching posts, newest first."""
        limit = max(1, min(1000, query.limit))
        with self._db.snapshot() as conn:
            match = match_of(conn, query, for_page=True)
            if match is None:
                return []
            found = conn.execute(
                f"SELECT {match.key}, p.pid, p.seen, p.versions {match.sql}"
                f" ORDER BY {match.key} DESC LIMIT {limit + SLACK}",
                match.given,
            ).fetchall()
            page = sorted(((key >> TIE_BITS, pid, key, *rest) for key, pid, *rest in found))
            if query.after is not None:
                last = (millis(query.after[0]), query.after[1])
                page = [row for row in page if (row[0], row[1]) < last]
            page = page[::-1][:limit]
            docs = _docs(conn, [row[2] for row in page])
        return [
            Hit(docs[key], from_us(seen), versions)
            for _, _, key, seen, versions in page
            if key in docs
        ]

    def scan(self, query: Query) -> Iterator[Hit]:
        """Every matching post, newest first. Read in pages: a post that comes in meanwhile is
        newer than what is still to be read."""
        page = replace(query, limit=1000)
        while hits := self.search(page):
            yield from hits
            last = hits[-1].item.post
            page = replace(page, after=(last.published_at, last.id))

    def count(self, query: Query) -> int:
        """How many posts match."""
        with self._db.snapshot() as conn:
            return sqlite_cells.count(conn, query)

    def facets(self, query: Query, facet: Facet) -> dict[str, int]:
        """Posts per value, most first. ``adcode``: divisions of six digits inside the asked
        area. A post counts in each division and hazard it names, so these two do not add up to
        ``count``."""
        totals: Counter[str] = Counter()
        with self._db.snapshot() as conn:
            labels = labels_of(conn, facet, query.adcode)
            for _, code, n in facet_cells(conn, query, facet):
                for label in labels(code):
                    totals[label] += n
        ordered = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))
        return dict(ordered)

    def histogram(self, query: Query, step: Step, by: Facet | None = None) -> list[Bar]:
        """Posts per step and label, oldest first; steps without posts are left out."""
        totals: Counter[tuple[int, str]] = Counter()
        with self._db.snapshot() as conn:
            labels = labels_of(conn, by, query.adcode)
            for slot, code, n in cells(conn, query, step, by):
                for label in labels(code):
                    totals[slot, label] += n
        width = STEP_MS[step]
        return [
            Bar(at_millis(slot * width), label, n) for (slot, label), n in sorted(totals.items())
        ]

    def get(self, post_ids: Sequence[str]) -> dict[str, AnnotatedPost]:
        """Posts by id; unknown ids are left out."""
        found: dict[str, AnnotatedPost] = {}
        for start in range(0, len(post_ids), BATCH):
            with self._db.read() as conn:
                part = rows.load(conn, post_ids[start : start + BATCH])
            found.update((post_id, row.item) for post_id, row in part.items())
        return {post_id: found[post_id] for post_id in post_ids if post_id in found}

    def versions(self, post_id: str) -> list[AnnotatedPost]:
        """Every wording of a post, oldest fetch first."""
        with self._db.snapshot() as conn:
            stored = rows.load(conn, [post_id])
            if not stored:
                return []
            row = stored[post_id]
            bodies = conn.execute("SELECT body FROM post_version WHERE id = ?", (row.id,))
            items = [unpack(body) for (body,) in bodies.fetchall()]
        return sorted([*items, row.item], key=lambda item: item.post.fetched_at)

    def counts_series(self, post_id: str) -> list[tuple[datetime, Counts]]:
        """How a post's counts grew, oldest first."""
        with self._db.read() as conn:
            found = conn.execute(
                "SELECT at, reposts, comments, likes, views FROM post_counts"
                " WHERE id = (SELECT id FROM post WHERE pid = ?) ORDER BY at",
                (post_id,),
            ).fetchall()
        return [(from_us(at), Counts(*counts)) for at, *counts in found]

    def newest_at(self) -> datetime | None:
        """When the newest indexed post was fetched, None when empty."""
        with self._db.read() as conn:
            found = conn.execute("SELECT fetched FROM post_newest").fetchone()
        return from_us(found[0]) if found else None

    def mark_gone(self, post_ids: Sequence[str], now: datetime) -> None:
        """These posts have vanished from their source; they stay, marked."""
        for start in range(0, len(post_ids), BATCH):
            with self._db.write() as conn:
                stored = rows.load(conn, post_ids[start : start + BATCH])
                for row in stored.values():
                    gone = replace(row.item, post=replace(row.item.post, gone=True))
                    conn.execute("UPDATE post_doc SET body = ? WHERE id = ?", (pack(gone), row.id))
                    conn.execute("UPDATE post SET gone = ? WHERE id = ?", (to_us(now), row.id))

    def drop_before(self, before: datetime) -> int:
        """Retention: forget posts published before; returns how many."""
        dropped = 0
        while True:  # small transactions, so that no other writer waits long
            with self._db.write() as conn:
                found = conn.execute(
                    "SELECT pid FROM post WHERE id < ? ORDER BY id LIMIT ?",
                    (first_key(before), BATCH),
                ).fetchall()
                if found:
                    rows.forget(conn, list(rows.load(conn, [pid for (pid,) in found]).values()))
            dropped += len(found)
            if len(found) < BATCH:
                return dropped

    def kept(self, post_ids: Sequence[str]) -> list[Kept]:
        """Posts with everything kept about them; unknown ids are left out."""
        found: list[Kept] = []
        for start in range(0, len(post_ids), BATCH):
            with self._db.snapshot() as conn:
                for row in rows.load(conn, post_ids[start : start + BATCH]).values():
                    bodies = conn.execute(
                        "SELECT body FROM post_version WHERE id = ?", (row.id,)
                    ).fetchall()
                    counts = conn.execute(
                        "SELECT at, reposts, comments, likes, views FROM post_counts"
                        " WHERE id = ? ORDER BY at",
                        (row.id,),
                    ).fetchall()
                    found.append(
                        Kept(
                            row.item,
                            from_us(row.seen),
                            tuple(unpack(body) for (body,) in bodies),
                            tuple((from_us(at), Counts(*c)) for at, *c in counts),
                        )
                    )
        return found

    def restore(self, posts: Sequence[Kept]) -> None:
        """Take in what another index kept. Idempotent; what is newer here stays."""
        now = datetime.now(UTC)
        for kept in posts:
            fetched = replace(kept.item.post, fetched_at=kept.first_seen_at)
            first = replace(kept.item, post=fetched) if not kept.wordings else None
            self.put([*([first] if first else []), *kept.wordings, kept.item], now)
            for at, counts in kept.counts:
                counted = replace(kept.item.post, counts=counts, counted_at=at)
                self.put([replace(kept.item, post=counted)], now)

    def rebuild(self, feed: Feed) -> Iterator[Progress]:
        """Index and posts are one file here: put what ``feed`` has once more, which adds what is
        missing and changes nothing else."""
        return feed.into(self, "messages")

    def refresh(self) -> None:
        """Nothing to do: a write is visible when it returns."""

    def close(self) -> None:
        self._db.close()


def _batches(items: Sequence[AnnotatedPost]) -> Iterator[list[AnnotatedPost]]:
    """Batches of different posts; a post that comes twice is in two batches, in order."""
    batch: dict[str, AnnotatedPost] = {}
    for item in items:
        if item.post.id in batch or len(batch) == BATCH:
            yield list(batch.values())
            batch = {}
        batch[item.post.id] = item
    if batch:
        yield list(batch.values())


def _docs(conn: sqlite3.Connection, keys: Sequence[int]) -> dict[int, AnnotatedPost]:
    found = conn.execute(f"SELECT id, body FROM post_doc WHERE id IN ({listed(keys)})")  # noqa: S608
    return {key: unpack(body) for key, body in found.fetchall()}
