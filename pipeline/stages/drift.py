"""Count labels and words per source and day, so that drift can be read without a scan.

Runs once an hour: yesterday and today are counted again, older days once. A day's labels are
counted exactly, by the index; *unsure* and words on the newest ``SAMPLE`` posts of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime, time, timedelta

from sqlalchemy import delete, insert, select

from pipeline.clock import BEIJING
from pipeline.domain import drift
from pipeline.index.base import Facet, Index, Query
from pipeline.store import tables as t
from pipeline.store.sql import Store

DAYS = 37  # a week and the thirty days before it
SAMPLE = 500
CATCH_UP = 5  # older days per run

_FACETS: tuple[Facet, ...] = ("kind", "sentiment", "urgency", "rumour")


def count_days(
    store: Store, index: Index, now: datetime, ended: Callable[[], bool] = lambda: False
) -> int:
    """Returns how many days were counted; fewer once ``ended`` says so.

    Raises: EngineDown, StoreBusy.
    """
    with store.read() as conn:
        known = set(conn.execute(select(t.label_days.c.day)).scalars())
    today = now.astimezone(BEIJING).date()
    days = [today - timedelta(days=n) for n in range(DAYS)]
    open_days = [day for day in days[2:] if day.isoformat() not in known][:CATCH_UP]
    done = 0
    for day in [*days[:2], *open_days]:
        start = datetime.combine(day, time(), BEIJING)
        found = []
        for one in _sources(index, Query(since=start, until=start + timedelta(days=1))):
            if ended():
                return done
            found.append(one)
        # A day without posts is written down too, under no source, or it would be asked for ever.
        rows = found or [("", drift.DayCounts())]
        with store.begin(now) as tx:
            tx.conn.execute(delete(t.label_days).where(t.label_days.c.day == day.isoformat()))
            tx.conn.execute(
                insert(t.label_days),
                [
                    {
                        "day": day.isoformat(),
                        "source": source,
                        "posts": counts.posts,
                        "counts": asdict(replace(counts, posts=0)),
                    }
                    for source, counts in rows
                ],
            )
        done += 1
    with store.begin(now) as tx:
        tx.conn.execute(delete(t.label_days).where(t.label_days.c.day < days[-1].isoformat()))
    return done


def _sources(index: Index, day: Query) -> Iterator[tuple[str, drift.DayCounts]]:
    for source, posts in index.facets(day, "source").items():
        query = replace(day, sources=(source,), limit=SAMPLE)
        sample = drift.count([hit.item.annotation for hit in index.search(query)])
        labels = {str(facet): index.facets(query, facet) for facet in _FACETS}
        yield source, replace(sample, posts=posts, labels=labels)
