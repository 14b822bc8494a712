"""Login, logout, change of password: plain pages before any Streamlit, and the session behind them.

The cookie holds a random session id; the store keeps only its hash. Passwords are checked off the
event loop (argon2 takes about 130 ms). The login form carries its own token: it must equal the
one in an HttpOnly cookie, so another site cannot log an officer in as somebody else.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl

import structlog
from jinja2 import Environment
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dashboard.context import Desk
from pipeline.desk import users
from pipeline.domain.rights import Actor, Role
from pipeline.errors import DeskError, NotNow

log = structlog.get_logger("board")

SID, CSRF = "sid", "csrf"
BODY_LIMIT = 8_192
TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
TRIES, WINDOW_S = 20, 300.0
"""Failed logins from one address before it must wait; each account has its own lock besides."""

_env = Environment(autoescape=True)


def _page(file: str, **values: Any) -> str:
    text = files("dashboard").joinpath("html").joinpath(file).read_text(encoding="utf-8")
    return _env.from_string(text).render(**values)


@dataclass
class Tries:
    """Failed tries by network address, in memory: forgetting them at a restart is no harm."""

    failed: dict[str, deque[float]] = field(default_factory=dict)

    def too_many(self, origin: str) -> bool:
        tries = self.failed.get(origin)
        while tries and monotonic() - tries[0] > WINDOW_S:
            tries.popleft()
        if tries is not None and not tries:
            del self.failed[origin]
        return bool(tries) and len(tries or ()) >= TRIES

    def note(self, origin: str) -> None:
        if len(self.failed) > 10_000:
            self.failed.clear()
        self.failed.setdefault(origin, deque()).append(monotonic())


@dataclass(frozen=True, slots=True)
class Session:
    """Who is behind a cookie. ``must_change``: nothing else opens before a new password."""

    sid: str
    actor: Actor
    must_change: bool


class Auth:
    """The pages of login and the look-up of sessions."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.tries = Tries()

    def session(self, sid: str) -> Session | None:
        """The living session of a cookie, None when it is unknown, ended or its user disabled."""
        return find_session(self.desk, sid)

    # ---- pages --------------------------------------------------------------------------

    async def login(self, request: Request) -> Response:
        if request.method != "POST":
            return self._form(request)
        form = await _form_of(request)
        if form is None:
            return HTMLResponse("表单过大", status_code=413)
        if not _token_fits(request, form):
            return self._form(request, "页面已过期，请重新填写后登录。", form, status=403)
        origin = _origin(request)
        if self.tries.too_many(origin):
            return self._form(request, "尝试次数过多，请 5 分钟后再试。", form, status=429)
        name, password = form.get("name", "").strip(), form.get("password", "")
        try:
            sid, must_change = await run_in_threadpool(self._log_in, name, password, origin)
        except DeskError as error:
            self.tries.note(origin)
            log.info("login refused", origin=origin)
            return self._form(request, str(error), form, status=401)
        except NotNow:
            log.warning("login not possible: the store does not answer")
            return self._form(request, "数据库暂时不可用，请稍后重试。", form, status=503)
        target = "/password" if must_change else _safe_next(form.get("next", ""))
        response = RedirectResponse(target, status_code=303)
        self._set_cookie(response, SID, sid)
        return response

    async def logout(self, request: Request) -> Response:
        """A question first when asked by a link from elsewhere; done on POST with the token."""
        sid = request.cookies.get(SID, "")
        if request.method != "POST":
            session = await run_in_threadpool(self.session, sid)
            if session is None:
                return RedirectResponse("/login", status_code=303)
            token = _token(request)
            body = _page("logout.html", token=token, name=session.actor.name)
            response: Response = HTMLResponse(body)
            self._set_cookie(response, CSRF, token)
            return response
        form = await _form_of(request)
        if form is None or not _token_fits(request, form):
            return HTMLResponse("页面已过期，请返回重试", status_code=403)
        await run_in_threadpool(self._log_out, sid)
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(SID)
        return response

    async def password(self, request: Request) -> Response:
        """Change of one's own password; forced at the first login."""
        sid = request.cookies.get(SID, "")
        session = await run_in_threadpool(self.session, sid)
        if session is None:
            return RedirectResponse("/login", status_code=303)
        if request.method != "POST":
            return self._password_form(request, session)
        form = await _form_of(request)
        if form is None or not _token_fits(request, form):
            return self._password_form(request, session, "页面已过期，请重新填写。", status=403)
        if form.get("new", "") != form.get("again", ""):
            return self._password_form(request, session, "两次输入的新密码不一致。", status=400)
        try:
            await run_in_threadpool(
                self._change, session.actor, form.get("old", ""), form.get("new", "")
            )
        except DeskError as error:
            return self._password_form(request, session, str(error), status=400)
        except NotNow:
            return self._password_form(
                request, session, "数据库暂时不可用，请稍后重试。", status=503
            )
        # a password change ends the person's sessions: log in again with the new one
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(SID)
        return response

    # ---- parts --------------------------------------------------------------------------

    def _log_in(self, name: str, password: str, origin: str) -> tuple[str, bool]:
        store = self.desk.store
        user = users.authenticate(store, self.desk.now(), name, password, origin)
        with store.begin(_wall()) as tx:
            hours = self.desk.settings.session_hours
            return users.open_session(tx, user["id"], hours=hours, origin=origin), user[
                "must_change"
            ]

    def _log_out(self, sid: str) -> None:
        with self.desk.store.begin(self.desk.now()) as tx:
            users.close_session(tx, sid)

    def _change(self, actor: Actor, old: str, new: str) -> None:
        users.change_password(self.desk.store, self.desk.now(), actor, old, new)

    def _form(
        self,
        request: Request,
        error: str = "",
        form: dict[str, str] | None = None,
        status: int = 200,
    ) -> Response:
        token = _token(request)
        following = (form or {}).get("next") or request.query_params.get("next", "")
        body = _page(
            "login.html",
            bureau=self.desk.settings.bureau,
            drill=self.desk.is_drill,
            token=token,
            error=error,
            name=(form or {}).get("name", ""),
            next=_safe_next(following),
        )
        response = HTMLResponse(body, status_code=status)
        self._set_cookie(response, CSRF, token)
        return response

    def _password_form(
        self, request: Request, session: Session, error: str = "", status: int = 200
    ) -> Response:
        token = _token(request)
        body = _page(
            "password.html",
            token=token,
            error=error,
            name=session.actor.name,
            forced=session.must_change,
        )
        response = HTMLResponse(body, status_code=status)
        self._set_cookie(response, CSRF, token)
        return response

    def _set_cookie(self, response: Response, key: str, value: str) -> None:
        settings = self.desk.settings
        response.set_cookie(
            key,
            value,
            max_age=int(settings.session_hours * 3600),
            httponly=True,
            samesite="lax",
            secure=settings.secure_cookies,
            path="/",
        )


def find_session(desk: Desk, sid: str) -> Session | None:
    """The living session behind an id, read anew each time; None when it ended.

    Sessions run on wall time, also in a drill whose clock runs sixty times as fast.
    """
    with desk.store.read() as conn:
        user = users.session_user(conn, sid, _wall(), idle_minutes=desk.settings.idle_minutes)
    if user is None:
        return None
    actor = Actor(user["id"], user["name"], Role(user["role"]), user["office"], user["origin"])
    return Session(sid, actor, user["must_change"])


def still_here(desk: Desk, sid: str) -> None:
    """Somebody clicked: the idle time starts anew. Written once a minute at most."""
    with desk.store.begin(_wall()) as tx:
        users.touch_session(tx, sid)


def _wall() -> datetime:
    return datetime.now(UTC)


async def _form_of(request: Request) -> dict[str, str] | None:
    """The fields of an urlencoded form; None when the body is larger than a login can be."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            return None
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _token(request: Request) -> str:
    """The browser's token, or a new one. A second page (or the icon, which leads to the login
    too) must not make the form in the first one stale."""
    kept = request.cookies.get(CSRF, "")
    return kept if TOKEN.fullmatch(kept) else secrets.token_urlsafe(24)


def _token_fits(request: Request, form: dict[str, str]) -> bool:
    sent, kept = form.get("token", ""), request.cookies.get(CSRF, "")
    return bool(kept) and hmac.compare_digest(sent.encode(), kept.encode())


def _origin(request: Request) -> str:
    return request.client.host if request.client else ""


def _safe_next(target: str) -> str:
    """A page of ours, never another host: ``//evil`` and ``/\\evil`` are addresses too."""
    ours = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if ours and all(c.isprintable() for c in target) else "/"
