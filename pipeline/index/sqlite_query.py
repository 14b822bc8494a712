"""Which rows a Query means, in SQL: where to begin and what to check.

It starts from the narrowest list there is: ids, words, area, rare labels, one source, or time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from nlp.text import query_tokens
from pipeline.index.base import Query
from pipeline.index.codes import TOP_KEY, area_span, first_key, hazard_bits, mixes_of, row_key

SLACK = 64  # rows read beyond a page, to put posts of one millisecond into exact order


@dataclass(slots=True)
class Match:
    """SQL of the posts that match. ``key``: the column that holds a row's key."""

    source: str
    key: str
    where: list[str]
    given: list[object] = field(default_factory=list)

    @property
    def sql(self) -> str:
        return f"FROM {self.source} WHERE {' AND '.join(self.where)}"


def match_of(
    conn: sqlite3.Connection,
    query: Query,
    *,
    for_page: bool = False,
    needs_post: bool = True,
) -> Match | None:
    """Where to begin and what to check; None when nothing can match."""
    words = query_tokens(query.words) if query.words.strip() else []
    mixes = mixes_of(query)
    sources = source_ids(conn, query.sources) if query.sources else ()
    if (query.words.strip() and not words) or mixes == () or (query.sources and not sources):
        return None
    area = area_span(query.adcode) if query.adcode else None
    match = _beginning(conn, query, words, mixes, sources, area, for_page)
    low = first_key(query.since) if query.since else 0
    high = first_key(query.until) - 1 if query.until else TOP_KEY
    if for_page and query.after is not None:
        high = min(high, row_key(*query.after) + SLACK)
    match.where.append(f"{match.key} BETWEEN {low} AND {high}")
    filtered = bool(mixes or sources or query.hazards or query.ids)
    if not (for_page or needs_post or filtered):
        match.source = match.source.split(" CROSS JOIN ")[0]
    if mixes is not None:
        match.where.append(f"+p.mix IN ({listed(mixes)})")
    if sources:
        match.where.append(f"+p.source IN ({listed(sources)})")
    if query.hazards:
        match.where.append(f"p.hazards & {hazard_bits(query.hazards)} != 0")
    if query.ids:
        match.where.append("p.pid IN (SELECT value FROM json_each(?))")
        match.given.append(json.dumps(query.ids))
    if area is not None and "post_area a" not in match.source:
        match.where.append(_inside(area, match.key))
    return match


def _beginning(
    conn: sqlite3.Connection,
    query: Query,
    words: Sequence[str],
    mixes: tuple[int, ...] | None,
    sources: tuple[int, ...],
    area: tuple[int, int] | None,
    for_page: bool,
) -> Match:
    if query.ids:
        return Match("post p", "p.id", [])
    if words:
        asked = " ".join('"' + word.replace('"', '""') + '"' for word in dict.fromkeys(words))
        joined = "post_words f CROSS JOIN post p ON p.id = f.rowid"
        return Match(joined, "f.rowid", ["post_words MATCH ?"], [asked])
    if area is not None and area[0] == area[1]:
        joined = "post_area a CROSS JOIN post p ON p.id = a.id"
        return Match(joined, "a.id", [f"a.area = {area[0]}"])
    if mixes is not None and _are_rare(conn, mixes):
        return Match("post p INDEXED BY post_by_mix", "p.id", [f"p.mix IN ({listed(mixes)})"])
    if len(sources) == 1 and for_page:
        begin = [f"p.source = {sources[0]}"]
        return Match("post p INDEXED BY post_by_source", "p.id", begin)
    return Match("post p", "p.id", [])


def _inside(area: tuple[int, int], key: str) -> str:
    """SQL: the row lies in one area, or in any of a span of areas (100 at most)."""
    areas = listed(range(area[0], area[1] + 1))
    return f"EXISTS (SELECT 1 FROM post_area b WHERE b.area IN ({areas}) AND b.id = {key})"  # noqa: S608


def _are_rare(conn: sqlite3.Connection, mixes: tuple[int, ...]) -> bool:
    """True when sorting the posts of these mixes is cheaper than walking through time."""
    matching = total(conn, mixes)
    return matching <= 20_000 and matching * 20 < total(conn, None)


def total(conn: sqlite3.Connection, mixes: tuple[int, ...] | None) -> int:
    """Posts of these mixes, or of all."""
    where = "" if mixes is None else f" WHERE mix IN ({listed(mixes)})"
    total: int = conn.execute(f"SELECT ifnull(sum(n), 0) FROM post_mix{where}").fetchone()[0]  # noqa: S608
    return total


def source_ids(conn: sqlite3.Connection, names: Sequence[str]) -> tuple[int, ...]:
    found = conn.execute(
        "SELECT id FROM post_source WHERE name IN (SELECT value FROM json_each(?))",
        (json.dumps(names),),
    ).fetchall()
    return tuple(key for (key,) in found)


def listed(numbers: Sequence[int]) -> str:
    """Numbers for an SQL list; ours, never a person's words."""
    return ",".join(map(str, numbers))
