"""Clock arithmetic (时限): when something is due, and when to warn.

Pure. The table of clocks is data (``deadlines.toml``); it is frozen into a case when the case
opens, so that editing the table never rewrites history. Working days are counted as 民法典 201
does: the day on which the clock starts does not count, the last day counts until midnight, and
days are those of Beijing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

BEIJING = ZoneInfo("Asia/Shanghai")

Calendar = Callable[[date], bool]
"""True for a working day. Make-up workdays (调休) are working days although they are weekends."""

ANY_LEVEL: tuple[int, ...] = (1, 2, 3, 4)


def weekdays(day: date) -> bool:
    """Monday to Friday: the calendar for years whose holidays are not announced yet."""
    return day.weekday() < 5


@dataclass(frozen=True, slots=True)
class Escalation:
    """Whom to tell when a clock is overdue. ``after_minutes``: after the due time, >= 0."""

    after_minutes: int
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClockSpec:
    """One line of the table of clocks.

    ``owner``: case, assignment, alert, help or step. ``levels`` and ``classes``: where it applies
    (no class means all). Exactly one of ``minutes`` and ``workdays`` is positive. ``remind``: who
    is told at 50 %, 80 % and when due; ``up``: who is told later. ``basis``: the rule behind it.
    """

    name: str
    owner: str
    label: str
    basis: str
    minutes: int = 0
    workdays: int = 0
    levels: tuple[int, ...] = ANY_LEVEL
    classes: tuple[str, ...] = ()
    remind: tuple[str, ...] = ()
    up: tuple[Escalation, ...] = ()
    warn: bool = True
    per_line: bool = False

    def __post_init__(self) -> None:
        if (self.minutes > 0) == (self.workdays > 0):
            raise ValueError(f"clock {self.name}: give minutes or workdays, one of them")

    def applies(self, level: int, case_class: str) -> bool:
        """True when a matter of this level and class runs the clock."""
        return level in self.levels and (not self.classes or case_class in self.classes)

    def to_json(self) -> dict[str, Any]:
        """Plain values, to freeze into a case."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ClockSpec:
        """The inverse of ``to_json``; also reads a table of ``deadlines.toml``.

        Raises: ValueError, TypeError naming what is wrong.
        """
        values = dict(row)
        hours = values.pop("hours", None)
        if hours is not None:
            values["minutes"] = round(hours * 60)
        for key in ("levels", "classes", "remind"):
            if key in values:
                values[key] = tuple(values[key])
        values["up"] = tuple(
            Escalation(int(u["after_minutes"]), tuple(u["to"])) for u in values.get("up", ())
        )
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Times:
    """The moments of one running clock, aware, UTC; warn50 <= warn80 <= due."""

    warn50: datetime | None
    warn80: datetime | None
    due: datetime


def times(spec: ClockSpec, start: datetime, calendar: Calendar) -> Times:
    """When a clock that starts at ``start`` warns and is due."""

    def at(share: float) -> datetime:
        if spec.minutes:
            return start + timedelta(minutes=spec.minutes) * share
        return after_workdays(start, spec.workdays * share, calendar)

    if not spec.warn:
        return Times(None, None, at(1.0))
    return Times(at(0.5), at(0.8), at(1.0))


def after_workdays(start: datetime, days: float, calendar: Calendar) -> datetime:
    """The moment ``days`` working days after the day of ``start`` has ended (UTC).

    A whole number ends at midnight after the last counted day; a part of a day is a part of the
    next working day's 24 hours, so that warnings fall on working days too.
    """
    day = start.astimezone(BEIJING).date()
    whole, part = int(days), days - int(days)
    if whole == 0 and part == 0:
        return _midnight_after(day)
    for _ in range(whole):
        day = _next_workday(day, calendar)
    if part == 0:
        return _midnight_after(day)
    day = _next_workday(day, calendar)
    return _midnight_after(day) - timedelta(days=1) * (1 - part)


def _next_workday(day: date, calendar: Calendar) -> date:
    for _ in range(60):
        day += timedelta(days=1)
        if calendar(day):
            return day
    raise ValueError(f"the calendar knows no working day in the 60 days after {day}")


def _midnight_after(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), BEIJING).astimezone(UTC)


def choose(specs: Iterable[ClockSpec], owner: str, level: int, case_class: str) -> list[ClockSpec]:
    """The clocks that run for a matter: the first line of each name that applies."""
    chosen: dict[str, ClockSpec] = {}
    for spec in specs:
        if spec.owner == owner and spec.applies(level, case_class):
            chosen.setdefault(spec.name, spec)
    return list(chosen.values())


RUNGS: tuple[str, ...] = ("50", "80", "due")


def passed_rungs(
    now: datetime,
    warn50: datetime | None,
    warn80: datetime | None,
    due: datetime,
    up: Iterable[Escalation],
) -> list[str]:
    """Rungs whose moment has come, in order: 50, 80, due, up1, up2 ..."""
    moments = [("50", warn50), ("80", warn80), ("due", due)]
    moments += [
        (f"up{n}", due + timedelta(minutes=e.after_minutes)) for n, e in enumerate(up, start=1)
    ]
    return [name for name, at in moments if at is not None and at <= now]


def left_text(now: datetime, due: datetime) -> str:
    """As 还剩 1 小时 12 分, or 已超时 3 分钟."""
    seconds = (due - now).total_seconds()
    minutes = int(abs(seconds) // 60)
    hours, rest = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        span = f"{days} 天 {hours} 小时"
    elif hours:
        span = f"{hours} 小时 {rest} 分"
    else:
        span = f"{rest} 分钟"
    return f"还剩 {span}" if seconds >= 0 else f"已超时 {span}"
