"""Signs of life of the parts, and waiting for the end."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import delete, insert

from pipeline.app import App
from pipeline.errors import StoreBusy
from pipeline.settings import Settings
from pipeline.store import tables as t

log = structlog.get_logger("beats")

Figures = Callable[[], Mapping[str, Any]]

GONE_AFTER = timedelta(minutes=10)  # one of several that was silent for so long was replaced


def part_name(settings: Settings, part: str) -> str:
    """Under which name a part beats: one of several adds its host, as ``annotate@5f0c2``."""
    return f"{part}@{socket.gethostname()[:20]}" if settings.one_of_several else part


def beat(
    app: App, part: str, lag: int = 0, note: str = "", figures: Mapping[str, Any] | None = None
) -> None:
    """Say that a part is alive. A lost beat is no reason to stop."""
    now, h = app.now(), t.heartbeats
    family, several, _host = part.partition("@")
    row = {"part": part, "at": now, "lag": lag, "note": note, "figures": dict(figures or {})}
    try:
        with app.store.begin(now) as tx:
            tx.conn.execute(delete(h).where(h.c.part == part))
            tx.conn.execute(insert(h), row)
            if several:
                others = h.c.part.startswith(f"{family}@", autoescape=True)
                tx.conn.execute(delete(h).where(others, h.c.at < now - GONE_AFTER))
    except StoreBusy as error:
        log.warning("heartbeat skipped", part=part, error=str(error))


def touch(settings: Settings, part: str) -> None:
    """Note in the data folder that a part's process is alive, whatever it waits for.

    A container's health check looks at the age of ``beats/<part>``, so that a database that is
    down does not make every part look ill.
    """
    file = settings.home / "beats" / part_name(settings, part)
    with suppress(OSError):  # a full disk
        file.parent.mkdir(exist_ok=True)
        file.touch()


def forget_beat(app: App, part: str) -> None:
    """One of several that ended on purpose is not silent: it is gone."""
    with suppress(StoreBusy), app.store.begin(app.now()) as tx:
        tx.conn.execute(delete(t.heartbeats).where(t.heartbeats.c.part == part))


class Beats:
    """At most one beat every few seconds, whoever asks.

    ``figures``: what the part counted since its start, for the metrics.
    """

    def __init__(
        self,
        app: App,
        part: str,
        every_s: float = 3.0,
        *,
        note: Callable[[], str] = lambda: "",
        figures: Figures = dict,
    ) -> None:
        self.app, self.every_s, self.note, self.figures = app, every_s, note, figures
        self._part = part
        self._last = 0.0

    def __call__(self, lag: int = 0, note: str = "") -> None:
        if time.monotonic() - self._last >= self.every_s:
            self._last = time.monotonic()
            touch(self.app.settings, self._part)
            name = part_name(self.app.settings, self._part)
            beat(self.app, name, lag, note or self.note(), self.figures())


async def until(stop: threading.Event, ended: asyncio.Event | None = None) -> None:
    """Wait for a thread's event without a thread."""
    while not stop.is_set():
        await asyncio.sleep(0.1)
    if ended is not None:
        ended.set()
