"""The Scrapy item pipeline: collects what spiders yield and hands it over in batches.

A batch goes when it holds 200 pieces or is one second old. When the door says "not now" the
batch is kept and tried again; if the visit ends before it went through, the source's memory is
cleared, so that the next visit brings everything again. Nothing is lost either way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import structlog
from scrapy.exceptions import NotConfigured

from crawlers.intake import Intake
from pipeline.domain.claim_review import ReviewedClaim
from pipeline.domain.post import FetchedPost, Unreadable
from pipeline.domain.warning import OfficialWarning
from pipeline.errors import NotNow

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

    from crawlers.source_spider import SourceSpider

BATCH = 200
OLDEST_S = 1.0
TRIES_AT_END = 8
PAUSE_S = 0.25
log = structlog.get_logger("crawlers")


class Held:
    """Carries a living object through Scrapy's settings, which copy what they hold."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, _memo: object) -> Held:
        return self


class Handover:
    """Hands posts, warnings, reviewed claims and unreadable pieces to ``TINGFENG_INTAKE``."""

    def __init__(self, crawler: Crawler) -> None:
        held = crawler.settings["TINGFENG_INTAKE"]
        if held is None:
            raise NotConfigured("TINGFENG_INTAKE is not set; run crawls through crawlers.runner")
        self.intake = cast(Intake, held.value if isinstance(held, Held) else held)
        self.crawler = crawler
        self.posts: list[FetchedPost] = []
        self.pieces: list[Unreadable] = []
        self.warnings: list[OfficialWarning] = []
        self.claims: list[ReviewedClaim] = []
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def process_item(self, item: Any) -> Any:
        if isinstance(item, FetchedPost):
            self.posts.append(item)
        elif isinstance(item, OfficialWarning):
            self.warnings.append(item)
        elif isinstance(item, ReviewedClaim):
            self.claims.append(item)
        else:
            self.pieces.append(item)
        if self._waiting() >= BATCH:
            self._try_flush()
        elif self._timer is None:
            self._set_timer()
        return item

    async def close_spider(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for _ in range(TRIES_AT_END):
            if self._flush():
                return
            await asyncio.sleep(PAUSE_S)
        spider = cast("SourceSpider", self.crawler.spider)
        spider.memory.forget_all()
        spider.report.fail("入口暂时不接收，本次内容下次重取")
        log.warning("hand-over failed, source will be read again", source=spider.source.name)

    def _waiting(self) -> int:
        return len(self.posts) + len(self.pieces) + len(self.warnings) + len(self.claims)

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(OLDEST_S, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._try_flush()

    def _try_flush(self) -> None:
        if not self._flush() and self._timer is None:
            self._set_timer()

    def _flush(self) -> bool:
        """Hand over what waits; false when the door cannot take it now."""
        try:
            if self.warnings:
                self.intake.warn(self.warnings)
                self.warnings = []
            if self.claims:
                self.intake.learn(self.claims)
                self.claims = []
            if self.posts:
                self.intake.accept(self.posts)
                self.posts = []
            if self.pieces:
                self.intake.refuse(self.pieces)
                self.pieces = []
        except NotNow:
            return False
        except Exception:  # a fault of the door must not end the crawl, nor lose the batch
            log.exception("hand-over raised")
            return False
        return True
