"""Login over real HTTP, and one officer in a real browser."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import Page, Playwright, sync_playwright
from sqlalchemy import select, update

from pipeline.clock import WallClock
from pipeline.store import tables as t
from tests.dashboard import seed
from tests.dashboard.conftest import Parts, build, close

CHROMIUM = next(
    (p for p in ("chromium", "chromium-browser", "google-chrome") if shutil.which(p)), ""
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Parts]]:
    home = tmp_path_factory.mktemp("served")
    parts = build(home, WallClock())
    seed.fill(parts.store, parts.index, datetime.now(UTC), home, parts.rules)
    with parts.store.begin(datetime.now(UTC)) as tx:
        tx.conn.execute(update(t.users).where(t.users.c.name == "谭主任").values(must_change=True))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.dashboard.server", str(home), str(port)],
        cwd=Path(__file__).parents[2],
    )
    for _ in range(300):
        try:
            if ask(port, "GET", "/healthz").status == 200:
                break
        except OSError:
            time.sleep(0.1)
    yield port, parts
    server.terminate()
    server.wait(10)
    close(parts)


def ask(
    port: int,
    method: str,
    path: str,
    form: dict[str, str] | None = None,
    cookies: str = "",
    **headers: str,
) -> http.client.HTTPResponse:
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    sent = {"Cookie": cookies, **{k.replace("_", "-"): v for k, v in headers.items()}}
    body = urlencode(form) if form is not None else None
    if body is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    conn.request(method, quote(path, safe="/?=&%"), body, sent)
    return conn.getresponse()


def new_page(p: Playwright) -> Page:
    """A page of a real browser, which ends with ``p``."""
    browser = p.chromium.launch(executable_path=shutil.which(CHROMIUM), args=["--no-sandbox"])
    return browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()


def open_board(page: Page, port: int, name: str) -> None:
    """The board, opened by somebody of the seeded night."""
    page.goto(f"http://127.0.0.1:{port}/")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", seed.PASSWORD)
    page.click("button")


def form_token(port: int, path: str = "/login", cookies: str = "") -> tuple[str, str]:
    """The form's token and the cookie that it must equal."""
    answer = ask(port, "GET", path, cookies=cookies)
    page = answer.read().decode()
    cookie = next(c for c in answer.headers.get_all("Set-Cookie") if c.startswith("csrf="))
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found is not None
    return found[1], cookie.split(";")[0]


def log_in(port: int, name: str, password: str = seed.PASSWORD) -> http.client.HTTPResponse:
    token, cookie = form_token(port)
    form = {"token": token, "name": name, "password": password}
    return ask(port, "POST", "/login", form, cookie)


def sid_of(answer: http.client.HTTPResponse) -> str:
    cookie = next(c for c in answer.headers.get_all("Set-Cookie") if c.startswith("sid="))
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie
    return cookie.split(";")[0]


def test_a_stranger_is_sent_to_the_login(served: tuple[int, Parts]) -> None:
    port, _ = served
    answer = ask(port, "GET", "/events?id=7")
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=%2Fevents%3Fid%3D7")
    assert ask(port, "GET", "/_stcore/host-config").status == 401
    assert ask(port, "POST", "/").status == 401


def test_a_websocket_without_session_is_refused(served: tuple[int, Parts]) -> None:
    port, _ = served
    answer = ask(
        port,
        "GET",
        "/_stcore/stream",
        Connection="Upgrade",
        Upgrade="websocket",
        Sec_WebSocket_Version="13",
        Sec_WebSocket_Key="x3JJHMbDL1EzLkh9GBhXDw==",
    )
    assert answer.status == 403


def test_metrics_are_for_this_machine(served: tuple[int, Parts]) -> None:
    port, _ = served
    answer = ask(port, "GET", "/metrics")
    assert (answer.status, answer.headers["Content-Type"][:10]) == (200, "text/plain")
    text = answer.read().decode()
    assert 'tingfeng_engine_up{engine="store"} 1.0' in text
    assert ask(port, "GET", "/metrics", X_Forwarded_For="10.0.0.7").status == 403
    assert ask(port, "GET", "/metrics", Host="desk.example.cn").status == 403
    assert ask(port, "GET", "/metrics/").status == 303  # no other address leads there


def test_login_and_logout(served: tuple[int, Parts]) -> None:
    port, parts = served
    wrong = log_in(port, "覃核稿", "wrong")
    assert wrong.status == 401 and "不正确" in wrong.read().decode()
    right = log_in(port, "覃核稿")
    assert (right.status, right.headers["Location"]) == (303, "/")
    sid = sid_of(right)
    page = ask(port, "GET", "/", cookies=sid)
    assert page.status == 200 and "default-src 'self'" in page.headers["Content-Security-Policy"]
    token, csrf = form_token(port, "/logout", sid)
    out = ask(port, "POST", "/logout", {"token": token}, f"{sid}; {csrf}")
    assert out.headers["Location"] == "/login"
    assert ask(port, "GET", "/", cookies=sid).status == 303
    with parts.store.read() as conn:
        acts = conn.execute(select(t.audit.c.act, t.audit.c.after)).all()
    assert ("login", {"ok": False, "why": "password"}) in [tuple(a) for a in acts]


def test_a_login_from_another_site_is_refused(served: tuple[int, Parts]) -> None:
    port, _ = served
    form = {"token": "guess", "name": "李值班", "password": seed.PASSWORD}
    assert ask(port, "POST", "/login", form, "csrf=another").status == 403
    assert ask(port, "POST", "/login", form).status == 403


def test_the_first_login_leads_to_a_new_password(served: tuple[int, Parts]) -> None:
    port, _ = served
    first = log_in(port, "谭主任")
    assert first.headers["Location"] == "/password"
    sid = sid_of(first)
    assert ask(port, "GET", "/", cookies=sid).headers["Location"] == "/password"
    token, csrf = form_token(port, "/password", sid)
    new = "Yongjiang-2026-flood"
    form = {"token": token, "old": seed.PASSWORD, "new": new, "again": new}
    assert ask(port, "POST", "/password", form, f"{sid}; {csrf}").status == 303
    assert log_in(port, "谭主任", new).headers["Location"] == "/"


def test_an_unknown_host_name_and_a_foreign_next(served: tuple[int, Parts]) -> None:
    port, _ = served
    assert ask(port, "GET", "/login", Host="evil.example").status == 400
    token, cookie = form_token(port)
    form = {"token": token, "name": "莫签发", "password": seed.PASSWORD, "next": "//evil.example/"}
    assert ask(port, "POST", "/login", form, cookie).headers["Location"] == "/"


def test_an_address_that_the_role_does_not_have_leads_home(served: tuple[int, Parts]) -> None:
    port, _ = served
    sid = sid_of(log_in(port, "李值班"))
    for path in ("/admin", "/overview"):
        answer = ask(port, "GET", path + "?f=new", cookies=sid)
        assert (answer.status, answer.headers["Location"]) == (303, "/?f=new")
    assert ask(port, "GET", "/events", cookies=sid).status == 200


def test_the_portal_needs_no_login(served: tuple[int, Parts]) -> None:
    port, parts = served
    (parts.settings.portal_dir / "index.html").write_text("公开", encoding="utf-8")
    answer = ask(port, "GET", "/portal/")
    assert answer.status == 200 and answer.read().decode() == "公开"


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="NO CHROMIUM: the browser test did not run")
def test_an_officer_in_a_browser(served: tuple[int, Parts]) -> None:
    """Login, claim the rumour, open a case; half-typed text survives the live refresh."""
    port, parts = served
    dam = seed.fp("dam")
    with sync_playwright() as p:
        page = new_page(p)
        hosts: set[str] = set()
        page.on("request", lambda r: hosts.add(r.url.split("/")[2]) if "//" in r.url else None)
        open_board(page, port, "李值班")
        page.locator(f".st-key-act_alert_{dam} button").click()
        page.locator(f".st-key-act_alert_{dam} button", has_text="立单").wait_for()
        with parts.store.read() as conn:
            query = select(t.alerts.c.claimed_by).where(t.alerts.c.fingerprint == dam)
            assert conn.execute(query).scalar_one() == "李值班"
        page.locator(f".st-key-act_alert_{dam} button").click()
        page.get_by_text("研判理由").wait_for()
        box = page.get_by_label("研判理由")
        box.click()
        box.press_sequentially("涉及水库安全，正在核")
        before = page.locator(".tl .num").last.inner_text()
        page.wait_for_function(  # the live parts go on around the form
            "b => [...document.querySelectorAll('.tl .num')].pop().innerText !== b", arg=before
        )
        page.wait_for_timeout(6000)  # clocks and timeline refresh every 5 s
        assert box.input_value() == "涉及水库安全，正在核"
    assert {h.split(":")[0] for h in hosts} == {"127.0.0.1"}


@pytest.mark.skipif(not CHROMIUM, reason="NO CHROMIUM: the browser test did not run")
def test_the_keyboard_walks_the_list_and_stays_out_of_forms(served: tuple[int, Parts]) -> None:
    """J and K choose a row, A does what its main button does; what is typed is only text."""
    port, parts = served
    with parts.store.read() as conn:
        fresh = select(t.alerts.c.fingerprint).where(t.alerts.c.state == "new")
        waiting = set(conn.execute(fresh).scalars())
    with sync_playwright() as p:
        page = new_page(p)
        open_board(page, port, "周值班")
        page.get_by_text("待处理").wait_for()

        def step(key: str) -> str:
            page.locator('[data-test-script-state="notRunning"]').wait_for()
            before = page.url
            page.keyboard.press(key)
            page.wait_for_url(lambda url: url != before)
            return page.url.partition("sel=alert%3A")[2]

        chosen = next(row for row in (step("j") for _ in range(12)) if row in waiting)
        assert step("j") != chosen and step("k") == chosen
        page.get_by_text("暂挂：到时自动回来").click()
        reason = page.get_by_label("暂挂原因")
        reason.press_sequentially("ajke")
        reason.press("Tab")
        page.wait_for_timeout(1500)
        assert page.url.endswith(chosen) and reason.input_value() == "ajke"
        page.mouse.click(5, 990)
        page.keyboard.press("a")
        page.locator(f".st-key-act_alert_{chosen} button", has_text="立单").wait_for()
    with parts.store.read() as conn:
        query = select(t.alerts.c.claimed_by).where(t.alerts.c.fingerprint == chosen)
        assert conn.execute(query).scalar_one() == "周值班"
