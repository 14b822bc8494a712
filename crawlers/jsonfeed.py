"""JSON Feed 1.0 and 1.1, which feedparser does not read: jsonfeed.org/version/1.1."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a feed of any kind, texts as they came (``html`` may be plain)."""

    id: str
    url: str
    title: str
    html: str
    time: str
    author: str
    raw: str


def is_json_feed(body: bytes) -> bool:
    head = body[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"{") and (b"jsonfeed.org" in head or b'"items"' in body)


def read_json_feed(body: bytes) -> tuple[list[Entry], str]:
    """Its entries and the address of the next page. Raises: ValueError when it is none."""
    feed = json.loads(body.decode("utf-8-sig"))
    items = feed.get("items") if isinstance(feed, dict) else None
    if not isinstance(items, list):
        raise ValueError("no list of items")
    return [_entry(item) for item in items], _text(feed.get("next_url"))


def _entry(item: Any) -> Entry:
    raw = json.dumps(item, ensure_ascii=False)
    if not isinstance(item, dict):
        return Entry("", "", "", "", "", "", raw)
    authors = item.get("authors") or [item.get("author")]  # 1.1 and 1.0
    first = authors[0] if isinstance(authors, list) and authors else None
    return Entry(
        id=_text(item.get("id")),
        url=_text(item.get("url")) or _text(item.get("external_url")),
        title=_text(item.get("title")),
        html=_text(item.get("content_html")) or _text(item.get("content_text"))
        or _text(item.get("summary")),
        time=_text(item.get("date_published")) or _text(item.get("date_modified")),
        author=_text(first.get("name")) if isinstance(first, dict) else "",
        raw=raw,
    )  # fmt: skip


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, (dict, list, bool)) else str(value)
