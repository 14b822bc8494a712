"""Rows of commercial monitoring exports, read through a column mapping."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crawlers.clean import clean_text, parse_count, weibo_mid
from crawlers.times import ParsedTime, from_excel_serial, parse_time
from pipeline.domain.post import AuthorKind, Counts, FetchedPost

# What these exports write for "no id": the MD5 of nothing and of another filler. Kept as ids they
# would join thousands of strangers into one giant tree.
EMPTY_IDS = {"d41d8cd98f00b204e9800998ecf8427e", "e6fda0f0d3e0adfff69e334462d1ef6a"}
_SERIAL = re.compile(r"[0-9]{5}(?:\.[0-9]+)?")
_WEIBO_LINK = re.compile(r"weibo\.c(?:om|n)/(?:[0-9]+|status|detail)/([0-9A-Za-z]+)")

# 来源网站 and 媒体类型 as these exports write them -> the source's name with us.
SITES = (
    ("微博", "weibo"),
    ("抖音", "douyin"),
    ("快手", "kuaishou"),
    ("小红书", "xhs"),
    ("贴吧", "tieba"),
    ("知乎", "zhihu"),
    ("哔哩", "bilibili"),
    ("微信", "wechat"),
    ("头条", "toutiao"),
)


def export_post(
    cells: Mapping[str, Any], mapping: Mapping[str, str], fetched_at: datetime
) -> FetchedPost:
    """A post from one row. ``mapping``: field -> header, with at least text and time.

    Raises: ValueError saying what is wrong, in Chinese.
    """

    def cell(field: str) -> str:
        value = cells.get(mapping.get(field, ""))
        text = "" if value is None else clean_text(str(value))
        return "" if text in EMPTY_IDS or text in ("-", "--", "None", "nan") else text

    text, title = cell("text"), cell("title")
    if not text and not title:
        raise ValueError("没有正文")
    repost = cell("relation").startswith("转发")
    original = cell("original")
    if repost and original and "//@" not in text and original not in text:
        text = f"{text}//@原微博:{original}"
    raw_time = cell("time")
    when = _time(raw_time, fetched_at)
    url = cell("url")
    link = _WEIBO_LINK.search(url)
    place = cell("place")
    return FetchedPost(
        source=_source(cell("site"), cell("media"), url),
        text=text or title,
        published_at=when.at,
        fetched_at=fetched_at,
        native_id=(weibo_mid(link[1]) if link else "") or cell("native_id"),
        url=url,
        author=cell("author"),
        author_kind=_author_kind(cell("verified"), cell("media")),
        title="" if title == text or text.startswith(title) else title,
        followers=parse_count(cell("followers")) if cell("followers") else -1,
        verified="认证" in cell("verified") or cell("verified").endswith("V"),
        precision=when.precision,
        raw_time=raw_time,
        repost_of=cell("parent") if repost else "",
        root=cell("root") if repost else "",
        place_hint=place,
        counts=Counts(*(parse_count(cell(n)) for n in ("reposts", "comments", "likes", "views"))),
    )


def _time(raw: str, fetched_at: datetime) -> ParsedTime:
    if not raw:
        raise ValueError("没有发布时间")
    found = (
        from_excel_serial(float(raw), fetched_at)
        if _SERIAL.fullmatch(raw)
        else parse_time(raw, fetched_at)
    )
    if found is None:
        raise ValueError(f"时间读不出或在将来：{raw[:40]}")
    return found


def _source(site: str, media: str, url: str) -> str:
    for name in (site, media):
        for word, source in SITES:
            if word in name:
                return source
    if site:
        return site
    host = re.match(r"https?://([^/:]+)", url)
    return host[1].removeprefix("www.") if host else media or "export"


def _author_kind(verified: str, media: str) -> AuthorKind:
    if "政府" in verified or "政务" in verified or "政务" in media:
        return "government"
    if "媒体" in verified or media in ("网媒", "新闻", "报刊", "平媒", "电视"):
        return "media"
    if any(word in verified for word in ("企业", "机构", "蓝V", "校园", "团体")):
        return "organisation"
    return "person"
