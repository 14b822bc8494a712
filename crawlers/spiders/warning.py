"""Official warnings: the nmc.cn list (JSON), a CAP message, or an index of CAP messages.

A warning is handed on twice: as an ``OfficialWarning`` for the desk, and as a post of its issuing
office, so that it runs through the same pipeline as what people say about it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

from scrapy.http import Response, TextResponse

from crawlers.clean import html_to_text
from crawlers.source_spider import SourceSpider
from crawlers.spiders.feed import read_feed
from crawlers.spiders.site import with_query
from crawlers.warnings_feed import NotAWarning, from_cap, from_nmc_row, warning_key
from pipeline.domain.post import FetchedPost
from pipeline.domain.warning import OfficialWarning, read_alert_id

STALE_AFTER = timedelta(hours=24)


class WarningSpider(SourceSpider):
    """Reads whatever its address answers with."""

    name: ClassVar[str] = "warning"  # type: ignore[misc]

    def read_first(self, response: TextResponse) -> Iterator[Any]:
        head = response.body[:2000].lstrip(b"\xef\xbb\xbf \t\r\n")
        if head.startswith(b"{"):
            yield from self.read_nmc(response, page=1)
        elif b":emergency:cap:" in head:
            self.report.entries += 1
            yield from self.read_cap(response, key=f"d:{response.url}")
        else:
            yield from self.read_index(response)

    # -- nmc ------------------------------------------------------------------------------------

    def read_nmc(self, response: TextResponse, page: int) -> Iterator[Any]:
        try:
            answer = json.loads(response.body)
            listing = answer["data"]["page"]
            rows = listing["list"]
        except (ValueError, KeyError, TypeError):
            self.report.fail("预警列表的格式不对", response.status)
            yield from self.broken(response.body, "预警列表的格式不对")
            return
        if answer.get("code") not in (0, "0", None):
            self.report.fail(f"预警列表返回错误码 {answer.get('code')}", response.status)
            return
        self.report.entries += len(rows)
        found_new = False
        # Oldest first, so that a warning knows the one that it follows.
        for row in sorted(rows, key=lambda r: str(r.get("alertid", ""))[-14:]):
            raw = json.dumps(row, ensure_ascii=False)
            alert_id = str(row.get("alertid", "")) if isinstance(row, dict) else ""
            if read_alert_id(alert_id) is None:
                yield from self.broken(raw, "预警编号或标题不完整")
                continue
            if self.memory.has(f"w:{alert_id}", raw):
                continue
            found_new = True
            link = str(row.get("url") or "")
            url = response.urljoin(link) if link else ""
            try:
                warning = self.in_line(row, url)
            except NotAWarning as problem:
                yield from self.broken(raw, str(problem))
                continue
            if not url or not self.may_follow(url):
                yield from self.hand_on_nmc(warning, raw)
                continue
            # A warning whose bulletin cannot be had is handed on with what the list says.
            yield self.ask(
                url,
                self.read_nmc_detail,
                optional=True,
                instead=partial(self.hand_on_nmc, warning, raw),
                cb_kwargs={"warning": warning, "raw": raw},
            )
        more = page < int(listing.get("totalPage") or 1)
        if more and page < self.source.pages and (found_new or self.memory.unfinished):
            following = with_query(response.url, "pageNo", str(page + 1))
            yield self.ask(following, self.read_nmc, cb_kwargs={"page": page + 1})

    def read_nmc_detail(
        self, response: TextResponse, warning: OfficialWarning, raw: str
    ) -> Iterator[Any]:
        paragraphs = [html_to_text(node.get() or "") for node in response.css("#alarmtext")]
        text = "\n".join(paragraphs).strip()
        yield from self.hand_on_nmc(replace(warning, text=text or warning.text), raw)

    def hand_on_nmc(self, warning: OfficialWarning, raw: str) -> Iterator[Any]:
        self.memory.is_new(f"w:{warning.id}", raw)
        yield from self.hand_on(warning)

    def in_line(self, row: dict[str, Any], url: str) -> OfficialWarning:
        """The warning of a row, with the one of the same sender and type that it follows.

        To be called oldest row first: bulletins come back in any order. Raises: NotAWarning.
        """
        now, source = self.now(), self.source.post_source
        warning = from_nmc_row(row, now, url=url, source=source)
        key = f"k:{warning_key(warning)}"
        before = self.memory.last(key)
        known, stamp = read_alert_id(before), read_alert_id(warning.id)
        if known and stamp and known[2] >= stamp[2]:
            return warning  # an old row seen again: the later one already stands
        self.memory.is_new(key, "" if warning.action == "lifted" else warning.id)
        # A warning a day old has run out: what comes now is a new issue.
        if not known or not stamp or stamp[2] - known[2] > STALE_AFTER:
            return warning
        return from_nmc_row(row, now, url=url, source=source, before=before)

    # -- CAP ------------------------------------------------------------------------------------

    def read_index(self, response: TextResponse) -> Iterator[Any]:
        links = cap_links(response)
        if not links and not self.source.empty_ok:
            self.report.reason = "目录页上没有 CAP 链接"
        self.report.entries += len(links)
        for link in links:
            url = response.urljoin(link)
            key = f"d:{url}"
            if self.may_follow(url) and not self.memory.has(key, "read"):
                yield self.ask(url, self.read_cap, optional=True, cb_kwargs={"key": key})

    def read_cap(self, response: Response, key: str) -> Iterator[Any]:
        self.memory.is_new(key, "read")
        try:
            warning = from_cap(
                response.body,
                url=response.url,
                source=self.source.post_source,
                accept_exercise=self.source.accept_exercise,
            )
        except NotAWarning as problem:
            yield from self.broken(response.body, str(problem))
            return
        if warning.issued_at > self.now():
            yield from self.broken(response.body, "发布时间在将来")
            return
        yield from self.hand_on(warning)

    def hand_on(self, warning: OfficialWarning) -> Iterator[Any]:
        state = f"{warning.action}:{warning.colour}:{warning.text}:{warning.expires_at}"
        if not self.memory.is_new(f"p:{warning.id}", state):
            return
        self.note(warning.issued_at)
        yield warning
        yield FetchedPost(
            source=self.source.post_source,
            text=warning.wording(),
            published_at=warning.issued_at,
            fetched_at=self.now(),
            native_id=warning.id,
            url=warning.url,
            author=warning.station,
            author_kind="government",
            verified=True,
            place_hint=warning.area,
        )


def cap_links(response: TextResponse) -> list[str]:
    """Links to CAP messages on an HTML index or in an Atom or RSS feed."""
    links = [a for a in response.css("a::attr(href)").getall() if a.endswith((".xml", ".cap"))]
    if links:
        return links
    try:
        entries, _ = read_feed(response.body, "application/xml")
    except ValueError:
        return []
    return [entry.url for entry in entries if entry.url]
