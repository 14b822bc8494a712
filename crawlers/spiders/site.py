"""Sites without a feed: a list page, detail pages, replies; described by a table of selectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from parsel import Selector, SelectorList
from scrapy.http import TextResponse

from crawlers.clean import clean_text, html_to_text, parse_count
from crawlers.extract import Article, extract_article
from crawlers.source_spider import SourceSpider
from crawlers.times import ParsedTime, parse_time
from pipeline.domain.post import Counts, FetchedPost

Node = Selector | SelectorList[Selector] | TextResponse


class SiteSpider(SourceSpider):
    """Reads list pages until one is all known, and the detail pages of what is new or changed."""

    name: ClassVar[str] = "site"  # type: ignore[misc]

    def read_first(self, response: TextResponse) -> Iterator[Any]:
        yield from self.read_list(response, page=1)

    def read_list(self, response: TextResponse, page: int) -> Iterator[Any]:
        s = self.source.selectors
        items = response.css(s.item)
        self.report.entries += len(items)
        if page == 1 and not items and len(response.text.strip()) > 0 and not self.source.empty_ok:
            self.report.reason = "列表页上没有条目：页面为空或选择器已失效"
        found_new, before = False, self.report.unknown
        for item in items:
            link = pick(item, s.link) if s.link else ""
            if s.link and not link:
                yield from self.broken(item.get() or "", "条目没有链接")
                continue
            if not s.link:
                yield from self.post_in_list(item)
                continue
            url = response.urljoin(link)
            if not self.may_follow(url):
                continue
            # The whole entry is the state: a new answer count sends us back to the page.
            state = html_to_text(item.get() or "")
            # Relative times ("3分钟前") change by themselves and must not.
            state = state.replace(pick(item, s.time), "") if s.time else state
            if not self.memory.has(f"d:{url}", state):
                found_new = True
                hint = {
                    "title": pick(item, s.title),
                    "time": pick(item, s.time),
                    "key": f"d:{url}",
                    "state": state,
                }
                yield self.ask(url, self.read_detail, optional=True, cb_kwargs={"hint": hint})
        found_new = found_new or self.report.unknown > before
        if (found_new or self.memory.unfinished) and page < self.source.pages:
            following = self._next(response)
            if following and self.may_follow(following):
                yield self.ask(following, self.read_list, cb_kwargs={"page": page + 1})

    def post_in_list(self, item: Selector) -> Iterator[Any]:
        s = self.source.selectors
        text = pick(item, s.text)
        when = parse_time(pick(item, s.time), self.now())
        if not text or when is None:
            reason = "条目没有正文" if not text else f"时间读不出：{pick(item, s.time)[:40]}"
            yield from self.broken(item.get() or "", reason)
            return
        yield from self.fresh(
            self._post(
                item,
                text=text,
                title=pick(item, s.title),
                when=when,
                raw_time=pick(item, s.time),
                native_id=pick(item, s.id),
                author=pick(item, s.author),
                url="",
            )
        )

    def read_detail(self, response: TextResponse, hint: dict[str, str]) -> Iterator[Any]:
        s = self.source.selectors
        now = self.now()
        self.memory.is_new(hint["key"], hint["state"])  # read now, and not when it was asked for
        body = pick(response, s.body) if s.body else ""
        title = pick(response, s.detail_title) or hint["title"]
        author = pick(response, s.detail_author)
        raw_time = pick(response, s.detail_time) or hint["time"]
        when = parse_time(raw_time, now) if raw_time else None
        if not body or when is None:
            article = extract_article(response.text, response.url, now)
            self._note_fallback(body, article)
            body = body or article.body
            title = title or article.title
            author = author or article.author
            if when is None:
                raw_time, when = article.raw_time, article.when
        if not body or when is None:
            why = "找不到正文" if not body else f"时间读不出：{raw_time[:40]}"
            yield from self.broken(response.body, f"{why}（{response.url}）")
            return
        native_id = pick(response, s.detail_id)
        yield from self.fresh(
            self._post(
                response,
                text=body,
                title=title,
                when=when,
                raw_time=raw_time,
                native_id=native_id,
                author=author,
                url=response.url,
            )
        )
        if s.reply:
            yield from self.read_replies(response, native_id)

    def read_replies(self, response: TextResponse, thread: str) -> Iterator[Any]:
        s = self.source.selectors
        for number, node in enumerate(response.css(s.reply), start=1):
            text = pick(node, s.reply_body)
            raw_time = pick(node, s.reply_time)
            when = parse_time(raw_time, self.now())
            if not text or when is None:
                why = "回复没有正文" if not text else f"回复的时间读不出：{raw_time[:40]}"
                yield from self.broken(node.get() or "", why)
                continue
            # Without ids of its own an answer is named by its place, which sites do not reuse.
            native_id = pick(node, s.reply_id) or (f"{thread or response.url}#{number}")
            yield from self.fresh(
                self._post(
                    node,
                    text=text,
                    title="",
                    when=when,
                    raw_time=raw_time,
                    native_id=native_id,
                    author=pick(node, s.reply_author),
                    url=f"{response.url}#{native_id}",
                    reply_to=pick(node, s.reply_to) or thread,
                    root=thread,
                )
            )

    def _post(
        self,
        node: Node,
        *,
        text: str,
        title: str,
        when: ParsedTime,
        raw_time: str,
        native_id: str,
        author: str,
        url: str,
        reply_to: str = "",
        root: str = "",
    ) -> FetchedPost:
        s = self.source.selectors
        return FetchedPost(
            source=self.source.post_source,
            text=text,
            title="" if title == text else title,
            published_at=when.at,
            fetched_at=self.now(),
            native_id=native_id,
            url=url,
            author=author,
            author_kind=self.source.author_kind,
            precision=when.precision,
            raw_time=raw_time,
            reply_to=reply_to,
            root=root,
            place_hint=pick(node, s.place),
            counts=Counts(
                *(parse_count(pick(node, css)) for css in (s.reposts, s.comments, s.likes, s.views))
            ),
        )

    def _note_fallback(self, body: str, article: Article) -> None:
        if self.source.selectors.body and not body:
            self.report.fallbacks += 1
            self.report.reason = self.report.reason or "正文选择器已失效，改用通用提取，请核对"

    def _next(self, response: TextResponse) -> str:
        s = self.source.selectors
        if s.next:
            link = pick(response, s.next)
            return response.urljoin(link) if link else ""
        if s.cursor and s.cursor_param:
            value = response.css(s.cursor).getall()
            if value:
                return with_query(response.url, s.cursor_param, clean_text(value[-1]))
        return ""


def pick(node: Node, css: str) -> str:
    """The first thing that ``css`` finds, as plain text; empty when there is nothing."""
    if not css:
        return ""
    found = node.css(css).get()
    if not found:
        return ""
    return clean_text(found) if "::" in css else html_to_text(found)


def with_query(url: str, name: str, value: str) -> str:
    """The address with one query parameter set."""
    parts = urlsplit(url)
    query = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k != name]
    return urlunsplit(parts._replace(query=urlencode([*query, (name, value)])))
