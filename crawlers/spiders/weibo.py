"""Micro-blog search answers in the form of m.weibo.cn's containers. Off unless waived.

The platform's robots.txt keeps robots out and its search needs a login; we neither log in nor
solve what it puts in the way. The spider exists for the drill's replica, and for a bureau that has
an agreement (``waiver``) and an address that answers in this form. Otherwise import an export.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from scrapy.http import TextResponse

from crawlers.clean import html_to_text, parse_count
from crawlers.politeness import Refused
from crawlers.source_spider import SourceSpider
from crawlers.spiders.site import with_query
from crawlers.times import parse_time
from pipeline.domain.post import AuthorKind, Counts, FetchedPost, Media

NOTHING = ("还没有内容", "暂无数据")
# verified_type: 0 a person, 1 government, 3 media, 2 and 4-7 other organisations.
_KINDS: dict[int, AuthorKind] = {1: "government", 3: "media"} | dict.fromkeys(
    (2, 4, 5, 6, 7), "organisation"
)  # type: ignore[assignment]


class WeiboSpider(SourceSpider):
    """Walks the cards of each page, newest first, until a page is all known."""

    name: ClassVar[str] = "weibo"  # type: ignore[misc]

    def read_first(self, response: TextResponse) -> Iterator[Any]:
        yield from self.read_page(response, page=1)

    def read_page(self, response: TextResponse, page: int) -> Iterator[Any]:
        data = answer(response)
        blogs = list(walk(data.get("cards")))
        self.report.entries += len(blogs)
        before = self.report.unknown
        for blog in blogs:
            yield from self.read_blog(blog)
        # Figures change on every page; only posts never seen are a reason to look further back.
        go_on = self.report.unknown > before or self.memory.unfinished
        if blogs and page < self.source.pages and go_on:
            following = with_query(response.url, "page", str(page + 1))
            yield self.ask(following, self.read_page, cb_kwargs={"page": page + 1})

    def read_blog(self, blog: dict[str, Any]) -> Iterator[Any]:
        original = blog.get("retweeted_status")
        if isinstance(original, dict) and isinstance(original.get("user"), dict):
            yield from self.read_blog(original)
        now = self.now()
        raw_time = str(blog.get("created_at", ""))
        when = parse_time(raw_time, now)
        number = str(blog.get("id") or blog.get("mid") or "")
        text = text_of(blog)
        if not text or when is None or not number:
            why = "没有正文" if not text else f"时间读不出：{raw_time[:40]}"
            yield from self.broken(
                json.dumps(blog, ensure_ascii=False), why if number else "没有编号"
            )
            return
        root = ""
        if isinstance(original, dict):
            root = str(original.get("id") or "")
            words = text_of(original)
            if words and words not in text:
                name = (original.get("user") or {}).get("screen_name", "")
                text = f"{text}//@{name}:{words}"
        user = blog.get("user") if isinstance(blog.get("user"), dict) else {}
        assert isinstance(user, dict)
        verified_type = user.get("verified_type", -1)
        yield from self.fresh(
            FetchedPost(
                source=self.source.post_source,
                text=text,
                published_at=when.at,
                fetched_at=now,
                native_id=number,
                url=f"{_origin(self.source.url)}/detail/{number}",
                author=str(user.get("screen_name") or user.get("id") or ""),
                author_kind=_KINDS.get(verified_type, "person"),
                followers=parse_count(user["followers_count"]) if "followers_count" in user else -1,
                verified=user.get("verified") is True,
                precision=when.precision,
                raw_time=raw_time,
                repost_of=str(blog.get("pid") or "") or root,
                root=root,
                media=pictures(blog.get("pics")),
                place_hint=str(blog.get("region_name") or "").removeprefix("发布于").strip(),
                counts=Counts(
                    parse_count(blog.get("reposts_count")),
                    parse_count(blog.get("comments_count")),
                    parse_count(blog.get("attitudes_count")),
                    parse_count(blog.get("reads_count")),
                ),
            )
        )


def answer(response: TextResponse) -> dict[str, Any]:
    """The ``data`` of an answer; empty when it says that there is nothing.

    Raises: Refused for what means "log in" or "prove that you are human".
    """
    try:
        body = json.loads(response.text)
    except ValueError as error:
        raise Refused("返回网页而不是数据，可能要求登录", response.status) from error
    if not isinstance(body, dict):
        raise Refused("返回的格式不对", response.status)
    if body.get("ok") == -100:
        raise Refused("要求登录，请运维人员处理", response.status)
    data = body.get("data")
    if isinstance(data, dict):
        return data
    if any(word in str(body.get("msg", "")) for word in NOTHING):
        return {}
    if body.get("url"):
        raise Refused("要求验证码", response.status)
    raise ValueError("unknown form of answer")


def walk(cards: Any) -> Iterator[dict[str, Any]]:
    """The micro-blogs among cards: at top level and inside the groups of any card."""
    for card in cards if isinstance(cards, list) else ():
        if not isinstance(card, dict):
            continue
        if card.get("card_type") == 9 and isinstance(card.get("mblog"), dict):
            yield card["mblog"]
        yield from walk(card.get("card_group"))


def text_of(blog: dict[str, Any]) -> str:
    long = blog.get("longText")
    if isinstance(long, dict) and long.get("longTextContent"):
        return html_to_text(str(long["longTextContent"]))
    return html_to_text(str(blog.get("text_raw") or blog.get("text") or ""))


def pictures(pics: Any) -> tuple[Media, ...]:
    """Links of a blog's pictures, which come as a list, as an object, or as bare names."""
    shown = list(pics.values()) if isinstance(pics, dict) else pics
    links = []
    for pic in shown if isinstance(shown, list) else ():
        large = pic.get("large") if isinstance(pic, dict) else None
        link = (large or pic).get("url") if isinstance(pic, dict) else None
        if isinstance(link, str) and link.startswith(("http://", "https://", "//")):
            links.append(Media("image", link))
    return tuple(links)


def _origin(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])
