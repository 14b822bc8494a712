"""Feeds of every kind and the traps in them, read by the real spider over HTTP."""

from __future__ import annotations

import json
from datetime import datetime

from crawlers.spiders.feed import read_feed
from pipeline.clock import BEIJING
from tests.unit.crawlers.replica import NOW, Answer, Replica, crawl

AT_NINE = datetime(2026, 11, 24, 9, 0, tzinfo=BEIJING)


def rss(*items: str, encoding: str = "UTF-8", extra: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="{encoding}"?><rss version="2.0" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/" '
        f'xmlns:atom="http://www.w3.org/2005/Atom"><channel><title>t</title>{extra}'
        f"{''.join(items)}</channel></rss>"
    ).encode(encoding)


def item(guid: str, text: str = "下大雨了", time: str = "2026-11-24 09:00") -> str:
    return (
        f'<item><guid isPermaLink="false">{guid}</guid><link>https://x.example/{guid}</link>'
        f"<description><![CDATA[<p>{text}</p>]]></description><pubDate>{time}</pubDate></item>"
    )


def test_rss_in_gb2312_with_chinese_times() -> None:
    body = rss(item("1", time="2026年11月24日 09:00"), encoding="gb2312")
    (post,) = crawl(Replica({"/r": body}), "feed", "/r", platform="blog").posts
    assert (post.text, post.published_at, post.native_id) == ("下大雨了", AT_NINE, "1")
    assert (post.source, post.raw_time, post.precision) == (
        "blog",
        "2026年11月24日 09:00",
        "minute",
    )


def test_content_wins_over_summary_and_html_becomes_words() -> None:
    body = rss(
        "<item><guid>1</guid><title>题</title><description>短</description>"
        "<content:encoded><![CDATA[<p>长文 &amp; <b>粗</b><script>x()</script></p><p>二</p>]]>"
        "</content:encoded><pubDate>Tue, 24 Nov 2026 01:00:00 GMT</pubDate></item>"
    )
    (post,) = crawl(Replica({"/r": body}), "feed", "/r").posts
    assert post.text == "长文 & 粗\n二"
    assert (post.title, post.published_at) == ("题", AT_NINE)


def test_atom_with_updated_only() -> None:
    body = (
        '<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><entry><id>a:1</id>'
        "<title>雨</title><updated>2026-11-24T01:00:00Z</updated></entry></feed>"
    )
    (post,) = crawl(Replica({"/a": body}), "feed", "/a").posts
    assert (post.text, post.title, post.native_id) == ("雨", "", "a:1")


def test_json_feed_both_versions() -> None:
    feed = {
        "version": "https://jsonfeed.org/version/1",
        "items": [
            {"id": 7, "url": "https://x.example/7", "content_html": "<p>雨<br>大</p>",
             "date_published": "2026-11-24T09:00:00+08:00", "author": {"name": "甲"}},
            {"id": "8", "content_text": "停了", "date_published": "2026-11-24T09:30:00+08:00",
             "authors": [{"name": "乙"}]},
        ],
    }  # fmt: skip
    posts = crawl(Replica({"/j": json.dumps(feed)}), "feed", "/j").posts
    assert [(p.native_id, p.text, p.author) for p in posts] == [
        ("7", "雨\n大", "甲"),
        ("8", "停了", "乙"),
    ]


def test_rsshub_of_weibo_names_the_post_as_the_platform_does() -> None:
    body = rss(
        "<item><title>甲: 下大雨了...</title><description>下大雨了，路淹了</description>"
        "<link>https://weibo.com/1669879400/HyTZc60ew</link>"
        "<pubDate>Tue, 24 Nov 2026 01:00:00 GMT</pubDate></item>"
    )
    (post,) = crawl(Replica({"/r": body}), "feed", "/r", platform="weibo").posts
    assert (post.source, post.native_id) == ("weibo", "4383183661430868")


def test_entries_without_guid_link_or_time() -> None:
    body = rss("<item><description>没有编号也没有时间</description></item>")
    replica = Replica({"/r": body})
    desk = crawl(replica, "feed", "/r", times=2)
    (post,) = desk.posts  # and the second visit knows it again
    assert post.native_id.startswith("text-")
    assert (post.published_at, post.precision, post.raw_time) == (NOW, "day", "")


def test_broken_entries_become_unreadable_and_the_rest_is_read() -> None:
    body = rss(
        item("1"),
        item("2", time="2030-01-01 09:00"),
        item("3", text=""),
        item("4", time="昨夜三更"),
    )
    desk = crawl(Replica({"/r": body}), "feed", "/r", times=2)
    assert [post.native_id for post in desk.posts] == ["1"]
    assert len(desk.pieces) == 3  # told once, though seen twice
    assert [run.entries_broken for run in desk.runs] == [3, 3]
    assert all("时间读不出" in p.reason or "没有正文" in p.reason for p in desk.pieces)


def test_a_web_page_with_200_is_no_feed() -> None:
    desk = crawl(Replica({"/r": "<!DOCTYPE html><html><body>维护中</body></html>"}), "feed", "/r")
    assert desk.runs[0].state == "failing"
    assert desk.runs[0].reason == "返回的是网页，不是订阅源"
    assert desk.pieces[0].raw.startswith(b"<!DOCTYPE")


def test_unchanged_feeds_are_asked_for_with_their_tag() -> None:
    replica = Replica({"/r": Answer(rss(item("1")), headers={"ETag": '"v1"'})})
    desk = crawl(replica, "feed", "/r", times=3)
    assert len(desk.posts) == 1
    assert [run.entries for run in desk.runs] == [1, -1, -1]
    assert [run.state for run in desk.runs] == ["ok", "ok", "ok"]


def test_older_pages_are_read_until_one_is_known() -> None:
    def page(n: int, *guids: str) -> bytes:
        more = f'<atom:link rel="next" href="BASE/r?page={n + 1}"/>'
        return rss(*(item(g) for g in guids), extra=more)

    pages = {"/r": page(1, "5", "4"), "/r?page=2": page(2, "3", "2"), "/r?page=3": page(3, "1"),
             "/r?page=4": rss(item("0"))}  # fmt: skip

    def newer(replica: Replica) -> None:
        replica.asked.clear()
        replica.pages = pages | {"/r": page(1, "6", "5"), "/r?page=2": page(2, "4", "3")}

    replica = Replica(pages)
    desk = crawl(replica, "feed", "/r", times=2, between=newer, pages=4)
    assert sorted(p.native_id for p in desk.posts) == ["0", "1", "2", "3", "4", "5", "6"]
    assert "/r?page=3" not in replica.paths  # page 2 was all known


def test_a_changed_text_is_handed_on_again() -> None:
    def change(replica: Replica) -> None:
        replica.pages = {"/r": rss(item("1", text="更正：雨停了"))}

    desk = crawl(Replica({"/r": rss(item("1"))}), "feed", "/r", times=2, between=change)
    assert [p.text for p in desk.posts] == ["下大雨了", "更正：雨停了"]


def test_keywords_choose() -> None:
    body = rss(item("1"), item("2", text="今天吃粉"))
    desk = crawl(Replica({"/r": body}), "feed", "/r", keywords=("雨", "台风"))
    assert [p.native_id for p in desk.posts] == ["1"]


def test_an_entity_bomb_is_harmless() -> None:
    bomb = (
        b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        b"<rss version='2.0'><channel><item><title>&a;x</title></item></channel></rss>"
    )
    entries, _ = read_feed(bomb, "application/xml")
    assert "root:" not in repr(entries)
