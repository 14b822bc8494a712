"""Manners, over real HTTP: robots.txt, Crawl-delay, the user agent, and taking a no for a no."""

from __future__ import annotations

import asyncio
import socket
from itertools import pairwise

import pytest

from crawlers.politeness import is_private, is_wall
from crawlers.runner import crawl_once
from crawlers.sources import Selectors, Source
from tests.unit.crawlers.replica import Answer, Desk, FixedClock, Replica, crawl

RSS = (
    '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel><title>t</title>'
    "<item><guid>1</guid><title>雨</title><pubDate>Tue, 24 Nov 2026 09:00:00 +0800</pubDate>"
    "</item></channel></rss>"
)


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_missing_robots_txt_lets_us_in(status: int) -> None:
    replica = Replica({"/rss": RSS}, robots=Answer(status=status))
    assert len(crawl(replica, "feed", "/rss").posts) == 1


@pytest.mark.parametrize("status", [500, 503])
def test_a_broken_robots_txt_keeps_us_out(status: int) -> None:
    replica = Replica({"/rss": RSS}, robots=Answer("User-agent: *\nAllow: /", status=status))
    desk = crawl(replica, "feed", "/rss")
    assert desk.posts == []
    assert "/rss" not in replica.paths
    assert (desk.runs[0].state, desk.runs[0].reason) == (
        "refused", f"robots.txt 返回 {status}，按不允许处理",
    )  # fmt: skip


def test_a_forbidden_path_is_not_asked_for() -> None:
    replica = Replica({"/in/rss": RSS}, robots=Answer("User-agent: Tingfeng\nDisallow: /in/"))
    desk = crawl(replica, "feed", "/in/rss")
    assert set(replica.paths) == {"/robots.txt"}
    assert desk.runs[0].refused


def test_where_nobody_listens_the_source_fails() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        source = Source("gone", "feed", f"http://127.0.0.1:{held.getsockname()[1]}/rss", 60)
        desk = Desk()
        (run,) = asyncio.run(crawl_once([source], desk, desk, FixedClock(), speed=60))
    assert (run.state, run.items) == ("failing", 0)
    assert run.reason == "连不上，robots.txt 也取不到"


def test_the_user_agent_says_who_we_are_and_whom_to_write_to() -> None:
    replica = Replica({"/rss": RSS})
    crawl(replica, "feed", "/rss")
    for _, headers, _ in replica.asked:
        assert headers["User-Agent"].startswith("Tingfeng/")
        assert "me@example.org" in headers["User-Agent"]
        assert "Cookie" not in headers


def test_crawl_delay_is_kept_at_every_visit() -> None:
    rows = "".join(f'<li><a href="/d{n}">t</a></li>' for n in range(2))
    pages = {"/list": f"<ul>{rows}</ul>"} | {f"/d{n}": "<p>雨</p>" for n in range(2)}
    replica = Replica(pages, robots=Answer("User-agent: *\nCrawl-delay: 0.3"))
    selectors = Selectors(item="li", link="a::attr(href)")

    def changed(replica: Replica) -> None:
        replica.pages = pages | {"/list": f"<ul>{rows.replace('>t<', '>u<')}</ul>"}
        replica.asked.clear()

    crawl(replica, "site", "/list", speed=1, selectors=selectors, times=2, between=changed)
    assert "/robots.txt" not in replica.paths  # its rules are remembered
    asked = [at for _, _, at in replica.asked]
    assert len(asked) == 3
    assert min(b - a for a, b in pairwise(asked)) > 0.28


@pytest.mark.parametrize("status", [401, 403, 418, 432, 461])
def test_a_no_is_refused_at_once_and_never_no_result(status: int) -> None:
    replica = Replica({"/rss": Answer(status=status)})
    desk = crawl(replica, "feed", "/rss")
    assert replica.paths.count("/rss") == 1  # not asked again
    run = desk.runs[0]
    assert (run.state, run.http_status, run.empty_suspicious) == ("refused", status, False)
    assert str(status) in run.reason


def test_429_is_asked_again_and_then_refused() -> None:
    replica = Replica({"/rss": Answer(status=429, headers={"Retry-After": "1"})})
    desk = crawl(replica, "feed", "/rss")
    assert replica.paths.count("/rss") == 2
    assert desk.runs[0].state == "refused"


def test_429_with_a_long_wait_is_not_asked_again() -> None:
    replica = Replica({"/rss": Answer(status=429, headers={"Retry-After": "3600"})})
    desk = crawl(replica, "feed", "/rss")
    assert replica.paths.count("/rss") == 1
    assert desk.runs[0].state == "refused"


def test_a_redirect_to_a_login_is_not_followed() -> None:
    replica = Replica({"/rss": Answer(status=302, headers={"Location": "/sso/signin?r=1"})})
    desk = crawl(replica, "feed", "/rss")
    assert "/sso/signin?r=1" not in replica.paths
    assert desk.runs[0].state == "refused"


def test_a_captcha_page_with_200_is_a_refusal() -> None:
    replica = Replica({"/rss": "<html><title>百度安全验证</title></html>"})
    assert crawl(replica, "feed", "/rss").runs[0].state == "refused"


def test_server_errors_fail_after_a_retry() -> None:
    replica = Replica({"/rss": Answer(status=500)})
    run = crawl(replica, "feed", "/rss").runs[0]
    assert replica.paths.count("/rss") == 2
    assert (run.state, run.http_status, run.reason) == ("failing", 500, "返回 500")


@pytest.mark.parametrize(
    ("url", "wall"),
    [
        ("https://passport.weibo.com/sso/signin?entry=wapsso", True),
        ("https://visitor.passport.weibo.cn/visitor/visitor", True),
        ("https://wappass.baidu.com/static/captcha/", True),
        ("https://news.example.org/2026/11/24/rain.html", False),
        ("https://example.org/login", True),
    ],
)
def test_walls(url: str, wall: bool) -> None:
    assert is_wall(url) is wall


def test_private_addresses() -> None:
    private = ("localhost", "127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1")
    assert all(is_private(host) for host in private)
    assert not is_private("example.org")
    assert not is_private("8.8.8.8")
