"""Write what a batch of posts changed in events: few statements, many rows."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from sqlalchemy import delete, insert, select, update

from pipeline.bus.base import encode, uuid7
from pipeline.bus.topics import EVENTS
from pipeline.domain.event import Level
from pipeline.errors import NotNow
from pipeline.stages.cluster import Clusters
from pipeline.stages.matter import Reading, hazard_group
from pipeline.stages.memory import EventState, PostRef, moment
from pipeline.stages.talk import TalkMemory
from pipeline.stages.usual import UsualTalk
from pipeline.stages.warnings import Processes
from pipeline.store import tables as t
from pipeline.store.bulk import insert_many, update_many
from pipeline.store.sql import Tx

STATE_KEY = "detect.state"

_EVENT_COLUMNS = [
    "claim_id",
    "hazard",
    "adcode",
    "place_name",
    "first_at",
    "first_seen_at",
    "last_at",
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
    "places",
    "sources",
    "proposed_level",
    "proposed_reasons",
    "process_id",
    "updated_at",
]


class Writer:
    """Collects the rows of one batch. ``events``: what changed, in order of first change."""

    def __init__(self, held: str | None = None) -> None:
        """``held``: the state that the database has, as far as we know."""
        self.events: dict[str, EventState] = {}
        self._held = self._state = held
        self._new_posts: dict[str, tuple[PostRef, dict[str, Any]]] = {}
        self._counts: dict[str, PostRef] = {}

    def joined(
        self, event: EventState, ref: PostRef, post: Reading, copy_of: str, seq: int
    ) -> None:
        """A post joined an event."""
        self.events[event.id] = event
        item, ann = post.post, post.item.annotation
        self._new_posts[item.id] = (
            ref,
            {
                "post_id": item.id,
                "event_id": event.id,
                "at": moment(post.at),
                "seen_at": item.fetched_at,
                "source": item.source,
                "author": item.author,
                "author_kind": item.author_kind,
                "copy_of": copy_of,
                "stance": ref.stance,
                "kind": ann.kind,
                "sentiment": ann.sentiment,
                "urgency": ann.urgency,
                "rumour": ann.rumour,
                "adcode": post.place.adcode if post.place else "",
                "sketch": bytes.fromhex(ann.sketch) if ann.sketch else None,
                "seq": seq,
            },
        )

    def recounted(self, event: EventState, ref: PostRef) -> None:
        """A post that we hold has newer counts."""
        self.events[event.id] = event
        if ref.post_id not in self._new_posts:
            self._counts[ref.post_id] = ref

    def write(
        self,
        tx: Tx,
        usual: UsualTalk,
        talk: TalkMemory,
        state: str,
        cut_moved: bool,
    ) -> None:
        """All rows of the batch.

        Raises: NotNow when the database is not as we know it.
        """
        conn = tx.conn
        m = t.meta
        if conn.execute(select(m.c.value).where(m.c.key == STATE_KEY)).scalar() != self._held:
            raise NotNow(
                "detect: a second detect part, or a batch of before that came through late, has"
                " written meanwhile; its memory is built anew"
            )
        if self.events:
            events = self.events.values()
            processes = Processes(conn)
            for event in events:
                if not event.stored:
                    _join_process(processes, event)
            insert_many(conn, t.events, [_new_row(e) for e in events if not e.stored])
            update_many(conn, t.events, ["id"], [_row(e) for e in events if e.stored])
            traits = [e for e in events if e.traits_changed]
            fresh = [{"event_id": e.id, "traits": e.traits()} for e in traits if not e.stored]
            insert_many(conn, t.event_traits, fresh)
            known = [{"event_id": e.id, "traits": e.traits()} for e in traits if e.stored]
            update_many(conn, t.event_traits, ["event_id"], known)
            posts = [_with_counts(*pair) for pair in self._new_posts.values()]
            insert_many(conn, t.event_posts, posts)
            counts = [{"post_id": r.post_id, **_counts(r)} for r in self._counts.values()]
            update_many(conn, t.event_posts, ["post_id"], counts)
            new, old = _buckets(events)
            insert_many(conn, t.event_buckets, new)
            update_many(conn, t.event_buckets, ["event_id", "start"], old)
            self._tell(tx)
        if cut_moved:
            conn.execute(delete(t.talk_posts).where(t.talk_posts.c.seq < talk.cut))
        insert_many(conn, t.talk_posts, [r for r in talk.new if r["seq"] >= talk.cut])
        unknown, usual_again = usual.changed()
        insert_many(conn, t.baselines, unknown)
        update_many(conn, t.baselines, ["adcode", "kind", "hour"], usual_again)
        if self._held is None:
            conn.execute(insert(m), {"key": STATE_KEY, "value": state})
        else:
            conn.execute(update(m).where(m.c.key == STATE_KEY).values(value=state))
        self._state = state

    def _tell(self, tx: Tx) -> None:
        """One message per changed event. Many at once: ``Tx.emit`` would be a statement each."""
        rows = []
        for event in self.events.values():
            message_id = uuid7(tx.now)
            body = {
                "id": event.id,
                "change": "grown" if event.stored else "opened",
                "kind": event.kind,
                "title": event.title,
                "claim_id": event.claim_id,
                "hazard": event.hazard,
                "adcode": event.adcode,
                "place_name": event.place_name,
                "first_at": moment(event.first_at),
                "last_at": moment(event.last_at),
                "posts": event.posts,
                "unique_posts": event.unique_posts,
                "heat": round(event.heat, 2),
                "spread": event.spread,
                "question": event.question,
                "debunk": event.debunk,
                "official": event.official,
                "neg": event.neg,
                "max_urgency": event.max_urgency,
                "proposed_level": event.proposed_level,
                "proposed_level_name": Level(event.proposed_level).label,
            }
            rows.append(
                {
                    "message_id": message_id,
                    "topic": EVENTS.name,
                    "key": event.id,
                    "value": encode(EVENTS.schema, body, tx.now, message_id=message_id),
                    "created_at": tx.now,
                }
            )
        insert_many(tx.conn, t.outbox, rows)

    def written(self, clusters: Clusters, usual: UsualTalk, talk: TalkMemory) -> None:
        """The transaction is committed: nothing is waiting any more."""
        self._held = self._state
        for event in self.events.values():
            event.stored = True
            event.traits_changed = False
            event.dirty_buckets.clear()
            event.grown = 0
            for statement in event.fired:
                event.fired[statement] = 0
        self.events.clear()
        self._new_posts.clear()
        self._counts.clear()
        usual.written()
        talk.written()


def _join_process(processes: Processes, event: EventState) -> None:
    """A new event belongs to the weather process that is on in its city."""
    group = hazard_group(event.hazard)
    if group and event.prefecture:
        held = processes.open(group, event.prefecture, moment(event.first_at))
        event.process_id = held["id"] if held is not None else ""


def _buckets(
    events: Iterable[EventState],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(new rows, changed rows)"""
    new: list[dict[str, Any]] = []
    old: list[dict[str, Any]] = []
    for event in events:
        for start, is_new in event.dirty_buckets.items():
            row = {"event_id": event.id, "start": moment(start), **event.buckets[start]}
            (new if is_new else old).append(row)
    return new, old


_PLAIN_COLUMNS = [
    name
    for name in _EVENT_COLUMNS
    if name not in ("first_at", "last_at", "updated_at", "process_id")
]
_plain_values = attrgetter(*_PLAIN_COLUMNS)


def _row(event: EventState) -> dict[str, Any]:
    values: dict[str, Any] = dict(zip(_PLAIN_COLUMNS, _plain_values(event), strict=True))
    values["id"] = event.id
    values["first_at"] = moment(event.first_at)
    values["last_at"] = moment(event.last_at)
    values["updated_at"] = event.touched_at
    return values


def _new_row(event: EventState) -> dict[str, Any]:
    return {
        **_row(event),
        "kind": event.kind,
        "title": event.title,
        "first_post_id": event.first_post_id,
        "process_id": event.process_id,
    }


def _with_counts(ref: PostRef, row: dict[str, Any]) -> dict[str, Any]:
    return row | _counts(ref)


def _counts(ref: PostRef) -> dict[str, int]:
    reposts, comments, likes, views = ref.counts
    return {"reposts": reposts, "comments": comments, "likes": likes, "views": views}
