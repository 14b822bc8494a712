"""A small real web server for tests, and a desk that keeps what crawls hand in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from crawlers.health import SourceRun
from crawlers.runner import Crawl
from crawlers.sources import Source
from pipeline.domain.claim_review import ReviewedClaim
from pipeline.domain.post import FetchedPost, Unreadable
from pipeline.domain.warning import OfficialWarning
from pipeline.errors import NotNow

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)  # 10:00 in Beijing


@dataclass
class FixedClock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class Desk:
    """``busy``: how many hand-overs are refused with "not now" before the door opens."""

    posts: list[FetchedPost] = field(default_factory=list)
    pieces: list[Unreadable] = field(default_factory=list)
    warnings: list[OfficialWarning] = field(default_factory=list)
    claims: list[ReviewedClaim] = field(default_factory=list)
    runs: list[SourceRun] = field(default_factory=list)
    busy: int = 0

    def _door(self) -> None:
        if self.busy > 0:
            self.busy -= 1
            raise NotNow("busy; try again")

    def accept(self, posts: Sequence[FetchedPost]) -> None:
        self._door()
        self.posts.extend(posts)

    def refuse(self, pieces: Sequence[Unreadable]) -> None:
        self.pieces.extend(pieces)

    def warn(self, warnings: Sequence[OfficialWarning]) -> None:
        self.warnings.extend(warnings)

    def learn(self, claims: Sequence[ReviewedClaim]) -> None:
        self.claims.extend(claims)

    def record(self, run: SourceRun) -> None:
        self.runs.append(run)


@dataclass
class Answer:
    """What a path answers with. ``body`` may be bytes or text."""

    body: str | bytes = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Replica:
    """Serves ``pages`` (path with query -> answer) and remembers who asked for what."""

    pages: Mapping[str, Answer | str | bytes]
    robots: Answer = field(default_factory=lambda: Answer(status=404))
    base: str = ""
    asked: list[tuple[str, dict[str, str], float]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        loop = asyncio.get_running_loop()
        self.asked.append((request.path_qs, dict(request.headers), loop.time()))
        if request.path == "/robots.txt":
            answer = self.robots
        else:
            found = self.pages.get(request.path_qs, Answer(status=404))
            answer = found if isinstance(found, Answer) else Answer(found)
        tag = answer.headers.get("ETag")
        if tag and request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        body = body.replace(b"BASE", self.base.encode())
        headers = {"Content-Type": "text/html"} | answer.headers
        return web.Response(body=body, status=answer.status, headers=headers)

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]

    @asynccontextmanager
    async def open(self) -> Any:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


def crawl(
    replica: Replica, spider: str, path: str, *, times: int = 1, desk: Desk | None = None,
    between: Any = None, speed: float = 60, **more: Any,
) -> Desk:  # fmt: skip
    """Visit one source of the replica ``times`` times; ``between(replica)`` before each repeat."""
    desk = desk or Desk()

    async def run() -> None:
        async with replica.open():
            source = Source(name="test", spider=spider, url=replica.base + path, every_s=60, **more)  # type: ignore[arg-type]
            visits = Crawl(
                [source], desk, desk, FixedClock(), contact="me@example.org", speed=speed
            )
            for number in range(times):
                if number and between is not None:
                    between(replica)
                await visits.visit(source)

    asyncio.run(run())
    return desk
