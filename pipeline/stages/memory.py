"""What the detector holds in memory of one open event: figures, windows, traits.

Everything here can be rebuilt from desk.db and is then equal to what a process that never
stopped would hold; so nothing depends on when or in which batch a post came.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from datetime import UTC, datetime
from typing import Any

from pipeline.domain.event import EventKind, HeatWeights
from pipeline.domain.post import Counts
from pipeline.stages.matter import HIGH, Reading

BUCKET_S = 600
CLAUSES = 12
"""Wordings kept of one rumour, to recognise the next post about it."""


def moment(seconds: int) -> datetime:
    """A time from whole seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


class PostRef:
    """A post of an open event: where it belongs and the highest counts seen so far."""

    __slots__ = ("counts", "event", "post_id", "stance")

    def __init__(
        self, post_id: str, event: EventState, counts: tuple[int, int, int, int], stance: str
    ) -> None:
        self.post_id = post_id
        self.event = event
        self.counts = counts
        self.stance = stance


BUCKET_COLUMNS = tuple(
    "posts reposts comments likes views heat neg neu pos spread question debunk official".split()  # noqa: SIM905
)
STANCES = frozenset({"spread", "question", "debunk"})


class EventState:
    """One open event. Times are whole seconds since 1970, UTC."""

    __slots__ = (
        "adcode",
        "authors",
        "buckets",
        "claim_id",
        "comments",
        "contacts",
        "counties",
        "debunk",
        "dirty_buckets",
        "episode",
        "fired",
        "first_at",
        "first_post_id",
        "first_seen_at",
        "grown",
        "hazard",
        "heat",
        "id",
        "kind",
        "last_at",
        "last_seq",
        "likes",
        "links",
        "max_reposts",
        "max_urgency",
        "max_views",
        "media",
        "neg",
        "neu",
        "official",
        "place_name",
        "places",
        "pos",
        "posts",
        "prefecture",
        "process_id",
        "proposed_level",
        "proposed_reasons",
        "question",
        "reposts",
        "sourced",
        "sources",
        "spot",
        "spread",
        "spreaders",
        "stored",
        "times",
        "title",
        "topics",
        "touched_at",
        "traits_changed",
        "trusted",
        "unique_posts",
        "views",
        "wordings",
    )

    def __init__(
        self, event_id: str, kind: EventKind, title: str, first_post_id: str, first_at: int
    ) -> None:
        self.id = event_id
        self.kind: EventKind = kind
        self.title = title
        self.first_post_id = first_post_id
        self.first_at = first_at
        self.last_at = first_at
        self.first_seen_at: datetime = moment(first_at)
        self.touched_at: datetime = moment(first_at)
        self.claim_id = self.hazard = self.adcode = self.place_name = ""
        self.prefecture = self.spot = self.process_id = ""
        self.posts = self.unique_posts = 0
        self.heat = 0.0
        self.reposts = self.comments = self.likes = self.views = 0
        self.neg = self.neu = self.pos = 0
        self.spread = self.question = self.debunk = self.official = 0
        self.max_urgency = self.max_reposts = self.max_views = 0
        self.media = self.trusted = 0
        self.sourced = False
        self.places: dict[str, int] = {}
        self.sources: dict[str, int] = {}
        self.counties: set[str] = set()
        self.authors: set[str] = set()
        self.spreaders: set[str] = set()
        self.times: list[int] = []
        self.topics: list[str] = []
        self.wordings: list[str] = []
        self.contacts: list[str] = []
        self.episode = 0
        self.last_seq = 0
        self.proposed_level = 1
        self.proposed_reasons: list[str] = []
        self.links: list[dict[str, Any]] = []
        self.fired: dict[tuple[str, str], int] = {}  # -> posts joined since the last write
        self.buckets: dict[int, dict[str, float]] = {}
        self.dirty_buckets: dict[int, bool] = {}  # start -> is new
        self.stored = False
        self.traits_changed = True
        self.grown = 0  # posts joined since the last write

    # ---- growing ----------------------------------------------------------------------

    def bucket(self, at: int) -> dict[str, float]:
        """The ten-minute bucket that holds a time, marked as changed."""
        start = at - at % BUCKET_S
        held = self.buckets.get(start)
        if held is None:
            held = self.buckets[start] = dict.fromkeys(BUCKET_COLUMNS, 0)
            held["heat"] = 0.0
            self.dirty_buckets[start] = True
        elif start not in self.dirty_buckets:
            self.dirty_buckets[start] = False
        return held

    def remember(
        self,
        at: int,
        source: str,
        author: str,
        author_kind: str,
        stance: str,
        adcode: str,
    ) -> None:
        """Windows and sets that a restart rebuilds from ``event_posts``."""
        if self.times and at < self.times[-1]:
            insort(self.times, at)
        else:
            self.times.append(at)
        who = author or f"{source}?{at}"
        self.authors.add(who)
        if stance == "spread":
            self.spreaders.add(who)
        if author_kind == "media":
            self.media += 1
        if author_kind in ("media", "government"):
            self.trusted += 1
        if len(adcode) >= 6 and adcode[4:6] != "00":
            self.counties.add(adcode[:6])

    def add(
        self, post: Reading, stance: str, is_copy: bool, seq: int, weights: HeatWeights
    ) -> None:
        """A post joins: into totals and into the bucket of its own time."""
        ann, item = post.item.annotation, post.post
        at = post.at
        if at - self.last_at > 7200:
            self.episode += 1
            self.traits_changed = True
        self.remember(
            at,
            item.source,
            item.author,
            item.author_kind,
            stance,
            post.place.adcode if post.place else "",
        )
        counts = item.counts
        heat = weights.heat(1, counts)
        self.posts += 1
        self.unique_posts += not is_copy
        self.heat += heat
        self.reposts += counts.reposts
        self.comments += counts.comments
        self.likes += counts.likes
        self.views += counts.views
        self.first_at = min(self.first_at, at)
        self.last_at = max(self.last_at, at)
        self.first_seen_at = min(self.first_seen_at, item.fetched_at)
        self.touched_at = max(self.touched_at, item.fetched_at)
        self.last_seq = seq
        self.max_urgency = max(self.max_urgency, ann.urgency)
        self.max_reposts = max(self.max_reposts, counts.reposts)
        self.max_views = max(self.max_views, counts.views)
        bucket = self.bucket(at)
        bucket["posts"] += 1
        bucket["reposts"] += counts.reposts
        bucket["comments"] += counts.comments
        bucket["likes"] += counts.likes
        bucket["views"] += counts.views
        bucket["heat"] += heat
        feeling = ann.sentiment
        bucket[feeling] += 1
        if feeling == "neg":
            self.neg += 1
        elif feeling == "pos":
            self.pos += 1
        else:
            self.neu += 1
        if stance in STANCES:
            bucket[stance] += 1
            if stance == "spread":
                self.spread += 1
            elif stance == "question":
                self.question += 1
            else:
                self.debunk += 1
        if post.official:
            self.official += 1
            bucket["official"] += 1
        self.sources[item.source] = self.sources.get(item.source, 0) + 1
        if post.place is not None:
            code = post.place.adcode
            self.places[code] = self.places.get(code, 0) + 1
        self.grown += 1
        for statement in self.fired:
            self.fired[statement] += 1

    def recount(self, ref: PostRef, counts: Counts, at: int, weights: HeatWeights) -> bool:
        """Newer counts of a post we hold: only what grew is heat, in the bucket of the counting.

        Older or equal counts (a message that came twice, out of order) change nothing.
        """
        old = ref.counts
        new = (
            max(old[0], counts.reposts),
            max(old[1], counts.comments),
            max(old[2], counts.likes),
            max(old[3], counts.views),
        )
        if new == old:
            return False
        more = Counts(new[0] - old[0], new[1] - old[1], new[2] - old[2], new[3] - old[3])
        heat = weights.heat(0, more)
        ref.counts = new
        self.heat += heat
        self.reposts += more.reposts
        self.comments += more.comments
        self.likes += more.likes
        self.views += more.views
        self.max_reposts = max(self.max_reposts, new[0])
        self.max_views = max(self.max_views, new[3])
        bucket = self.bucket(at)
        bucket["reposts"] += more.reposts
        bucket["comments"] += more.comments
        bucket["likes"] += more.likes
        bucket["views"] += more.views
        bucket["heat"] += heat
        return True

    def show(self, post: Reading, text: str, body: str) -> None:
        """Keep a post as typical: the first, then those that were passed on most, three in all.

        ``text``: up to 60 characters; ``body``: what becomes evidence. Both masked.
        """
        counts = post.post.counts
        weight = counts.reposts + counts.comments
        if any(link["text"] == text for link in self.links):
            return
        link = {"text": text, "url": post.post.url, "source": post.post.source, "weight": weight}
        link |= {"post_id": post.post.id, "at": post.post.published_at.isoformat(), "body": body}
        if len(self.links) < 3:
            self.links.append(link)
        else:
            low = min((1, 2), key=lambda i: (self.links[i]["weight"], -i))
            if self.links[low]["weight"] >= weight:
                return
            self.links[low] = link
        self.traits_changed = True

    # ---- asking -----------------------------------------------------------------------

    def within(self, start: int, end: int) -> int:
        """Posts published after ``start`` and not after ``end``."""
        return bisect_right(self.times, end) - bisect_right(self.times, start)

    def usual(self, at: int, window_s: int) -> float:
        """Posts per window over the day before the window, as far back as the event goes."""
        end = at - window_s
        start = max(at - 86400, self.times[0] if self.times else at)
        if end <= start:
            return 0.0
        earlier = bisect_right(self.times, end) - bisect_left(self.times, start)
        return earlier / max(1.0, (end - start) / window_s)

    @property
    def consequence(self) -> str:
        """The gravest topic of a rumour, empty when none."""
        for topic in self.topics:
            if topic in HIGH:
                return topic
        return self.topics[0] if self.topics else ""

    def gap(self, at: int) -> int:
        """Seconds between a time and the event's span, 0 inside it."""
        if at > self.last_at:
            return at - self.last_at
        return self.first_at - at if at < self.first_at else 0

    # ---- keeping ----------------------------------------------------------------------

    def traits(self) -> dict[str, Any]:
        """What the columns of ``events`` do not say."""
        return {
            "prefecture": self.prefecture,
            "spot": self.spot,
            "topics": self.topics,
            "wordings": self.wordings,
            "contacts": self.contacts,
            "episode": self.episode,
            "sourced": self.sourced,
            "links": self.links,
        }

    def take_traits(self, traits: dict[str, Any]) -> None:
        """The inverse of ``traits``."""
        self.prefecture = traits["prefecture"]
        self.spot = traits["spot"]
        self.topics = list(traits["topics"])
        self.wordings = list(traits["wordings"])
        self.contacts = list(traits["contacts"])
        self.episode = traits["episode"]
        self.sourced = traits["sourced"]
        self.links = [dict(link) for link in traits["links"]]
        self.traits_changed = False
