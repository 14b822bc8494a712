"""Write what a batch of posts changed in events: few statements, many rows."""

from __future__ import annotations

from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from pipeline.bus.base import encode, uuid7
from pipeline.bus.topics import EVENTS
from pipeline.domain.event import Level
from pipeline.stages.cluster import Clusters
from pipeline.stages.matter import Reading, hazard_group
from pipeline.stages.memory import BUCKET_COLUMNS, EventState, PostRef, moment
from pipeline.stages.talk import TalkMemory
from pipeline.stages.usual import UsualTalk
from pipeline.stages.warnings import open_process
from pipeline.store import tables as t
from pipeline.store.sql import Tx

STATE_KEY = "detect.state"

_e, _p, _b, _u = t.events, t.event_posts, t.event_buckets, t.baselines

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
_UPDATE_EVENT = (
    update(_e)
    .where(_e.c.id == bindparam("b_id"))
    .values({name: bindparam(f"b_{name}") for name in _EVENT_COLUMNS if name != "process_id"})
)
_UPDATE_TRAITS = (
    update(t.event_traits)
    .where(t.event_traits.c.event_id == bindparam("b_id"))
    .values(traits=bindparam("b_traits"))
)
_UPDATE_COUNTS = (
    update(_p)
    .where(_p.c.post_id == bindparam("b_id"))
    .values({n: bindparam(f"b_{n}") for n in ("reposts", "comments", "likes", "views")})
)
_UPDATE_BUCKET = (
    update(_b)
    .where(_b.c.event_id == bindparam("b_id"), _b.c.start == bindparam("b_start"))
    .values({name: bindparam(f"b_{name}") for name in BUCKET_COLUMNS})
)
_UPDATE_USUAL = (
    update(_u)
    .where(
        _u.c.adcode == bindparam("b_adcode"),
        _u.c.kind == bindparam("b_kind"),
        _u.c.hour == bindparam("b_hour"),
    )
    .values({name: bindparam(f"b_{name}") for name in ("mean", "days", "last_day", "today")})
)


class Writer:
    """Collects the rows of one batch. ``events``: what changed, in order of first change."""

    def __init__(self) -> None:
        self.events: dict[str, EventState] = {}
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
        """All rows of the batch."""
        conn = tx.conn
        events = self.events.values()
        new: list[dict[str, Any]] = []
        old: list[dict[str, Any]] = []
        if self.events:
            for event in events:
                if not event.stored:
                    _join_process(conn, event)
            _many(conn, insert(_e), [_new_row(e) for e in events if not e.stored])
            _many(conn, _UPDATE_EVENT, [_row(e) for e in events if e.stored])
            traits = [e for e in events if e.traits_changed]
            _many(
                conn,
                insert(t.event_traits),
                [{"event_id": e.id, "traits": e.traits()} for e in traits if not e.stored],
            )
            _many(
                conn,
                _UPDATE_TRAITS,
                [{"b_id": e.id, "b_traits": e.traits()} for e in traits if e.stored],
            )
            _many(conn, insert(_p), [_with_counts(*pair) for pair in self._new_posts.values()])
            _many(conn, _UPDATE_COUNTS, [_count_row(ref) for ref in self._counts.values()])
            for event in events:
                for start, is_new in event.dirty_buckets.items():
                    figures = event.buckets[start]
                    if is_new:
                        new.append({"event_id": event.id, "start": moment(start), **figures})
                    else:
                        row = dict(zip(_BOUND_BUCKET, _bucket_values(figures), strict=True))
                        old.append({**row, "b_id": event.id, "b_start": moment(start)})
            _many(conn, insert(_b), new)
            _many(conn, _UPDATE_BUCKET, old)
            self._tell(tx)
        if cut_moved:
            conn.execute(delete(t.talk_posts).where(t.talk_posts.c.seq < talk.cut))
        _many(conn, insert(t.talk_posts), [r for r in talk.new if r["seq"] >= talk.cut])
        fresh, changed = usual.changed()
        _many(conn, insert(_u), fresh)
        _many(conn, _UPDATE_USUAL, [{f"b_{k}": v for k, v in row.items()} for row in changed])
        m = t.meta
        if conn.execute(select(m.c.key).where(m.c.key == STATE_KEY)).first() is None:
            conn.execute(insert(m), {"key": STATE_KEY, "value": state})
        else:
            conn.execute(update(m).where(m.c.key == STATE_KEY).values(value=state))

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
        _many(tx.conn, insert(t.outbox), rows)

    def written(self, clusters: Clusters, usual: UsualTalk, talk: TalkMemory) -> None:
        """The transaction is committed: nothing is waiting any more."""
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


def _join_process(conn: Connection, event: EventState) -> None:
    """A new event belongs to the weather process that is on in its city."""
    group = hazard_group(event.hazard)
    if group and event.prefecture:
        held = open_process(conn, group, event.prefecture, moment(event.first_at))
        event.process_id = held["id"] if held is not None else ""


def _many(conn: Any, statement: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        conn.execute(statement, rows)


_PLAIN_COLUMNS = [
    name
    for name in _EVENT_COLUMNS
    if name not in ("first_at", "last_at", "updated_at", "process_id")
]
_BOUND_COLUMNS = [f"b_{name}" for name in _PLAIN_COLUMNS]
_plain_values = attrgetter(*_PLAIN_COLUMNS)
_BOUND_BUCKET = [f"b_{name}" for name in BUCKET_COLUMNS]
_bucket_values = itemgetter(*BUCKET_COLUMNS)


def _values(event: EventState) -> dict[str, Any]:
    values: dict[str, Any] = dict(zip(_PLAIN_COLUMNS, _plain_values(event), strict=True))
    values["first_at"] = moment(event.first_at)
    values["last_at"] = moment(event.last_at)
    values["updated_at"] = event.touched_at
    return values


def _row(event: EventState) -> dict[str, Any]:
    values: dict[str, Any] = dict(zip(_BOUND_COLUMNS, _plain_values(event), strict=True))
    values["b_id"] = event.id
    values["b_first_at"] = moment(event.first_at)
    values["b_last_at"] = moment(event.last_at)
    values["b_updated_at"] = event.touched_at
    return values


def _new_row(event: EventState) -> dict[str, Any]:
    return {
        "id": event.id,
        "kind": event.kind,
        "title": event.title,
        "first_post_id": event.first_post_id,
        "process_id": event.process_id,
        **_values(event),
    }


def _with_counts(ref: PostRef, row: dict[str, Any]) -> dict[str, Any]:
    reposts, comments, likes, views = ref.counts
    return {**row, "reposts": reposts, "comments": comments, "likes": likes, "views": views}


def _count_row(ref: PostRef) -> dict[str, Any]:
    reposts, comments, likes, views = ref.counts
    return {
        "b_id": ref.post_id,
        "b_reposts": reposts,
        "b_comments": comments,
        "b_likes": likes,
        "b_views": views,
    }
