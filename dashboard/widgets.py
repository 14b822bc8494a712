"""Pieces used on several pages: empty states, tables, cards, one question before harm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from dashboard import words
from dashboard.markup import Safe, div, join, show, span, tag
from pipeline.domain.post import AnnotatedPost


def empty(sentence: str) -> None:
    """An empty place says so, and what comes next."""
    show(div(sentence, cls="empty"))


def heading(text: str) -> Safe:
    """The heading inside a card."""
    return div(text, cls="h5")


def title(text: str, note: str = "") -> None:
    """The heading of a part of the page."""
    show(div(text, span(note, cls="soft") if note else Safe(""), cls="hd"))


def chip(text: str, title: str = "") -> Safe:
    return span(text, cls="chip", title=title)


def table(head: Sequence[str], body: Iterable[Sequence[str]], *, bad: Sequence[int] = ()) -> None:
    """A table; on a phone each row becomes a card. ``bad``: rows to be shown as failed."""
    lines = []
    for number, row in enumerate(body):
        cells = [tag("td", cell, data_h=name) for name, cell in zip(head, row, strict=True)]
        lines.append(tag("tr", *cells, cls="bad" if number in bad else ""))
    top = tag("thead", tag("tr", *(tag("th", name) for name in head)))
    show(tag("table", top, tag("tbody", *lines), cls="tbl"))


def ask_once(label: str, what_happens: str, key: str, *, disabled: bool = False) -> bool:
    """A destructive act asks once, saying what will happen. True when it is confirmed."""
    with st.popover(label, disabled=disabled, key=f"ask_{key}"):
        st.write(what_happens)
        return st.button(f"确认{label}", key=f"yes_{key}", type="primary")


def post_card(item: AnnotatedPost, now: datetime, *, copies: int = 0, note: str = "") -> Safe:
    """One post: text escaped, no link to click, and the words that weighed."""
    post, a = item.post, item.annotation
    head = [
        span(words.ago(post.published_at, now)),
        span(f"{post.source} · {words.AUTHOR_WORDS.get(post.author_kind, post.author_kind)}"),
    ]
    if post.place_hint:
        head.append(span(f"地区 {post.place_hint}"))
    c = post.counts
    head.append(span(f"转 {c.reposts} 评 {c.comments} 赞 {c.likes}", cls="num"))
    if copies:
        head.append(span(f"相同内容 ×{copies + 1}", cls="chip"))
    if note:
        head.append(span(note, cls="chip"))
    if post.gone:
        head.append(span("源站已删除", cls="chip"))
    title = tag("b", post.title, " ") if post.title else Safe("")
    return div(
        div(title, post.text, cls="txt"),
        div(*head, cls="meta"),
        _reading(a),
        cls="post",
    )


def _reading(a: Any) -> Safe:
    """What the machine read, with probability and the words that weighed."""
    parts: list[Safe] = []
    for head, chosen in (
        ("kind", a.kind),
        ("sentiment", a.sentiment),
        ("urgency", str(a.urgency)),
        ("rumour", a.rumour),
    ):
        word = words.LABEL_WORDS[head].get(chosen, chosen)
        p = a.scores.get(head, {}).get(chosen)
        sure = f" {100 * p:.0f}%" if p is not None else ""
        unsure = "（把握不足）" if head in a.unsure else ""
        why = [w for w, weight in a.reasons.get(head, [])[:3] if weight > 0]
        marks = join(*(tag("mark", w) for w in why), gap=" ")
        cls = chosen if head == "sentiment" else ""
        parts.append(
            join(
                f"{words.HEAD_WORDS[head]} ",
                span(word, cls=cls),
                f"{sure}{unsure} ",
                marks,
            )
        )
    if a.looks:
        parts.append(_second_look(a))
    return div("机器判读：", join(*parts, gap="　"), cls="why2")


def _second_look(a: Any) -> Safe:
    """What the second tier looked at, and which way the account moved the rumour head."""
    said = []
    for look in a.looks:
        if look == "account" and a.reasons.get("rumour"):
            account, weight = a.reasons["rumour"][-1]
            said.append(f"账号（{account}，传言可能{'调低' if weight < 0 else '调高'}）")
        else:
            said.append(words.LOOK_WORDS.get(look, look))
    return span("复核：" + "、".join(said))


def warnings_card(found: Sequence[dict[str, Any]], now: datetime) -> None:
    """Warnings in force, official colour and word, since when and until when."""
    if not found:
        show(div(heading("生效预警"), div("当前没有生效的预警信号。", cls="soft"), cls="card"))
        return
    lines = []
    for w in found:
        until = f"至 {words.stamp(w['expires_at'], now)}" if w["expires_at"] else "未注明结束时间"
        lines.append(
            div(
                words.warning_badge(w["colour"], w["type_name"]),
                span(w["area"] or w["station"]),
                span(f"{words.stamp(w['issued_at'], now)} 起 {until}", cls="push"),
                cls="line",
            )
        )
    show(div(heading(f"生效预警 {len(found)}"), *lines, cls="card"))


def sources_card(found: Sequence[Any], now: datetime) -> None:
    """Sources that are in trouble, by name; the others as one number."""
    good = sum(s.is_ok for s in found)
    lines = []
    for s in found:
        if s.is_ok:
            continue
        since = words.ago(s.last_success_at, now) if s.last_success_at else "从未成功"
        lines.append(
            div(
                tag("b", s.source),
                span(f"{words.SOURCE_STATES.get(s.state, s.state)} {s.reason}", cls="neg"),
                span(since, cls="push"),
                cls="line",
            )
        )
    head = f"信源 {good}/{len(found)} 正常" if found else "信源 尚未登记"
    show(div(heading(head), *lines, cls="card"))
