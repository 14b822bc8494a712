"""What a page needs to read and act: one object per process, made once, shared by all sessions."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dashboard.watch import Watch
from pipeline import metrics
from pipeline.bus.topics import POSTS_ANNOTATED
from pipeline.settings import Settings
from pipeline.store.sql import Store

if TYPE_CHECKING:
    from pipeline.bus.base import Bus
    from pipeline.desk.clocks import DeskRules
    from pipeline.desk.help import Vault
    from pipeline.domain.routing import Routes
    from pipeline.domain.rules import Rules
    from pipeline.index.base import Index

T = TypeVar("T")


class Parts(metrics.Parts, Protocol):
    """What ``pipeline.app.App`` offers to the screens."""

    @property
    def rules(self) -> DeskRules: ...
    @property
    def detect_rules(self) -> Rules: ...
    @property
    def routes(self) -> Routes: ...
    @property
    def vault(self) -> Vault: ...


class Shared:
    """Answers shared by all open boards for a moment, so that twenty boards cost about one.

    Kept as they are (no copies, no pickles): what is put here is never changed afterwards.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._locks: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def get(self, key: Hashable, ttl_s: float, make: Callable[[], T]) -> T:
        """The kept answer when it is younger than ``ttl_s``, else a new one, made once."""
        with self._lock:
            lock = self._locks.setdefault(key, Lock())
            if len(self._kept) > 500:
                self._drop_old()
        with lock:
            kept = self._kept.get(key)
            if kept is not None and monotonic() - kept[0] < ttl_s:
                value: T = kept[1]
                return value
            value = make()
            self._kept[key] = (monotonic(), value)
            return value

    def forget(self) -> None:
        """After an act everybody reads anew."""
        with self._lock:
            self._kept.clear()

    def _drop_old(self) -> None:
        now = monotonic()
        for key in [k for k, (at, _) in list(self._kept.items()) if now - at > 60]:
            self._kept.pop(key, None)
            self._locks.pop(key, None)


@dataclass(frozen=True)
class Desk:
    """The product as screens see it."""

    parts: Parts
    shared: Shared = field(default_factory=Shared)

    @property
    def settings(self) -> Settings:
        return self.parts.settings

    @property
    def store(self) -> Store:
        return self.parts.store

    @property
    def index(self) -> Index:
        return self.parts.index

    @property
    def bus(self) -> Bus:
        return self.parts.bus

    @property
    def rules(self) -> DeskRules:
        return self.parts.rules

    @property
    def detect_rules(self) -> Rules:
        return self.parts.detect_rules

    @property
    def routes(self) -> Routes:
        return self.parts.routes

    @property
    def vault(self) -> Vault:
        return self.parts.vault

    @cached_property
    def watch(self) -> Watch:
        """Who of the servers does not answer."""
        return Watch(
            {
                "store": lambda: self.store.ping(),
                "index": lambda: self.index.newest_at(),
                "bus": lambda: self.bus.lag("detect", [POSTS_ANNOTATED.name]),
            }
        )

    @property
    def is_drill(self) -> bool:
        return self.parts.is_drill

    @property
    def city(self) -> str:
        """First four digits of the own city's division code."""
        return self.settings.home_adcode[:4]

    @property
    def speed(self) -> float:
        """Drill seconds per wall second; 1 outside a drill."""
        return float(getattr(self.parts.clock, "pace", 1.0))

    def now(self) -> datetime:
        return self.parts.clock.now()


_installed: list[Desk] = []


def install(parts: Parts) -> Desk:
    """Give the pages of this process their desk."""
    desk = Desk(parts)
    _installed[:] = [desk]
    return desk


def current() -> Desk:
    """The desk of this process."""
    if not _installed:
        raise RuntimeError("no desk is installed; start the board with: tingfeng run")
    return _installed[0]
