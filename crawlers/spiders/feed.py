"""RSS, Atom, JSON Feed and RSSHub: one address, entries newest first, older pages by ``next``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import feedparser
from scrapy.http import Response, TextResponse

from crawlers.clean import clean_text, html_to_text, weibo_mid
from crawlers.jsonfeed import Entry, is_json_feed, read_json_feed
from crawlers.source_spider import SourceSpider
from crawlers.times import parse_time
from pipeline.domain.post import FetchedPost, Unreadable

_WEIBO = re.compile(r"https?://(?:m\.)?weibo\.c(?:om|n)/(?:[0-9]+|status|detail)/([0-9A-Za-z]+)")
_HTML = re.compile(rb"^\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)


class FeedSpider(SourceSpider):
    """Yields a post per entry that is new, an ``Unreadable`` per entry that is no post."""

    name: ClassVar[str] = "feed"  # type: ignore[misc]

    async def start(self) -> AsyncIterator[Any]:
        headers = {}
        if self.memory.etag:
            headers["If-None-Match"] = self.memory.etag
        if self.memory.last_modified:
            headers["If-Modified-Since"] = self.memory.last_modified
        yield self.ask(self.source.url, self.read_first, headers=headers)

    def read_first(self, response: TextResponse) -> Iterator[Any]:
        if response.status == 304:
            self.report.unchanged = True
            return
        yield from self.read_page(response, page=1)
        if not self.report.failed:
            self.memory.etag = _header(response, "ETag")
            self.memory.last_modified = _header(response, "Last-Modified")

    def read_page(self, response: Response, page: int) -> Iterator[Any]:
        try:
            entries, following = read_feed(response.body, _header(response, "Content-Type"))
        except ValueError as problem:
            self.report.fail(str(problem), response.status)
            yield from self.broken(response.body, str(problem))
            return
        self.report.entries += len(entries)
        before = self.report.unknown
        for entry in entries:
            yield from self.read_entry(entry)
        # Stop at the first page that is all known, unless the last visit broke off half way.
        go_on = self.report.unknown > before or self.memory.unfinished
        if following and go_on and page < self.source.pages:
            url = response.urljoin(following)
            if self.may_follow(url):
                yield self.ask(url, self.read_page, cb_kwargs={"page": page + 1})

    def read_entry(self, entry: Entry) -> Iterator[FetchedPost | Unreadable]:
        title = html_to_text(entry.title)
        text = html_to_text(entry.html)
        if not title and not text:
            yield from self.broken(entry.raw, "条目没有标题也没有正文")
            return
        now = self.now()
        when = parse_time(entry.time, now) if entry.time else None
        if entry.time and when is None:
            yield from self.broken(entry.raw, f"时间读不出或在将来：{entry.time[:40]}")
            return
        if title and text.startswith(title.removesuffix("...").removesuffix("…")):
            title = ""  # micro-blog feeds repeat the beginning of the text as its title
        weibo = _WEIBO.match(entry.url)
        native_id = (weibo_mid(weibo[1]) if weibo else "") or clean_text(entry.id)
        if not native_id and not entry.url:
            digest = hashlib.sha256(f"{title}\0{text}".encode()).hexdigest()
            native_id = f"text-{digest[:16]}"
        yield from self.fresh(
            FetchedPost(
                source=self.source.post_source,
                text=text or title,
                # Without a time: when we first saw it, and only its day is claimed.
                published_at=when.at if when else now,
                fetched_at=now,
                native_id=native_id,
                url=entry.url,
                author=clean_text(entry.author),
                author_kind=self.source.author_kind,
                title=title if text else "",
                precision=when.precision if when else "day",
                raw_time=entry.time,
            )
        )


def read_feed(body: bytes, content_type: str) -> tuple[list[Entry], str]:
    """The entries of a feed of any kind and the address of its next page, or "".

    Raises: ValueError (Chinese) when the body is no feed, as when a site answers with a web page.
    """
    if is_json_feed(body):
        try:
            return read_json_feed(body)
        except (ValueError, RecursionError) as error:
            raise ValueError("JSON Feed 读不出") from error
    if _HTML.match(body[:2000]):
        raise ValueError("返回的是网页，不是订阅源")
    feed = feedparser.parse(
        body,
        # A bare "text/html" would mean Latin letters; without a charset the XML itself decides.
        response_headers={
            "content-type": content_type if "charset" in content_type else "application/xml"
        },
        resolve_relative_uris=False,
        sanitize_html=False,  # texts become plain words anyway, which is stricter
    )
    if not feed.entries and (feed.bozo or not feed.version):
        raise ValueError("订阅源读不出（XML 有误或为空）")
    following = next((k.href for k in feed.feed.get("links", ()) if k.get("rel") == "next"), "")
    return [_entry(entry) for entry in feed.entries], following


def _entry(entry: Any) -> Entry:
    bodies = [part.get("value", "") for part in entry.get("content", ())]
    bodies.append(entry.get("summary", ""))
    raw = {k: v for k, v in entry.items() if isinstance(v, str)}
    return Entry(
        id=entry.get("id", ""),
        url=entry.get("link", ""),
        title=entry.get("title", ""),
        html=max(bodies, key=len),
        time=entry.get("published", "") or entry.get("updated", ""),
        author=entry.get("author", ""),
        raw=json.dumps(raw, ensure_ascii=False),
    )


def _header(response: Response, name: str) -> str:
    value = response.headers.get(name)
    return value.decode("latin-1") if value else ""
