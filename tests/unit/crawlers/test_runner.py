"""The long-lived crawl: every source in its own time, none held up by another, and a clean end."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from aiohttp import ClientSession, web

from crawlers.runner import crawl_forever, crawl_once
from crawlers.sources import Source
from tests.unit.crawlers.replica import Desk, FixedClock, Replica
from tests.unit.crawlers.test_feed import item, rss


class Hanging(Replica):
    """Answers everything at once but /hang, which it never answers."""

    async def handle(self, request: web.Request) -> web.Response:
        if request.path == "/hang":
            await asyncio.sleep(3600)
        return await super().handle(request)


class BrokenSink(Desk):
    """A health sink that fails: its own trouble, and not the crawl's."""

    def record(self, run: Any) -> None:
        super().record(run)
        raise RuntimeError("disk full")


def feed(name: str, url: str, **more: Any) -> Source:
    return Source(name, "feed", url, every_s=60, **more)


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def test_a_hanging_source_holds_up_neither_the_others_nor_the_end() -> None:
    desk = Desk()

    async def run() -> None:
        async with Hanging({"/r": rss(item("1"))}).open() as site:
            sources = [feed("hang", f"{site.base}/hang"), feed("good", f"{site.base}/r")]
            stop = asyncio.Event()
            crawl = crawl_forever(sources, desk, desk, FixedClock(), stop, speed=60)
            task = asyncio.create_task(crawl)
            await asyncio.wait_for(
                until(lambda: sum(r.source == "good" for r in desk.runs) >= 2), 30
            )
            stop.set()
            await asyncio.wait_for(task, 5)  # the contract with the supervisor

    asyncio.run(run())
    assert [post.native_id for post in desk.posts] == ["1"]
    assert all(run.source == "good" for run in desk.runs)
    left = [o for o in gc.get_objects() if isinstance(o, ClientSession) and not o.closed]
    assert not left, "what was cut off has closed its connections"


def test_switched_off_sources_are_left_alone() -> None:
    desk = Desk()

    async def run() -> None:
        async with Replica({"/r": rss(item("1"))}).open() as site:
            source = feed("off", f"{site.base}/r", enabled=False)
            assert await crawl_once([source], desk, desk, FixedClock()) == []
            assert site.asked == []

    asyncio.run(run())


def test_a_health_sink_that_fails_stops_nothing() -> None:
    desk = BrokenSink()

    async def run() -> None:
        async with Replica({"/r": rss(item("1"))}).open() as site:
            (run,) = await crawl_once([feed("a", f"{site.base}/r")], desk, desk, FixedClock())
            assert run.state == "ok"

    asyncio.run(run())
    assert len(desk.posts) == 1


def test_no_sources_wait_for_the_end() -> None:
    async def run() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, stop.set)
        await asyncio.wait_for(crawl_forever([], Desk(), Desk(), FixedClock(), stop), 5)

    asyncio.run(run())


def test_a_page_that_breaks_the_reader_is_reported_and_kept() -> None:
    desk = Desk()
    strange = b'{"code":0,"data":{"page":{"list":[1,2],"totalPage":{}}}}'

    async def run() -> None:
        async with Replica({"/w": strange}).open() as site:
            source = Source("w", "warning", f"{site.base}/w", every_s=60)
            await crawl_once([source], desk, desk, FixedClock())

    asyncio.run(run())
    assert desk.runs[0].state == "failing"
    assert any(piece.raw == strange for piece in desk.pieces)
