"""How fast the machine path is here. Figures, never a test: machines differ and neighbours talk.

The posts are made from phrases of our own, judged by the shipped model, and spread over thirty
days; the stores are real ones in a temporary folder.
"""

from __future__ import annotations

import gc
import os
import platform
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nlp.annotator import Annotator
from pipeline.app import App, build
from pipeline.bench_servers import Meter, server_pids
from pipeline.bus.codec import decode_annotated
from pipeline.bus.topics import POSTS_ANNOTATED, POSTS_RAW
from pipeline.domain.post import AnnotatedPost, Counts, FetchedPost, Post, post_id
from pipeline.errors import StageStopped
from pipeline.index.base import Index, Query
from pipeline.settings import load_settings
from pipeline.stages.annotate import Annotate
from pipeline.stages.index import IndexPosts
from pipeline.supervisor import Supervisor, part_command
from pipeline.worker import Handler, Worker

DAYS = 30
START = datetime(2026, 6, 1, tzinfo=UTC)
BATCH = 500
ROUNDS = 20
LIMIT_S = 300.0
_JUDGED = 5_000  # different texts that are judged; more posts repeat them at other times


def _phrases(line: str) -> list[str]:
    return line.split()


_WHERE = _phrases(
    "白沙大道 民族大道 五象新区 大王滩水库 青秀区 武鸣区 邕江边 朝阳广场 宾阳县 上林 横州 "
    "西乡塘 江南万达 火车东站 南宁 柳州 玉林 北海涠洲岛 安吉客运站 隆安"
)
_WHAT = _phrases(
    "雨下得睁不开眼 积水过膝了 路灯都不亮 打雷打了一晚上 天气凉快了好多 停电两个小时了 "
    "车子泡在水里 预报说没雨结果下成这样 听说水库今晚要放水 发了暴雨橙色预警 "
    "学校到底停不停课 有人被困在车里快来人 大风把广告牌吹下来了 彩虹好漂亮 消防员在抽水 "
    "公交改道了 水慢慢退了 冰雹砸坏了玻璃 起大雾看不见路 热得像蒸笼 河水涨得很快 "
    "树倒了压到电线 地铁口在堵沙袋 超市里的菜被抢光 气象台说后半夜雨还会再大"
)
_AND = _phrases(
    "注意安全 谁来管管 是真的吗 不要信谣传谣 已经转告物业 求扩散 哈哈哈 明天还要上班 "
    "感谢每一位值班的人 拍了个视频 家里老人很担心 有没有人知道情况 大家绕行 服了 早点回家 "
    "刚刚又下起来了 这也太突然了"
)
_SOURCES = ("weibo", "douyin", "xhs", "tieba", "rss")


def bench_pipeline(n: int = 20_000) -> dict[str, Any]:
    """Posts per second of the whole chain as it runs, each part a process of its own; and of each
    stage, one after the other on one core."""
    return {"n": n, **_in_parts(n), **_stage_by_stage(n), **here()}


def _in_parts(n: int) -> dict[str, Any]:
    with _app() as app:
        return {"cores": os.cpu_count(), **chain(app, n)}


def chain(app: App, n: int, *, annotators: int = 1, warm: int = 1) -> dict[str, Any]:
    """The product's own parts, loaded and waiting, while ``n`` posts come in at the door.

    ``warm``: posts that go through before. Raises: StageStopped when a part ends.
    """
    stages = {"annotate": POSTS_RAW.name, "index": POSTS_ANNOTATED.name}
    stages["detect"] = POSTS_ANNOTATED.name
    home = app.settings.home
    commands: dict[str, Sequence[str]] = {p: part_command(p, home) for p in stages}
    for number in range(1, annotators):
        commands[f"annotate-{number + 1}"] = part_command("annotate", home)
    supervisor = Supervisor(commands, home / "logs")
    ingest = app.ingest()
    posts = list(fetched(warm + n, app.now()))

    def wait() -> None:
        """Until every part has handled what the door let in."""
        until = time.monotonic() + LIMIT_S
        while any(app.bus.lag(stage, [topic]) for stage, topic in stages.items()):
            # a part that ended is not started again here: its restart would be measured
            running = [c.process for c in supervisor.children if c.process is not None]
            ended = any(process.poll() is not None for process in running)
            if ended or time.monotonic() > until:
                raise StageStopped("a part of the bench ended or gave up; run: tingfeng doctor")
            time.sleep(0.25)  # each look asks the bus and takes its time

    supervisor.start()
    try:
        ingest.accept(posts[:warm])
        wait()  # models are loaded
        meter = Meter({**supervisor.pids(), **server_pids(app.settings)})
        began = time.perf_counter()
        for start in range(warm, warm + n, BATCH):
            with meter.own("door"):
                ingest.accept(posts[start : start + BATCH])
        let_in = time.perf_counter() - began
        with meter.own("asking whether it is done"):
            wait()
        took = time.perf_counter() - began
        spent = meter.microseconds(n)
    finally:
        supervisor.stop()
    app.index.refresh()
    if app.index.count(Query()) != warm + n:
        raise StageStopped(f"{app.index.count(Query())} posts of {warm + n} are in the index")
    return {
        "whole_chain_in_parts_per_s": round(n / took),
        "seconds_at_the_door": round(let_in, 2),
        "seconds_to_the_last_post": round(took, 2),
        "cpu_microseconds_per_post_in_parts": spent,
    }


def _stage_by_stage(n: int) -> dict[str, Any]:
    with _app() as app:
        annotator = Annotator.load()
        annotator.annotate([text for text, _ in zip(texts(), range(500), strict=False)])
        posts = list(fetched(n, app.now()))
        ingest = app.ingest()
        took, cpu = {}, {}
        took["ingest"], cpu["ingest"] = _timed(lambda: ingest.accept(posts))
        detector = app.detector()
        stages: dict[str, tuple[str, Handler]] = {
            "annotate": (POSTS_RAW.name, Annotate(app.bus, annotator, app.clock)),
            "index": (POSTS_ANNOTATED.name, IndexPosts(app.index, app.clock)),
            "detect": (
                POSTS_ANNOTATED.name,
                lambda messages: detector.handle([decode_annotated(m.value) for m in messages]),
            ),
        }
        for stage, (topic, handler) in stages.items():
            worker = Worker(app.bus, stage, [topic], handler, stage=stage, clock=app.clock)
            gc.collect()
            gc.freeze()  # as pipeline.parts does
            took[stage], cpu[stage] = _timed(worker.run_once)
        indexed = app.index.count(Query())
        size = _size(app.settings.home)
    return {
        "indexed": indexed,
        **{f"{stage}_per_s": round(n / seconds) for stage, seconds in took.items()},
        "cpu_microseconds_per_post": {s: round(1e6 * t / n, 1) for s, t in cpu.items()},
        "chain_on_one_core_per_s": round(n / sum(took.values())),
        "bytes_per_post": round(size / n),
    }


def bench_search(n: int = 200_000) -> dict[str, Any]:
    """Milliseconds of what an officer types into the search box, at ``n`` posts."""
    return _bench_queries(n, _searches)


def bench_board(n: int = 200_000) -> dict[str, Any]:
    """Milliseconds of what the board asks again and again, at ``n`` posts."""
    return _bench_queries(n, board_questions)


Ask = Callable[[], object]


def _searches(index: Index, end: datetime) -> dict[str, Ask]:
    week = end - timedelta(days=7)
    last = index.search(Query(words="积水"))[-1].item.post
    return {
        "one_word": lambda: index.search(Query(words="积水")),
        "two_words": lambda: index.search(Query(words="白沙大道 积水")),
        "no_hit": lambda: index.search(Query(words="海啸")),
        "next_page": lambda: index.search(Query(words="积水", after=(last.published_at, last.id))),
        "word_week_city": lambda: index.search(Query(words="积水", since=week, adcode="4501")),
        "word_and_label": lambda: index.search(Query(words="水库", kinds=("help",))),
        "word_and_source": lambda: index.search(Query(words="停课", sources=("rss",))),
        "count_of_word": lambda: index.count(Query(words="积水")),
        "kinds_of_word": lambda: index.facets(Query(words="积水"), "kind"),
        "sources_of_word": lambda: index.facets(Query(words="积水"), "source"),
        "hours_of_word": lambda: index.histogram(Query(words="积水", since=week), "hour"),
    }


def board_questions(index: Index, end: datetime) -> dict[str, Ask]:
    day, week = end - timedelta(days=1), end - timedelta(days=7)
    city = Query(adcode="4501")
    return {
        "newest": lambda: index.search(Query()),
        "newest_help": lambda: index.search(Query(kinds=("help",))),
        "newest_rumours": lambda: index.search(Query(rumours=("unverified", "question"))),
        "newest_urgent_city": lambda: index.search(replace(city, min_urgency=2)),
        "newest_hazard": lambda: index.search(Query(hazards=("hail",))),
        "hours_by_kind_week": lambda: index.histogram(Query(since=week), "hour", "kind"),
        "hours_by_sentiment_city": lambda: index.histogram(
            replace(city, since=week), "hour", "sentiment"
        ),
        "ten_minutes_by_kind_day": lambda: index.histogram(Query(since=day), "10min", "kind"),
        "ten_minutes_sentiment_city": lambda: index.histogram(
            replace(city, since=day), "10min", "sentiment"
        ),
        "days_by_rumour_month": lambda: index.histogram(Query(), "day", "rumour"),
        "counties_day": lambda: index.facets(replace(city, since=day), "adcode"),
        "counties_negative_month": lambda: index.facets(
            replace(city, sentiments=("neg",)), "adcode"
        ),
        "kinds_week": lambda: index.facets(Query(since=week), "kind"),
        "sources_week": lambda: index.facets(Query(since=week), "source"),
        "hazards_week": lambda: index.facets(Query(since=week), "hazard"),
        "count_day_relevant": lambda: index.count(Query(since=day, relevant_only=True)),
        "newest_at": index.newest_at,
    }


def _bench_queries(n: int, asks: Callable[[Index, datetime], dict[str, Ask]]) -> dict[str, Any]:
    with _app() as app:
        found = ask_all(app.index, n, asks)
        size = _size(app.settings.home)
    return {**found, "bytes_per_post": round(size / n), **here()}


def ask_all(
    index: Index, n: int, asks: Callable[[Index, datetime], dict[str, Ask]]
) -> dict[str, Any]:
    """Fill an empty index with ``n`` posts and put every question to it ``ROUNDS`` times."""
    put_s = fill(index, n)
    index.refresh()
    end = START + timedelta(days=DAYS)
    every: list[float] = []
    queries: dict[str, dict[str, float]] = {}
    for name, ask in asks(index, end).items():
        ask()
        took = sorted(1000 * _timed(ask)[0] for _ in range(ROUNDS))
        every += took
        queries[name] = {"median_ms": milliseconds(took, 0.5), "p95_ms": milliseconds(took, 0.95)}
    every.sort()
    return {
        "n": n,
        "put_per_s": round(n / put_s),
        "p50_ms": milliseconds(every, 0.5),
        "p95_ms": milliseconds(every, 0.95),
        "slowest_p95_ms": max(q["p95_ms"] for q in queries.values()),
        "queries": queries,
    }


def fill(index: Index, n: int) -> float:
    """Put ``n`` posts in batches of 500; returns the seconds of putting alone."""
    seconds = 0.0
    batch: list[AnnotatedPost] = []
    for i, item in enumerate(_annotated(n), 1):
        batch.append(item)
        if len(batch) == BATCH or i == n:
            began = time.perf_counter()
            index.put(batch, item.post.fetched_at)
            seconds += time.perf_counter() - began
            batch.clear()
    return seconds


def texts(seed: int = 7) -> Iterator[str]:
    dice = random.Random(seed)  # noqa: S311  the same posts at every run
    while True:
        parts = (f"{dice.choice(_WHERE)}{dice.choice(_WHAT)}" for _ in range(dice.choice((2, 4))))
        yield "，".join(parts) + f"，{dice.choice(_AND)}。{dice.choice(_AND)}"


def fetched(n: int, end: datetime) -> Iterator[FetchedPost]:
    dice = random.Random(3)  # noqa: S311
    step = timedelta(days=1) / n
    for i, text in zip(range(n), texts(), strict=False):
        at = end - (n - i) * step
        yield FetchedPost(
            source=dice.choice(_SOURCES),
            text=text,
            published_at=at,
            fetched_at=at + timedelta(seconds=40),
            native_id=str(i),
            url=f"https://example.cn/post/{i}?utm_source=bench",
            author=f"账号{dice.randrange(n)}",
            followers=dice.randrange(10_000),
            place_hint="广西",
            counts=Counts(dice.randrange(9), dice.randrange(9), dice.randrange(99), 0),
        )


def _annotated(n: int) -> Iterator[AnnotatedPost]:
    judged = [text for text, _ in zip(texts(), range(min(n, _JUDGED)), strict=False)]
    notes = Annotator.load().annotate(judged)
    dice = random.Random(5)  # noqa: S311
    step = timedelta(days=DAYS) / n
    for i in range(n):
        at = START + i * step
        number = dice.randrange(len(judged))
        source = dice.choice(_SOURCES)
        post = Post(
            id=post_id(source, str(i), "", "", "", ""),
            source=source,
            native_id=str(i),
            url=f"https://example.cn/post/{i}",
            author=f"{dice.getrandbits(64):016x}",
            author_kind="person",
            published_at=at,
            fetched_at=at + timedelta(seconds=40),
            text=judged[number],
            counts=Counts(likes=dice.randrange(99)),
            counted_at=at + timedelta(seconds=40),
        )
        yield AnnotatedPost(post, notes[number])


@contextmanager
def _app() -> Iterator[App]:
    with tempfile.TemporaryDirectory(prefix="tingfeng-bench-") as folder:
        app = build(load_settings(Path(folder)))
        try:
            yield app
        finally:
            app.close()


def _timed(act: Callable[[], object]) -> tuple[float, float]:
    """Seconds of an act: by the clock, and of the processor (which neighbours disturb less)."""
    began, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - began, time.process_time() - cpu


def _size(home: Path) -> int:
    """Bytes of the posts database with its journal."""
    return sum(file.stat().st_size for file in home.glob("posts.db*"))


def milliseconds(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


def here() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "machine": f"{platform.machine()} {platform.system()}, one thread",
        "versions": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            **{name: version(name) for name in ("msgspec", "rjieba", "numpy")},
        },
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
