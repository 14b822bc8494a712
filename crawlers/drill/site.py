"""The drill's replica site: the night over HTTP, on this machine only, for the real spiders.

It serves what the scenario has published by the clock's time as RSS, Atom, JSON Feed, GBK and
UTF-8 pages, micro-blog answers, the national warning list and CAP. It also plays what goes wrong
out there: broken entries, a robots.txt that forbids a path, one that answers 503, a site that
demands a login, one that is dead, and one that falls silent at 21:30.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from crawlers.drill import pages
from crawlers.drill.night import Night, Shown, not_released
from crawlers.drill.scenario import Scenario
from crawlers.sources import Selectors, Source
from pipeline.clock import BEIJING, Clock

PAGE = 20
SILENT_FROM = timedelta(hours=3, minutes=30)  # 21:30 of a night that begins at 18:00
POLL_S = 2.0  # seconds of the real clock between two visits, whatever the speed
ROBOTS = "User-agent: *\nDisallow: /private/\nCrawl-delay: 1\n"
CLOSED_HOST = "localhost"  # the same machine under another name, whose robots.txt is broken

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DrillSite:
    """``start``: the instant of offset zero, aware. ``released_at``: see ``Night``."""

    def __init__(
        self,
        scenario: Scenario,
        clock: Clock,
        start: datetime,
        *,
        released_at: Callable[[], datetime | None] = not_released,
    ) -> None:
        self.night = Night(scenario, start, released_at)
        self.clock = clock
        self.base_url = ""
        self.requests = 0
        self._runner: web.AppRunner | None = None

    async def open(self, port: int = 0) -> str:
        """Listen on 127.0.0.1; the base address. Port 0 takes any free one."""
        app = web.Application(middlewares=[self._count])
        app.add_routes([web.get(path, handler) for path, handler in self._routes()])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self.base_url

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests += 1
        return await handler(request)

    def _routes(self) -> list[tuple[str, Handler]]:
        return [
            ("/", self.front),
            ("/robots.txt", self.robots),
            ("/blog/rss.xml", self.rss),
            ("/digest/atom.xml", self.digest),
            ("/short/feed.json", self.short),
            ("/news/list", self.news_list),
            ("/news/{id}.html", self.news_page),
            ("/forum/list", self.forum_list),
            ("/forum/t/{id}.html", self.forum_page),
            ("/board/list", self.board_list),
            ("/board/{id}.html", self.board_page),
            ("/api/container/getIndex", self.container),
            ("/rest/findAlarm", self.find_alarm),
            ("/publish/alarm/{id}.html", self.alarm_page),
            ("/cap/index.html", self.cap_index),
            ("/cap/{id}.xml", self.cap),
            ("/private/rss.xml", self.rss),
            ("/closed/rss.xml", self.rss),
            ("/walled/feed", self.walled),
            ("/dead/rss.xml", self.dead),
        ]

    # -- what it is -----------------------------------------------------------------------------

    async def front(self, _: web.Request) -> web.Response:
        return web.Response(
            text=f"演练站点：{self.night.scenario.banner}", content_type="text/plain"
        )

    async def robots(self, request: web.Request) -> web.Response:
        if request.host.split(":")[0] == CLOSED_HOST:
            return web.Response(status=503, text="busy")
        return web.Response(text=ROBOTS)

    async def walled(self, _: web.Request) -> web.Response:
        return web.Response(status=432)

    async def dead(self, _: web.Request) -> web.Response:
        return web.Response(status=500, text="Internal Server Error")

    # -- feeds ----------------------------------------------------------------------------------

    async def rss(self, request: web.Request) -> web.Response:
        shown, following = self._page("rss_blog", request)
        now = self.clock.now()
        tag = _tag(shown)
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        body = pages.rss(
            shown, self.base_url, following, with_broken="page" not in request.query, now=now
        )
        return _xml(body, {"ETag": tag})

    async def digest(self, _: web.Request) -> web.Response:
        now = self.clock.now()
        silent = now >= self.night.start + SILENT_FROM
        shown = [] if silent else self.night.shown("news", now)[:PAGE]
        return _xml(pages.atom(shown, self.base_url), {})

    async def short(self, request: web.Request) -> web.Response:
        shown, following = self._page("jsonfeed", request)
        return web.json_response(pages.json_feed(shown, self.base_url, following))

    # -- list and detail pages --------------------------------------------------------------------

    async def news_list(self, request: web.Request) -> web.Response:
        shown, following = self._page("news", request)
        return _gbk(
            pages.listing("演练新闻", [pages.news_row(s) for s in shown], following, "gb2312")
        )

    async def news_page(self, request: web.Request) -> web.Response:
        return _gbk(pages.news_page(self._find("news", request)))

    async def forum_list(self, request: web.Request) -> web.Response:
        now = self.clock.now()
        everything = self.night.shown("forum", now)
        threads = [s for s in everything if not s.post.reply_to]
        # Like any forum: the thread with the newest answer stands first.
        threads.sort(
            key=lambda t: max([t.at, *(r.at for r in _replies(t, everything))]), reverse=True
        )
        shown, following = _cut(threads, request)
        rows = [pages.forum_row(s, len(_replies(s, everything)), now) for s in shown]
        return _html(pages.listing("演练论坛", rows, following, "utf-8"))

    async def forum_page(self, request: web.Request) -> web.Response:
        now = self.clock.now()
        first = self._find("forum", request)
        replies = _replies(first, self.night.shown("forum", now))
        return _html(pages.forum_page(first, replies[::-1], now))

    async def board_list(self, request: web.Request) -> web.Response:
        shown, following = self._page("board", request)
        return _html(
            pages.listing("演练留言板", [pages.board_row(s) for s in shown], following, "utf-8")
        )

    async def board_page(self, request: web.Request) -> web.Response:
        return _html(pages.board_page(self._find("board", request)))

    async def container(self, request: web.Request) -> web.Response:
        now = self.clock.now()
        shown = self.night.shown("weibo_like", now)
        if request.query.get("sort") == "hot":
            shown.sort(key=lambda s: s.counts(now).reposts, reverse=True)
        part, _ = _cut(shown, request)
        return web.json_response(pages.container(part, self.night, now))

    # -- warnings -------------------------------------------------------------------------------

    async def find_alarm(self, request: web.Request) -> web.Response:
        now = self.clock.now()
        rows = [pages.nmc_row(w, self.night) for w in self.night.warnings(now)]
        page, size = int(request.query.get("pageNo", 1)), int(request.query.get("pageSize", 20))
        return web.json_response(pages.nmc_answer(rows, page, size))

    async def alarm_page(self, request: web.Request) -> web.Response:
        found = self.night.warning(request.match_info["id"], self.clock.now())
        return _html(pages.nmc_page(_there(found)))

    async def cap_index(self, _: web.Request) -> web.Response:
        now = self.clock.now()
        return _html(pages.cap_index([self.night.alert_id(w) for w in self.night.warnings(now)]))

    async def cap(self, request: web.Request) -> web.Response:
        found = self.night.warning(request.match_info["id"], self.clock.now())
        return _xml(pages.cap(_there(found), self.night), {})

    # -- parts of answers -------------------------------------------------------------------------

    def _page(self, channel: str, request: web.Request) -> tuple[list[Shown], str]:
        return _cut(self.night.shown(channel, self.clock.now()), request)

    def _find(self, channel: str, request: web.Request) -> Shown:
        return _there(self.night.find(channel, request.match_info["id"], self.clock.now()))


def drill_sources(base_url: str, speed: float) -> list[Source]:
    """The sources of the drill on the replica at ``base_url``, those that go wrong included.

    Their periods are in drill time: the runner divides them by ``speed``.
    """
    port = urlsplit(base_url).port
    closed = f"http://{CLOSED_HOST}:{port}"
    often, seldom = POLL_S * speed, 10 * POLL_S * speed
    page_list = {"item": "ul.list > li", "link": "a::attr(href)", "title": "a::text",
                 "time": "span.date::text", "next": "a.next::attr(href)"}  # fmt: skip

    def source(name: str, spider: str, path: str, title: str, **more: object) -> Source:
        values: dict[str, object] = {"every_s": often, "pages": 12} | more
        return Source(
            name=f"drill-{name}",
            spider=spider,  # type: ignore[arg-type]
            url=path if path.startswith("http") else f"{base_url}{path}",
            title=f"演练·{title}",
            **values,  # type: ignore[arg-type]
        )

    return [
        source("weibo", "weibo", "/api/container/getIndex?page=1", "微博（实时）",
               platform="weibo_like", expect_per_hour=250, waiver="drill", pages=40),
        source("weibo-hot", "weibo", "/api/container/getIndex?sort=hot&page=1", "微博（热门）",
               platform="weibo_like", waiver="drill", pages=1),
        source("forum", "site", "/forum/list", "论坛", platform="forum", expect_per_hour=12,
               selectors=Selectors(
                   **page_list, body="div.post div.body", detail_title="div.post h1::text",
                   detail_time="div.post span.time::text", detail_author="div.post b.author::text",
                   detail_id="div.post::attr(data-id)", place="div.post span.place::text",
                   likes="div.post span.likes::text", views="div.post span.views::text",
                   reply="div.reply", reply_id="::attr(data-id)", reply_to="::attr(data-to)",
                   reply_body="div.words", reply_time="span.time::text",
                   reply_author="b.author::text")),
        source("board", "site", "/board/list", "市民留言板", platform="board", every_s=2 * often,
               selectors=Selectors(
                   **page_list, body="div.content", detail_title="div.letter h2::text",
                   detail_time="span.time::text", detail_author="span.author::text",
                   detail_id="div.letter::attr(data-id)")),
        source("news", "site", "/news/list", "本地新闻", platform="news", author_kind="media",
               selectors=Selectors(
                   **page_list, body="div.content", detail_title="h1::text",
                   detail_time="span.time::text", detail_author="span.from::text",
                   detail_id="div.source::attr(data-id)")),
        source("digest", "feed", "/digest/atom.xml", "新闻摘要（Atom）", platform="news",
               every_s=2 * often, author_kind="media"),
        source("blog", "feed", "/blog/rss.xml", "博客（RSS）", platform="rss_blog",
               every_s=2 * often),
        source("short", "feed", "/short/feed.json", "短讯（JSON Feed）", platform="jsonfeed"),
        source("nmc", "warning", "/rest/findAlarm?pageNo=1&pageSize=20", "预警列表",
               platform="warning", author_kind="government", empty_ok=True),
        source("cap", "warning", "/cap/index.html", "预警（CAP）", platform="warning",
               author_kind="government", empty_ok=True, accept_exercise=True),
        source("private", "feed", "/private/rss.xml", "不许采集的栏目", every_s=seldom),
        source("closed", "feed", f"{closed}/closed/rss.xml", "robots 出错的站点", every_s=seldom),
        source("walled", "feed", "/walled/feed", "要求登录的站点", every_s=seldom),
        source("dead", "feed", "/dead/rss.xml", "停机的站点", every_s=seldom),
    ]  # fmt: skip


def _replies(thread: Shown, everything: Sequence[Shown]) -> list[Shown]:
    """All answers below a thread, answers to answers included, newest first."""
    inside = {thread.post.id}
    found = []
    for s in reversed(everything):  # oldest first: an answer comes after what it answers
        if s.post.reply_to in inside:
            inside.add(s.post.id)
            found.append(s)
    return found[::-1]


def _cut(shown: Sequence[Shown], request: web.Request) -> tuple[list[Shown], str]:
    page = max(1, int(request.query.get("page", 1)))
    part = list(shown[(page - 1) * PAGE : page * PAGE])
    more = len(shown) > page * PAGE
    return part, f"{request.path}?page={page + 1}" if more else ""


def _there(found: T | None) -> T:
    if found is None:
        raise web.HTTPNotFound
    return found


def _tag(shown: Sequence[Shown]) -> str:
    names = "\0".join(s.post.id for s in shown)
    return f'"{hashlib.sha256(names.encode()).hexdigest()[:16]}"'


def _html(body: str) -> web.Response:
    return web.Response(text=body, content_type="text/html", charset="utf-8")


def _gbk(body: str) -> web.Response:
    """GBK bytes with a header that does not say so: the page's own meta must be believed."""
    data = body.encode("gbk", "xmlcharrefreplace")
    return web.Response(body=data, headers={"Content-Type": "text/html"})


def _xml(body: str, headers: dict[str, str]) -> web.Response:
    return web.Response(
        body=body.encode(), headers={"Content-Type": "application/xml; charset=utf-8", **headers}
    )


def drill_start(day: datetime, scenario: Scenario) -> datetime:
    """The instant of offset zero on the day (Beijing) of ``day``."""
    local = day.astimezone(BEIJING)
    return local.replace(hour=scenario.start_hour, minute=0, second=0, microsecond=0)
