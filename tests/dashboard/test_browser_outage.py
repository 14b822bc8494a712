"""The three servers die and hang under an officer's eyes: real servers, a real browser."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, sync_playwright
from sqlalchemy import select

from dashboard.outage import LINES
from pipeline.app import App, build
from pipeline.settings import load_settings
from pipeline.store import tables as t
from pipeline.supervisor import Supervisor, part_command
from tests.dashboard import seed
from tests.dashboard.test_login import CHROMIUM, ask, new_page, open_board
from tests.distributed import Servers, settings_lines, three_servers
from tests.engines import OwnEngine, free_port, unique
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.engines,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="NO CHROMIUM: the browser test did not run"),
]

SAID_S = 10.0  # so soon the board says that a server is away
HANGS_S = 15.0  # a database that hangs is said within 6 to 8 s on a quiet machine
GONE_S = 40.0  # a part looks for a server that was away every 30 s at least
NAMES = {"es": "帖文检索", "kafka": "消息通道", "pg": "数据库"}
PAGES = ("总览", "事件", "求助", "处置", "谣言库", "复盘")
ENGLISH = re.compile(r"[a-z]{4,}", re.I)
DAM = f".st-key-act_alert_{seed.fp('dam')}"


@pytest.fixture(scope="module")
def servers(own_engine: OwnEngine) -> Servers:
    return three_servers(own_engine)


@pytest.fixture(scope="module")
def product(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A seeded desk on the servers."""
    home = tmp_path_factory.mktemp("product")
    lines = settings_lines(servers, unique("b"), port=free_port())
    (home / "tingfeng.toml").write_text(lines, "utf-8")
    app = build(load_settings(home))
    seed.fill(app.store, app.index, datetime.now(UTC), home, app.rules)
    with app.store.begin(datetime.now(UTC)) as tx:
        tx.conn.execute(t.heartbeats.delete())  # of parts that do not run here
    yield app
    app.close()


@pytest.fixture(scope="module")
def parts(product: App) -> Iterator[Supervisor]:
    home = product.settings.home
    commands = {name: part_command(name, home) for name in ("board", "desk", "annotate")}
    supervisor, stop = Supervisor(commands, home / "log"), threading.Event()
    supervisor.start()
    thread = threading.Thread(target=supervisor.run, args=(stop,))
    thread.start()
    yield supervisor
    stop.set()
    thread.join(30)


@pytest.fixture(scope="module")
def page(product: App, parts: Supervisor) -> Iterator[Page]:
    """The board, open before an officer."""
    port = product.settings.port
    wait_for(lambda: is_up(port), "the board is up", 60)
    with sync_playwright() as p:
        page = new_page(p)
        open_board(page, port, "李值班")
        page.locator(".tl").wait_for()
        yield page


def is_up(port: int) -> bool:
    try:
        return ask(port, "GET", "/healthz").status == 200
    except OSError:
        return False


def top_line(page: Page) -> str:
    """What stands on top, whatever it is at the moment."""
    return " ".join(page.locator("body").inner_text()[:400].split())


def is_said(page: Page, victim: str) -> bool:
    """As 帖文检索 16:10:03 起无应答."""
    said = rf"{NAMES[victim]} \d\d:\d\d(:\d\d)? 起(无应答|应答迟缓)"
    return re.search(said, top_line(page)) is not None


def is_well(page: Page) -> bool:
    """The top line is there and names no server."""
    line = top_line(page)
    return "听风" in line and not re.search("起无应答|应答迟缓|后台尚未", line)


def visit_all(page: Page) -> None:
    """Every page opens: its frame is there and nothing on it failed."""
    for name in PAGES:
        page.locator(".st-key-nav").get_by_text(name, exact=True).click()
        page.locator(".st-key-nav strong", has_text=name).wait_for()
        page.wait_for_timeout(200)
        alerts = [a.inner_text() for a in page.locator("[data-testid=stAlert]").all()]
        assert set(alerts) <= set(LINES.values()), (name, alerts)
        line = page.locator(".tl").first.inner_text()
        assert not ENGLISH.search(line), line
    page.locator(".st-key-nav").get_by_text("总览", exact=True).click()


def claim(page: Page, app: App) -> None:
    """An alert on the first page is taken."""
    page.locator(f"{DAM} button", has_text="认领").click()
    page.locator(f"{DAM} button", has_text="立单").wait_for()
    with app.store.read() as conn:
        query = select(t.alerts.c.claimed_by).where(t.alerts.c.event_id == seed.eid("dam"))
        assert conn.execute(query).scalar_one() == "李值班"


def open_case(page: Page, app: App) -> None:
    """The alert that was taken becomes a case."""
    page.locator(f"{DAM} button", has_text="立单").click()
    page.get_by_text("研判理由").wait_for()
    with app.store.read() as conn:
        query = select(t.cases.c.owner).where(t.cases.c.event_id == seed.eid("dam"))
        assert conn.execute(query).scalar_one() == "李值班"


@contextmanager
def killed(victim: str, servers: Servers, page: Page) -> Iterator[None]:
    """SIGKILL, which the board says soon; afterwards started again, which it notices too."""
    servers[victim].kill()
    wait_for(lambda: is_said(page, victim), f"the board says that {victim} is away", SAID_S)
    yield
    servers[victim].start(keep=True)
    wait_for(lambda: is_well(page), f"the board takes {victim} back", GONE_S)


@contextmanager
def frozen(victim: str, servers: Servers, page: Page) -> Iterator[None]:
    """SIGSTOP: connections stay open and nothing answers."""
    servers[victim].freeze()
    try:
        wait_for(lambda: is_said(page, victim), f"the board says that {victim} hangs", HANGS_S)
        yield
    finally:
        servers[victim].thaw()
    wait_for(lambda: not is_said(page, victim), f"the board takes {victim} back", GONE_S)


def test_without_the_index_an_alert_is_claimed(servers: Servers, page: Page, product: App) -> None:
    posts = f"http://127.0.0.1:{product.settings.port}/events?m=posts"
    with killed("es", servers, page):
        visit_all(page)
        claim(page, product)
        page.goto(posts)
        page.get_by_text(LINES["index"]).wait_for()
    page.goto(posts)
    page.locator(".post").first.wait_for()


def test_without_the_bus_a_case_is_opened_and_no_part_ends(
    servers: Servers, page: Page, product: App, parts: Supervisor
) -> None:
    before = dict(parts.pids())
    page.goto(f"http://127.0.0.1:{product.settings.port}/")
    with killed("kafka", servers, page):
        open_case(page, product)
    assert parts.pids() == before


def test_without_the_database_one_line_until_it_is_back(
    servers: Servers, page: Page, product: App
) -> None:
    with killed("pg", servers, page):
        page.goto(f"http://127.0.0.1:{product.settings.port}/cases")
        page.get_by_text("恢复后本页自动打开").wait_for()
    page.locator(".st-key-nav strong", has_text="处置").wait_for()


def test_servers_that_hang_hold_up_no_page(servers: Servers, page: Page) -> None:
    with frozen("es", servers, page), frozen("kafka", servers, page):
        began = time.monotonic()
        visit_all(page)
        assert time.monotonic() - began < 3 * len(PAGES)


def test_a_database_that_hangs_is_said(servers: Servers, page: Page) -> None:
    with frozen("pg", servers, page):
        pass
    wait_for(lambda: is_well(page), "the page is back", GONE_S)
