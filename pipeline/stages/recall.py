"""Read the detector's memory back from desk.db."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, select

from pipeline.stages.cluster import Clusters
from pipeline.stages.memory import BUCKET_COLUMNS, EventState, PostRef
from pipeline.stages.talk import TalkMemory
from pipeline.stages.usual import UsualTalk
from pipeline.store import tables as t

_CHUNK = 500


def recall(
    conn: Connection, cut: int, clusters: Clusters, usual: UsualTalk, talk: TalkMemory
) -> None:
    """Fill empty memory with what arrived since ``cut`` and the events that it belongs to.

    ``talk.cut`` is set already: counted talk is remembered a little longer.
    """
    clusters.cut = cut
    for row in conn.execute(select(t.baselines)):
        usual.take(row)
    p = t.event_posts.c
    opened = select(p.event_id).where(p.seq >= cut).distinct()
    events = {e.id: e for e in _events(conn, t.events.c.id.in_(opened))}
    _fill(conn, events, t.event_traits.c.event_id.in_(opened), t.alerts.c.event_id.in_(opened))
    _take_buckets(conn, events, t.event_buckets.c.event_id.in_(opened))
    for row in conn.execute(
        select(
            p.post_id, p.event_id, p.at, p.source, p.author, p.author_kind, p.copy_of, p.stance,
            p.adcode, p.reposts, p.comments, p.likes, p.views, p.sketch, p.seq,
        ).where(p.event_id.in_(opened)).order_by(p.seq)
    ):  # fmt: skip
        event = events[row.event_id]
        at = int(row.at.timestamp())
        event.remember(at, row.source, row.author, row.author_kind, row.stance, row.adcode)
        event.max_reposts = max(event.max_reposts, row.reposts)
        event.max_views = max(event.max_views, row.views)
        event.last_seq = max(event.last_seq, row.seq)
        clusters.posts[row.post_id] = _ref(row, event)
        if row.seq >= cut and event.kind != "talk" and row.sketch and not row.copy_of:
            clusters.add_sketch(row.post_id, row.sketch.hex(), row.seq)
    for event in events.values():
        clusters.index(event)
    for row in conn.execute(  # a burst's posts are talk too
        select(p.at, p.seq, t.events.c.hazard, t.event_traits.c.traits)
        .join(t.events, t.events.c.id == p.event_id)
        .join(t.event_traits, t.event_traits.c.event_id == p.event_id)
        .where(p.seq >= talk.cut, t.events.c.kind == "talk")
    ):
        prefecture = row.traits["prefecture"]
        talk.tick(prefecture, row.hazard, int(row.at.timestamp()), row.seq)
    for row in conn.execute(select(t.talk_posts).where(t.talk_posts.c.seq >= talk.cut)):
        talk.posts[row.post_id] = row.seq
        if row.adcode:
            talk.tick(row.adcode, row.hazard, int(row.at.timestamp()), row.seq)


def load_closed(conn: Connection, post_ids: Sequence[str]) -> dict[str, PostRef]:
    """Those of some posts that belong to closed events, ready to take newer counts."""
    p = t.event_posts.c
    found: list[Any] = []
    for start in range(0, len(post_ids), _CHUNK):
        found += conn.execute(
            select(p.post_id, p.event_id, p.stance, p.reposts, p.comments, p.likes, p.views).where(
                p.post_id.in_(post_ids[start : start + _CHUNK])
            )
        ).all()
    if not found:
        return {}
    ids = {row.event_id for row in found}
    events = {e.id: e for e in _events(conn, t.events.c.id.in_(ids))}
    _fill(conn, events, t.event_traits.c.event_id.in_(ids), t.alerts.c.event_id.in_(ids))
    _take_buckets(conn, events, t.event_buckets.c.event_id.in_(ids))
    for event in events.values():
        event.last_seq = -1  # closed: takes counts, no posts
    return {row.post_id: _ref(row, events[row.event_id]) for row in found}


def _ref(row: Any, event: EventState) -> PostRef:
    return PostRef(
        row.post_id, event, (row.reposts, row.comments, row.likes, row.views), row.stance
    )


_PLAIN = [
    "claim_id",
    "hazard",
    "adcode",
    "place_name",
    "posts",
    "unique_posts",
    "heat",
    "reposts",
    "comments",
    "likes",
    "views",
    "neg",
    "neu",
    "pos",
    "spread",
    "question",
    "debunk",
    "official",
    "max_urgency",
    "proposed_level",
]


def _events(conn: Connection, where: Any) -> Iterable[EventState]:
    query: Select[Any] = select(t.events).where(where)
    for row in conn.execute(query).mappings():
        event = EventState(
            row["id"],
            row["kind"],
            row["title"],
            row["first_post_id"],
            int(row["first_at"].timestamp()),
        )
        for name in _PLAIN:
            setattr(event, name, row[name])
        event.last_at = int(row["last_at"].timestamp())
        event.first_seen_at = row["first_seen_at"]
        event.touched_at = row["updated_at"]
        event.places = dict(row["places"])
        event.sources = dict(row["sources"])
        event.proposed_reasons = list(row["proposed_reasons"])
        event.stored = True
        yield event


def _fill(conn: Connection, events: dict[str, EventState], traits: Any, alerts: Any) -> None:
    for row in conn.execute(select(t.event_traits).where(traits)):
        events[row.event_id].take_traits(row.traits)
    a = t.alerts.c
    for row in conn.execute(select(a.event_id, a.rule, a.rung).where(alerts)):
        if row.event_id in events:
            events[row.event_id].fired[(row.rule, row.rung)] = 0


def _take_buckets(conn: Connection, events: dict[str, EventState], where: Any) -> None:
    for row in conn.execute(select(t.event_buckets).where(where)).mappings():
        start = int(row["start"].timestamp())
        events[row["event_id"]].buckets[start] = {name: row[name] for name in BUCKET_COLUMNS}
