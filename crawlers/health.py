"""How a source is doing: one record per visit, and when an empty page is suspicious.

A source that refuses us and a source where nobody posts look the same from far away: no posts.
On the night of a rainstorm the difference matters, so a visit always says which of them it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Literal

from pipeline.clock import BEIJING

State = Literal["ok", "late", "empty", "refused", "failing", "never"]

USUAL = 3  # entries; a list that usually shows fewer may well be empty
REMEMBERED = 200  # visits per source
LATE_SHARE = 4  # expected gaps between posts that may pass before a source counts as late


@dataclass(frozen=True, slots=True)
class SourceRun:
    """One visit to a source. Times aware, UTC.

    ``ok``: it was reached and read, even if nothing was new. ``items``: posts and warnings handed
    on; ``entries``: what its pages listed, new or not, -1 when it said "unchanged" (304).
    ``refused``: it does not want us (robots.txt, 403, 418, 432, captcha, login); never the same as
    "no result". ``reason``: Chinese, for the source page; empty when all is well.
    ``empty_suspicious``: it listed nothing though it usually does. ``entries_broken``: entries
    that could not become posts. ``fallbacks``: pages whose selector failed and that were read by
    the general extractor.
    """

    source: str
    spider: str
    started_at: datetime
    finished_at: datetime
    ok: bool
    items: int = 0
    newest_published_at: datetime | None = None
    refused: bool = False
    reason: str = ""
    http_status: int = 0
    empty_suspicious: bool = False
    entries_broken: int = 0
    entries: int = 0
    fallbacks: int = 0

    @property
    def state(self) -> State:
        """What this visit alone says of its source."""
        if self.refused:
            return "refused"
        if not self.ok:
            return "failing"
        return "empty" if self.empty_suspicious else "ok"


@dataclass(frozen=True, slots=True)
class Visit:
    """When a visit was and how many entries it saw."""

    at: datetime
    entries: int


def is_suspiciously_empty(entries: int, at: datetime, before: Sequence[Visit]) -> bool:
    """Whether no entries now is strange after the visits ``before`` (oldest first).

    Strange when the last visits that saw anything saw three entries or more in the median, or
    when visits at this hour of the day did. Stays true until the source lists something again.
    """
    if entries != 0 or not before:
        return False
    hour = at.astimezone(BEIJING).hour
    seen = [visit for visit in before if visit.entries > 0]
    same_hour = [v.entries for v in seen if v.at.astimezone(BEIJING).hour == hour]
    return any(
        len(counts) > 0 and median(counts) >= USUAL
        for counts in ([visit.entries for visit in seen[-12:]], same_hour)
    )


def is_late(expect_per_hour: float, newest: datetime | None, now: datetime) -> bool:
    """Whether the newest post is older than the source's usual pace allows (at least one hour)."""
    if expect_per_hour <= 0 or newest is None:
        return False
    return now - newest > max(timedelta(hours=1), timedelta(hours=LATE_SHARE / expect_per_hour))


@dataclass(slots=True)
class Visits:
    """The last visits to one source."""

    past: deque[Visit] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def judge(self, entries: int, at: datetime) -> bool:
        """Remember a visit; true when it was suspiciously empty. -1 (unchanged) says nothing."""
        if entries < 0:
            return False
        suspicious = is_suspiciously_empty(entries, at, tuple(self.past))
        self.past.append(Visit(at, entries))
        return suspicious
