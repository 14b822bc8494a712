"""Spot checks (抽查): a few posts drawn by chance each day and read by a person, labels unseen.

Corrections show where the machine was wrong, not how often. Posts drawn without looking at the
answer do: they measure the model at work, and judge a challenger fairly.
"""

from __future__ import annotations

import math
import random
from datetime import date, datetime, time, timedelta

from sqlalchemy import Connection

from pipeline.clock import BEIJING
from pipeline.desk import labels
from pipeline.domain.corrections import standing
from pipeline.domain.post import AnnotatedPost
from pipeline.index.base import Index, Query

PER_DAY = 5
DAYS = 30
_STEP = timedelta(minutes=10)
_MOST = 1000  # posts of ten minutes among which is drawn


def yesterday(now: datetime) -> date:
    """The last whole day in Beijing."""
    return now.astimezone(BEIJING).date() - timedelta(days=1)


def draw(index: Index, day: date, n: int = PER_DAY) -> list[AnnotatedPost]:
    """Posts of a day, each with the same chance, the same ones whenever it is asked.

    Late posts of that day may move the draw; of ten minutes with more than 1,000 posts only the
    newest are drawn from.
    """
    start = datetime.combine(day, time(), BEIJING)
    bars = index.histogram(Query(since=start, until=start + timedelta(days=1)), "10min")
    if not bars:
        return []
    chance = random.Random(day.isoformat())  # noqa: S311 - a draw that anybody may repeat
    found: dict[str, AnnotatedPost] = {}
    for bar in chance.choices(bars, [bar.posts for bar in bars], k=2 * n):
        hits = index.search(Query(since=bar.start, until=bar.start + _STEP, limit=_MOST))
        if hits and len(found) < n:
            item = hits[chance.randrange(len(hits))].item
            found[item.post.id] = item
    return list(found.values())


def checked(conn: Connection, post_ids: list[str]) -> set[str]:
    """Those that somebody has read as a spot check."""
    return {one.post_id for one in labels.corrections(conn, post_ids) if one.drawn}


def accuracy(conn: Connection, now: datetime) -> dict[str, tuple[int, int]]:
    """Per head: spot checks of the last month that agree with the machine, and how many there
    are; those on which people differ are left out."""
    since = now - timedelta(days=DAYS)
    counts: dict[str, tuple[int, int]] = {}
    for stands in standing(labels.corrections(conn)):
        if stands.drawn and stands.label is not None and stands.at and stands.at >= since:
            right, n = counts.get(stands.head, (0, 0))
            counts[stands.head] = (right + (stands.label == stands.machine), n + 1)
    return counts


def interval(right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927); honest for few.

    >>> [round(x, 2) for x in interval(9, 10)]
    [0.6, 0.98]
    """
    if not n:
        return 0.0, 1.0
    z, p = 1.96, right / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
