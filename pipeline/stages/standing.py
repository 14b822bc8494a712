"""The desk as it stands while a batch of alerts is decided: asked once, written once.

An alert depends on cases, silences, weather processes, warnings and the other alerts of its event,
also on those decided a moment before in the same batch. Asking the database for each alert was
ten trips; here a batch asks for all its events together and keeps what it decides in memory until
``write``. All of it happens inside the one writing transaction, so nobody else changes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from pipeline.bus.base import encode, uuid7
from pipeline.bus.topics import Topic
from pipeline.domain.alert import AlertState
from pipeline.domain.case import OPEN_CASE
from pipeline.stages.warnings import Processes, WarningsAt
from pipeline.store import tables as t
from pipeline.store.bulk import insert_many, update_many
from pipeline.store.sql import Tx

_LIVE = (AlertState.NEW, AlertState.CLAIMED)


@dataclass(slots=True)
class Standing:
    """One alert of an event, as far as another one of the event needs to know it."""

    fingerprint: str
    level: int
    state: str
    claimed_by: str
    fired_at: datetime
    times: int
    last_at: datetime


class Desk:
    """``events``: ids of those whose alerts may be asked for. ``first``, ``last``: between which
    times warnings and processes may be asked for."""

    def __init__(self, tx: Tx, events: Collection[str], first: datetime, last: datetime) -> None:
        self.now = tx.now
        self.processes = Processes(tx.conn)
        self.warnings = WarningsAt(tx.conn, first, last)
        self.cases = _open_cases(tx.conn, events)
        s = t.silences
        self.silences = (
            tx.conn.execute(select(s).where(s.c.starts_at <= tx.now, s.c.ends_at > tx.now))
            .mappings()
            .all()
        )
        self._alerts = _alerts_of(tx.conn, events)
        self._new: dict[str, dict[str, Any]] = {}
        self._changed: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
        self._evidence: list[dict[str, Any]] = []
        self._messages: list[dict[str, Any]] = []
        self._deliveries: list[dict[str, Any]] = []

    def alert(self, event_id: str, fingerprint: str) -> Standing | None:
        """An alert of an event, when there is one."""
        return self._alerts.get(event_id, {}).get(fingerprint)

    def live(self, event_id: str) -> Standing | None:
        """The alert of an event that the desk sees: gravest first, then claimed."""
        held = [a for a in self._alerts.get(event_id, {}).values() if a.state in _LIVE]
        return min(held, key=lambda a: (-a.level, a.state, a.fired_at), default=None)

    def waiting(self, event_id: str) -> list[Standing]:
        """The alerts of an event that nobody has taken."""
        return [a for a in self._alerts.get(event_id, {}).values() if a.state == AlertState.NEW]

    def add(self, row: dict[str, Any]) -> None:
        """A new alert, with all columns but those that have defaults."""
        name = row["fingerprint"]
        self._new[name] = row
        if row["event_id"]:
            self._alerts.setdefault(row["event_id"], {})[name] = Standing(
                name, row["level"], row["state"], "", row["fired_at"], row["times"], row["last_at"]
            )

    def change(self, alert: Standing, **values: Any) -> None:
        """Set columns of an alert, of this batch or an older one."""
        for name in ("state", "times", "last_at"):
            if name in values:
                setattr(alert, name, values[name])
        if alert.fingerprint in self._new:
            self._new[alert.fingerprint].update(values)
        else:
            changed = self._changed.setdefault(tuple(values), {})
            changed[alert.fingerprint] = {"fingerprint": alert.fingerprint, **values}

    def keep(self, evidence: Mapping[str, Any]) -> None:
        """A copy of what an alert rests on."""
        self._evidence.append(dict(evidence))

    def tell(self, topic: Topic, key: str, body: Any) -> None:
        """A message for the outbox, as ``Tx.emit``."""
        message_id = uuid7(self.now)
        value = encode(topic.schema, body, self.now, message_id=message_id)
        row = {"message_id": message_id, "topic": topic.name, "key": key, "value": value}
        self._messages.append(row | {"created_at": self.now})

    def deliver(self, delivery: Mapping[str, Any]) -> None:
        """Something to tell one receiver."""
        self._deliveries.append(dict(delivery))

    def write(self, tx: Tx) -> None:
        """All that was decided. Once."""
        insert_many(tx.conn, t.alerts, list(self._new.values()))
        insert_many(tx.conn, t.evidence, self._evidence)
        insert_many(tx.conn, t.outbox, self._messages)
        insert_many(tx.conn, t.deliveries, self._deliveries)
        for rows in self._changed.values():
            update_many(tx.conn, t.alerts, ["fingerprint"], list(rows.values()))


def _open_cases(conn: Connection, events: Collection[str]) -> dict[str, Any]:
    """Event -> its open case: id, number, level, owner."""
    if not events:
        return {}
    c = t.cases.c
    found = conn.execute(
        select(c.event_id, c.id, c.number, c.level, c.owner).where(
            c.event_id.in_(events), c.status.in_(OPEN_CASE)
        )
    )
    return {row.event_id: row for row in found}


def _alerts_of(conn: Connection, events: Collection[str]) -> dict[str, dict[str, Standing]]:
    if not events:
        return {}
    a = t.alerts.c
    found = conn.execute(
        select(
            a.event_id,
            a.fingerprint,
            a.level,
            a.state,
            a.claimed_by,
            a.fired_at,
            a.times,
            a.last_at,
        ).where(a.event_id.in_(events))
    )
    alerts: dict[str, dict[str, Standing]] = {}
    for event_id, fingerprint, *rest in found:
        alerts.setdefault(event_id, {})[fingerprint] = Standing(fingerprint, *rest)
    return alerts
