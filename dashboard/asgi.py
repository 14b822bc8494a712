"""The board as one ASGI application: login pages, the gate, the public portal, Streamlit.

    uvicorn.run(make_app(build(settings)), host=settings.host, port=settings.port)

Everything but the login pages, the portal and ``/healthz`` needs a session: a page without one
is sent to ``/login``, anything else gets 401, a websocket 403. ``/metrics`` is for Prometheus: with
the token of the settings, or without one from this machine only. Inside, every rerun looks the
session up again, because a websocket outlives a revoked role.
"""

from __future__ import annotations

import gc
import hmac
from collections.abc import Iterable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import streamlit as st
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard import board, theme  # board: what is heavy is loaded before the freeze
from dashboard.auth import SID, Auth, Session
from dashboard.away_page import away_page
from dashboard.context import Desk, Parts, install
from dashboard.outage import NAMES
from pipeline.errors import NotNow
from pipeline.metrics import CONTENT_TYPE, Scrape

log = structlog.get_logger("board")

SCRIPT = Path(__file__).with_name("app.py")
OPEN_PATHS = ("/login", "/logout", "/password", "/healthz", "/theme")
OPEN_TREES = ("/portal/", "/assets/")
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
METRICS = "/metrics"
PROXY_MARKS = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")

CSP = "; ".join(
    (
        "default-src 'self'",
        # Streamlit's page has inline scripts, and Vega compiles its expressions
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'self'",
        "object-src 'none'",
    )
)
HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
)


class Gate:
    """Lets in whom we know, to the host names we answer to. Pure ASGI: websockets pass here too."""

    def __init__(
        self, app: ASGIApp, auth: Auth, hosts: Iterable[str], metrics_token: str = ""
    ) -> None:
        self.app = app
        self.auth = auth
        self.metrics_token = metrics_token
        self.hosts = frozenset((*LOCAL_HOSTS, *hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {k.lower(): v.decode("latin-1") for k, v in scope["headers"]}
        host = headers.get(b"host", "")
        if scope["path"] == METRICS and scope["type"] == "http":
            await self._metrics(scope, receive, send, headers)
            return
        if _name(host) not in self.hosts:
            await _refuse(
                scope, receive, send, 400, "未知的主机名：请联系系统管理员设置 allowed_hosts"
            )
            return
        path = scope["path"]
        if path == "/portal":
            await RedirectResponse("/portal/", status_code=308)(scope, receive, send)
            return
        if path in OPEN_PATHS or path.startswith(OPEN_TREES):
            try:
                await self.app(scope, receive, _with_headers(send))
            except NotNow as error:
                await self._away(scope, receive, send, error)
            return
        if scope["type"] == "websocket" and not _same_origin(headers, host):
            await _refuse(scope, receive, send, 403, "来源不符")
            return
        try:
            session = await run_in_threadpool(self._session, _cookie(headers, SID))
        except NotNow as error:
            await self._away(scope, receive, send, error)
            return
        if session is None:
            await self._send_away(scope, receive, send, "/login", path)
        elif session.must_change:
            await self._send_away(scope, receive, send, "/password", path)
        elif scope["type"] == "http" and not board.has_address(session.actor, path):
            # Streamlit would open an English “Page not found” over the first page
            query = scope["query_string"].decode("latin-1")
            target = "/" + (f"?{query}" if query else "")
            await RedirectResponse(target, status_code=303)(scope, receive, send)
        else:
            await self.app(scope, receive, _with_headers(send))

    def _session(self, sid: str) -> Session | None:
        desk = self.auth.desk
        desk.watch.need_store(desk.now())
        return self.auth.session(sid)

    async def _away(self, scope: Scope, receive: Receive, send: Send, error: NotNow) -> None:
        desk = self.auth.desk
        since = desk.watch.failed("store", desk.now(), error)
        if _is_page(scope):
            page = HTMLResponse(away_page(NAMES["store"], since), status_code=503)
            await page(scope, receive, send)
        else:
            await _refuse(scope, receive, send, 503, "数据库无应答，恢复后自动可用")

    async def _metrics(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, str]
    ) -> None:
        """Prometheus reaches us by any name, so its token stands for the check of the host."""
        token = self.metrics_token
        if token:
            given = headers.get(b"authorization", "")
            if not hmac.compare_digest(given.encode("latin-1"), f"Bearer {token}".encode()):
                await _refuse(scope, receive, send, 401, "metrics_token is asked for, as Bearer")
                return
        elif not _is_from_here(scope, headers):
            await _refuse(
                scope, receive, send, 403, "only this machine may read this; or set metrics_token"
            )
            return
        await self.app(scope, receive, _with_headers(send))

    async def _send_away(
        self, scope: Scope, receive: Receive, send: Send, to: str, path: str
    ) -> None:
        if _is_page(scope):
            query = scope["query_string"].decode("latin-1")
            back = path + (f"?{query}" if query else "")
            target = to if to != "/login" or back == "/" else f"/login?next={quote(back, safe='')}"
            await RedirectResponse(target, status_code=303)(scope, receive, send)
        else:
            code = 403 if scope["type"] == "websocket" else 401
            await _refuse(scope, receive, send, code, "请先登录")


def _is_page(scope: Scope) -> bool:
    """Something that a person opened, not a piece of a page."""
    parts = ("/_stcore", "/static", "/media", "/component", "/healthz")
    return (
        scope["type"] == "http" and scope["method"] == "GET" and not scope["path"].startswith(parts)
    )


async def _refuse(scope: Scope, receive: Receive, send: Send, code: int, text: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # the connect; closing before accepting answers 403
        await send({"type": "websocket.close", "code": 1008})
    else:
        await PlainTextResponse(text, status_code=code)(scope, receive, send)


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {k.lower() for k, _ in message.get("headers", ())}
            extra = [(k, v) for k, v in HEADERS if k not in given]
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await send(message)

    return sender


def _name(host: str) -> str:
    """The host name of a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _is_from_here(scope: Scope, headers: dict[bytes, str]) -> bool:
    """From this machine, under a local name, and not by way of a proxy that runs on it."""
    is_local = False
    with suppress(ValueError):
        is_local = ip_address((scope["client"] or ("",))[0]).is_loopback
    named = _name(headers.get(b"host", "")) in LOCAL_HOSTS
    return is_local and named and not any(mark in headers for mark in PROXY_MARKS)


def _same_origin(headers: dict[bytes, str], host: str) -> bool:
    origin = headers.get(b"origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def _cookie(headers: dict[bytes, str], name: str) -> str:
    try:
        morsel = SimpleCookie(headers.get(b"cookie", "")).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _routes(desk: Desk, auth: Auth) -> list[BaseRoute]:
    html = files("dashboard").joinpath("html")

    async def healthz(_request: Request) -> Response:
        try:
            await run_in_threadpool(desk.store.ping)
        except NotNow:
            return JSONResponse({"ok": False, "store": "not answering"}, status_code=503)
        return JSONResponse({"ok": True})

    async def asset(request: Request) -> Response:
        kinds = {"login.css": "text/css", "theme.js": "text/javascript"}
        name = request.path_params["name"]
        if name not in kinds:
            return PlainTextResponse("没有这个文件", status_code=404)
        return Response(html.joinpath(name).read_bytes(), media_type=kinds[name])

    async def theme_page(_request: Request) -> Response:
        body = '<!doctype html><meta charset="utf-8"><script src="/assets/theme.js"></script>'
        return Response(body, media_type="text/html")

    scrape = Scrape(desk.parts)

    async def metrics(_request: Request) -> Response:
        return Response(await run_in_threadpool(scrape.text), media_type=CONTENT_TYPE)

    desk.settings.portal_dir.mkdir(parents=True, exist_ok=True)
    return [
        Route("/login", auth.login, methods=["GET", "POST"]),
        Route("/logout", auth.logout, methods=["GET", "POST"]),
        Route("/password", auth.password, methods=["GET", "POST"]),
        Route("/healthz", healthz),
        Route("/theme", theme_page),
        Route(METRICS, metrics),
        Route("/assets/{name}", asset),
        Mount("/portal", StaticFiles(directory=desk.settings.portal_dir, html=True)),
    ]


def _on_error(error: Exception) -> bool:
    """Log the kind and place of an error, never its text: it may quote a post."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = (
        f"{frame.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.tb_lineno}" if frame else ""
    )
    log.error("a page failed", error=type(error).__name__, where=where)
    st.error("这一部分暂时打不开，其他部分不受影响。请刷新；仍不行请联系系统管理员查看日志。")
    return True


def make_app(parts: Parts) -> ASGIApp:
    """The application of one product. Call once per process: Streamlit keeps its script global."""
    theme.apply_options()
    desk = install(parts)
    auth = Auth(desk)

    app: Any = st.App(
        SCRIPT,
        routes=_routes(desk, auth),
        middleware=[
            Middleware(
                Gate,
                auth=auth,
                hosts=desk.settings.allowed_hosts,
                metrics_token=desk.settings.metrics_token.get_secret_value(),
            )
        ],
        on_script_error=_on_error,
    )
    # Streamlit collects garbage after every rerun; what is loaded by now never becomes garbage,
    # and looking at it again and again took 70 % of the server's time.
    gc.collect()
    gc.freeze()
    return app  # type: ignore[no-any-return]
