"""What a drill scenario is made of: posts, warnings and the truth about each.

Times are offsets from the start of the drill's night, never wall clock: whoever plays the
scenario decides which instant is the start and how fast the night runs.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

Channel = Literal["weibo_like", "forum", "board", "news", "rss_blog", "jsonfeed", "warning"]
AuthorKind = Literal["person", "organisation", "media", "government"]

BEIJING = timezone(timedelta(hours=8))  # China keeps one offset all year

CHANNELS: tuple[str, ...] = (
    "weibo_like",
    "forum",
    "board",
    "news",
    "rss_blog",
    "jsonfeed",
    "warning",
)
AUTHOR_KINDS: tuple[str, ...] = ("person", "organisation", "media", "government")
COUNT_NAMES: tuple[str, ...] = ("reposts", "comments", "likes", "views")

# Time after which half of a post's final counts have come in. A micro-blog lives for minutes, a
# message board for hours; the figures are chosen so that a six-hour night shows both.
HALF_LIFE: dict[str, timedelta] = {
    "weibo_like": timedelta(minutes=25),
    "forum": timedelta(minutes=40),
    "board": timedelta(minutes=90),
    "news": timedelta(minutes=45),
    "rss_blog": timedelta(minutes=60),
    "jsonfeed": timedelta(minutes=30),
    "warning": timedelta(minutes=30),
}


@dataclass(frozen=True, slots=True)
class TruthPlace:
    """A place the text speaks of: division code and the name as a reader would give it."""

    adcode: str
    name: str


@dataclass(frozen=True, slots=True)
class Truth:
    """What a careful reader of the annotation guide says about one post.

    ``matter`` is the stable id of what the post is about (``dam_release``, ``gecun_waterlog``),
    the same over every channel, copy and mutation; event detection is scored against it.
    """

    kind: str
    sentiment: str
    urgency: int
    rumour: str
    hazards: tuple[str, ...]
    places: tuple[TruthPlace, ...]
    matter: str


@dataclass(frozen=True, slots=True)
class DrillPost:
    """One post as its site shows it at ``offset`` or later.

    ``id`` is unique in the scenario; ``key`` is the hand-written text it stems from, so a repost
    has its own id and the key of its original. ``text`` of a repost is the chain as a micro-blog
    prints it: ``comment//@author:text``. ``root`` is the first post of a repost chain.
    ``spread_offsets``: when the reposts of this post happen, ascending. ``after_release``: shown
    only once the clarification is out. ``written`` is true for a hand-written text.
    """

    id: str
    key: str
    channel: Channel
    author: str
    author_kind: AuthorKind
    followers: int
    place_hint: str
    title: str
    text: str
    offset: timedelta
    truth: Truth
    counts: dict[str, int] = field(default_factory=dict)
    repost_of: str | None = None
    reply_to: str | None = None
    root: str | None = None
    after_release: bool = False
    written: bool = True
    spread_offsets: tuple[timedelta, ...] = ()

    def counts_at(self, offset: timedelta) -> dict[str, int]:
        """Reposts, comments, likes and views as they stand at ``offset``.

        They start at zero, grow towards ``counts`` with the channel's half-life and never fall.
        Reposts are never fewer than those the scenario has really shown by then.
        """
        age = (offset - self.offset) / HALF_LIFE[self.channel]
        share = 0.0 if age <= 0 else 1.0 - math.pow(2.0, -age)
        grown = {name: int(self.counts.get(name, 0) * share) for name in COUNT_NAMES}
        grown["reposts"] = max(grown["reposts"], bisect_right(self.spread_offsets, offset))
        return grown


@dataclass(frozen=True, slots=True)
class DrillWarning:
    """One official warning signal of the drill's night.

    ``sender``: 14 digits, the first six the division code. ``supersedes`` is the ``id`` of the
    warning that this one changes or lifts, ``None`` for a first issue. ``expires`` is an offset
    from the start like ``offset`` and may lie past the end of the night.
    """

    id: str
    type: str
    colour: str
    action: str
    station: str
    sender: str
    area: str
    adcode: str
    title: str
    text: str
    offset: timedelta
    expires: timedelta
    supersedes: str | None
    truth: Truth

    def alert_id(self, start: datetime) -> str:
        """The alert id as the national list prints it, ``{sender}_{yyyyMMddHHmmss}``.

        ``start``: the instant of offset zero, aware; the stamp is in Beijing time by custom.
        """
        stamp = (start + self.offset).astimezone(BEIJING)
        return f"{self.sender}_{stamp:%Y%m%d%H%M%S}"


def as_truth(value: dict[str, Any]) -> Truth:
    """A ``Truth`` from its JSON form, already checked."""
    return Truth(
        kind=value["kind"],
        sentiment=value["sentiment"],
        urgency=value["urgency"],
        rumour=value["rumour"],
        hazards=tuple(value["hazards"]),
        places=tuple(TruthPlace(p["adcode"], p["name"]) for p in value["places"]),
        matter=value["matter"],
    )
