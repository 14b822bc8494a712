"""The product's clock: the wall clock, or the drill's faster one.

Time is an argument everywhere else; only the entry points (processes, pages) ask a ``Clock``.
A drill plays six hours in minutes, so all of its processes must agree on *when it is*: the
drill clock is a small file that maps wall time to drill time. It never runs backwards, and after
a stop it goes on from where it stood.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from pipeline.errors import SettingsError

BEIJING = ZoneInfo("Asia/Shanghai")


class Clock(Protocol):
    """Tells the time, aware and in UTC."""

    def now(self) -> datetime: ...


class WallClock:
    """The machine's clock, held back when it jumps backwards.

    A step back (a repaired NTP, a changed battery) would reorder messages and clocks that are
    already written; so within one process time stands still until the wall has caught up.
    """

    def __init__(self) -> None:
        self._latest = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        self._latest = max(self._latest, datetime.now(UTC))
        return self._latest


@dataclass(frozen=True, slots=True)
class DrillClock:
    """Drill time: ``speed`` x wall time until ``until``, then wall speed.

    ``wall0``: seconds since the epoch when the drill (or this stretch of it) began;
    ``drill0``: the drill's time then; ``until``: where the scenario ends.
    """

    wall0: float
    drill0: datetime
    speed: float
    until: datetime

    def now(self) -> datetime:
        elapsed = max(0.0, time.time() - self.wall0)
        fast = max(0.0, (self.until - self.drill0).total_seconds() / self.speed)
        if elapsed <= fast:
            return self.drill0 + timedelta(seconds=elapsed * self.speed)
        return max(self.drill0, self.until) + timedelta(seconds=elapsed - fast)

    @property
    def pace(self) -> float:
        """How fast drill time runs now: ``speed``, and 1 after the scenario's end."""
        return self.speed if self.now() < self.until else 1.0

    def save(self, path: Path) -> None:
        """Write the clock whole or not at all."""
        body = {
            "wall0": self.wall0,
            "drill0": self.drill0.isoformat(),
            "speed": self.speed,
            "until": self.until.isoformat(),
            "seen": self.now().isoformat(),
        }
        new = path.with_suffix(".new")
        new.write_text(json.dumps(body), encoding="utf-8")
        new.replace(path)

    @classmethod
    def load(cls, path: Path) -> DrillClock:
        """The clock of a running drill. Raises: SettingsError when the file is damaged."""
        with _readable(path):
            body = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                wall0=float(body["wall0"]),
                drill0=_aware(body["drill0"]),
                speed=float(body["speed"]),
                until=_aware(body["until"]),
            )

    @classmethod
    def resume(cls, path: Path, speed: float) -> DrillClock:
        """The clock of a stopped drill, going on from the last moment it was saved.

        Raises: SettingsError when the file is damaged.
        """
        with _readable(path):
            body = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                wall0=time.time(),
                drill0=_aware(body["seen"]),
                speed=speed,
                until=_aware(body["until"]),
            )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{path} is damaged ({type(error).__name__}: {error}); a drill keeps its time there:"
            " start a new drill in another --config folder, or restore the file"
        ) from error


def _aware(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no offset")
    return at
