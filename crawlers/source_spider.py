"""What all spiders of sources share: the visit's report, refusals, and what counts as new."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import structlog
from scrapy import Request, Spider
from scrapy.http import Response, TextResponse
from scrapy.spidermiddlewares.httperror import HttpError

from crawlers.memory import Memory, state_of
from crawlers.politeness import Refused, Unreachable, wall_reason
from crawlers.sources import Source
from pipeline.clock import Clock
from pipeline.domain.claim_review import ReviewedClaim
from pipeline.domain.post import FetchedPost, Unreadable
from pipeline.domain.warning import OfficialWarning

if TYPE_CHECKING:
    from twisted.python.failure import Failure

Item = FetchedPost | Unreadable | OfficialWarning | ReviewedClaim
KEPT_RAW = 64 << 10
log = structlog.get_logger("crawlers")


@dataclass(slots=True)
class Report:
    """What a visit came to, filled in while it goes on."""

    items: int = 0
    entries: int = 0
    unknown: int = 0  # posts never seen before; the rest of the items are known ones, changed
    broken: int = 0
    fallbacks: int = 0
    unchanged: bool = False
    incomplete: bool = False  # a page could not be had; the next visit looks further back
    refused: bool = False
    failed: bool = False
    reason: str = ""
    http_status: int = 0
    newest: datetime | None = None

    def fail(self, reason: str, status: int = 0) -> None:
        self.failed = True
        self.reason = self.reason or reason
        self.http_status = status or self.http_status

    def refuse(self, reason: str, status: int = 0) -> None:
        self.refused = self.failed = True
        self.reason = reason
        self.http_status = status or self.http_status


def honest(response: Response) -> Response:
    """The page read as UTF-8 where it claims GBK and is not: sites move over and forget to say.

    Chinese text in GBK is practically never valid UTF-8.
    """
    if isinstance(response, TextResponse) and response.encoding.lower().startswith("gb"):
        with contextlib.suppress(UnicodeDecodeError):
            response.body.decode("utf-8")
            return response.replace(encoding="utf-8")
    return response


class SourceSpider(Spider):
    """Reads one source once.

    Arguments: ``source``, ``memory`` (kept between visits by the runner), ``clock``.
    """

    name: ClassVar[str] = "source"  # type: ignore[misc]
    custom_settings: ClassVar[dict[str, Any]] = {"HTTPERROR_ALLOWED_CODES": [304]}  # type: ignore[misc]

    def __init__(self, *, source: Source, memory: Memory, clock: Clock, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.memory = memory
        self.clock = clock
        self.report = Report()

    async def start(self) -> AsyncIterator[Any]:
        yield self.ask(self.source.url, self.read_first)

    def read_first(self, response: TextResponse) -> Iterator[Any]:
        """Read the page at the source's own address."""
        raise NotImplementedError

    # -- asking -----------------------------------------------------------------------------

    def ask(
        self,
        url: str,
        read: Callable[..., Iterator[Any]],
        *,
        optional: bool = False,
        instead: Callable[[], Iterator[Any]] | None = None,
        **options: Any,
    ) -> Request:
        """A request whose answer is read by ``read``; its failure goes into the report.

        ``optional``: one page of many, without which the visit has not failed. ``instead``: what
        to hand on when there is no answer.
        """

        def answered(response: Response, **kwargs: Any) -> Iterator[Any]:
            yield from self._guarded(response, read, kwargs)

        def failed(failure: Failure) -> Iterator[Any]:
            self._failed(failure, optional)
            if instead is not None:
                yield from instead()

        # Set by hand and not by names: the callbacks of one visit are never written to disk.
        return Request(url, callback=answered, errback=failed, dont_filter=True, **options)

    def _guarded(
        self, response: Response, read: Callable[..., Iterator[Any]], kwargs: dict[str, Any]
    ) -> Iterator[Any]:
        self.report.http_status = response.status
        response = honest(response)
        if isinstance(response, TextResponse) and (reason := wall_reason(response.text)):
            self.report.refuse(reason, response.status)
            return
        try:
            yield from read(response, **kwargs)
        except Refused as no:
            self.report.refuse(no.reason, no.status)
        except Exception:
            # A page that breaks our reader must neither end the other sources nor go unseen.
            log.exception("page could not be read", source=self.source.name, url=response.url)
            self.report.fail("页面读取出错，请看日志", response.status)
            yield self.unreadable(response.body, "页面读取出错")

    def _failed(self, failure: Failure, optional: bool) -> None:
        error = failure.value
        if isinstance(error, Refused):
            if optional and not error.status:  # one page that robots.txt keeps for itself
                self.report.reason = self.report.reason or "部分页面 robots.txt 不允许，已略过"
            else:
                self.report.refuse(error.reason, error.status)
            return
        status = error.response.status if isinstance(error, HttpError) else 0
        reason = f"返回 {status}" if status else f"连不上（{type(error).__name__}）"
        if isinstance(error, Unreachable):
            reason = str(error)
        if optional:
            self.report.incomplete = True
            self.report.reason = self.report.reason or f"部分页面取不到：{reason}"
        else:
            self.report.fail(reason, status)

    def may_follow(self, url: str) -> bool:
        """Only pages of the source's own host, or of the hosts named in its settings."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme in ("http", "https") and (
            host == self.source.host or host in self.source.hosts
        )

    # -- handing on -------------------------------------------------------------------------

    def now(self) -> datetime:
        return self.clock.now()

    def fresh(self, post: FetchedPost) -> Iterator[FetchedPost]:
        """The post if it is new or changed and about our keywords."""
        key = f"p:{post.native_id or post.url or post.text}"
        if not self.memory.last(key):
            self.report.unknown += 1
        if not self.memory.is_new(key, state_of(post)):
            return
        words = self.source.keywords
        if words and not any(word in post.text or word in post.title for word in words):
            return
        self.note(post.published_at)
        yield post

    def note(self, published_at: datetime) -> None:
        self.report.items += 1
        if self.report.newest is None or published_at > self.report.newest:
            self.report.newest = published_at

    def broken(self, raw: str | bytes, reason: str) -> Iterator[Unreadable]:
        """An entry that cannot become a post: handed on once, counted each time."""
        self.report.broken += 1
        piece = self.unreadable(raw, reason)
        if self.memory.is_new(f"u:{hash(piece.raw)}", reason):
            yield piece

    def unreadable(self, raw: str | bytes, reason: str) -> Unreadable:
        data = raw if isinstance(raw, bytes) else raw.encode("utf-8", "replace")
        return Unreadable(self.source.name, data[:KEPT_RAW], reason)
