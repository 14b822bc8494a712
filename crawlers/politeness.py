"""Manners that Scrapy does not have by itself: strict robots.txt, Crawl-delay, and taking a no."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from protego import Protego
from scrapy import signals
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.extensions.throttle import AutoThrottle
from scrapy.utils.httpobj import urlparse_cached

if TYPE_CHECKING:
    from typing import Self

    from scrapy import Request
    from scrapy.core.downloader import Slot
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.robotstxt import RobotParser

DISALLOW_ALL = b"User-agent: *\nDisallow: /\n"
ALLOW_ALL = b""
REFUSING = {
    401: "要求登录（401）",
    403: "拒绝访问（403）",
    418: "识别为爬虫并拒绝（418）",
    432: "要求登录，需由运维人员处理（432）",
    451: "因法律原因不可用（451）",
    461: "要求验证码（461）",
    471: "要求验证码（471）",
}
TOO_OFTEN = 429
WALL_HOSTS = ("passport.", "visitor.passport.", "login.", "wappass.", "sso.", "captcha.")
WALL_PATHS = ("/login", "/signin", "/sso/", "/captcha", "/antispider", "/visitor/visitor")
WALL_MARKS = (
    "Sina Visitor System",
    "百度安全验证",
    "访问过于频繁，请输入验证码",
    "antispider",
    "geetest",
    "滑动验证",
    "人机验证",
)


class Refused(IgnoreRequest):
    """The source does not want to be read by us; ``reason`` says how it said so, in Chinese."""

    def __init__(self, reason: str, status: int = 0) -> None:
        self.reason = reason
        self.status = status
        super().__init__(reason)


class StrictRobots(RobotsTxtMiddleware):
    """robots.txt as RFC 9309 has it.

    Scrapy parses the body whatever the status and lets everything pass when the download failed.
    Here: 2xx is parsed, 4xx means there are no rules, 5xx or no answer means stay out.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._reasons: dict[str, str] = {}  # host -> why it counts as closed to us

    def process_request_2(self, rp: RobotParser | None, request: Request) -> None:
        try:
            super().process_request_2(rp, request)
        except IgnoreRequest as no:
            netloc = urlparse_cached(request).netloc
            raise Refused(self._reasons.get(netloc, "robots.txt 不允许访问")) from no

    async def _parse_robots(self, response: Response, netloc: str, request: Request) -> None:
        if response.status >= 500:
            self._settle(netloc, DISALLOW_ALL, f"robots.txt 返回 {response.status}，按不允许处理")
        elif response.status >= 400:
            self._settle(netloc, ALLOW_ALL)
        elif response.status >= 300:
            # A redirect that led nowhere within five hops counts as no rules (RFC 9309, 2.3.1.2).
            self._settle(netloc, ALLOW_ALL)
        else:
            await super()._parse_robots(response, netloc, request)

    def _robots_error(self, exc: Exception, netloc: str) -> None:
        if isinstance(exc, Refused) and 400 <= exc.status < 500:
            self._settle(netloc, ALLOW_ALL)
        else:
            self._settle(netloc, DISALLOW_ALL, "robots.txt 取不到，按不允许处理")

    def _settle(self, netloc: str, body: bytes, reason: str = "") -> None:
        parser = self._parserimpl.from_crawler(self.crawler, body)
        if reason:
            self._reasons[netloc] = reason
        waiting: Any = self._parsers[netloc]
        self._parsers[netloc] = parser
        waiting.callback(parser)


class PoliteThrottle(AutoThrottle):
    """AutoThrottle that never goes below the Crawl-delay of a site's robots.txt.

    ``TINGFENG_DELAY_SCALE`` shortens it in a drill, whose replica lives 60 times as fast.
    """

    LONGEST = 300.0  # seconds; a larger Crawl-delay is taken for a slip

    def __init__(self, crawler: Crawler) -> None:
        self._floors: dict[str, float] = {}
        self._scale = crawler.settings.getfloat("TINGFENG_DELAY_SCALE", 1.0)
        super().__init__(crawler)
        crawler.signals.connect(self._robots_parsed, signal=signals.robots_parsed)

    def _robots_parsed(self, robotparser: RobotParser, request: Request) -> None:
        rules: Protego | None = getattr(robotparser, "rp", None)
        agent = self.crawler.settings.get("USER_AGENT", "")
        delay = rules.crawl_delay(agent) if rules is not None else None
        if delay is None or not 0 < float(delay) <= self.LONGEST:
            return
        netloc = urlparse_cached(request).hostname or ""
        self._floors[netloc] = float(delay) * self._scale
        slot = self.crawler.engine.downloader.slots.get(netloc) if self.crawler.engine else None
        if slot is not None:
            slot.delay = max(slot.delay, self._floors[netloc])

    def _adjust_delay(self, slot: Slot, latency: float, response: Response) -> None:
        super()._adjust_delay(slot, latency, response)
        floor = self._floors.get(urlsplit(response.url).hostname or "", 0.0)
        slot.delay = max(slot.delay, floor)


class Refusals:
    """Turns a site's "no" into ``Refused`` and stops asking: the source is refused, not empty."""

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.retries = crawler.settings.getint("RETRY_TIMES")

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def process_request(self, request: Request) -> None:
        report = getattr(self.crawler.spider, "report", None)
        if report is not None and report.refused:
            raise Refused(report.reason)

    def process_response(self, request: Request, response: Response) -> Response:
        if urlparse_cached(request).path == "/robots.txt":
            return response
        if response.status in REFUSING:
            raise Refused(REFUSING[response.status], response.status)
        if response.status == TOO_OFTEN and request.meta.get("retry_times", 0) >= self.retries:
            raise Refused("多次要求放慢（429），本次停止", TOO_OFTEN)
        if 300 <= response.status < 400 and b"Location" in response.headers:
            location = (response.headers["Location"] or b"").decode("latin-1")
            self._check_redirect(response, urljoin(response.url, location))
        return response

    def _check_redirect(self, response: Response, target: str) -> None:
        if is_wall(target):
            raise Refused("转到登录或验证页面", response.status)
        here, there = urlsplit(response.url).hostname or "", urlsplit(target).hostname or ""
        if is_private(there) and not is_private(here):
            raise Refused("转到内部网络地址，已拦下", response.status)


def is_wall(url: str) -> bool:
    """Whether an address is a login or captcha page."""
    parts = urlsplit(url)
    host, path = (parts.hostname or "").lower(), parts.path.lower()
    return host.startswith(WALL_HOSTS) or any(mark in path for mark in WALL_PATHS)


def wall_reason(body: str) -> str:
    """Why a page that came with 200 is a wall; empty when it is none. Looks at its beginning."""
    head = body[:4000]
    return next((f"返回验证页面（{mark}）" for mark in WALL_MARKS if mark in head), "")


def is_private(host: str) -> bool:
    """Whether a host name is an address of a private network, or this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return not address.is_global
