"""Posts counted by time and label: from the rollups when they know all that is asked (labels,
source, one area, time), with the pieces of an hour at its two ends counted from rows; else from the
rows alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pipeline.index import sqlite_rows as rows
from pipeline.index.base import Facet, Query, Step
from pipeline.index.codes import (
    EVERYWHERE,
    MIX_FACETS,
    TIE_BITS,
    TOP_KEY,
    area_span,
    at_millis,
    county_span,
    hazards_in,
    millis,
    mixes_of,
)
from pipeline.index.sqlite_query import listed, match_of, source_ids, total

STEP_MS: dict[Step, int] = {
    "10min": rows.TEN_MIN_MS,
    "hour": rows.HOUR_MS,
    "day": 24 * rows.HOUR_MS,
}


def count(conn: sqlite3.Connection, query: Query) -> int:
    """How many posts match."""
    if _is_timeless(query):
        return total(conn, mixes_of(query))
    if _is_rolled(query):
        return sum(n for _, _, n in _rolled(conn, query, None, "0"))
    match = match_of(conn, query, needs_post=False)
    if match is None:
        return 0
    found: int = conn.execute(f"SELECT count(*) {match.sql}", match.given).fetchone()[0]
    return found


def facet_cells(
    conn: sqlite3.Connection, query: Query, facet: Facet
) -> Iterator[tuple[int, int | str, int]]:
    """Cells of one label over all the time that is asked."""
    if facet in MIX_FACETS and _is_timeless(query):
        return _mix_totals(conn, facet, mixes_of(query))
    return cells(conn, query, None, facet)


def cells(
    conn: sqlite3.Connection, query: Query, step: Step | None, by: Facet | None
) -> Iterator[tuple[int, int | str, int]]:
    """``(slot of the step, code of the label, posts)``; a cell may come more than once.

    Without a step there is one slot, 0.
    """
    if not _is_rolled(query, step, by):
        yield from _counted(conn, query, step, _code(by))
    elif by == "adcode":
        yield from _rolled(conn, query, step, "area", county_span(query.adcode))
    else:
        yield from _rolled(conn, query, step, _code(by))


def _counted(
    conn: sqlite3.Connection, query: Query, step: Step | None, code: str
) -> Iterator[tuple[int, int | str, int]]:
    """Cells counted from the rows themselves."""
    match = match_of(conn, query, needs_post=code != "0")
    if match is None:
        return
    code = {"area": "counties"}.get(code, code)
    slot = f"{match.key} / {STEP_MS[step] << TIE_BITS}" if step else "0"
    by = "1, 2" if step else "2"
    counted = f"SELECT {slot}, {code}, count(*) {match.sql} GROUP BY {by}"
    yield from conn.execute(counted, match.given).fetchall()


def _rolled(
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
        yield from _counted(conn, query, step, code)
        return
    span = areas or (area_span(query.adcode) if query.adcode else (EVERYWHERE, EVERYWHERE))
    where = "area BETWEEN ? AND ? AND slot >= ? AND slot < ?"
    mixes = mixes_of(query)
    if mixes is not None:
        where += f" AND mix IN ({listed(mixes)})"
    if query.sources:
        where += f" AND source IN ({listed(source_ids(conn, query.sources))})"
    slot = f"slot / {STEP_MS[step] // width}" if step else "0"
    summed = (
        f"SELECT {slot}, {code}, sum(n) FROM {table}"  # noqa: S608
        f" WHERE {where} GROUP BY {'1, 2' if step else '2'}"
    )
    yield from conn.execute(summed, (*span, first, last)).fetchall()
    if low < first * width:
        edge = replace(query, since=at_millis(low), until=at_millis(first * width))
        yield from _counted(conn, edge, step, code)
    if query.until and last * width < high:
        edge = replace(query, since=at_millis(last * width), until=at_millis(high))
        yield from _counted(conn, edge, step, code)


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


def labels_of(
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


def _mix_totals(
    conn: sqlite3.Connection, by: Facet, mixes: tuple[int, ...] | None
) -> Iterator[tuple[int, int | str, int]]:
    """Cells of a label over all posts."""
    where = "" if mixes is None else f" WHERE mix IN ({listed(mixes)})"
    code = _code(by)
    totals = f"SELECT 0, {code}, sum(n) FROM post_mix{where} GROUP BY 2 HAVING sum(n) > 0"  # noqa: S608
    yield from conn.execute(totals).fetchall()
