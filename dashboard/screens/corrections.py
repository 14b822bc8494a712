"""更正: what people say against the machine about a post, and where two of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, do
from dashboard.markup import Safe, div, join, span
from pipeline.desk import labels, queries_judging
from pipeline.domain.corrections import Standing
from pipeline.domain.post import AnnotatedPost
from pipeline.domain.rights import Actor, may
from pipeline.store.sql import Tx


def correct(visit: Visit, item: AnnotatedPost, stands: Sequence[Standing]) -> None:
    """The button under a post. ``stands``: what was said about it; where somebody contradicted
    the machine, siding with it says something too."""
    if not may(visit.actor, "correct_label"):
        return
    post = item.post
    with st.popover("更正判读", key=f"fix_{post.id}"):
        head = st.selectbox(
            "哪一项",
            list(words.LABEL_WORDS),
            format_func=words.HEAD_WORDS.__getitem__,
            key=f"fix_head_{post.id}",
        )
        named = words.LABEL_WORDS[head]
        old = str(getattr(item.annotation, head))
        spoken = any(s.head == head for s in stands)
        new = st.selectbox(
            f"现为“{named.get(old, old)}”，改为",
            [v for v in named if v != old or spoken],
            format_func=named.__getitem__,
            key=f"fix_new_{post.id}_{head}",
        )
        if st.button("更正", key=f"fix_go_{post.id}", type="primary") and do(
            visit.desk,
            lambda tx, who: labels.correct_label(tx, who, post.id, head, old, new, post.full_text),
            "已记下更正，用于下一次训练",
        ):
            st.rerun()


def people_say(visit: Visit, stands: Sequence[Standing]) -> None:
    """Under a post: what people said against the machine, by whom and when."""
    now = visit.desk.now()
    for one in stands:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(
                div(
                    span("人工更正：", cls="soft"),
                    said_line(one),
                    span(words.stamp(one.at, now), cls="soft"),
                    cls="line",
                )
            )
            if one.disputed and may(visit.actor, "settle_label"):
                settle(visit, one)


def disputes(visit: Visit) -> None:
    """Posts on whose label two people differ. A leader may decide here."""
    with visit.desk.store.read() as conn:
        found = queries_judging.disputed(conn)
    widgets.title(f"判读分歧 {len(found)}", "两人更正不一致；双方一致或带班领导裁定之前不用于训练")
    if not found:
        widgets.empty("没有分歧。")
    for stands in found:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(
                div(
                    span(words.people_say(stands.text, 60)),
                    span(said_line(stands), cls="soft"),
                    cls="line",
                ),
                width="stretch",
            )
            if may(visit.actor, "settle_label"):
                settle(visit, stands)


def said_line(stands: Standing) -> Safe:
    """Who says what, as one line."""
    named = words.LABEL_WORDS[stands.head]
    said = [f"{who}：{named.get(label, label)}" for who, label in stands.words.items()]
    state = (
        "有分歧"
        if stands.disputed
        else f"{stands.settled_by}裁定为{named.get(stands.label or '', stands.label or '')}"
        if stands.settled_by
        else ""
    )
    return join(
        f"{words.HEAD_WORDS[stands.head]}（机器：{named.get(stands.machine, stands.machine)}） ",
        "，".join(said),
        span(f" {state}", cls="warnword") if state else "",
    )


def settle(visit: Visit, stands: Standing) -> None:
    """The leader's choice between the labels people named."""
    named = words.LABEL_WORDS[stands.head]
    key = f"{stands.post_id}_{stands.head}"
    with st.popover("裁定", key=f"settle_{key}"):
        label = st.selectbox(
            words.HEAD_WORDS[stands.head],
            list(dict.fromkeys([*stands.words.values(), stands.machine])),
            format_func=lambda v: named.get(v, v),
            key=f"settle_to_{key}",
        )
        if st.button("确认裁定", key=f"settle_go_{key}", type="primary") and do(
            visit.desk, partial(_settle, stands, label or ""), "已裁定"
        ):
            st.rerun()


def _settle(stands: Standing, label: str, tx: Tx, who: Actor) -> None:
    labels.settle_label(tx, who, stands.post_id, stands.head, stands.machine, label, stands.text)
