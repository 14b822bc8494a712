"""What is usual at a place: posts per hour of day, learnt day by day.

A day counts when the next day of that hour begins; days without a post count as zero. One wild
day moves the mean by at most what three usual days would, so that a storm does not teach us that
storms are usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

_BEIJING_S = 8 * 3600
_MEMORY_DAYS = 28
_CAP = 3.0
_CAP_FLOOR = 10.0


@dataclass(slots=True)
class Usual:
    """One place, kind and hour of day (Beijing). ``mean``: posts in that hour, over ``days``."""

    mean: float = 0.0
    days: int = 0
    last_day: int = 0
    today: int = 0

    def count(self, day: int) -> None:
        """One post on a day (days since 1970, Beijing). A late post moves nothing."""
        if day == self.last_day:
            self.today += 1
        elif day > self.last_day:
            if self.last_day:
                self._learn(float(self.today))
                for _ in range(min(day - self.last_day - 1, _MEMORY_DAYS)):
                    self._learn(0.0)
            self.last_day = day
            self.today = 1

    def _learn(self, seen: float) -> None:
        if self.days:
            seen = min(seen, max(_CAP * self.mean, _CAP_FLOOR))
        self.days += 1
        self.mean += (seen - self.mean) / min(self.days, _MEMORY_DAYS)


class UsualTalk:
    """All the usual figures, keyed by (prefecture, kind, hour)."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, int], Usual] = {}
        self._changed: dict[tuple[str, str, int], bool] = {}
        self._stored: set[tuple[str, str, int]] = set()

    def count(self, adcode: str, kind: str, at: int) -> None:
        """One post of a kind at a place and time (seconds since 1970)."""
        day, second = divmod(at + _BEIJING_S, 86400)
        key = (adcode, kind, second // 3600)
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = Usual()
        held.count(day)
        self._changed[key] = True

    def per_window(self, adcode: str, kind: str, at: int, window_s: float) -> float:
        """Posts usual in a window at that hour of day, 0 when nothing is known yet."""
        hour = (at + _BEIJING_S) % 86400 // 3600
        held = self._held.get((adcode, kind, hour))
        return held.mean * window_s / 3600 if held is not None else 0.0

    def take(self, row: Any) -> None:
        """A row of ``baselines``, when memory is rebuilt."""
        key = (row.adcode, row.kind, row.hour)
        day = (date.fromisoformat(row.last_day) - date(1970, 1, 1)).days if row.last_day else 0
        self._held[key] = Usual(row.mean, row.days, day, row.today)
        self._stored.add(key)

    def changed(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """(new rows, changed rows) since the last call of ``written``."""
        new: list[dict[str, Any]] = []
        old: list[dict[str, Any]] = []
        for key in self._changed:
            held = self._held[key]
            row = {
                "adcode": key[0],
                "kind": key[1],
                "hour": key[2],
                "mean": held.mean,
                "days": held.days,
                "last_day": date.fromordinal(
                    date(1970, 1, 1).toordinal() + held.last_day
                ).isoformat(),
                "today": held.today,
            }
            (old if key in self._stored else new).append(row)
        return new, old

    def written(self) -> None:
        """The changed rows are in the database."""
        self._stored.update(self._changed)
        self._changed.clear()
