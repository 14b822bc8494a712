"""Drift, thresholds and disagreements as the 判读 page reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from nlp.annotator import own_levels
from nlp.levels import at_level
from pipeline.claim_thresholds import Kept
from pipeline.clock import BEIJING
from pipeline.desk import labels
from pipeline.domain.corrections import Standing, standing
from pipeline.domain.drift import DayCounts, Drift, compare, joined
from pipeline.store import tables as t

RECENT_DAYS = 7


def drifts(conn: Connection, now: datetime, *, unsure_by: float, mix_by: float) -> list[Drift]:
    """All sources together, then one per source that posted in the last week, those that moved
    first. A few kilobytes per source and day are read, however many posts there were."""
    edge = (now.astimezone(BEIJING).date() - timedelta(days=RECENT_DAYS)).isoformat()
    recent: dict[str, list[DayCounts]] = defaultdict(list)
    before: dict[str, list[DayCounts]] = defaultdict(list)
    for row in conn.execute(select(t.label_days).where(t.label_days.c.source != "")).mappings():
        side = recent if row["day"] > edge else before
        side[row["source"]].append(DayCounts(**{**row["counts"], "posts": row["posts"]}))
    both = (recent, {source: before[source] for source in recent})
    found = [
        compare(source, joined(days), joined(before[source]), unsure_by=unsure_by, mix_by=mix_by)
        for source, days in recent.items()
    ]
    found.sort(key=lambda d: (not d.notable, not d.judged, d.source))
    if len(found) > 1:  # small sources alone are not judged; together they may be
        everything = [joined(day for days in side.values() for day in days) for side in both]
        found.insert(0, compare("", *everything, unsure_by=unsure_by, mix_by=mix_by))
    return found


@dataclass(frozen=True, slots=True)
class Threshold:
    """One threshold in force. ``advised``: the model's, or the measured one; ``is_own``: the
    bureau set another. What it gives on texts the model had not seen, None when not measured:
    for ``unsure.HEAD`` as a sign of a mistake, ``irrelevant`` of relevance (below it), ``help``
    of a call, ``claims.*`` of the right claim. ``share``: of posts; ``false_per_200``: of
    ordinary posts."""

    name: str
    level: float
    advised: float
    is_own: bool
    precision: float | None = None
    recall: float | None = None
    share: float | None = None
    false_per_200: float = 0.0


def thresholds(
    card: Mapping[str, Any], typed: Mapping[str, float], help_level: float, claims: Kept
) -> list[Threshold]:
    """``card``: of the model in use; ``typed``: the setting ``thresholds``; ``help_level``: of
    rules.toml; ``claims``: ``pipeline.claim_thresholds.in_force``."""
    advised = own_levels(card) | {"help": float(card["thresholds"]["help"])}
    curves = card.get("curves", {})
    found = []
    for name, own in advised.items():
        level = help_level if name == "help" else typed.get(name, own)
        point = at_level(curves.get(name, []), level)
        found.append(Threshold(name, level, own, level != own, *point))
    figures: Mapping[str, float] = {} if claims.typed else claims.figures
    for name, level, precision, recall, false in (
        ("suggest", claims.thresholds.suggest, None, "first_right", "false_per_200"),
        ("confirm", claims.thresholds.confirm, "confirm_precision", "confirm_recall", None),
    ):
        found.append(
            Threshold(
                f"claims.{name}",
                level,
                level,
                claims.typed,
                figures.get(precision or ""),
                figures.get(recall),
                None,
                figures.get(false or "", 0.0),
            )
        )
    return found


def disputed(conn: Connection) -> list[Standing]:
    """Labels on which people differ, the latest first."""
    found = [s for s in standing(labels.corrections(conn)) if s.disputed]
    return found[::-1]


def corrected(conn: Connection, post_ids: Sequence[str]) -> dict[str, list[Standing]]:
    """What people said about some posts, by post."""
    by_post: dict[str, list[Standing]] = defaultdict(list)
    for stands in standing(labels.corrections(conn, post_ids)):
        by_post[stands.post_id].append(stands)
    return by_post
