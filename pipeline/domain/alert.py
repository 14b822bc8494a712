"""Alert (舆情预警): a statement that an event needs eyes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pipeline.domain.event import Level


class AlertState(StrEnum):
    """States an officer sees. Values are stored, labels are shown."""

    NEW = "new"
    CLAIMED = "claimed"
    CALMED = "calmed"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    CLOSED = "closed"
    BACKFILL = "backfill"

    @property
    def label(self) -> str:
        return {
            "new": "新",
            "claimed": "已认领",
            "calmed": "已平息未认领",
            "shelved": "暂挂",
            "suppressed": "已抑制",
            "closed": "已关闭",
            "backfill": "补录",
        }[self.value]


ALERT_MOVES: dict[AlertState, frozenset[AlertState]] = {
    AlertState.NEW: frozenset(
        {
            AlertState.CLAIMED,
            AlertState.CALMED,
            AlertState.SHELVED,
            AlertState.SUPPRESSED,
            AlertState.CLOSED,
        }
    ),
    AlertState.CLAIMED: frozenset({AlertState.NEW, AlertState.SHELVED, AlertState.CLOSED}),
    AlertState.CALMED: frozenset({AlertState.CLAIMED, AlertState.NEW, AlertState.CLOSED}),
    AlertState.SHELVED: frozenset({AlertState.NEW, AlertState.CLAIMED, AlertState.CLOSED}),
    AlertState.SUPPRESSED: frozenset({AlertState.NEW, AlertState.CLAIMED, AlertState.CLOSED}),
    AlertState.CLOSED: frozenset({AlertState.NEW}),
    AlertState.BACKFILL: frozenset({AlertState.CLAIMED, AlertState.CLOSED}),
}


LATE_AFTER = timedelta(minutes=30)
"""So long fetching may take; an alert recorded later after its time says that it comes late."""


def lateness(fired_at: datetime, recorded_at: datetime) -> str:
    """As 晚到 2 小时 10 分: how long after its posts an alert was made; empty when soon enough."""
    late = recorded_at - fired_at
    if late < LATE_AFTER:
        return ""
    hours, minutes = divmod(int(late.total_seconds() // 60), 60)
    return f"晚到 {hours} 小时 {minutes} 分" if hours else f"晚到 {minutes} 分"


@dataclass(frozen=True, slots=True)
class Routing:
    """Who answers: one lead office, helpers, copies."""

    lead: str
    helpers: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """The body of the topic ``alerts``: a public contract for the offices' own systems.

    ``fingerprint``: rule + event (+ rung); the same statement made again only updates figures.
    ``sentence``: one Chinese sentence why it fired, with figures. ``links``: up to three typical
    posts (masked). ``asked``: what is asked of the lead office.
    """

    fingerprint: str
    rule: str
    event_id: str
    level: Level
    kind: str
    title: str
    sentence: str
    figures: dict[str, Any]
    fired_at: datetime
    last_at: datetime
    rung: str = ""
    hazard: str = ""
    adcode: str = ""
    place_name: str = ""
    routing: Routing = field(default_factory=lambda: Routing(lead="办公室"))
    links: tuple[dict[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    asked: str = ""


def fingerprint(rule: str, event_id: str, rung: str = "") -> str:
    """20 hexadecimal digits that name an alert."""
    return hashlib.sha256(f"{rule}\x00{event_id}\x00{rung}".encode()).hexdigest()[:20]
