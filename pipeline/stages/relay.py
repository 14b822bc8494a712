"""outbox -> bus: what was committed with a person's act reaches the readers.

Picks rows that are *not yet sent*, never "id greater than the last": on PostgreSQL a lower id can
commit later. A crash between publishing and marking repeats the messages; readers drop repeats
by message id.
"""

from __future__ import annotations

from itertools import groupby

from sqlalchemy import select, update

from pipeline.bus.base import Bus, Record
from pipeline.clock import Clock, WallClock
from pipeline.store import tables as t
from pipeline.store.sql import Store


class Relay:
    """Moves the outbox to the bus. One at a time is enough; two would only repeat messages."""

    def __init__(
        self, store: Store, bus: Bus, *, clock: Clock | None = None, limit: int = 500
    ) -> None:
        self._store, self._bus = store, bus
        self._clock = clock or WallClock()
        self._limit = limit

    def run_once(self) -> int:
        """Publish what waits, oldest first, and mark it; returns how many messages.

        Raises: StoreBusy, EngineDown: nothing is lost, call again.
        """
        o = t.outbox.c
        with self._store.read() as conn:
            waiting = conn.execute(
                select(o.id, o.topic, o.key, o.value)
                .where(o.sent_at.is_(None))
                .order_by(o.id)
                .limit(self._limit)
            ).all()
        if not waiting:
            return 0
        for topic, group in groupby(waiting, key=lambda row: row.topic):
            self._bus.publish(topic, [Record(row.key, row.value) for row in group])
        now = self._clock.now()
        with self._store.begin(now) as tx:
            tx.conn.execute(
                update(t.outbox).where(o.id.in_([row.id for row in waiting])).values(sent_at=now)
            )
        return len(waiting)
