"""Search over all posts, with facets that are counts."""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from dashboard import outage, widgets, words
from dashboard.acting import Visit
from dashboard.markup import div, show, span
from dashboard.screens import corrections
from pipeline.desk import queries_judging
from pipeline.index.base import Query

LIMIT = 20
SPANS = {"24 小时": 24, "7 天": 168, "30 天": 720, "全部": 0}


@outage.needs("index")
def search(visit: Visit) -> None:
    """Words as typed, cut by the same segmenter as the posts; all must occur; newest first."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        typed = st.text_input(
            "帖文含", key="pq", bind="query-params", placeholder="如 大王滩 泄洪", width=320
        )
        span_name = st.segmented_control(
            "时间", list(SPANS), default="7 天", key="p_span", required=True
        )
        relevant = st.checkbox("只看气象相关", value=True, key="p_rel")
    hours = SPANS.get(span_name or "7 天", 168)
    now = visit.desk.now()
    base = Query(
        words=typed or "",
        since=now - timedelta(hours=hours) if hours else None,
        relevant_only=relevant,
        limit=LIMIT,
    )
    with st.container(horizontal=True, gap="medium"):
        kinds = _facet(visit, base, "kind", "类型", words.KIND_WORDS)
        sentiments = _facet(visit, base, "sentiment", "态度", words.SENTIMENT_WORDS)
        rumours = _facet(visit, base, "rumour", "传言", words.RUMOUR_WORDS)
    query = Query(
        words=base.words,
        kinds=kinds,
        sentiments=sentiments,
        rumours=rumours,
        since=base.since,
        relevant_only=relevant,
        limit=LIMIT,
    )
    total = visit.desk.index.count(query)
    show(div(span(f"{total} 条", cls="num"), "，新的在前", cls="hd"))
    if not total:
        widgets.empty("没有符合的帖文。可以少写一个词，或放宽时间。")
        return
    hits = visit.desk.index.search(query)
    with visit.desk.store.read() as conn:
        said = queries_judging.corrected(conn, [hit.item.post.id for hit in hits])
    for hit in hits:
        note = f"改过 {hit.versions - 1} 次" if hit.versions > 1 else ""
        stands = said.get(hit.item.post.id, [])
        key = f"post_{hit.item.post.id}"
        with st.container(key=key, horizontal=True, vertical_alignment="center"):
            st.html(widgets.post_card(hit.item, now, note=note), width="stretch")
            corrections.correct(visit, hit.item, stands)
        corrections.people_say(visit, stands)
    if total > LIMIT:
        show(div(f"只显示最新 {LIMIT} 条；完整结果请用 tingfeng search 导出。", cls="soft"))


def _facet(
    visit: Visit, base: Query, name: str, title: str, labels: dict[str, str]
) -> tuple[str, ...]:
    counts = visit.desk.index.facets(base, name)  # type: ignore[arg-type]
    options = [v for v in labels if counts.get(v)]
    if not options:
        return ()
    picked = st.pills(
        title,
        options,
        selection_mode="multi",
        format_func=lambda v: f"{labels[v]} {counts.get(v, 0)}",
        key=f"ps_{name}",
    )
    return tuple(picked)
