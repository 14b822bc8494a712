"""The replica's pages: the night in the forms that real sites have, oddities included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from html import escape
from typing import Any

from crawlers.drill.night import Night, Shown
from crawlers.drill.posts import DrillWarning
from pipeline.clock import BEIJING

TYPE_CODES = {"暴雨": "0002", "雷电": "0012", "雷雨大风": "0015", "地质灾害气象风险": "0021"}
LEVEL_CODES = {"red": "001", "orange": "002", "yellow": "003", "blue": "004"}
SEVERITIES = {"red": "Extreme", "orange": "Severe", "yellow": "Moderate", "blue": "Minor"}
MSG_TYPES = {"issued": "Alert", "changed": "Update", "lifted": "Cancel"}
CAP_NS = "urn:oasis:names:tc:emergency:cap:1.2"
VERIFIED = {"government": 1, "media": 3, "organisation": 2, "person": -1}


def ago(at: datetime, now: datetime) -> str:
    """A time as a forum writes it: 刚刚, 3分钟前, 今天 20:15, 11月23日 20:15."""
    local, today = at.astimezone(BEIJING), now.astimezone(BEIJING)
    passed = now - at
    if passed < timedelta(minutes=1):
        return "刚刚"
    if passed < timedelta(hours=1):
        return f"{int(passed.total_seconds() // 60)}分钟前"
    if local.date() == today.date():
        return f"今天 {local:%H:%M}"
    return f"{local.month:02d}月{local.day:02d}日 {local:%H:%M}"


# -- feeds ------------------------------------------------------------------------------------


def rss(
    shown: Sequence[Shown], base: str, following: str, *, with_broken: bool, now: datetime
) -> str:
    """RSS 2.0 with an atom:link to its next page; two of its entries are no posts."""
    items = "".join(
        f"<item><title>{escape(s.post.title or s.post.text[:20] + '...')}</title>"
        f"<link>{base}/blog/{s.post.id}.html</link>"
        f'<guid isPermaLink="false">{s.post.id}</guid>'
        f"<author>{escape(s.post.author)}</author>"
        f"<pubDate>{format_datetime(s.local)}</pubDate>"
        f"<description><![CDATA[<p>{escape(s.post.text)}</p>]]></description></item>"
        for s in shown
    )
    broken = ""
    if with_broken:
        late = format_datetime(now.astimezone(BEIJING).replace(second=0, microsecond=0))
        broken = (
            f"<item><guid>broken-empty</guid><pubDate>{late}</pubDate></item>"
            "<item><guid>broken-time</guid><title>时间写坏的条目</title>"
            "<pubDate>十三月四十五日</pubDate><description>坏条目</description></item>"
        )
    more = f'<atom:link rel="next" href="{base}{following}"/>' if following else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom"><channel>'
        f"<title>演练博客</title><link>{base}/blog/</link><description>演练</description>{more}"
        f"{broken}{items}</channel></rss>"
    )


def atom(shown: Sequence[Shown], base: str) -> str:
    entries = "".join(
        f"<entry><id>{s.post.id}</id><title>{escape(s.post.title)}</title>"
        f'<link href="{base}/news/{s.post.id}.html"/>'
        f"<updated>{s.local.isoformat()}</updated>"
        f"<author><name>{escape(s.post.author)}</name></author>"
        f'<content type="html">{escape("<p>" + escape(s.post.text) + "</p>")}</content></entry>'
        for s in shown
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom">'
        f"<id>{base}/digest/atom.xml</id><title>演练新闻摘要</title>"
        f"<updated>2026-01-01T00:00:00+08:00</updated>{entries}</feed>"
    )


def json_feed(shown: Sequence[Shown], base: str, following: str) -> dict[str, Any]:
    feed: dict[str, Any] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "演练短讯",
        "items": [
            {
                "id": s.post.id,
                "url": f"{base}/short/{s.post.id}",
                "content_text": s.post.text,
                "date_published": s.local.isoformat(),
                "authors": [{"name": s.post.author}],
            }
            | ({"title": s.post.title} if s.post.title else {})
            for s in shown
        ],
    }
    if following:
        feed["next_url"] = f"{base}{following}"
    return feed


# -- micro-blog -------------------------------------------------------------------------------


def mblog(s: Shown, night: Night, now: datetime) -> dict[str, Any]:
    """One micro-blog; counts above 10,000 as the platform shortens them, originals embedded."""
    post, counts = s.post, s.counts(now)
    made: dict[str, Any] = {
        "id": post.id,
        "created_at": f"{s.local:%a %b %d %H:%M:%S +0800 %Y}",
        "text": escape(post.text).replace("\n", "<br />"),
        "region_name": f"发布于 {post.place_hint}" if post.place_hint else "",
        "user": {
            "screen_name": post.author,
            "verified": post.author_kind != "person",
            "verified_type": VERIFIED[post.author_kind],
            "followers_count": _short(post.followers),
        },
        "reposts_count": counts.reposts,
        "comments_count": counts.comments,
        "attitudes_count": _short(counts.likes),
        "reads_count": counts.views,
    }
    if post.repost_of:
        made["pid"] = post.repost_of
        root = night.find(post.channel, post.root or post.repost_of, now)
        if root is None:
            made["retweeted_status"] = {
                "id": post.root,
                "user": None,
                "text": "抱歉，此微博已被作者删除",
            }
        else:
            made["retweeted_status"] = mblog(root, night, now)
    return made


def container(shown: Sequence[Shown], night: Night, now: datetime) -> dict[str, Any]:
    """A search answer: plain cards, and every fifth inside a group as the platform mixes them."""
    if not shown:
        return {"ok": 0, "msg": "这里还没有内容", "data": None}
    cards: list[dict[str, Any]] = [
        {"card_type": 11, "card_group": [{"card_type": 42, "desc": "广告"}]}
    ]
    for number, s in enumerate(shown):
        card = {"card_type": 9, "mblog": mblog(s, night, now)}
        cards.append(card if number % 5 else {"card_type": 11, "card_group": [card]})
    return {"ok": 1, "data": {"cardlistInfo": {"total": len(shown)}, "cards": cards}}


def _short(number: int) -> int | str:
    return f"{number / 10000:.1f}万" if number >= 100_000 else number


# -- list and detail pages ----------------------------------------------------------------------


def listing(title: str, rows: Sequence[str], following: str, charset: str) -> str:
    more = f'<a class="next" href="{following}">下一页</a>' if following else ""
    return (
        f'<!DOCTYPE html><html lang="zh"><head><meta charset="{charset}">'
        f"<title>{title}</title></head><body><h1>{title}</h1>"
        f'<ul class="list">{"".join(rows)}</ul>{more}</body></html>'
    )


def news_row(s: Shown) -> str:
    return (
        f'<li><a href="/news/{s.post.id}.html">{escape(s.post.title)}</a>'
        f'<span class="date">{s.local:%Y-%m-%d %H:%M}</span></li>'
    )


def news_page(s: Shown) -> str:
    paragraphs = "".join(f"<p>{escape(p)}</p>" for p in s.post.text.split("\n"))
    at = s.local
    return (
        '<!DOCTYPE html><html><head><meta charset="gb2312">'
        f"<title>{escape(s.post.title)}</title></head><body>"
        f'<div class="nav">首页 新闻 天气 便民</div><h1>{escape(s.post.title)}</h1>'
        f'<div class="source" data-id="{s.post.id}"><span class="time">'
        f"{at.year}年{at.month:02d}月{at.day:02d}日 {at:%H:%M:%S}</span>"
        f'<span class="from">{escape(s.post.author)}</span></div>'
        f'<div class="content">{paragraphs}</div><div class="foot">演练站点</div></body></html>'
    )


def forum_row(s: Shown, replies: int, now: datetime) -> str:
    return (
        f'<li data-id="{s.post.id}"><a href="/forum/t/{s.post.id}.html">'
        f"{escape(s.post.title or s.post.text[:24])}</a>"
        f'<i class="replies">{replies}</i><span class="date">{ago(s.at, now)}</span></li>'
    )


def forum_page(first: Shown, replies: Sequence[Shown], now: datetime) -> str:
    counts = first.counts(now)
    answers = "".join(
        f'<div class="reply" data-id="{r.post.id}" data-to="{r.post.reply_to or ""}">'
        f'<b class="author">{escape(r.post.author)}</b>'
        f'<span class="time">{r.local:%Y-%m-%d %H:%M:%S}</span>'
        f'<div class="words">{_lines(r.post.text)}</div></div>'
        for r in replies
    )
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8"><title>演练论坛</title></head><body>'
        f'<div class="post" data-id="{first.post.id}"><h1>{escape(first.post.title)}</h1>'
        f'<b class="author">{escape(first.post.author)}</b>'
        f'<span class="time">发表于 {first.local:%Y-%m-%d %H:%M:%S}</span>'
        f'<span class="place">{escape(first.post.place_hint)}</span>'
        f'<span class="likes">{counts.likes}</span><span class="views">{counts.views}</span>'
        f'<div class="body">{_lines(first.post.text)}</div></div>{answers}</body></html>'
    )


def board_row(s: Shown) -> str:
    return (
        f'<li><a href="/board/{s.post.id}.html">{escape(s.post.title or s.post.text[:24])}</a>'
        f'<span class="date">{s.local:%m-%d}</span></li>'
    )


def board_page(s: Shown) -> str:
    at = s.local
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8"><title>演练留言板</title></head><body>'
        f'<div class="letter" data-id="{s.post.id}"><h2>{escape(s.post.title)}</h2>'
        f'<p class="meta">来信人：<span class="author">{escape(s.post.author)}</span>'
        f'<span class="time">来信时间：{at.year}年{at.month}月{at.day}日'
        f"{at:%H时%M分%S秒}</span></p>"
        f'<div class="content">{_lines(s.post.text)}</div></div></body></html>'
    )


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")


# -- warnings -----------------------------------------------------------------------------------


def nmc_row(w: DrillWarning, night: Night) -> dict[str, str]:
    alert_id = night.alert_id(w)
    at = night.local_start + w.offset
    picture = f"p{TYPE_CODES.get(w.type, '9999')}{LEVEL_CODES[w.colour]}.png"
    return {
        "alertid": alert_id,
        "issuetime": f"{at:%Y/%m/%d %H:%M}",
        "title": w.title,
        "url": f"/publish/alarm/{alert_id}.html",
        "pic": f"https://image.example.org/{picture}",
    }


def nmc_answer(rows: Sequence[dict[str, str]], page: int, size: int) -> dict[str, Any]:
    total = max(1, -(-len(rows) // size))
    part = list(rows[(page - 1) * size : page * size])
    return {
        "msg": "success",
        "code": 0,
        "data": {
            "page": {"pageNo": page, "pageSize": size, "count": len(rows), "list": part,
                     "totalPage": total},
            "provinceAlarms": part,  # the real list repeats its rows here
        },
    }  # fmt: skip


def nmc_page(w: DrillWarning) -> str:
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8"></head><body>'
        f'<h1>{escape(w.title)}</h1><div id="alarmtext"><p>{escape(w.text)}</p></div></body></html>'
    )


def cap(w: DrillWarning, night: Night) -> str:
    """CAP 1.2, status Exercise: a drill never sends anything that says Actual."""
    at = night.local_start + w.offset
    expires = night.local_start + w.expires
    references = ""
    if w.supersedes:
        old = night.by_id(w.supersedes)
        sent = (night.local_start + old.offset).isoformat()
        references = f"<references>{old.sender},{night.alert_id(old)},{sent}</references>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><alert xmlns="{CAP_NS}">'
        f"<identifier>{night.alert_id(w)}</identifier><sender>{w.sender}</sender>"
        f"<sent>{at.isoformat()}</sent><status>Exercise</status>"
        f"<msgType>{MSG_TYPES[w.action]}</msgType><scope>Public</scope>{references}"
        f"<info><language>zh-CN</language><category>Met</category><event>{escape(w.type)}</event>"
        "<urgency>Immediate</urgency>"
        f"<severity>{SEVERITIES[w.colour]}</severity><certainty>Likely</certainty>"
        "<eventCode><valueName>nmc</valueName>"
        f"<value>{TYPE_CODES.get(w.type, '9999')}</value></eventCode>"
        f"<effective>{at.isoformat()}</effective><expires>{expires.isoformat()}</expires>"
        f"<senderName>{escape(w.station)}</senderName><headline>{escape(w.title)}</headline>"
        f"<description>{escape(w.text)}</description>"
        f"<area><areaDesc>{escape(w.area)}</areaDesc><geocode><valueName>行政区划</valueName>"
        f"<value>{w.adcode}</value></geocode></area></info></alert>"
    )


def cap_index(names: Sequence[str]) -> str:
    links = "".join(f'<li><a href="/cap/{name}.xml">{name}</a></li>' for name in names)
    return f"<!DOCTYPE html><html><body><ul>{links}</ul></body></html>"
