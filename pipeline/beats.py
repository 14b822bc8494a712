"""Signs of life of the parts, and waiting for the end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy import delete, insert

from pipeline.app import App
from pipeline.errors import StoreBusy
from pipeline.store import tables as t

log = structlog.get_logger("beats")


def beat(app: App, part: str, lag: int = 0, note: str = "") -> None:
    """Say that a part is alive. A lost beat is no reason to stop."""
    now = app.now()
    try:
        with app.store.begin(now) as tx:
            tx.conn.execute(delete(t.heartbeats).where(t.heartbeats.c.part == part))
            tx.conn.execute(
                insert(t.heartbeats), {"part": part, "at": now, "lag": lag, "note": note}
            )
    except StoreBusy as error:
        log.warning("heartbeat skipped", part=part, error=str(error))


class Beats:
    """At most one beat every few seconds, whoever asks."""

    def __init__(
        self,
        app: App,
        part: str,
        every_s: float = 3.0,
        *,
        note: Callable[[], str] = lambda: "",
    ) -> None:
        self.app, self.part, self.every_s, self.note = app, part, every_s, note
        self._last = 0.0

    def __call__(self, lag: int = 0, note: str = "") -> None:
        if time.monotonic() - self._last >= self.every_s:
            self._last = time.monotonic()
            beat(self.app, self.part, lag, note or self.note())


async def until(stop: threading.Event, ended: asyncio.Event | None = None) -> None:
    """Wait for a thread's event without a thread."""
    while not stop.is_set():
        await asyncio.sleep(0.1)
    if ended is not None:
        ended.set()
