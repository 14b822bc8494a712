"""The scenario as it stands at a moment: what has been published by then, newest first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from crawlers.drill.posts import DrillPost, DrillWarning
from crawlers.drill.scenario import Scenario
from pipeline.clock import BEIJING
from pipeline.domain.post import Counts

AFTER_GAP = timedelta(seconds=20)  # between two reactions to the clarification


def not_released() -> datetime | None:
    return None


@dataclass(frozen=True, slots=True)
class Shown:
    """A post with the moment at which its site showed it."""

    post: DrillPost
    at: datetime

    def counts(self, now: datetime) -> Counts:
        grown = self.post.counts_at(self.post.offset + max(timedelta(0), now - self.at))
        return Counts(**grown)

    @property
    def local(self) -> datetime:
        return self.at.astimezone(BEIJING)


@dataclass
class Night:
    """``start``: the instant of offset zero, aware. ``released_at``: when the clarification went
    out, or None; posts that react to it stay unwritten until then."""

    scenario: Scenario
    start: datetime
    released_at: Callable[[], datetime | None] = not_released
    _by_channel: dict[str, list[Shown]] = field(default_factory=dict, repr=False)
    _after: dict[str, list[tuple[int, DrillPost]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        number = 0
        for post in self.scenario.posts:
            if post.after_release:
                number += 1
                self._after.setdefault(post.channel, []).append((number, post))
            else:
                shown = Shown(post, self.start + post.offset)
                self._by_channel.setdefault(post.channel, []).append(shown)

    def shown(self, channel: str, now: datetime) -> list[Shown]:
        """What a channel shows at ``now``, newest first."""
        posts = self._by_channel.get(channel, [])
        visible = posts[: bisect_right(posts, now, key=lambda s: s.at)]
        released = self.released_at()
        if released is not None:
            for number, post in self._after.get(channel, ()):
                at = max(self.start + post.offset, released + number * AFTER_GAP)
                if at <= now:
                    visible.append(Shown(post, at))
            visible.sort(key=lambda s: s.at)
        return visible[::-1]

    def find(self, channel: str, post_id: str, now: datetime) -> Shown | None:
        return next((s for s in self.shown(channel, now) if s.post.id == post_id), None)

    # -- warnings -------------------------------------------------------------------------------

    @property
    def local_start(self) -> datetime:
        return self.start.astimezone(BEIJING)

    def alert_id(self, warning: DrillWarning) -> str:
        return warning.alert_id(self.local_start)

    def warnings(self, now: datetime) -> list[DrillWarning]:
        """What the official list shows at ``now``, newest first."""
        return [w for w in reversed(self.scenario.warnings) if self.start + w.offset <= now]

    def warning(self, alert_id: str, now: datetime) -> DrillWarning | None:
        return next((w for w in self.warnings(now) if self.alert_id(w) == alert_id), None)

    def by_id(self, warning_id: str) -> DrillWarning:
        return next(w for w in self.scenario.warnings if w.id == warning_id)
