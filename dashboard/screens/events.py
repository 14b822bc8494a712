"""事件: facets with counts, the list, and one event beside it; or a search over all posts."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit
from dashboard.going import choose, chosen
from dashboard.markup import Safe, div, show, span
from dashboard.screens import event_detail, post_search, spot_check
from pipeline.desk import queries_events
from pipeline.desk.queries_events import SORTS, SPANS, EventFilter, EventList
from pipeline.domain.event import EVENT_KIND_NAMES, HAZARD_NAMES, Level
from pipeline.domain.rights import may

SPAN_WORDS = {"6h": "6 小时", "24h": "24 小时", "7d": "7 天", "all": "全部"}
MODES = {"events": "事件", "posts": "搜帖文", "check": "抽查"}
VIEWS: dict[str, dict[str, str]] = {
    "谣言": {"kind": "rumour", "span": "24h"},
    "重大以上": {"level": "4,3", "span": "7d"},
    "灾情": {"kind": "damage", "span": "24h"},
    "对气象服务的意见": {"kind": "complaint", "span": "7d"},
}


def page(visit: Visit) -> None:
    modes = [m for m in MODES if m != "check" or may(visit.actor, "correct_label")]
    mode = st.segmented_control(
        "看什么",
        modes,
        default=chosen("m") if chosen("m") in modes else "events",
        format_func=MODES.__getitem__,
        label_visibility="collapsed",
        key="events_mode",
        required=True,
    )
    choose("m", "" if mode == "events" else mode or "")
    if mode == "check":
        spot_check.page(visit)
        return
    if mode == "posts":
        post_search.search(visit)
        return
    wanted = filters(visit)
    listing = snapshot(visit, wanted)
    facets_line(listing)
    selected = chosen("id")
    if not selected:
        event_rows(visit, listing, selected)
        return
    left, right = st.columns([1, 1.75], gap="medium")
    with left:
        event_rows(visit, listing, selected)
    with right, st.container(key="detail"):
        event_detail.detail(visit, selected)


def filters(visit: Visit) -> EventFilter:
    """Filters as controls; what is chosen stands in the address."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input("标题含", key="q", bind="query-params", placeholder="如 泄洪", width=220)
        span_key = chosen("span") or "24h"
        picked = st.segmented_control(
            "时间",
            list(SPANS),
            default=span_key if span_key in SPANS else "24h",
            format_func=SPAN_WORDS.__getitem__,
            key="events_span",
            required=True,
        )
        choose("span", picked if picked and picked != "24h" else "")
        sort_key = chosen("sort") or "heat"
        sort = st.selectbox(
            "排序",
            list(SORTS),
            index=list(SORTS).index(sort_key) if sort_key in SORTS else 0,
            format_func=SORTS.__getitem__,
            key="events_sort",
            width=120,
        )
        choose("sort", sort if sort != "heat" else "")
        for name, params in VIEWS.items():
            if st.button(name, key=f"view_{name}", type="tertiary"):
                for key in ("kind", "level", "hazard", "span"):
                    choose(key, params.get(key, ""))
                for key in ("events_span", "f_kind", "f_level", "f_hazard"):
                    st.session_state.pop(key, None)
                st.session_state.pop("_events", None)
                st.rerun()
    span_of = SPANS.get(picked or "24h")
    return EventFilter(
        kinds=tuple(_list("kind")),
        levels=tuple(int(n) for n in _list("level") if n in "1234"),
        hazards=tuple(_list("hazard")),
        words=st.session_state.get("q") or "",
        since=visit.desk.now() - span_of if span_of else None,
        sort=sort or "heat",
        limit=60,
    )


def _list(name: str) -> list[str]:
    return [v for v in chosen(name).split(",") if v]


def snapshot(visit: Visit, wanted: EventFilter) -> EventList:
    """The list as it was when it was asked for: it does not move while it is read."""
    key = (wanted.kinds, wanted.levels, wanted.hazards, wanted.words, wanted.sort, chosen("span"))
    kept = st.session_state.get("_events")
    if kept is None or kept[0] != key:
        now = visit.desk.now()
        with visit.desk.store.read() as conn:
            kept = (key, queries_events.event_list(conn, wanted, now), now)
        st.session_state["_events"] = kept
    listing: EventList = kept[1]
    return listing


def facets_line(listing: EventList) -> None:
    """Facets with counts; several values of one facet mean “or”."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        _facet("kind", "类型", listing.facets["kind"], EVENT_KIND_NAMES)
        levels = {str(int(level)): level.label for level in Level}
        _facet("level", "等级", listing.facets["level"], levels)
        _facet("hazard", "灾种", listing.facets["hazard"], HAZARD_NAMES)


def _facet(name: str, title: str, counts: list[tuple[str, int]], labels: dict[str, str]) -> None:
    number = dict(counts)
    options = [value for value in labels if number.get(value) or value in _list(name)]
    if not options:
        return
    picked = st.pills(
        title,
        options,
        selection_mode="multi",
        default=[v for v in _list(name) if v in options],
        format_func=lambda v: f"{labels.get(v, v)} {number.get(v, 0)}",
        key=f"f_{name}",
    )
    value = ",".join(picked)
    if value != chosen(name):
        choose(name, value)
        st.session_state.pop("_events", None)
        st.rerun()


def event_rows(visit: Visit, listing: EventList, selected: str) -> None:
    """The events of the list, one main button each."""
    asked: datetime = st.session_state["_events"][2]
    with st.container(horizontal=True, vertical_alignment="center"):
        widgets.title(f"事件 {listing.total}", f"列表截至 {words.clock(asked)}")
        if st.button("刷新列表", key="events_refresh", type="tertiary"):
            st.session_state.pop("_events", None)
            st.rerun()
    if not listing.events:
        widgets.empty("这些条件下没有事件。请放宽时间或去掉一个筛选。")
        return
    now = visit.desk.now()
    for e in listing.events:
        event_row(e, listing, now, is_selected=e["id"] == selected, narrow=bool(selected))
    if listing.total > len(listing.events):
        show(div(f"只列出前 {len(listing.events)} 个，请用筛选缩小范围。", cls="soft"))


def event_row(
    e: dict[str, object], listing: EventList, now: datetime, *, is_selected: bool, narrow: bool
) -> None:
    key = str(e["id"])
    spark = listing.sparks.get(key, [])
    late = listing.lately.get(key, 0)
    level = int(e["level"] or e["proposed_level"])  # type: ignore[call-overload]
    neg = words.percent(int(e["neg"]), int(e["posts"]))  # type: ignore[call-overload]
    with (
        st.container(key=f"row_{'sel_' if is_selected else ''}{key}"),
        st.container(horizontal=True, vertical_alignment="center"),
    ):
        st.html(
            div(
                div(
                    words.level_badge(level),
                    widgets.chip(EVENT_KIND_NAMES.get(str(e["kind"]), str(e["kind"]))),
                    span(str(e["title"]), cls="ttl"),
                    span(str(e["place_name"]), cls="soft"),
                    cls="head",
                ),
                div(
                    span(f"×{e['posts']}", cls="n"),
                    span(words.blocks(spark), cls="spark") if any(spark) else Safe(""),
                    span(f"+{late}/10分", cls="n") if late else Safe(""),
                    span(f"负面 {neg}") if not narrow else Safe(""),
                    span(f"最近 {words.ago(e['last_at'], now)}"),  # type: ignore[arg-type]
                    cls="foot",
                ),
                cls="it",
            ),
            width="stretch",
        )
        if not is_selected and st.button("查看", key=f"see_{key}"):
            choose("id", key)
            st.rerun()
