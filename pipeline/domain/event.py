"""Event (舆情事件) and weather process (天气过程): posts about one matter, and its heat."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Literal

from pipeline.domain.post import Counts

EventKind = Literal["rumour", "complaint", "damage", "help", "praise", "official", "talk"]
Stance = Literal["spread", "question", "debunk", "other"]

EVENT_KIND_NAMES: dict[str, str] = {
    "rumour": "谣言",
    "complaint": "投诉",
    "damage": "灾情",
    "help": "求助",
    "praise": "好评",
    "official": "官方",
    "talk": "议论",
}

BUCKET = timedelta(minutes=10)


class Level(IntEnum):
    """舆情等级. A scale of its own, never to be mixed with the colours of weather warnings."""

    GENERAL = 1
    LARGER = 2
    MAJOR = 3
    EXTREME = 4

    @property
    def label(self) -> str:
        return ("一般", "较大", "重大", "特别重大")[self - 1]

    @property
    def bars(self) -> str:
        return "▮" * self + "▯" * (4 - self)


@dataclass(frozen=True, slots=True)
class HeatWeights:
    """Weights of the heat. 1 repost = 10 views follows the legal anchor 500 : 5,000
    (两高 2013-09-06 interpretation, used as a reference number only)."""

    post: float = 1.0
    repost: float = 1.0
    comment: float = 0.5
    like: float = 0.1
    view: float = 0.01

    def heat(self, new_posts: int, new: Counts) -> float:
        """Heat of what was new in a stretch of time, >= 0."""
        return (
            self.post * new_posts
            + self.repost * new.reposts
            + self.comment * new.comments
            + self.like * new.likes
            + self.view * new.views
        )


@dataclass(slots=True)
class Event:
    """Posts about one matter: one claim, one complaint, one damage at one place.

    ``id``: derived from the first post, so a replay names the same event the same.
    ``posts`` counts all posts, copies included; ``unique_posts`` folds near-copies.
    ``spread``, ``question``, ``debunk``: posts by stance towards the matter's claim.
    """

    id: str
    kind: EventKind
    title: str
    first_post_id: str
    first_at: datetime
    last_at: datetime
    claim_id: str = ""
    hazard: str = ""
    adcode: str = ""
    place_name: str = ""
    posts: int = 0
    unique_posts: int = 0
    heat: float = 0.0
    neg: int = 0
    spread: int = 0
    question: int = 0
    debunk: int = 0
    official: int = 0
    max_urgency: int = 0
    proposed_level: Level = Level.GENERAL
    proposed_reasons: tuple[str, ...] = ()
    places: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)


def bucket_of(at: datetime) -> datetime:
    """Start of the ten-minute bucket that holds ``at`` (UTC)."""
    at = at.astimezone(UTC)
    return at.replace(minute=at.minute - at.minute % 10, second=0, microsecond=0)


def event_id(kind: str, first_post_id: str) -> str:
    """Name of an event: stable under replay."""
    return f"E-{kind[:2]}-{first_post_id[:16]}"


HAZARD_NAMES: dict[str, str] = {
    "rain": "暴雨",
    "waterlog": "内涝积水",
    "flood": "洪水",
    "typhoon": "台风",
    "thunder": "雷电",
    "hail": "冰雹",
    "wind": "大风",
    "heat": "高温",
    "cold": "低温",
    "snow": "雨雪冰冻",
    "fog": "大雾",
    "haze": "霾",
    "sand": "沙尘",
    "drought": "干旱",
    "geo": "地质灾害",
    "other": "其他",
}
