"""The board's address while the board itself cannot open: it says what is missing, since when."""

from __future__ import annotations

import threading
from datetime import datetime
from types import TracebackType

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from dashboard.away_page import AGAIN_S, away_page
from dashboard.outage import NAMES
from pipeline.errors import NotNow, StoreBusy
from pipeline.settings import Settings

log = structlog.get_logger("board")


class Placeholder:
    """A server in a thread that answers every request with the same page, as 503."""

    def __init__(self, settings: Settings) -> None:
        self._page = ""
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])
        self._server = uvicorn.Server(
            uvicorn.Config(app, host=settings.host, port=settings.port, log_level="warning",
                           timeout_graceful_shutdown=1)
        )  # fmt: skip
        self._thread = threading.Thread(target=self._serve, name="placeholder", daemon=True)

    def say(self, error: NotNow, since: datetime) -> None:
        """Why the board cannot open."""
        what = NAMES["store" if isinstance(error, StoreBusy) else "bus"]
        self._page = away_page(what, since)

    def __enter__(self) -> Placeholder:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _serve(self) -> None:
        try:
            self._server.run()
        except SystemExit:  # how uvicorn says that the port is taken
            log.warning("the page that says so cannot be shown")

    async def _answer(self, _request: Request) -> HTMLResponse:
        return HTMLResponse(self._page, status_code=503, headers={"retry-after": str(AGAIN_S)})
