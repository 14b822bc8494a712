"""Which event does a post belong to?

In this order: reposts and near-copies go with their original; a known claim goes to the claim's
event; calls for help are kept apart from each other; rumour, question and denial about one matter
meet by topic, place and rare wording; damage meets at one place; complaints by topic and city.
Talk makes no event by itself. An irrelevant post never joins by wording.

Every choice is a function of the posts before it: candidates are compared by figures and ids,
never by the order of a set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, TypeVar

from nlp import grams
from nlp.duplicates import Banded, SketchIndex, read_sketches
from nlp.lexicon.divisions import division_name
from pipeline.domain.event import EventKind, event_id
from pipeline.domain.post import mask
from pipeline.domain.rules import ClusterRules
from pipeline.stages.matter import (
    WIDE_TOPICS,
    Reading,
    complaint_topic,
    contacts,
    hazard_group,
    hazard_name,
    key_clause,
    names_a_source,
    own_words,
    rumour_topics,
    topic_pattern,
    wording,
)
from pipeline.stages.memory import CLAUSES, EventState, PostRef

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_RARE = 30.0
"""Weight of a three-character gram from which it makes two posts candidates for one matter."""
TITLE = 40


def seq_time(seq: int) -> datetime:
    """Order of arrival as a time, for the sketch index, which forgets by time."""
    return _EPOCH + timedelta(milliseconds=seq)


@dataclass(slots=True)
class Placement:
    """``event``: None for a post that belongs to no event. ``is_new``: founded by this post."""

    event: EventState | None
    copy_of: str = ""
    is_new: bool = False


class Clusters:
    """Open events and the ways to find them.

    ``cut``: order of arrival from which posts and events are still open; raised by ``forget``.
    """

    def __init__(self, rules: ClusterRules) -> None:
        self.rules = rules
        self.cut = 0
        self.events: dict[str, EventState] = {}
        self.posts: dict[str, PostRef] = {}
        self._sketches = SketchIndex()
        self._ready: dict[str, Banded] = {}
        self._sketch_posts: dict[int, str] = {}
        self._by_claim: dict[str, list[EventState]] = {}
        self._by_key: dict[tuple[str, ...], list[EventState]] = {}
        self._by_gram: dict[str, list[EventState]] = {}

    def expect(self, sketches: Sequence[str]) -> None:
        """The sketches of the next batch: reading all at once is cheaper than one by one."""
        self._ready = read_sketches(sketches)

    # ---- choosing ---------------------------------------------------------------------

    def place(self, post: Reading) -> Placement:
        """The event of a post, founding it if need be. Nothing is counted yet."""
        ann = post.item.annotation
        item = post.post
        for origin in (item.repost_of, item.root):
            if origin:
                ref = self.posts.get(origin)
                if ref is not None and self._open(ref.event):
                    return Placement(ref.event, copy_of=origin)
        if not post.relevant:
            return Placement(None)
        copied = self._copy(post)
        if copied is not None and _may_fold(post, copied.event):
            return Placement(copied.event, copy_of=copied.post_id)
        if post.call > 0.0:
            return self._help(post)
        if ann.claims:
            found = self._claim(post)
            if found is not None:
                return found
        if post.rumour != "none" or post.spot:
            found = self._rumour(post)
            if found is not None:
                return found
        if post.kind == "impact" and ann.urgency >= 1:
            found = self._damage(post)
            if found is not None:
                return found
        if post.kind == "service" and ann.sentiment == "neg":
            return self._complaint(post)
        if post.official and post.spot:
            event = self._latest(
                ("damage", post.group, post.spot), post, self.rules.damage_gap_minutes
            )
            if event is not None:
                return Placement(event)
        return Placement(None)

    def _open(self, event: EventState) -> bool:
        """Whether posts may still join."""
        return event.last_seq >= self.cut

    def _copy(self, post: Reading) -> PostRef | None:
        sketch = post.item.annotation.sketch
        if not sketch or not len(self._sketches):
            return None
        near = self._sketches.nearest(self._ready.get(sketch, sketch))
        if near is None or near[1] < self.rules.copy_similarity:
            return None
        key = near[0]
        assert isinstance(key, int)
        ref = self.posts.get(self._sketch_posts[key])
        if ref is None or not self._open(ref.event):
            return None
        event = ref.event
        if event.gap(post.at) > self.rules.open_hours * 3600:
            return None  # an old text come back years later is a new matter
        if post.call > 0.0 and event.kind == "help" and _other_household(post, event):
            return None
        if event.kind == "damage" and event.spot and post.spot and event.spot != post.spot:
            return None  # one template, two roads
        return ref

    def _claim(self, post: Reading) -> Placement | None:
        ann = post.item.annotation
        best = ann.claims[0]
        confirmed = best.level == "confirm"
        if not confirmed and post.rumour == "none":
            return None
        event = self._best(self._by_claim.get(best.id, ()), post, self.rules.open_hours * 60)
        if event is not None:
            return Placement(event)
        if not confirmed:
            # a new wording may already have its event by topic; the claim is then a hint only
            found = self._rumour(post, may_found=False)
            if found is not None:
                return found
        if post.official and post.rumour != "debunk":
            return None
        return Placement(self._found_rumour(post, best.id), is_new=True)

    def _rumour(self, post: Reading, may_found: bool = True) -> Placement | None:
        ann = post.item.annotation
        text = own_words(post.post)
        topics = rumour_topics(text)
        about = post.rumour != "none"
        rules = self.rules
        if about:
            for topic in topics:
                if topic in WIDE_TOPICS:
                    event = self._wide(topic, post)
                    if event is not None:
                        return Placement(event)
        if post.spot:
            for topic in topics:
                event = self._latest(("rumour", topic, post.spot), post, rules.open_hours * 60)
                if event is not None:
                    return Placement(event)
            # a rumour's next version: another claim about the same reservoir in the same hours
            reservoir = post.place is not None and post.place.level == "reservoir"
            if about or reservoir:
                gap = rules.wide_topic_gap_minutes
                event = self._latest(("rumour", "", post.spot), post, gap)
                if event is not None:
                    return Placement(event)
        if not about:
            return None
        event = self._by_wording(post, text, topics)
        if event is not None:
            return Placement(event)
        if not may_found or post.rumour == "debunk" or post.official:
            return None
        if post.rumour == "question" and not topics:
            return None
        if post.rumour == "unverified" and not topics and post.kind == "impact" and ann.urgency:
            return None  # 听说那边淹了: damage told by hearsay
        if grams.content_length(text) < 8:
            return None
        return Placement(self._found_rumour(post, ""), is_new=True)

    def _wide(self, topic: str, post: Reading) -> EventState | None:
        gap = self.rules.wide_topic_gap_minutes
        if post.prefecture:
            event = self._latest(("wide", topic, post.prefecture), post, gap)
            return event or self._latest(("wide", topic, ""), post, gap)
        return self._latest(("wide", topic), post, gap)

    def _by_wording(self, post: Reading, text: str, topics: tuple[str, ...]) -> EventState | None:
        clauses = [_grams(clause) for clause in wording(text)]
        if not clauses:
            return None
        candidates: dict[str, EventState] = {}
        for found in clauses:
            for gram in found.grams & self._by_gram.keys():
                for event in self._by_gram[gram]:
                    candidates[event.id] = event
        best: tuple[float, int, str] | None = None
        rules = self.rules
        for event in candidates.values():
            if not self._open(event) or not _same_city(event, post):
                continue
            if event.gap(post.at) > rules.open_hours * 3600:
                continue
            shared_topic = any(topic in event.topics for topic in topics)
            if post.spot and event.spot and post.spot != event.spot and not shared_topic:
                continue
            least = rules.topic_similarity if shared_topic else rules.wording_similarity
            score = max(
                (
                    _cosine(clause, held)
                    for clause in clauses
                    for held in map(_grams, event.wordings)
                ),
                default=0.0,
            )
            if score >= least:
                rank = (round(score, 6), event.last_at, event.id)
                if best is None or rank > best:
                    best = rank
        return self.events[best[2]] if best is not None else None

    def _damage(self, post: Reading) -> Placement | None:
        place = post.place
        if place is None:
            return None
        key = post.spot or (post.county if post.item.annotation.urgency >= 2 else "")
        if not key:
            return None
        event = self._latest(("damage", post.group, key), post, self.rules.damage_gap_minutes)
        if event is not None:
            return Placement(event)
        if post.official:
            return None
        text = own_words(post.post)
        clause = key_clause(text)
        where = "" if clause.startswith(place.name) else f"{place.name}："
        event = self._found("damage", post, where + clause)
        event.spot = key
        return Placement(event, is_new=True)

    def _complaint(self, post: Reading) -> Placement:
        topic, label = complaint_topic(own_words(post.post))
        event = self._latest(
            ("complaint", topic, post.prefecture), post, self.rules.complaint_gap_minutes
        )
        if event is not None:
            return Placement(event)
        city = division_name(post.prefecture) if post.prefecture else ""
        text = own_words(post.post)
        event = self._found("complaint", post, f"{city}网民抱怨{label}：{key_clause(text)}")
        event.spot = topic
        return Placement(event, is_new=True)

    def _help(self, post: Reading) -> Placement:
        text = own_words(post.post)
        numbers = contacts(text)
        gap = self.rules.help_gap_minutes
        mine = [_grams(clause) for clause in wording(text)]
        # a masked number shows five of eleven digits: it needs the words or the place beside it
        for key, least in (*((("help", n), 0.2) for n in numbers), (("help", post.spot), 0.4)):
            for event in self._near(key, post, gap) if key[1] else ():
                if _other_household(post, event):
                    continue
                if least < 0.4 and post.spot and post.spot == event.spot:
                    return Placement(event)
                held = [_grams(clause) for clause in event.wordings]
                if any(_cosine(a, b) >= least for a in mine for b in held):
                    return Placement(event)
        clause = key_clause(text)
        where = f"{post.place.name} " if post.place and post.place.name not in clause else ""
        event = self._found("help", post, f"求助：{where}{clause}")
        event.contacts = list(numbers)
        event.spot = post.spot
        return Placement(event, is_new=True)

    def talk(self, post: Reading) -> EventState | None:
        """The open burst of talk a post belongs to."""
        return self._latest(
            ("talk", post.group, post.prefecture), post, self.rules.talk_gap_minutes
        )

    def found_talk(self, post: Reading) -> EventState:
        """A burst of talk about one hazard in one city."""
        city = division_name(post.prefecture) if post.prefecture else ""
        return self._found("talk", post, f"{city}“{hazard_name(post.group)}”话题突增")

    # ---- founding and finding ---------------------------------------------------------

    def _found_rumour(self, post: Reading, claim_id: str) -> EventState:
        text = own_words(post.post)
        topics = rumour_topics(text)
        clause = key_clause(text, topic_pattern(topics[0]) if topics else None)
        lead = "网上求证：" if post.stance == "question" else "网传："
        event = self._found("rumour", post, lead + clause)
        event.claim_id = claim_id
        event.topics = list(topics)
        event.spot = post.spot
        event.sourced = names_a_source(text)
        return event

    def _found(self, kind: EventKind, post: Reading, title: str) -> EventState:
        title = mask(title)[0]
        title = title if len(title) <= TITLE else title[: TITLE - 1] + "…"
        event = EventState(event_id(kind, post.post.id), kind, title, post.post.id, post.at)
        event.hazard = post.group if kind == "talk" else post.hazard
        event.first_seen_at = event.touched_at = post.post.fetched_at
        if post.place is not None:
            event.adcode = post.place.adcode
            event.place_name = post.place.name[:64]
        event.prefecture = post.prefecture
        return event

    def _near(self, key: tuple[str, ...], post: Reading, gap_minutes: float) -> list[EventState]:
        """Open events under a key that are near in time, newest first."""
        held = self._by_key.get(key)
        if not held:
            return []
        gap = gap_minutes * 60
        near = [e for e in held if e.gap(post.at) <= gap and self._open(e) and _same_city(e, post)]
        near.sort(key=lambda e: (e.last_at, e.id), reverse=True)
        return near

    def _latest(self, key: tuple[str, ...], post: Reading, gap_minutes: float) -> EventState | None:
        near = self._near(key, post, gap_minutes)
        return near[0] if near else None

    def _best(
        self, events: Iterable[EventState], post: Reading, gap_minutes: float
    ) -> EventState | None:
        gap = gap_minutes * 60
        near = [
            e for e in events if e.gap(post.at) <= gap and self._open(e) and _same_city(e, post)
        ]
        return max(near, key=lambda e: (e.posts, e.last_at, e.id), default=None)

    # ---- keeping ----------------------------------------------------------------------

    def join(self, event: EventState, post: Reading, copy_of: str, seq: int) -> PostRef:
        """Remember that a post belongs to an event, so that later posts find it."""
        if event.id not in self.events:
            self.index(event)
        counts = post.post.counts
        stance = post.stance
        if copy_of and stance == "other" and not post.item.annotation.sketch and not post.official:
            origin = self.posts.get(copy_of)
            if origin is not None and origin.stance == "spread":
                stance = "spread"  # passed on without a word of one's own
        ref = PostRef(
            post.post.id,
            event,
            (counts.reposts, counts.comments, counts.likes, counts.views),
            stance,
        )
        self.posts[post.post.id] = ref
        if not copy_of:
            if post.item.annotation.sketch and event.kind != "talk":
                self.add_sketch(post.post.id, post.item.annotation.sketch, seq)
            self._learn(event, post)
        return ref

    def add_sketch(self, post_id: str, sketch: str, seq: int) -> None:
        """An original text, to find its copies."""
        self._sketches.add(seq, self._ready.get(sketch, sketch), seq_time(seq))
        self._sketch_posts[seq] = post_id

    def _learn(self, event: EventState, post: Reading) -> None:
        """Wordings, topics and a claim that a new original adds to an event."""
        ann = post.item.annotation
        if event.kind == "rumour":
            text = own_words(post.post)
            if post.rumour != "none" and len(event.wordings) < CLAUSES:
                topic = event.topics[0] if event.topics else ""
                clause = key_clause(text, topic_pattern(topic), limit=40).rstrip("…").lower()
                clause = re.sub(r"[^一-龥0-9a-z]", "", clause)
                if len(clause) >= 6 and clause not in event.wordings:
                    event.wordings.append(clause)
                    event.traits_changed = True
                    self._index_wording(event, clause)
            if post.rumour == "unverified":
                for topic in rumour_topics(text):
                    if topic not in event.topics and len(event.topics) < 4:
                        event.topics.append(topic)
                        event.traits_changed = True
                        self._index_topic(event, topic)
            if not event.claim_id and ann.claims and post.rumour != "none":
                event.claim_id = ann.claims[0].id
                self._by_claim.setdefault(event.claim_id, []).append(event)
            if not event.spot and post.spot:
                event.spot = post.spot
                event.traits_changed = True
                for topic in ("", *event.topics):
                    self._by_key.setdefault(("rumour", topic, event.spot), []).append(event)
            if not event.prefecture and post.prefecture:
                self._move(event, post)
        elif event.kind == "help":
            text = own_words(post.post)
            for number in contacts(text):
                if number not in event.contacts:
                    event.contacts.append(number)
                    event.traits_changed = True
                    self._by_key.setdefault(("help", number), []).append(event)
            if len(event.wordings) < 3:
                for clause in wording(text)[: 3 - len(event.wordings)]:
                    clause = mask(clause)[0]
                    if clause not in event.wordings:
                        event.wordings.append(clause)
                        event.traits_changed = True

    def _move(self, event: EventState, post: Reading) -> None:
        """A rumour without a place gets the first city that a post about it names."""
        for topic in event.topics:
            held = self._by_key.get(("wide", topic, ""))
            if held and event in held:
                held.remove(event)
        event.prefecture = post.prefecture
        if post.place is not None and not event.adcode:
            event.adcode, event.place_name = post.place.adcode, post.place.name[:64]
        event.traits_changed = True
        for topic in event.topics:
            if topic in WIDE_TOPICS:
                self._by_key.setdefault(("wide", topic, event.prefecture), []).append(event)

    def index(self, event: EventState) -> None:
        """Make an event findable: at its founding and when memory is rebuilt."""
        self.events[event.id] = event
        add = self._by_key.setdefault
        kind = event.kind
        if kind == "rumour":
            for topic in ("", *event.topics):
                self._index_topic(event, topic)
            if event.claim_id:
                self._by_claim.setdefault(event.claim_id, []).append(event)
            for clause in event.wordings:
                self._index_wording(event, clause)
        elif kind == "damage":
            add(("damage", hazard_group(event.hazard), event.spot), []).append(event)
        elif kind == "complaint":
            add(("complaint", event.spot, event.prefecture), []).append(event)
        elif kind == "talk":
            add(("talk", event.hazard, event.prefecture), []).append(event)
        elif kind == "help":
            for number in event.contacts:
                add(("help", number), []).append(event)
            if event.spot:
                add(("help", event.spot), []).append(event)

    def _index_topic(self, event: EventState, topic: str) -> None:
        add = self._by_key.setdefault
        if topic in WIDE_TOPICS:
            add(("wide", topic, event.prefecture), []).append(event)
            add(("wide", topic), []).append(event)
        if event.spot:
            add(("rumour", topic, event.spot), []).append(event)

    def _index_wording(self, event: EventState, clause: str) -> None:
        for gram in _grams(clause).grams:
            if len(gram) == 3 and grams.weight(gram) >= _RARE:
                held = self._by_gram.setdefault(gram, [])
                if event not in held:
                    held.append(event)

    def forget(self, cut: int) -> dict[str, PostRef]:
        """Close what did not grow since order of arrival ``cut``; returns the posts of that."""
        self.cut = cut
        self._sketches.expire(seq_time(cut))
        self._sketch_posts = {s: p for s, p in self._sketch_posts.items() if s >= cut}
        closed = {e.id for e in self.events.values() if e.last_seq < cut}
        if not closed:
            return {}
        for key in closed:
            del self.events[key]
        gone = {p: ref for p, ref in self.posts.items() if ref.event.id in closed}
        self.posts = {p: ref for p, ref in self.posts.items() if ref.event.id not in closed}
        self._by_claim = _without(self._by_claim, closed)
        self._by_key = _without(self._by_key, closed)
        self._by_gram = _without(self._by_gram, closed)
        return gone


K = TypeVar("K")


def _without(table: dict[K, list[EventState]], closed: set[str]) -> dict[K, list[EventState]]:
    kept = {key: [e for e in held if e.id not in closed] for key, held in table.items()}
    return {key: held for key, held in kept.items() if held}


def _may_fold(post: Reading, event: EventState) -> bool:
    """A call for help in somebody's own words never vanishes in an event of another kind."""
    return post.call <= 0.0 or event.kind == "help" or not post.item.annotation.sketch


def _other_household(post: Reading, event: EventState) -> bool:
    """One template, another address or another telephone: another call for help."""
    if event.spot and post.spot and event.spot != post.spot:
        return True
    numbers = contacts(own_words(post.post))
    return bool(numbers and event.contacts and not set(numbers) & set(event.contacts))


def _same_city(event: EventState, post: Reading) -> bool:
    return not event.prefecture or not post.prefecture or event.prefecture == post.prefecture


class _Weighed(NamedTuple):
    """The grams of a clause and their mass."""

    grams: frozenset[str]
    mass: float


@lru_cache(maxsize=20_000)
def _grams(clause: str) -> _Weighed:
    found = grams.grams(clause)
    return _Weighed(found, grams.mass(found))


def _cosine(one: _Weighed, other: _Weighed) -> float:
    shared = one.grams & other.grams
    if not shared:
        return 0.0
    return grams.mass(shared) / math.sqrt(one.mass * other.mass)
