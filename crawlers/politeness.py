"""Manners that Scrapy does not have by itself: strict robots.txt, Crawl-delay, and taking a no."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
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
LONGEST_WAIT_S = 30  # a longer Retry-After is for the next visit, not for this one
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


class Unreachable(IgnoreRequest):
    """Not even robots.txt could be had: stay out, but the source is down and has not said no."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a host's robots.txt came to. ``reason``: why all is closed to us, Chinese, or empty."""

    body: bytes
    until: float  # of the monotonic clock
    reason: str = ""
    is_down: bool = False


class RobotsCache:
    """Rules per host for the life of the process: asking at every visit would be no politeness."""

    KEPT_S = 3600.0
    KEPT_CLOSED_S = 300.0  # a robots.txt that could not be had is looked for again soon

    def __init__(self) -> None:
        self._rules: dict[str, Rules] = {}

    def get(self, netloc: str) -> Rules | None:
        rules = self._rules.get(netloc)
        return rules if rules and rules.until > time.monotonic() else None

    def keep(self, netloc: str, body: bytes, reason: str = "", *, is_down: bool = False) -> Rules:
        kept = self.KEPT_CLOSED_S if reason else self.KEPT_S
        rules = Rules(body, time.monotonic() + (0 if is_down else kept), reason, is_down)
        self._rules[netloc] = rules
        return rules


class StrictRobots(RobotsTxtMiddleware):
    """robots.txt as RFC 9309 has it.

    Scrapy parses the body whatever the status and lets everything pass when the download failed.
    Here: 2xx is parsed, 4xx means there are no rules, 5xx or no answer means stay out.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        held = crawler.settings["TINGFENG_ROBOTS"]
        self._cache: RobotsCache = held.value if held is not None else RobotsCache()
        self._rules: dict[str, Rules] = {}

    async def robot_parser(self, request: Request) -> RobotParser | None:
        netloc = urlparse_cached(request).netloc
        if netloc not in self._parsers and (rules := self._cache.get(netloc)) is not None:
            self._rules[netloc] = rules
            parser = self._parserimpl.from_crawler(self.crawler, rules.body)
            self._parsers[netloc] = parser
            await self._tell(parser, request)
        return await super().robot_parser(request)

    def process_request_2(self, rp: RobotParser | None, request: Request) -> None:
        try:
            super().process_request_2(rp, request)
        except IgnoreRequest as no:
            rules = self._rules.get(urlparse_cached(request).netloc)
            if rules is not None and rules.is_down:
                raise Unreachable(rules.reason) from no
            raise Refused((rules.reason if rules else "") or "robots.txt 不允许访问") from no

    async def _parse_robots(self, response: Response, netloc: str, request: Request) -> None:
        if response.status >= 500:
            reason = f"robots.txt 返回 {response.status}，按不允许处理"
            parser = self._settle(netloc, DISALLOW_ALL, reason)
        elif response.status >= 300:
            # 4xx: no rules; so is a redirect that led nowhere within five hops (RFC 9309, 2.3.1.2).
            parser = self._settle(netloc, ALLOW_ALL)
        else:
            parser = self._settle(netloc, response.body)
        await self._tell(parser, request)

    def _robots_error(self, exc: Exception, netloc: str) -> None:
        self._settle(netloc, DISALLOW_ALL, "连不上，robots.txt 也取不到", is_down=True)

    def _settle(
        self, netloc: str, body: bytes, reason: str = "", *, is_down: bool = False
    ) -> RobotParser:
        parser: RobotParser = self._parserimpl.from_crawler(self.crawler, body)
        self._rules[netloc] = self._cache.keep(netloc, body, reason, is_down=is_down)
        waiting: Any = self._parsers[netloc]
        self._parsers[netloc] = parser
        waiting.callback(parser)
        return parser

    async def _tell(self, parser: RobotParser, request: Request) -> None:
        await self.crawler.signals.send_catch_log_async(
            signal=signals.robots_parsed, robotparser=parser, request=request
        )


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
        engine = self.crawler.engine
        if engine is None:
            return
        # With rules from the cache no request has made the slot yet: let its first one be slow.
        engine.downloader.per_slot_settings.setdefault(netloc, {}).update(
            delay=max(engine.downloader._delay, self._floors[netloc]), jitter=0.0
        )
        if (slot := engine.downloader.slots.get(netloc)) is not None:
            self._slow_down(slot, self._floors[netloc])

    def _adjust_delay(self, slot: Slot, latency: float, response: Response) -> None:
        super()._adjust_delay(slot, latency, response)
        if floor := self._floors.get(urlsplit(response.url).hostname or "", 0.0):
            self._slow_down(slot, floor)

    @staticmethod
    def _slow_down(slot: Slot, floor: float) -> None:
        slot.delay = max(slot.delay, floor)
        slot.jitter = 0.0  # which would go half a delay below what the site asks for


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
        if response.status == TOO_OFTEN:
            wait = (response.headers.get("Retry-After") or b"").decode("latin-1")
            tired = request.meta.get("retry_times", 0) >= self.retries
            if tired or not wait.isdigit() or int(wait) > LONGEST_WAIT_S:
                raise Refused("要求放慢（429），本次停止", TOO_OFTEN)
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
