"""posts.annotated -> events and alerts, in one transaction of desk.db per batch.

Windows and rules run in event time, post by post in memory; a batch is only the unit of writing.
So the outcome is a function of the sequence of posts: where batches end, what o'clock it is and
how often the process was killed change nothing. A post that comes again finds itself and has no
effect; when a write fails, memory is thrown away and built again from the database.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import structlog
from sqlalchemy import Connection, select

from pipeline.clock import Clock
from pipeline.domain.event import Level
from pipeline.domain.findings import Facts, Finding, evaluate
from pipeline.domain.levels import Levels, propose_level
from pipeline.domain.post import AnnotatedPost, mask
from pipeline.domain.routing import Routes
from pipeline.domain.rules import Rules
from pipeline.stages.alert import Dispatch, Fired
from pipeline.stages.cluster import Clusters
from pipeline.stages.help_lane import HelpCall
from pipeline.stages.matter import CONSEQUENCE_NAMES, Reading, own_words, read
from pipeline.stages.memory import EventState, PostRef, moment
from pipeline.stages.recall import load_closed, recall
from pipeline.stages.talk import TalkMemory, is_talk
from pipeline.stages.usual import UsualTalk
from pipeline.stages.writing import STATE_KEY, Writer
from pipeline.store import tables as t
from pipeline.store.sql import Store

log = structlog.get_logger("detect")

REDELIVERED = 5000
"""So many recorded posts are remembered at least, however old: a batch that comes again after a
crash is never longer."""


class Detector:
    """Finds events in annotated posts and says which need eyes.

    One per desk.db: it belongs to one thread. Call ``rebuild`` once before the first batch.
    """

    def __init__(
        self,
        store: Store,
        rules: Rules,
        routes: Routes,
        levels: Levels,
        *,
        clock: Clock,
        home_adcode: str = "450100",
        backfill_hours: float = 6.0,
    ) -> None:
        self._store = store
        self._rules = rules
        self._levels = levels
        self._clock = clock
        self._dispatch = Dispatch(rules, routes, home_adcode, timedelta(hours=backfill_hours))
        self._fresh = False
        self._reset()

    def _reset(self, held: str | None = None) -> None:
        """Nothing in memory. ``held``: the state that the database has."""
        self.clusters = Clusters(self._rules.cluster)
        self.usual = UsualTalk()
        self.talk = TalkMemory()
        self.seq = 0
        self.hours: list[tuple[int, int]] = []  # (hour since 1970, first order of arrival in it)
        self._closed: dict[str, PostRef] = {}
        self._writer = Writer(held)
        self._fired: list[Fired] = []
        self._calls: list[HelpCall] = []
        self._cut_moved = False

    # ---- the handler ------------------------------------------------------------------

    def handle(self, items: Sequence[AnnotatedPost]) -> None:
        """Take posts in order and write what they change. Raises: NotNow (try again)."""
        if not items:
            return
        if not self._fresh:
            self.rebuild()
        self._fresh = False  # until it is written
        with self._store.read() as conn:
            self._look_up(conn, items)
        self.clusters.expect([item.annotation.sketch for item in items])
        for item in items:
            self._take(item)
        with self._store.begin(self._clock.now()) as tx:
            self._writer.write(tx, self.usual, self.talk, self._state(), self._cut_moved)
            self._dispatch.record(tx, self._fired, self._calls, self._writer.events.values())
        self._writer.written(self.clusters, self.usual, self.talk)
        self._closed = {}
        self._fired, self._calls = [], []
        self._cut_moved = False
        self._fresh = True

    def rebuild(self) -> None:
        """Memory anew from desk.db: equal to that of a process that never stopped."""
        with self._store.read() as conn:
            held = conn.execute(select(t.meta.c.value).where(t.meta.c.key == STATE_KEY)).scalar()
            self._reset(held)
            if held is not None:
                state = json.loads(held)
                self.seq = state["seq"]
                self.hours = [(int(h), int(s)) for h, s in state["hours"]]
                self.talk.cut = state["talk_cut"]
            cut = self.hours[0][1] if self.hours else 0
            recall(conn, cut, self.clusters, self.usual, self.talk)
        self._fresh = True
        log.info(
            "event memory rebuilt", events=len(self.clusters.events), posts=len(self.clusters.posts)
        )

    def _state(self) -> str:
        return json.dumps({"seq": self.seq, "hours": self.hours, "talk_cut": self.talk.cut})

    def _look_up(self, conn: Connection, items: Sequence[AnnotatedPost]) -> None:
        """Posts of events that are closed: they still take newer counts."""
        held, talk = self.clusters.posts, self.talk.posts
        unknown = [i.post.id for i in items if i.post.id not in held and i.post.id not in talk]
        self._closed = load_closed(conn, unknown) if unknown else {}

    # ---- one post ---------------------------------------------------------------------

    def _take(self, item: AnnotatedPost) -> None:
        post_id = item.post.id
        ref = self.clusters.posts.get(post_id) or self._closed.get(post_id)
        if ref is not None:
            self._recount(ref, item)
            return
        if self.talk.holds(post_id):
            return
        post = read(item, self._rules.help.threshold)
        if post.call and self._is_known_repost(item):
            post = replace(post, call=0.0)
        if not post.relevant and not (item.post.repost_of or item.post.root):
            return
        placement = self.clusters.place(post)
        event, window = placement.event, 0
        if event is None:
            event, window = self._talk_post(post)
        if event is None:
            self._arrive(post)
            self.talk.add(post, self.seq)
            return
        seq = self._arrive(post)
        ref = self.clusters.join(event, post, placement.copy_of, seq)
        is_copy = bool(placement.copy_of)
        event.add(post, ref.stance, is_copy, seq, self._rules.heat)
        if not is_copy:
            event.show(post, *_shown(post))
        if event.kind == "complaint":
            self.usual.count(post.prefecture, "complaint", post.at)
        elif event.kind == "talk":
            self.usual.count(event.prefecture, f"talk:{event.hazard}", post.at)
            self.talk.tick(event.prefecture, event.hazard, post.at, seq)
        elif event.kind == "help":
            self._calls.append(HelpCall(event.id, post, is_new=placement.is_new))
        self._writer.joined(event, ref, post, placement.copy_of, seq)
        self._judge(event, post.at, item, window, post.call)

    def _is_known_repost(self, item: AnnotatedPost) -> bool:
        """Whether a post passes on one we have judged: nlp reads the whole chain, so a 致敬 under
        a call for help looks like a call."""
        held, talk = self.clusters.posts, self.talk
        return any(
            o and (o in held or talk.holds(o)) for o in (item.post.repost_of, item.post.root)
        )

    def _arrive(self, post: Reading) -> int:
        """Number a recorded post, and close what is too old when a new hour begins."""
        self.seq += 1
        hour = int(post.post.fetched_at.timestamp()) // 3600
        if not self.hours or hour > self.hours[-1][0]:
            self.hours.append((hour, self.seq))
            oldest = hour - int(self._rules.cluster.open_hours)
            while self.hours[0][0] <= oldest:
                del self.hours[0]
            cut = self.hours[0][1]
            if cut > self.clusters.cut:
                self._closed |= self.clusters.forget(cut)
                self.talk.forget(min(cut, max(self.talk.cut, self.seq - REDELIVERED)))
                self._cut_moved = True
        return self.seq

    def _recount(self, ref: PostRef, item: AnnotatedPost) -> None:
        event, post = ref.event, item.post
        counted = post.counted_at or post.fetched_at
        at = int(counted.timestamp())
        if not event.recount(ref, post.counts, at, self._rules.heat):
            return
        event.touched_at = max(event.touched_at, post.fetched_at)
        self._writer.recounted(event, ref)
        if event.last_seq >= self.clusters.cut:
            self._judge(event, at, item, 0, 0.0)

    def _talk_post(self, post: Reading) -> tuple[EventState | None, int]:
        """Count ordinary talk; found or feed a burst when it is far above the usual.

        Returns the burst's event (None: ordinary talk) and the posts in the rule's window.
        """
        if not is_talk(post):
            return None, 0
        rule = self._rules.talk
        span = int(rule.window_minutes * 60)
        kind = f"talk:{post.group}"
        window = self.talk.within(post.prefecture, post.group, post.at - span, post.at) + 1
        usual = max(self.usual.per_window(post.prefecture, kind, post.at, span), rule.floor)
        event = self.clusters.talk(post)
        if event is not None and window >= 1.5 * usual:
            return event, window
        if event is None and window >= rule.minimum and window >= rule.ratios[0] * usual:
            return self.clusters.found_talk(post), window
        self.usual.count(post.prefecture, kind, post.at)
        self.talk.tick(post.prefecture, post.group, post.at, self.seq + 1)
        return None, 0

    # ---- judging ----------------------------------------------------------------------

    def _judge(
        self,
        event: EventState,
        at: int,
        item: AnnotatedPost,
        window: int,
        call: float,
    ) -> None:
        """Evaluate the rules for an event that has just changed."""
        facts = self._facts(event, at, window, call)
        raised = self._propose(event, facts)
        fired = event.fired
        findings = evaluate(facts, self._rules, lambda rule, rung: (rule, rung) in fired)
        if raised and not findings and fired and event.proposed_level >= Level.MAJOR:
            level = Level(event.proposed_level)
            findings = [
                Finding(
                    "level",
                    f"L{level}",
                    f"建议舆情等级升为{level.label}：{'；'.join(event.proposed_reasons)}",
                    {"posts": event.posts, "level": int(level)},
                )
            ]
        for finding in findings:
            if (finding.rule, finding.rung) in fired:
                continue
            fired[(finding.rule, finding.rung)] = 0
            self._fired.append(Fired.of(event, finding, moment(at), item.post.fetched_at))

    def _facts(self, event: EventState, at: int, window: int, call: float) -> Facts:
        rules = self._rules
        kind = event.kind
        usual = 0.0
        if kind == "talk":
            span = int(rules.talk.window_minutes * 60)
            window = window or self.talk.within(event.prefecture, event.hazard, at - span, at)
            usual = self.usual.per_window(event.prefecture, f"talk:{event.hazard}", at, span)
        elif kind == "complaint":
            span = int(rules.complaint.window_minutes * 60)
            window = event.within(at - span, at)
            usual = self.usual.per_window(event.prefecture, "complaint", at, span)
        else:
            span = int(rules.burst.window_minutes * 60)
            window = event.within(at - span, at)
            if window >= rules.burst.minimum:
                usual = event.usual(at, span)
        consequence = event.consequence if kind == "rumour" else ""
        return Facts(
            kind=kind,
            title=event.title,
            place=event.place_name,
            posts=event.posts,
            passed_on=max(event.spread - 1, event.reposts) if event.spread else 0,
            spreaders=len(event.spreaders),
            questions=event.question,
            authors=len(event.authors),
            trusted=event.trusted,
            consequence=consequence,
            consequence_name=CONSEQUENCE_NAMES.get(consequence, ""),
            sourced=event.sourced,
            claim=event.claim_id,
            reposts_of_one=event.max_reposts,
            views_of_one=event.max_views,
            urgency=event.max_urgency,
            window=window,
            usual=usual,
            per_hour=event.within(at - 3600, at),
            sources=len(event.sources),
            counties=len(event.counties),
            media=event.media,
            provincial_media=sum(s in self._levels.provincial_sources for s in event.sources),
            central_media=sum(s in self._levels.central_sources for s in event.sources),
            probability=call,
            topic_name=event.title.partition("抱怨")[2].partition("：")[0],
            episode=event.episode,
        )

    def _propose(self, event: EventState, facts: Facts) -> bool:
        """Raise the proposed level and its reasons; it never falls by itself."""
        kind = event.kind
        floor = self._rules.talk.floor if kind == "talk" else self._rules.burst.floor
        figures = {
            "posts": facts.posts,
            "posts_per_hour": facts.per_hour,
            "ratio": facts.window / max(facts.usual, floor),
            "reposts_of_one": facts.reposts_of_one,
            "views_of_one": facts.views_of_one,
            "sources": facts.sources,
            "counties": facts.counties,
            "media": facts.media,
            "provincial_media": facts.provincial_media,
            "central_media": facts.central_media,
            "casualty": float("casualty" in event.topics),
            "dam": float("dam" in event.topics),
            "complaints": facts.window if kind == "complaint" else 0,
            "urgency": facts.urgency,
            "help": float(kind == "help"),
        }
        level, reasons = propose_level(kind, figures, self._levels)
        before = event.proposed_level
        if level > before or (level == before and reasons):
            event.proposed_level = int(level)
            event.proposed_reasons = list(reasons)
        return level > before


def _shown(post: Reading) -> tuple[str, str]:
    """A post in up to 60 and in up to 500 characters, masked; the short one on one line."""
    body = mask(own_words(post.post)[:500])[0]
    text = " ".join(body[:120].split())
    return (text if len(text) <= 60 else text[:59] + "…"), body
