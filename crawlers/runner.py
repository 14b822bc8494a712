"""Visits sources, each in its own time, for as long as the process lives.

One asyncio loop, no Twisted reactor. Every source has its own task: one that fails, refuses or
hangs never holds up another. What a visit came to goes to the health sink, good or bad.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import cast

import structlog
from scrapy import signals
from scrapy.crawler import AsyncCrawlerRunner, Crawler
from scrapy.settings import Settings

from crawlers.health import SourceRun, Visits
from crawlers.intake import HealthSink, Intake
from crawlers.memory import Memory
from crawlers.pipelines import Held
from crawlers.politeness import RobotsCache
from crawlers.source_spider import Report, SourceSpider
from crawlers.sources import Source
from pipeline.clock import Clock

AT_ONCE = 16  # visits at the same time; enough that a few hanging sources hold up nobody
LONGEST_VISIT_S = 300.0
SHORTEST_PERIOD_S = 1.0  # in a drill
GRACE_S = 2.0  # that a visit has to end by itself when the process stops
log = structlog.get_logger("crawlers")


@dataclass(slots=True)
class Known:
    """What is remembered of a source between visits."""

    memory: Memory = field(default_factory=Memory)
    visits: Visits = field(default_factory=Visits)


class Crawl:
    """A set of sources with what is needed to visit them.

    ``contact``: address in the user agent. ``speed``: of a drill, 1 otherwise; periods are divided
    by it, and the replica on this machine is asked without polite pauses.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        intake: Intake,
        health: HealthSink,
        clock: Clock,
        *,
        contact: str = "",
        speed: float = 1.0,
    ) -> None:
        self.sources = [source for source in sources if source.enabled]
        self.health = health
        self.clock = clock
        self.speed = max(1.0, speed)
        self.known = {source.name: Known() for source in self.sources}
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._stopping = False
        # Scrapy reports through the standard library's log; page contents must not get there.
        logging.getLogger("scrapy").setLevel(logging.CRITICAL)
        self._runner = AsyncCrawlerRunner(self._settings(intake, contact))
        self._local = self._local_settings()

    def _local_settings(self) -> Settings:
        """For sites on this machine: no pauses, and a Crawl-delay as short as the drill's time."""
        settings = self._runner.settings.copy()
        settings.setdict(
            {
                "DOWNLOAD_DELAY": 0,
                "AUTOTHROTTLE_START_DELAY": 0,
                "AUTOTHROTTLE_TARGET_CONCURRENCY": 1000.0,
                "CONCURRENT_REQUESTS_PER_DOMAIN": 4,
                "TINGFENG_DELAY_SCALE": 1 / self.speed,
                "RETRY_TIMES": 1,
                # Plain http only; then no certificates need be loaded, which takes longer than a
                # whole visit.
                "DOWNLOAD_HANDLERS": {**settings["DOWNLOAD_HANDLERS"], "https": None},
                "DOWNLOAD_VERIFY_CERTIFICATES": False,
            },
            priority="cmdline",
        )
        return settings

    def _settings(self, intake: Intake, contact: str) -> Settings:
        settings = Settings()
        settings.setmodule(import_module("crawlers.settings"), priority="project")
        if contact:
            settings.set("USER_AGENT", f"{settings['USER_AGENT']} (+{contact})", priority="cmdline")
        settings.set("TINGFENG_INTAKE", Held(intake), priority="cmdline")
        settings.set("TINGFENG_ROBOTS", Held(RobotsCache()), priority="cmdline")
        settings.set("CLOSESPIDER_TIMEOUT", LONGEST_VISIT_S, priority="cmdline")
        return settings

    async def visit(self, source: Source) -> SourceRun | None:
        """Visit a source now; its record, which the health sink has got as well.

        None when the end of the process cut the visit short: that says nothing of the source.
        """
        async with self._gate:
            started = self.clock.now()
            known = self.known[source.name]
            report = Report()
            try:
                crawler = self._crawler(source)
                await self._runner.crawl(
                    crawler, source=source, memory=known.memory, clock=self.clock
                )
                report = cast(SourceSpider, crawler.spider).report
                ended = crawler.stats.get_value("finish_reason") if crawler.stats else ""
                if ended != "finished" and self._stopping:
                    return None
                if ended != "finished":
                    report.fail("时间太长，本次中止")
            except asyncio.CancelledError:
                raise
            except Exception as error:  # a fault of one source stays with that source
                log.exception("visit failed", source=source.name)
                report.fail(f"采集程序出错（{type(error).__name__}）")
            run = self._record(source, known, report, started)
        try:
            self.health.record(run)
        except Exception:
            log.exception("health could not be recorded", source=source.name)
        return run

    def _crawler(self, source: Source) -> Crawler:
        spider = self._runner.spider_loader.load(source.spider)
        local = source.is_local and source.url.startswith("http:")
        return Crawler(spider, self._local if local else self._runner.settings)

    def _record(self, source: Source, known: Known, report: Report, started: datetime) -> SourceRun:
        finished = self.clock.now()
        ok = not report.failed
        known.memory.unfinished = report.failed or report.incomplete
        empty = False
        if ok and not source.empty_ok:
            empty = known.visits.judge(-1 if report.unchanged else report.entries, finished)
        reason = report.reason
        if empty:
            reason = "列表突然为空，平时有内容，请核对来源"
        return SourceRun(
            source=source.name,
            spider=source.spider,
            started_at=started,
            finished_at=finished,
            ok=ok,
            items=report.items,
            newest_published_at=report.newest,
            refused=report.refused,
            reason=reason,
            http_status=report.http_status,
            empty_suspicious=empty,
            entries_broken=report.broken,
            entries=-1 if report.unchanged else report.entries,
            fallbacks=report.fallbacks,
        )

    async def keep_visiting(self, source: Source, stop: asyncio.Event) -> None:
        """Visit a source at its own period until ``stop``."""
        period = max(SHORTEST_PERIOD_S, source.every_s / self.speed)
        # Spread out, so that all sources with one period do not start in the same second.
        await _pause(stop, random.uniform(0, min(period, 5.0)) / self.speed)  # noqa: S311
        last = ""
        while not stop.is_set():
            run = await self.visit(source)
            if run is None:
                return
            if (told := f"{run.state}:{run.reason}") != last:  # again only when it differs
                last = told
                log.info("source visited", source=source.name, state=run.state, items=run.items,
                         status=run.http_status)  # fmt: skip
            # Who refuses is asked ten times less often: a renewed permission is still noticed.
            await _pause(stop, period * (10 if run.refused and self.speed == 1 else 1))

    async def stop(self) -> None:
        """Let running visits end and hand over what they hold; those that hang are cut off."""
        self._stopping = True
        running = set(self._runner.crawlers)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._runner.stop(), GRACE_S)
        for crawler in running & self._runner.crawlers:
            # their engines wait for ever; what closes with an engine is told by hand
            await crawler.signals.send_catch_log_async(signals.engine_stopped)


async def crawl_forever(
    sources: Sequence[Source],
    intake: Intake,
    health: HealthSink,
    clock: Clock,
    stop: asyncio.Event,
    *,
    contact: str = "",
    speed: float = 1.0,
) -> None:
    """Visit every source at its own period until ``stop`` is set; returns within five seconds."""
    crawl = Crawl(sources, intake, health, clock, contact=contact, speed=speed)
    tasks = [asyncio.create_task(crawl.keep_visiting(s, stop), name=s.name) for s in crawl.sources]
    try:
        await stop.wait()
    finally:
        await crawl.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=1.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def crawl_once(
    sources: Sequence[Source],
    intake: Intake,
    health: HealthSink,
    clock: Clock,
    *,
    contact: str = "",
    speed: float = 1.0,
) -> list[SourceRun]:
    """Visit every enabled source once; their records in the order of the sources."""
    crawl = Crawl(sources, intake, health, clock, contact=contact, speed=speed)
    runs = await asyncio.gather(*(crawl.visit(source) for source in crawl.sources))
    return [run for run in runs if run is not None]


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
