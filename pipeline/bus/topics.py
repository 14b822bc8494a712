"""Every topic, what it carries, its key, and how long it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Topic:
    """``schema``: what the envelope must say. ``keep``: None means until handled."""

    name: str
    schema: str
    key: str
    partitions: int
    keep: timedelta | None
    public: bool = False


POSTS_RAW = Topic("posts.raw", "post/1", "post id", 4, timedelta(days=7))
POSTS_ANNOTATED = Topic(
    "posts.annotated",
    "annotated-post/1",
    "prefecture adcode of the best place, 000000 if none",
    4,
    timedelta(days=7),
)
EVENTS = Topic("events", "event/1", "event id", 4, timedelta(days=30))
ALERTS = Topic("alerts", "alert/1", "alert fingerprint", 2, timedelta(days=30), public=True)
DESK_FACTS = Topic("desk.facts", "desk-fact/1", "case id", 2, timedelta(days=365), public=True)
DEAD = Topic("dead", "dead-letter/1", "key of the refused message", 1, None)

TOPICS: dict[str, Topic] = {
    t.name: t for t in (POSTS_RAW, POSTS_ANNOTATED, EVENTS, ALERTS, DESK_FACTS, DEAD)
}
