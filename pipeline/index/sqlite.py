"""The embedded index: full text and rollups in ``posts.db``.

A query is answered from the rollups when they know all it asks (labels, source, one area, time);
the pieces of an hour at its two ends are counted from rows. Everything else starts from the
narrowest list there is: ids, words, area, rare labels, one source, or time.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from nlp.text import query_tokens
from pipeline.domain.post import AnnotatedPost, Counts
from pipeline.index import sqlite_rows as rows
from pipeline.index.base import Bar, Facet, Feed, Hit, Kept, Progress, Query, Step
from pipeline.index.codes import (
    EVERYWHERE,
    MIX_FACETS,
    TIE_BITS,
    TOP_KEY,
    area_span,
    at_millis,
    county_span,
    first_key,
    hazard_bits,
    hazards_in,
    millis,
    mixes_of,
    row_key,
)
from pipeline.index.documents import pack, unpack
from pipeline.posts_db import PostsDb, from_us, to_us

BATCH = 500  # posts in one transaction: about 40 ms, so that others get their turn
_SLACK = 64  # rows read beyond a page, to put posts of one millisecond into exact order
_STEP_MS: dict[Step, int] = {
    "10min": rows.TEN_MIN_MS,
    "hour": rows.HOUR_MS,
    "day": 24 * rows.HOUR_MS,
}


@dataclass(slots=True)
class _Match:
    """SQL of the posts that match. ``key``: the column that holds a row's key."""

    source: str
    key: str
    where: list[str]
    given: list[object] = field(default_factory=list)

    @property
    def sql(self) -> str:
        return f"FROM {self.source} WHERE {' AND '.join(self.where)}"


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
            match = self._match(conn, query, for_page=True)
            if match is None:
                return []
            found = conn.execute(
                f"SELECT {match.key}, p.pid, p.seen, p.versions {match.sql}"
                f" ORDER BY {match.key} DESC LIMIT {limit + _SLACK}",
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
            if _is_timeless(query):
                return _total(conn, mixes_of(query))
            if _is_rolled(query):
                return sum(n for _, _, n in self._rolled(conn, query, None, "0"))
            match = self._match(conn, query, needs_post=False)
            if match is None:
                return 0
            total: int = conn.execute(f"SELECT count(*) {match.sql}", match.given).fetchone()[0]
            return total

    def facets(self, query: Query, facet: Facet) -> dict[str, int]:
        """Posts per value, most first. ``adcode``: divisions of six digits inside the asked
        area. A post counts in each division and hazard it names, so these two do not add up to
        ``count``."""
        totals: Counter[str] = Counter()
        with self._db.snapshot() as conn:
            labels = _labels(conn, facet, query.adcode)
            if facet in MIX_FACETS and _is_timeless(query):
                cells = _mix_totals(conn, facet, mixes_of(query))
            else:
                cells = self._cells(conn, query, None, facet)
            for _, code, n in cells:
                for label in labels(code):
                    totals[label] += n
        ordered = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))
        return dict(ordered)

    def histogram(self, query: Query, step: Step, by: Facet | None = None) -> list[Bar]:
        """Posts per step and label, oldest first; steps without posts are left out."""
        totals: Counter[tuple[int, str]] = Counter()
        with self._db.snapshot() as conn:
            labels = _labels(conn, by, query.adcode)
            for slot, code, n in self._cells(conn, query, step, by):
                for label in labels(code):
                    totals[slot, label] += n
        width = _STEP_MS[step]
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

    def _cells(
        self, conn: sqlite3.Connection, query: Query, step: Step | None, by: Facet | None
    ) -> Iterator[tuple[int, int | str, int]]:
        """``(slot of the step, code of the label, posts)``; a cell may come more than once.

        Without a step there is one slot, 0.
        """
        if not _is_rolled(query, step, by):
            yield from self._counted(conn, query, step, _code(by))
        elif by == "adcode":
            yield from self._rolled(conn, query, step, "area", county_span(query.adcode))
        else:
            yield from self._rolled(conn, query, step, _code(by))

    def _counted(
        self, conn: sqlite3.Connection, query: Query, step: Step | None, code: str
    ) -> Iterator[tuple[int, int | str, int]]:
        """Cells counted from the rows themselves."""
        match = self._match(conn, query, needs_post=code != "0")
        if match is None:
            return
        code = {"area": "counties"}.get(code, code)
        slot = f"{match.key} / {_STEP_MS[step] << TIE_BITS}" if step else "0"
        by = "1, 2" if step else "2"
        cells = f"SELECT {slot}, {code}, count(*) {match.sql} GROUP BY {by}"
        yield from conn.execute(cells, match.given).fetchall()

    def _rolled(
        self,
        conn: sqlite3.Connection,
        query: Query,
        step: Step | None,
        code: str,
        areas: tuple[int, int] | None = None,
    ) -> Iterator[tuple[int, int | str, int]]:
        """Cells from a rollup, and from rows where the span of time cuts a slot."""
        table = "post_10min" if step == "10min" else "post_hour"
        width = rows.TEN_MIN_MS if step == "10min" else rows.HOUR_MS
        low = millis(query.since) if query.since else 0
        high = millis(query.until) if query.until else TOP_KEY >> TIE_BITS
        first, last = -(-low // width), high // width
        if first >= last:
            yield from self._counted(conn, query, step, code)
            return
        span = areas or (area_span(query.adcode) if query.adcode else (EVERYWHERE, EVERYWHERE))
        where = "area BETWEEN ? AND ? AND slot >= ? AND slot < ?"
        mixes = mixes_of(query)
        if mixes is not None:
            where += f" AND mix IN ({_list(mixes)})"
        if query.sources:
            where += f" AND source IN ({_list(_source_ids(conn, query.sources))})"
        slot = f"slot / {_STEP_MS[step] // width}" if step else "0"
        cells = (
            f"SELECT {slot}, {code}, sum(n) FROM {table}"  # noqa: S608
            f" WHERE {where} GROUP BY {'1, 2' if step else '2'}"
        )
        yield from conn.execute(cells, (*span, first, last)).fetchall()
        if low < first * width:
            edge = replace(query, since=at_millis(low), until=at_millis(first * width))
            yield from self._counted(conn, edge, step, code)
        if query.until and last * width < high:
            edge = replace(query, since=at_millis(last * width), until=at_millis(high))
            yield from self._counted(conn, edge, step, code)

    def _match(
        self,
        conn: sqlite3.Connection,
        query: Query,
        *,
        for_page: bool = False,
        needs_post: bool = True,
    ) -> _Match | None:
        """Where to begin and what to check; None when nothing can match."""
        words = query_tokens(query.words) if query.words.strip() else []
        mixes = mixes_of(query)
        sources = _source_ids(conn, query.sources) if query.sources else ()
        if (query.words.strip() and not words) or mixes == () or (query.sources and not sources):
            return None
        area = area_span(query.adcode) if query.adcode else None
        match = self._beginning(conn, query, words, mixes, sources, area, for_page)
        low = first_key(query.since) if query.since else 0
        high = first_key(query.until) - 1 if query.until else TOP_KEY
        if for_page and query.after is not None:
            high = min(high, row_key(*query.after) + _SLACK)
        match.where.append(f"{match.key} BETWEEN {low} AND {high}")
        filtered = bool(mixes or sources or query.hazards or query.ids)
        if not (for_page or needs_post or filtered):
            match.source = match.source.split(" CROSS JOIN ")[0]
        if mixes is not None:
            match.where.append(f"+p.mix IN ({_list(mixes)})")
        if sources:
            match.where.append(f"+p.source IN ({_list(sources)})")
        if query.hazards:
            match.where.append(f"p.hazards & {hazard_bits(query.hazards)} != 0")
        if query.ids:
            match.where.append("p.pid IN (SELECT value FROM json_each(?))")
            match.given.append(json.dumps(query.ids))
        if area is not None and "post_area a" not in match.source:
            match.where.append(_inside(area, match.key))
        return match

    def _beginning(
        self,
        conn: sqlite3.Connection,
        query: Query,
        words: Sequence[str],
        mixes: tuple[int, ...] | None,
        sources: tuple[int, ...],
        area: tuple[int, int] | None,
        for_page: bool,
    ) -> _Match:
        if query.ids:
            return _Match("post p", "p.id", [])
        if words:
            asked = " ".join('"' + word.replace('"', '""') + '"' for word in dict.fromkeys(words))
            joined = "post_words f CROSS JOIN post p ON p.id = f.rowid"
            return _Match(joined, "f.rowid", ["post_words MATCH ?"], [asked])
        if area is not None and area[0] == area[1]:
            joined = "post_area a CROSS JOIN post p ON p.id = a.id"
            return _Match(joined, "a.id", [f"a.area = {area[0]}"])
        if mixes is not None and _are_rare(conn, mixes):
            return _Match("post p INDEXED BY post_by_mix", "p.id", [f"p.mix IN ({_list(mixes)})"])
        if len(sources) == 1 and for_page:
            begin = [f"p.source = {sources[0]}"]
            return _Match("post p INDEXED BY post_by_source", "p.id", begin)
        return _Match("post p", "p.id", [])


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


def _is_rolled(query: Query, step: Step | None = None, by: Facet | None = None) -> bool:
    """True when a rollup knows everything the query asks."""
    if query.words.strip() or query.ids or query.hazards or by == "hazard":
        return False
    if step == "10min":
        return len(query.adcode) in (0, 4) and not query.sources and by not in ("source", "adcode")
    return len(query.adcode) in (0, 2, 4, 6)


def _is_timeless(query: Query) -> bool:
    """True when only labels are asked, of all posts there are."""
    bounded = query.adcode or query.sources or query.since or query.until
    return _is_rolled(query) and not bounded


def _code(by: Facet | None) -> str:
    """SQL of a label's code."""
    if by is None:
        return "0"
    if by in MIX_FACETS:
        return MIX_FACETS[by][0]
    return {"source": "source", "hazard": "hazards", "adcode": "area"}[by]


def _labels(
    conn: sqlite3.Connection, by: Facet | None, adcode: str
) -> Callable[[int | str], Sequence[str]]:
    """From a code to the labels it stands for."""
    if by is None:
        return lambda _code: ("",)
    if by in MIX_FACETS:
        names = MIX_FACETS[by][1]
        return lambda code: (names[int(code)],)
    if by == "source":
        sources = dict(conn.execute("SELECT id, name FROM post_source").fetchall())
        return lambda code: (sources[code],)
    if by == "hazard":
        return lambda code: hazards_in(int(code))
    return lambda code: [county for county in str(code).split() if county.startswith(adcode[:6])]


def _inside(area: tuple[int, int], key: str) -> str:
    """SQL: the row lies in one area, or in any of a span of areas (100 at most)."""
    areas = _list(range(area[0], area[1] + 1))
    return f"EXISTS (SELECT 1 FROM post_area b WHERE b.area IN ({areas}) AND b.id = {key})"  # noqa: S608


def _docs(conn: sqlite3.Connection, keys: Sequence[int]) -> dict[int, AnnotatedPost]:
    found = conn.execute(f"SELECT id, body FROM post_doc WHERE id IN ({_list(keys)})")  # noqa: S608
    return {key: unpack(body) for key, body in found.fetchall()}


def _are_rare(conn: sqlite3.Connection, mixes: tuple[int, ...]) -> bool:
    """True when sorting the posts of these mixes is cheaper than walking through time."""
    matching = _total(conn, mixes)
    return matching <= 20_000 and matching * 20 < _total(conn, None)


def _mix_totals(
    conn: sqlite3.Connection, by: Facet, mixes: tuple[int, ...] | None
) -> Iterator[tuple[int, int | str, int]]:
    """Cells of a label over all posts."""
    where = "" if mixes is None else f" WHERE mix IN ({_list(mixes)})"
    code = _code(by)
    totals = f"SELECT 0, {code}, sum(n) FROM post_mix{where} GROUP BY 2 HAVING sum(n) > 0"  # noqa: S608
    yield from conn.execute(totals).fetchall()


def _total(conn: sqlite3.Connection, mixes: tuple[int, ...] | None) -> int:
    """Posts of these mixes, or of all."""
    where = "" if mixes is None else f" WHERE mix IN ({_list(mixes)})"
    total: int = conn.execute(f"SELECT ifnull(sum(n), 0) FROM post_mix{where}").fetchone()[0]  # noqa: S608
    return total


def _source_ids(conn: sqlite3.Connection, names: Sequence[str]) -> tuple[int, ...]:
    found = conn.execute(
        "SELECT id FROM post_source WHERE name IN (SELECT value FROM json_each(?))",
        (json.dumps(names),),
    ).fetchall()
    return tuple(key for (key,) in found)


def _list(numbers: Sequence[int]) -> str:
    """Numbers for an SQL list; ours, never a person's words."""
    return ",".join(map(str, numbers))
