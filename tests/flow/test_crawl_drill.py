"""The real spiders read the drill's replica over HTTP: every post of the night, none missed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from crawlers.drill.scenario import Scenario, load_scenario
from crawlers.drill.site import SILENT_FROM, DrillSite, drill_sources
from crawlers.health import SourceRun
from crawlers.runner import Crawl, crawl_forever
from pipeline.clock import BEIJING, DrillClock
from pipeline.domain.claim_review import ReviewedClaim
from pipeline.domain.post import FetchedPost, Unreadable
from pipeline.domain.warning import OfficialWarning
from pipeline.errors import StoreBusy

START = datetime(2026, 10, 18, 10, 0, tzinfo=UTC)  # 18:00 in Beijing
STEP = timedelta(minutes=12)


@dataclass
class SteppedClock:
    at: datetime

    def now(self) -> datetime:
        return self.at


@dataclass
class Desk:
    """An intake and a health sink that keep everything; it may say "not now" a few times."""

    posts: list[FetchedPost] = field(default_factory=list)
    pieces: list[Unreadable] = field(default_factory=list)
    warnings: list[OfficialWarning] = field(default_factory=list)
    claims: list[ReviewedClaim] = field(default_factory=list)
    runs: list[SourceRun] = field(default_factory=list)
    busy: int = 0

    def accept(self, posts: Sequence[FetchedPost]) -> None:
        if self.busy > 0:
            self.busy -= 1
            raise StoreBusy("the database is locked; try again")
        self.posts.extend(posts)

    def refuse(self, pieces: Sequence[Unreadable]) -> None:
        self.pieces.extend(pieces)

    def warn(self, warnings: Sequence[OfficialWarning]) -> None:
        self.warnings.extend(warnings)

    def learn(self, claims: Sequence[ReviewedClaim]) -> None:
        self.claims.extend(claims)

    def record(self, run: SourceRun) -> None:
        self.runs.append(run)

    def of(self, source: str) -> list[SourceRun]:
        return [run for run in self.runs if run.source == f"drill-{source}"]


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("rainstorm_night")


@pytest.fixture(scope="module")
def night(scenario: Scenario) -> Desk:
    """The whole night, played in steps of twelve minutes, with the clarification at 23:00."""
    desk = Desk(busy=3)
    clock = SteppedClock(START)
    released = START + timedelta(hours=5)

    async def play() -> None:
        site = DrillSite(
            scenario, clock, START, released_at=lambda: released if clock.at >= released else None
        )
        base = await site.open()
        crawl = Crawl(drill_sources(base, 60), desk, desk, clock, speed=60)
        try:
            while clock.at <= START + scenario.length + timedelta(minutes=40):
                await asyncio.gather(*(crawl.visit(source) for source in crawl.sources))
                clock.at += STEP
        finally:
            await site.close()

    asyncio.run(play())
    return desk


def test_every_post_is_fetched(night: Desk, scenario: Scenario) -> None:
    fetched = {(post.source, post.native_id) for post in night.posts if post.source != "warning"}
    assert fetched == {(post.channel, post.id) for post in scenario.posts}


def test_a_post_comes_again_only_when_it_has_changed(night: Desk) -> None:
    told = Counter(
        (p.source, p.native_id, p.title, p.text, p.counts) for p in night.posts
        if p.source not in ("warning", "news")  # two sources of one platform may each say it
    )  # fmt: skip
    assert told.total() > 0
    assert [key for key, times in told.items() if times > 2] == []
    counted = [p for p in night.posts if p.source == "weibo_like" and p.counts.reposts > 20]
    assert len({p.counts.reposts for p in counted}) > 3  # figures that grow are seen to grow


def test_posts_are_what_was_written(night: Desk, scenario: Scenario) -> None:
    written = {post.id: post for post in scenario.posts}
    for post in night.posts:
        if post.source == "warning":
            continue
        truth = written[post.native_id]
        assert "".join(truth.text.split()) == "".join(post.text.split())
        if not truth.after_release:
            assert abs(post.published_at - (START + truth.offset)) < timedelta(seconds=1)
        if post.source == "weibo_like":
            assert post.author == truth.author
            assert post.author_kind == truth.author_kind
            assert (post.repost_of or None) == truth.repost_of
            assert (post.root or None) == truth.root
        if post.source == "forum":
            assert (post.reply_to or None) == truth.reply_to
        assert post.published_at <= post.fetched_at


def test_every_warning_is_fetched_with_what_it_follows(night: Desk, scenario: Scenario) -> None:
    local = START.astimezone(BEIJING)
    ids = {w.id: w.alert_id(local) for w in scenario.warnings}
    found = {w.id: w for w in night.warnings}
    assert set(found) == set(ids.values())
    by_cap = {w.id: w for w in night.warnings if w.expires_at is not None}
    for truth in scenario.warnings:
        warning = by_cap[ids[truth.id]]
        expected = (ids[truth.supersedes],) if truth.supersedes else ()
        assert (warning.colour, warning.action, warning.supersedes) == (
            truth.colour,
            truth.action,
            expected,
        )
        assert warning.adcode == truth.adcode
        assert warning.hazard != "other"
    posts = {p.native_id: p for p in night.posts if p.source == "warning"}
    assert set(posts) == set(ids.values())
    assert all(p.author_kind == "government" and "预警信号" in p.text for p in posts.values())


def test_the_list_alone_knows_what_follows_what(night: Desk, scenario: Scenario) -> None:
    local = START.astimezone(BEIJING)
    by_list = {w.id: w for w in night.warnings if w.expires_at is None}
    for truth in scenario.warnings:
        warning = by_list[truth.alert_id(local)]
        assert warning.action == truth.action


def test_what_goes_wrong_shows_in_the_health(night: Desk) -> None:
    assert {run.state for run in night.of("dead")} == {"failing"}
    assert night.of("dead")[0].http_status == 500
    for name, words in (
        ("walled", "432"),
        ("private", "robots.txt 不允许"),
        ("closed", "robots.txt 返回 503"),
    ):
        runs = night.of(name)
        assert {run.state for run in runs} == {"refused"}, name
        assert words in runs[0].reason
        assert all(run.items == 0 for run in runs)
    silent = START + SILENT_FROM
    for run in night.of("digest"):
        # The feed had shown too little for a judgement only before its first entries.
        assert run.state == ("empty" if run.started_at >= silent else "ok"), run
    for name in ("weibo", "forum", "board", "news", "blog", "short", "nmc", "cap"):
        assert {run.state for run in night.of(name)} == {"ok"}, name


def test_broken_entries_are_told_once_with_their_reason(night: Desk) -> None:
    reasons = Counter(piece.reason for piece in night.pieces)
    assert any("没有标题也没有正文" in reason for reason in reasons)
    assert any("十三月四十五日" in reason for reason in reasons)
    assert reasons["时间读不出或在将来：十三月四十五日"] == 1
    assert all(piece.raw for piece in night.pieces)
    assert any(run.entries_broken == 2 for run in night.of("blog"))


def test_the_long_lived_crawl_stops_at_once_and_keeps_what_it_read(scenario: Scenario) -> None:
    desk = Desk()
    clock = DrillClock(
        wall0=datetime.now(UTC).timestamp() - 60, drill0=START, speed=60,
        until=START + scenario.length,
    )  # fmt: skip

    async def play() -> float:
        site = DrillSite(scenario, clock, START)
        base = await site.open()
        stop = asyncio.Event()
        task = asyncio.create_task(
            crawl_forever(drill_sources(base, 60), desk, desk, clock, stop, speed=60)
        )
        for _ in range(200):
            await asyncio.sleep(0.05)
            if len({run.source for run in desk.runs}) == len(drill_sources(base, 60)):
                break
        began = asyncio.get_running_loop().time()
        stop.set()
        await task
        await site.close()
        return asyncio.get_running_loop().time() - began

    took = asyncio.run(play())
    assert took < 5
    assert len({post.native_id for post in desk.posts}) > 30
    assert {run.source for run in desk.runs} >= {"drill-weibo", "drill-dead", "drill-nmc"}
