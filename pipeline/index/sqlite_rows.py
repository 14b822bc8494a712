"""Tables of the embedded index, and the writing of posts into them.

One transaction keeps the rows, the full text, the areas and both rollups in step, so every count
is exact at every moment. All functions here run inside the caller's write transaction.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.domain.post import AnnotatedPost
from pipeline.index.codes import (
    EVERYWHERE,
    TIE_BITS,
    areas_of,
    counties_in,
    hazard_bits,
    mix_of,
    row_key,
)
from pipeline.index.documents import pack, unpack
from pipeline.index.merge import other_wording, refreshed, wording_digest
from pipeline.posts_db import to_us

HOUR_MS, TEN_MIN_MS = 3_600_000, 600_000
_NO_AREAS: frozenset[int] = frozenset()

# Tokens are split at blanks alone: every other character belongs to a token, so a token of ours
# is exactly one term and ``detail=none`` (no positions, half the size) is enough.
SCHEMA = """
CREATE TABLE IF NOT EXISTS post (
  id INTEGER PRIMARY KEY, pid TEXT NOT NULL UNIQUE, mix INTEGER NOT NULL,
  source INTEGER NOT NULL, hazards INTEGER NOT NULL, counties TEXT NOT NULL,
  seen INTEGER NOT NULL, versions INTEGER NOT NULL DEFAULT 1, gone INTEGER);
CREATE INDEX IF NOT EXISTS post_by_mix ON post (mix);
CREATE INDEX IF NOT EXISTS post_by_source ON post (source);
CREATE TABLE IF NOT EXISTS post_doc (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS post_words USING fts5 (
  tokens, content='', detail=none, columnsize=0,
  tokenize="unicode61 remove_diacritics 0 categories 'L* M* N* P* S* Co Cn'");
CREATE TABLE IF NOT EXISTS post_area (
  area INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (area, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS post_counts (
  id INTEGER NOT NULL, at INTEGER NOT NULL, reposts INTEGER NOT NULL, comments INTEGER NOT NULL,
  likes INTEGER NOT NULL, views INTEGER NOT NULL, PRIMARY KEY (id, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS post_version (
  id INTEGER NOT NULL, digest BLOB NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (id, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS post_hour (
  area INTEGER NOT NULL, slot INTEGER NOT NULL, mix INTEGER NOT NULL, source INTEGER NOT NULL,
  n INTEGER NOT NULL, PRIMARY KEY (area, slot, mix, source)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS post_10min (
  area INTEGER NOT NULL, slot INTEGER NOT NULL, mix INTEGER NOT NULL, source INTEGER NOT NULL,
  n INTEGER NOT NULL, PRIMARY KEY (area, slot, mix, source)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS post_mix (mix INTEGER PRIMARY KEY, n INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS post_source (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS post_newest (one INTEGER PRIMARY KEY, fetched INTEGER NOT NULL);
"""


@dataclass(slots=True)
class Row:
    """A post with what the index keeps beside it. ``seen``: first fetch, microseconds."""

    id: int
    item: AnnotatedPost
    seen: int
    versions: int = 1
    gone: int | None = None


@dataclass(slots=True)
class _Face:
    """What a row is counted by."""

    row: Row
    mix: int
    source: int
    areas: frozenset[int]


def load(conn: sqlite3.Connection, post_ids: Sequence[str]) -> dict[str, Row]:
    """The stored rows of these posts by post id."""
    marks = ",".join("?" * len(post_ids))
    rows = conn.execute(
        "SELECT p.pid, p.id, d.body, p.seen, p.versions, p.gone FROM post p"  # noqa: S608
        f" JOIN post_doc d ON d.id = p.id WHERE p.pid IN ({marks})",
        post_ids,
    )
    return {pid: Row(key, unpack(body), *rest) for pid, key, body, *rest in rows.fetchall()}


def put(conn: sqlite3.Connection, items: Sequence[AnnotatedPost]) -> int:
    """Store posts of different ids; returns how many were new."""
    stored = load(conn, [item.post.id for item in items])
    out: list[Row] = []
    into: list[Row] = []
    same: list[Row] = []
    for item in items:
        old = stored.get(item.post.id)
        if old is None:
            key = row_key(item.post.published_at, item.post.id)
            into.append(Row(key, item, to_us(item.post.fetched_at)))
            continue
        new = _refreshed(conn, old, item)
        if _is_found_alike(old.item, new.item):
            same.append(new)
        else:
            out.append(old)
            if new.item.post.published_at != old.item.post.published_at:
                new.id = row_key(new.item.post.published_at, new.item.post.id)
            into.append(new)
    remove(conn, out)
    moved = {row.item.post.id: row.id for row in out}
    _give_free_keys(conn, into)
    _add(conn, into)
    for row in into:
        before = moved.get(row.item.post.id, row.id)
        if before != row.id:
            for table in ("post_counts", "post_version"):
                conn.execute(f"UPDATE {table} SET id=? WHERE id=?", (row.id, before))  # noqa: S608
    conn.executemany(
        "UPDATE post SET seen = ?, versions = ? WHERE id = ?",
        [(row.seen, row.versions, row.id) for row in same],
    )
    conn.executemany(
        "UPDATE post_doc SET body = ? WHERE id = ?", [(pack(row.item), row.id) for row in same]
    )
    _note_counts(conn, {row.item.post.id: row.id for row in (*into, *same)}, items)
    newest = max(to_us(item.post.fetched_at) for item in items)
    conn.execute(
        "INSERT INTO post_newest (one, fetched) VALUES (1, ?) ON CONFLICT (one)"
        " DO UPDATE SET fetched = max(fetched, excluded.fetched)",
        (newest,),
    )
    return len(items) - len(stored)


def remove(conn: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Take posts out of rows, text, areas and rollups; counts and versions stay."""
    if not rows:
        return
    faces = sorted(_faces(conn, rows), key=lambda face: face.row.id)
    ids = [(face.row.id,) for face in faces]
    conn.executemany(
        "INSERT INTO post_words (post_words, rowid, tokens) VALUES ('delete', ?, ?)",
        [(face.row.id, face.row.item.annotation.tokens) for face in faces],
    )
    conn.executemany(
        "DELETE FROM post_area WHERE area = ? AND id = ?",
        [(area, face.row.id) for face in faces for area in face.areas],
    )
    conn.executemany("DELETE FROM post_doc WHERE id = ?", ids)
    _roll(conn, faces, -1)
    conn.executemany("DELETE FROM post WHERE id = ?", ids)


def forget(conn: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Remove posts with everything that was kept about them."""
    remove(conn, rows)
    for table in ("post_counts", "post_version"):
        conn.executemany(f"DELETE FROM {table} WHERE id = ?", [(row.id,) for row in rows])  # noqa: S608


def _refreshed(conn: sqlite3.Connection, old: Row, item: AnnotatedPost) -> Row:
    """The row to keep when a stored post comes again; the other wording is put aside."""
    versions = old.versions
    chosen = refreshed(old.item, item)
    other = other_wording(old.item, item)
    if other is not None:
        versions += conn.execute(
            "INSERT OR IGNORE INTO post_version (id, digest, body) VALUES (?, ?, ?)",
            (old.id, wording_digest(other), pack(other)),
        ).rowcount
        versions -= conn.execute(
            "DELETE FROM post_version WHERE id = ? AND digest = ?",
            (old.id, wording_digest(chosen)),
        ).rowcount
    return Row(old.id, chosen, min(old.seen, to_us(item.post.fetched_at)), versions, old.gone)


def _is_found_alike(a: AnnotatedPost, b: AnnotatedPost) -> bool:
    """True when every query finds both or neither."""
    return (
        a.annotation == b.annotation
        and a.post.published_at == b.post.published_at
        and a.post.source == b.post.source
    )


def _give_free_keys(conn: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Move rows whose key is taken to the next free one. Sorted by post id, so ties keep order."""
    marks = ",".join(str(row.id) for row in rows)
    taken = {key for (key,) in conn.execute(f"SELECT id FROM post WHERE id IN ({marks})")}  # noqa: S608
    for row in sorted(rows, key=lambda row: row.item.post.id):
        if row.id in taken:
            row.id += 1
            while (
                row.id in taken
                or conn.execute("SELECT 1 FROM post WHERE id = ?", (row.id,)).fetchone()
            ):
                row.id += 1
        taken.add(row.id)


def _add(conn: sqlite3.Connection, rows: Sequence[Row]) -> None:
    if not rows:
        return
    # In order of keys: FTS5 writes a segment of its own whenever a number is not the next one.
    faces = sorted(_faces(conn, rows), key=lambda face: face.row.id)
    posts, docs, words, areas = [], [], [], []
    for face in faces:
        row, note = face.row, face.row.item.annotation
        posts.append(
            (row.id, row.item.post.id, face.mix, face.source, hazard_bits(note.hazards),
             counties_in(face.areas), row.seen, row.versions, row.gone)
        )  # fmt: skip
        docs.append((row.id, pack(row.item)))
        words.append((row.id, note.tokens))
        areas += [(area, row.id) for area in face.areas]
    areas.sort()
    conn.executemany("INSERT INTO post VALUES (?,?,?,?,?,?,?,?,?)", posts)
    conn.executemany("INSERT INTO post_doc VALUES (?,?)", docs)
    conn.executemany("INSERT INTO post_words (rowid, tokens) VALUES (?,?)", words)
    conn.executemany("INSERT INTO post_area VALUES (?,?)", areas)
    _roll(conn, faces, 1)


def _roll(conn: sqlite3.Connection, faces: Sequence[_Face], sign: int) -> None:
    """Add or take away posts in the rollups. The hour rollup knows provinces, prefectures and
    counties and the source; the ten-minute rollup prefectures only and no source."""
    hours: list[tuple[int, int, int, int]] = []
    tens: list[tuple[int, int, int, int]] = []
    for face in faces:
        mix, source = face.mix, face.source
        ms = face.row.id >> TIE_BITS
        hour, ten = ms // HOUR_MS, ms // TEN_MIN_MS
        hours.append((EVERYWHERE, hour, mix, source))
        tens.append((EVERYWHERE, ten, mix, 0))
        for area in face.areas:
            if area < 1_000_000:
                hours.append((area, hour, mix, source))
                if 1_000 <= area < 10_000:
                    tens.append((area, ten, mix, 0))
    for table, cells in (("post_hour", Counter(hours)), ("post_10min", Counter(tens))):
        conn.executemany(
            f"INSERT INTO {table} (area, slot, mix, source, n) VALUES (?,?,?,?,?)"  # noqa: S608
            " ON CONFLICT DO UPDATE SET n = n + excluded.n",
            [(*cell, sign * n) for cell, n in sorted(cells.items())],
        )
        if sign < 0:
            conn.executemany(
                f"DELETE FROM {table} WHERE area=? AND slot=? AND mix=? AND source=? AND n=0",  # noqa: S608
                list(cells),
            )
    conn.executemany(
        "INSERT INTO post_mix (mix, n) VALUES (?,?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
        [(mix, sign * n) for mix, n in Counter(face.mix for face in faces).items()],
    )


def _faces(conn: sqlite3.Connection, rows: Sequence[Row]) -> list[_Face]:
    """The numbers by which rows are counted; a source gets its number at its first post."""
    names = sorted({row.item.post.source for row in rows})
    conn.executemany("INSERT OR IGNORE INTO post_source (name) VALUES (?)", [(n,) for n in names])
    marks = ",".join("?" * len(names))
    found = conn.execute(
        f"SELECT name, id FROM post_source WHERE name IN ({marks})",  # noqa: S608
        names,
    )
    sources = dict(found.fetchall())
    faces = []
    for row in rows:
        note = row.item.annotation
        areas = areas_of(note.places) if note.places else _NO_AREAS
        faces.append(_Face(row, mix_of(note), sources[row.item.post.source], areas))
    return faces


def _note_counts(
    conn: sqlite3.Connection, keys: dict[str, int], items: Iterable[AnnotatedPost]
) -> None:
    rows = []
    for item in items:
        post, c = item.post, item.post.counts
        if post.counted_at is not None:
            at = to_us(post.counted_at)
            rows.append((keys[post.id], at, c.reposts, c.comments, c.likes, c.views))
    rows.sort()
    conn.executemany("INSERT OR IGNORE INTO post_counts VALUES (?,?,?,?,?,?)", rows)
