"""Micro-blog answers: nested cards, missing parts, and every way of saying no."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crawlers.clean import clean_text, html_to_text, parse_count, weibo_mid
from crawlers.spiders.weibo import pictures, walk
from tests.unit.crawlers.replica import Answer, Replica, crawl

URL = "/api/container/getIndex?page=1"


def blog(number: str, text: str = "下雨", **more: Any) -> dict[str, Any]:
    return {"id": number, "created_at": "Tue Nov 24 09:00:00 +0800 2026", "text": text,
            "user": {"screen_name": "甲", "verified_type": -1, "followers_count": "1.2万"},
            "reposts_count": "100万+"} | more  # fmt: skip


def page(*blogs: dict[str, Any]) -> str:
    cards = [{"card_type": 9, "mblog": b} for b in blogs]
    return json.dumps({"ok": 1, "data": {"cards": cards}})


def read(body: str | Answer, **more: Any) -> Any:
    return crawl(Replica({URL: body}), "weibo", URL, waiver="test", pages=1, **more)


def test_cards_at_top_and_in_groups_and_nothing_else() -> None:
    cards = [
        {"card_type": 9, "mblog": {"id": 1}},
        {"card_type": 11, "card_group": [{"card_type": 9, "mblog": {"id": 2}}, {"card_type": 42}]},
        {"card_type": 9},
        {"card_type": 4, "card_group": [
            {"card_type": 11, "card_group": [{"card_type": 9, "mblog": {"id": 3}}]}]},
        "x",
    ]  # fmt: skip
    assert [b["id"] for b in walk(cards)] == [1, 2, 3]
    assert list(walk(None)) == []


def test_a_post_with_its_original() -> None:
    original = blog(
        "1", "水库没事", user={"screen_name": "水利", "verified_type": 1, "verified": True}
    )
    repost = blog("2", "大家看", retweeted_status=original, region_name="发布于 广西")
    posts = {p.native_id: p for p in read(page(repost)).posts}
    assert posts["2"].text == "大家看//@水利:水库没事"
    assert (posts["2"].repost_of, posts["2"].root, posts["2"].place_hint) == ("1", "1", "广西")
    assert (posts["2"].followers, posts["2"].counts.reposts) == (12000, 1_000_000)
    assert (posts["1"].author_kind, posts["1"].verified) == ("government", True)


def test_a_deleted_original_and_a_missing_user() -> None:
    gone = {"id": "9", "user": None, "text": "抱歉，此微博已被作者删除"}
    (post,) = read(page(blog("2", user=None, retweeted_status=gone))).posts
    assert (post.author, post.followers, post.root) == ("", -1, "9")


def test_long_text_and_emoji() -> None:
    emoji = '雨<span class="url-icon"><img alt=[泪] src="//x" /></span><br />大'
    body = page(blog("1", longText={"longTextContent": "很长的全文"}), blog("2", emoji))
    assert [p.text for p in read(body).posts] == ["很长的全文", "雨[泪]\n大"]


def test_pictures_in_every_form() -> None:
    one = {"url": "https://p.example/s.jpg", "large": {"url": "https://p.example/l.jpg"}}
    assert [m.link for m in pictures([one, "pid", {"url": "x"}])] == ["https://p.example/l.jpg"]
    assert [m.link for m in pictures({"0": {"url": "//p.example/s.jpg"}})] == ["//p.example/s.jpg"]
    assert pictures(None) == ()


def test_broken_blogs_are_unreadable() -> None:
    desk = read(page(blog("1", ""), blog("2", created_at="?"), blog("", "x"), blog("4")))
    assert [p.native_id for p in desk.posts] == ["4"]
    assert len(desk.pieces) == 3


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"ok": -100, "url": "https://passport.weibo.com/sso/signin"}),
        json.dumps({"ok": 1, "url": "https://captcha.example/"}),
        "<html>Sina Visitor System</html>",
        "<html>hello</html>",
        Answer(status=432),
    ],
)
def test_a_no_is_a_refusal(body: str | Answer) -> None:
    run = read(body).runs[0]
    assert (run.state, run.empty_suspicious) == ("refused", False)


def test_nothing_found_is_no_refusal() -> None:
    assert read(json.dumps({"ok": 0, "msg": "这里还没有内容"})).runs[0].state == "ok"


@pytest.mark.parametrize(
    ("value", "count"),
    [(3, 3), ("1.2万", 12000), ("100万+", 1_000_000), ("1,234", 1234), ("None", 0), ("", 0),
     (None, 0), (float("nan"), 0), (-5, 0), ("转发", 0), (True, 0), ("3亿", 300_000_000)],
)  # fmt: skip
def test_counts(value: Any, count: int) -> None:
    assert parse_count(value) == count


def test_letters_of_a_link_are_the_number_of_the_post() -> None:
    assert weibo_mid("HyTZc60ew") == "4383183661430868"
    assert weibo_mid("4383183661430868") == "4383183661430868"
    assert weibo_mid("no-id") == ""


def test_words_of_html() -> None:
    assert html_to_text("<p>一</p><p>二<br>三</p><script>x</script>") == "一\n二\n三"
    assert html_to_text("1 &lt; 2") == "1 < 2"
    assert html_to_text("<" * 50) is not None
    assert html_to_text("<div>" * 3000 + "深") in ("深", "")
    assert clean_text("a\x00b\u200bc\ud800\r\nd") == "abc\ufffd\nd"
