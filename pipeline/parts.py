"""The parts of a running product: one long-lived process each.

``tingfeng part NAME --config DIR`` runs one of them. A part ends when it gets SIGTERM or SIGINT,
or when its standard input closes (its supervisor is gone): so nothing is ever left behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import delete, insert

from pipeline.app import App, build, rule_file
from pipeline.bus.base import Message
from pipeline.bus.topics import POSTS_ANNOTATED, POSTS_RAW
from pipeline.errors import StoreBusy
from pipeline.settings import Settings
from pipeline.store import tables as t
from pipeline.worker import Worker

if TYPE_CHECKING:
    from crawlers.health import SourceRun
    from pipeline.domain.post import FetchedPost, Unreadable
    from pipeline.domain.warning import OfficialWarning

log = structlog.get_logger("parts")

Part = Callable[[App, threading.Event], None]


def stop_event() -> threading.Event:
    """An event that is set when this process should end."""
    stop = threading.Event()

    def on_signal(_signo: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)

    def watch_parent() -> None:
        while sys.stdin.buffer.read(1):
            pass
        stop.set()

    if os.environ.get("TINGFENG_SUPERVISED"):
        threading.Thread(target=watch_parent, name="parent-watch", daemon=True).start()
    return stop


def beat(app: App, part: str, lag: int = 0, note: str = "") -> None:
    """Say that a part is alive. A lost beat is no reason to stop."""
    now = app.now()
    try:
        with app.store.begin(now) as tx:
            tx.conn.execute(delete(t.heartbeats).where(t.heartbeats.c.part == part))
            tx.conn.execute(
                insert(t.heartbeats), {"part": part, "at": now, "lag": lag, "note": note}
            )
    except StoreBusy:
        log.warning("heartbeat skipped", part=part)


class Beats:
    """At most one beat every few seconds, whoever asks."""

    def __init__(self, app: App, part: str, every_s: float = 3.0) -> None:
        self.app, self.part, self.every_s = app, part, every_s
        self._last = 0.0

    def __call__(self, lag: int = 0, note: str = "") -> None:
        if time.monotonic() - self._last >= self.every_s:
            self._last = time.monotonic()
            beat(self.app, self.part, lag, note)


class Door:
    """The crawlers' intake: posts to the bus, warnings to the desk, the rest to the dead."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.ingest = app.ingest()

    def accept(self, posts: Sequence[FetchedPost]) -> object:
        return self.ingest.accept(posts)

    def refuse(self, pieces: Sequence[Unreadable]) -> object:
        return self.ingest.refuse(pieces)

    def warn(self, warnings: Sequence[OfficialWarning]) -> object:
        from pipeline.stages.warnings import store_warnings

        with self.app.store.begin(self.app.now()) as tx:
            return store_warnings(tx, warnings)
