"""A post beside the known claim it may repeat: what differs, what agrees, and who said otherwise.

Whether the two are one claim is for the officer; this only saves them the searching. Both texts
are untrusted and escaped; a mark never speaks by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import streamlit as st

from dashboard import outage, widgets, words
from dashboard.acting import Visit
from dashboard.markup import Safe, div, join, show, span, tag
from nlp.claim_compare import KIND_WORDS, Mark, compare
from nlp.claim_library import KnownClaim, shown_link
from nlp.places import Gazetteer
from nlp.types import ClaimMatch
from pipeline.desk import queries_library
from pipeline.domain.post import AnnotatedPost

PAIRS = 5
"""Posts shown beside one claim."""
STANCE = {"repeat": "转述", "question": "求证", "debunk": "辟谣"}
LEVEL = {"suggest": "疑似，待人工判断", "confirm": "近乎照抄，已自动归并"}


@cache
def _gazetteer() -> Gazetteer:
    return Gazetteer.load()


def side_by_side(
    claim: Mapping[str, Any], item: AnnotatedPost, match: ClaimMatch, now: datetime
) -> Safe:
    """``claim``: its row in the library; ``match``: what the annotator found in the post."""
    post = item.post
    known = KnownClaim(claim["id"], claim["claim"], adcode=claim["adcode"], date=claim["date"])
    text = post.full_text
    found = compare(known, text, _gazetteer(), clause=match.clause, rumour=item.annotation.rumour)
    named = {sentence.partition("：")[0] for sentence in match.differs}
    differs = [*match.differs] + [
        f"{KIND_WORDS[kind]}：见右侧标出处"
        for kind in found.differs
        if KIND_WORDS[kind] not in named and not (kind == "denial" and "语气" in named)
    ]
    agrees = [f"{KIND_WORDS[kind]} {'、'.join(said)}" for kind, said in found.agrees.items()]
    return div(
        div(
            widgets.chip(claim["id"]),
            span(f"相似 {match.similarity:.2f}", cls="num"),
            span(LEVEL[match.level]),
            span("帖文立场：", tag("b", STANCE[found.stance])),
            cls="meta",
        ),
        div(
            div(
                widgets.heading(f"已知说法（{claim['verdict']}）"),
                div(marked(claim["claim"], found.claim_marks), cls="txt"),
                div("核查说明：", claim["correction"] or "未填写", cls="soft"),
                _source(claim),
                cls="side",
            ),
            div(
                widgets.heading("帖文"),
                div(marked(text, found.post_marks), cls="txt"),
                div(f"{words.ago(post.published_at, now)} · {post.source}", cls="soft"),
                cls="side",
            ),
            cls="sides",
        ),
        div(span("不同：", cls="neg"), "；".join(differs))
        if differs
        else div(span("不同：", cls="soft"), "没有发现地点、日期、数字不一致"),
        div(span("相同：", cls="soft"), "；".join(agrees) if agrees else "没有逐字相同之处"),
        cls="post pair",
    )


def pairs(
    claims: Mapping[str, Mapping[str, Any]],
    items: Sequence[AnnotatedPost],
    now: datetime,
    *,
    only: str = "",
) -> list[Safe]:
    """One picture for each post and claim it was found alike with. ``only``: one claim's id."""
    return [
        side_by_side(claims[match.id], item, match, now)
        for item in items
        for match in item.annotation.claims
        if match.id in claims and only in ("", match.id)
    ]


def beside(claims: Mapping[str, Mapping[str, Any]], item: AnnotatedPost, now: datetime) -> None:
    """Under a post: each claim it was found alike with, to be opened."""
    for match in item.annotation.claims:
        if match.id in claims:
            label = f"与已知说法 {match.id} 对照（相似 {match.similarity:.2f}）"
            with st.expander(label):
                show(side_by_side(claims[match.id], item, match, now))


@outage.needs("index")
def of_event(visit: Visit, claim: Mapping[str, Any], event_id: str = "") -> None:
    """The posts of a claim's events (or of one of them) that were found alike with it."""
    desk = visit.desk
    with desk.store.read() as conn:
        ids = queries_library.posts_to_compare(conn, claim["id"], event_id=event_id)
    items = list({item.post.full_text: item for item in desk.index.get(ids).values()}.values())
    found = pairs({claim["id"]: claim}, items, desk.now(), only=claim["id"])
    if not found:
        widgets.empty("没有与它逐条相似的帖文，可能按主题归并。")
    for pair in found[:PAIRS]:
        show(pair)


def marked(text: str, marks: Sequence[Mark]) -> Safe:
    """A text with its marks: what differs is underlined and named, what agrees is shaded."""
    pieces: list[str] = []
    at = 0
    for mark in marks:
        pieces.append(text[at : mark.start])
        said = text[mark.start : mark.end]
        if mark.agrees:
            pieces.append(tag("mark", said, cls="same", title=f"{KIND_WORDS[mark.kind]}相同"))
        else:
            pieces.append(
                tag("mark", said, tag("small", f"≠{KIND_WORDS[mark.kind]}"), cls="unlike")
            )
        at = mark.end
    pieces.append(text[at:])
    return join(*pieces)


def _source(claim: Mapping[str, Any]) -> Safe:
    link = shown_link(claim["source_url"])
    return div(
        f"核查来源：{claim['source_name'] or '未注明'} {claim['date']}",
        span(f"　{link}") if link else Safe(""),
        cls="soft",
    )
