"""What a review counts: each figure with its formula and what it rests on.

A missing time stays missing (``value`` None, shown as “缺”); it never becomes zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a review. ``value``: minutes, a count or a share, by ``unit``."""

    key: str
    label: str
    value: float | None
    unit: str
    formula: str
    refs: tuple[str, ...] = ()
    note: str = ""

    @property
    def text(self) -> str:
        """As an officer reads it."""
        if self.value is None:
            return "缺"
        if self.unit == "分钟":
            return say_minutes(self.value)
        if self.unit == "%":
            return f"{self.value:.0f}%"
        number = f"{self.value:.1f}".rstrip("0").rstrip(".")
        return f"{number} {self.unit}".strip()


def say_minutes(minutes: float) -> str:
    """As 1 小时 12 分, 45 秒, -3 分 (negative: earlier than expected)."""
    sign, seconds = ("-" if minutes < 0 else ""), round(abs(minutes) * 60)
    if seconds < 60:
        return f"{sign}{seconds} 秒"
    hours, rest = divmod(seconds // 60, 60)
    return f"{sign}{hours} 小时 {rest} 分" if hours else f"{sign}{rest} 分"


@dataclass(frozen=True, slots=True)
class Moment:
    """A step on the way from post to release. ``at`` None: it did not happen or is not known."""

    key: str
    label: str
    at: datetime | None
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Ten minutes of an event: posts by stance, heat >= 0."""

    start: datetime
    posts: int
    spread: int
    question: int
    debunk: int
    official: int
    neg: int
    heat: float


STEPS: tuple[tuple[str, str, str], ...] = (
    ("first_post", "first_seen", "采集时延"),
    ("first_post", "alert", "发现时延"),
    ("alert", "claimed", "认领时延"),
    ("claimed", "assessed", "研判时延"),
    ("assessed", "assigned", "分办时延"),
    ("assigned", "received", "签收时延"),
    ("received", "replied", "反馈时延"),
    ("assessed", "drafted", "起草时延"),
    ("drafted", "signed", "审签时延"),
    ("signed", "released", "发布时延"),
    ("confirmed", "released", "首次回应时差"),
)


def delays(moments: Sequence[Moment]) -> list[Figure]:
    """The time between the steps, in minutes."""
    by_key = {m.key: m for m in moments}
    figures = []
    for start, end, label in STEPS:
        a, b = by_key.get(start), by_key.get(end)
        known = a is not None and b is not None and a.at is not None and b.at is not None
        value = (b.at - a.at).total_seconds() / 60 if known else None  # type: ignore[union-attr,operator]
        names = f"{b.label if b else end} − {a.label if a else start}"
        refs = tuple(m.ref for m in (a, b) if m is not None and m.ref)
        figures.append(Figure(f"{start}_{end}", label, value, "分钟", names, refs))
    return figures


def response_in_time(moments: Sequence[Moment], due: datetime | None) -> Figure:
    """Minutes left (or overdue, negative) at the first release."""
    released = next((m.at for m in moments if m.key == "released"), None)
    value = (due - released).total_seconds() / 60 if due and released else None
    note = "" if value is None else ("在时限内" if value >= 0 else "超过时限")
    return Figure(
        "margin",
        "距时限余量",
        value,
        "分钟",
        "首次发布时限 − 首次发布时刻（负数为超时）",
        note=note,
    )


@dataclass(frozen=True, slots=True)
class Effect:
    """Volume and stance before and after the release, in windows of the same length."""

    hours: int
    before: int
    after: int
    spread_before: int
    spread_after: int
    share_debunk_before: float | None
    share_debunk_after: float | None

    @property
    def change(self) -> float | None:
        """Relative change of spreading posts in per cent; None without posts before."""
        if self.spread_before == 0:
            return None
        return 100 * (self.spread_after - self.spread_before) / self.spread_before


def effect(buckets: Sequence[Bucket], released: datetime, hours: int) -> Effect:
    """Compare ``hours`` before with ``hours`` after ``released``."""
    span = timedelta(hours=hours)
    before = [b for b in buckets if released - span <= b.start < released]
    after = [b for b in buckets if released <= b.start < released + span]

    def share(part: Sequence[Bucket]) -> float | None:
        total = sum(b.spread + b.question + b.debunk for b in part)
        return sum(b.debunk for b in part) / total if total else None

    return Effect(
        hours=hours,
        before=sum(b.posts for b in before),
        after=sum(b.posts for b in after),
        spread_before=sum(b.spread for b in before),
        spread_after=sum(b.spread for b in after),
        share_debunk_before=share(before),
        share_debunk_after=share(after),
    )


def half_spread(buckets: Sequence[Bucket], first: datetime) -> float | None:
    """t50: minutes from the first post until half of all spreading posts had appeared."""
    total = sum(b.spread for b in buckets)
    if total == 0:
        return None
    seen = 0
    for b in sorted(buckets, key=lambda b: b.start):
        seen += b.spread
        if seen * 2 >= total:
            end = b.start + timedelta(minutes=10)
            return max(0.0, (end - first).total_seconds() / 60)
    return None


def half_life(buckets: Sequence[Bucket], released: datetime) -> float | None:
    """Minutes after the release until the spread per half hour fell to half of what it was.

    None when nothing spread in the half hour before, or it never fell so far.
    """
    window = timedelta(minutes=30)
    base = sum(b.spread for b in buckets if released - window <= b.start < released)
    if base == 0:
        return None
    end = max((b.start for b in buckets), default=released) + window
    at = released + window
    while at <= end:
        now = sum(b.spread for b in buckets if at - window <= b.start < at)
        if now * 2 <= base:
            return (at - released).total_seconds() / 60
        at += timedelta(minutes=10)
    return None


def second_waves(buckets: Sequence[Bucket], released: datetime) -> int:
    """Times the heat rose again after the release to half of its peak, from below a quarter."""
    peak = max((b.heat for b in buckets), default=0.0)
    waves, low = 0, False
    for b in sorted(buckets, key=lambda b: b.start):
        if b.start < released or peak == 0:
            continue
        if b.heat <= peak / 4:
            low = True
        elif low and b.heat >= peak / 2:
            waves, low = waves + 1, False
    return waves


@dataclass(frozen=True, slots=True)
class Review:
    """A review, ready to be shown or exported."""

    case_id: int
    number: str
    title: str
    level: str
    status: str
    made_at: datetime
    made_by: str
    moments: tuple[Moment, ...]
    figures: tuple[Figure, ...]
    effects: tuple[Effect, ...]
    buckets: tuple[Bucket, ...]
    timeline: tuple[dict[str, Any], ...]
    releases: tuple[dict[str, Any], ...]
    lessons: tuple[dict[str, Any], ...] = field(default=())
    summary: str = ""
    is_drill: bool = False
