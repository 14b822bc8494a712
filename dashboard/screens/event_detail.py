"""One event: what it is, how it spreads, what it rests on, its posts, what can be done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard import charts, claim_pair, outage, widgets, words
from dashboard.acting import Visit, make
from dashboard.going import choose, go
from dashboard.markup import div, show, span, tag
from dashboard.screens import alert_panel, corrections
from nlp.claim_library import shown_link
from nlp.lexicon.divisions import division_name
from pipeline.desk import cases, queries_events, queries_judging, queries_library
from pipeline.desk.queries_events import EventView
from pipeline.domain.alert import AlertState
from pipeline.domain.case import CaseStatus
from pipeline.domain.corrections import Standing
from pipeline.domain.post import AnnotatedPost

POSTS = 15


def detail(visit: Visit, event_id: str) -> None:
    """Everything about one event, beside the list."""
    desk = visit.desk
    now = desk.now()
    with desk.store.read() as conn:
        view = queries_events.event_view(conn, event_id, now, visit.actor)
    if view is None:
        widgets.empty("没有这个事件，可能已并入其他事件。请从列表中选择。")
        return
    with st.container(key="row_sel_event"):
        header(visit, view)
        actions(visit, view)
    whole, posts, proof = st.tabs(["传播", f"帖文 {view.event['posts']}", "依据"])
    with whole:
        spread(visit, view)
    with posts:
        post_list(visit, view)
    with proof:
        evidence(visit, view)


def header(visit: Visit, view: EventView) -> None:
    e, now = view.event, visit.desk.now()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(
            words.level_badge(view.level)
            + span("（已定级）" if view.level_is_decided else "（系统建议，待研判）", cls="soft")
            + " "
            + widgets.chip(view.kind_label)
        )
        if st.button("收起", key="close_event", type="tertiary"):
            choose("id", "")
            st.rerun()
    show(div(e["title"], cls="big"))
    reasons = "；".join(e["proposed_reasons"]) or "按帖文数和紧急度建议"
    show(
        div(
            div(span("为何在此：", cls="soft"), reasons),
            div(
                span("首帖：", cls="soft"),
                f"{words.ago(e['first_at'], now)}，{_delay(e)}首次采到；最近 "
                f"{words.ago(e['last_at'], now)}",
            ),
            div(
                span("规模：", cls="soft"),
                f"{e['posts']} 条（去重 {e['unique_posts']} 条），转 {e['reposts']} 评 "
                f"{e['comments']} 赞 {e['likes']} 阅 {e['views']}，热度 {e['heat']:.0f}",
            ),
            cls="it",
        )
    )


def _delay(e: dict[str, Any]) -> str:
    return f"{words.long_span(e['first_seen_at'] - e['first_at'])}后"


def actions(visit: Visit, view: EventView) -> None:
    """Actions stand wherever the event is shown; each alert opens its own."""
    desk = visit.desk
    with st.container(horizontal=True):
        open_case = next((c for c in view.cases if CaseStatus(c["status"]).value != "merged"), None)
        if open_case is not None and st.button(
            f"处置单 {open_case['number']}", key="ev_case", type="primary"
        ):
            go("cases", id=open_case["id"])
        if (
            open_case is None
            and "open_case" in view.can
            and st.button("立单", key="ev_open", type="primary")
        ):
            event_id = view.event["id"]
            case_id = make(
                desk,
                lambda tx, who: cases.open_case(tx, who, event_id=event_id, rules=desk.rules),
                "已立单，请研判：定等级、写理由",
            )
            if case_id is not None:
                go("cases", id=case_id)
            st.rerun()
    for a in view.alerts:
        state = AlertState(a["state"])
        by = f"，{a['claimed_by']}" if a["claimed_by"] else ""
        quiet = queries_events.why_quiet(a)
        with st.expander(f"预警：{words.people_say(a['sentence'], 46)}（{state.label}{by}）"):
            if quiet:
                show(div(f"为何安静：{quiet}", cls="soft"))
            alert_panel.panel(visit, a["fingerprint"], closable=False)


@st.fragment(run_every=10, key="spread")
@outage.kept_open
def spread(visit: Visit, view: EventView) -> None:
    """The curve with alerts and releases on it, stance, sources, places."""
    with visit.desk.store.read() as conn:
        fresh = queries_events.event_view(conn, view.event["id"], visit.desk.now(), visit.actor)
    view = fresh or view
    e = view.event
    widgets.title("传播曲线", "每 10 分钟，按立场；竖线为预警与发布")
    if view.buckets:
        charts.draw(
            charts.spread_curve(view.buckets, view.marks),
            alt=f"{e['title']}每 10 分钟的帖文数",
            key="curve",
        )
    else:
        widgets.empty("还没有分时数据。")
    total = e["spread"] + e["question"] + e["debunk"]
    one, two, three = st.columns(3, gap="medium")
    with one:
        widgets.title("立场与态度")
        show(
            div(
                *(
                    div(
                        words.STANCE_WORDS[k],
                        span(words.percent(e[k], total), cls="push"),
                        cls="line",
                    )
                    for k in ("spread", "question", "debunk")
                ),
                *(
                    div(
                        span(words.SENTIMENT_WORDS[k], cls=k),
                        span(words.percent(e[k], e["posts"]), cls="push"),
                        cls="line",
                    )
                    for k in ("neg", "neu", "pos")
                ),
                div(
                    "政务媒体账号",
                    span(words.percent(e["official"], e["posts"]), cls="push"),
                    cls="line",
                ),
                cls="card",
            )
        )
    with two:
        widgets.title("来源")
        top = sorted(e["sources"].items(), key=lambda kv: -kv[1])[:8]
        if top:
            charts.draw(charts.bars(top), alt="各来源帖文数", key="ev_sources")
    with three:
        widgets.title("地点")
        places = sorted(e["places"].items(), key=lambda kv: -kv[1])[:8]
        if places:
            named = [(division_name(code) or code, n) for code, n in places]
            charts.draw(charts.bars(named), alt="各县区帖文数", key="ev_places")
        else:
            widgets.empty("帖文中没有可认定的地点。")


@outage.needs("index")
def post_list(visit: Visit, view: EventView) -> None:
    """Posts with copies folded, most copied first."""
    desk, now = visit.desk, visit.desk.now()
    stance = st.segmented_control(
        "立场",
        ("", "spread", "question", "debunk"),
        default="",
        format_func=lambda s: words.STANCE_WORDS.get(s, "全部"),
        key="post_stance",
        label_visibility="collapsed",
        required=True,
    )
    at = int(st.session_state.get("_post_page", 0))
    with desk.store.read() as conn:
        refs = queries_events.event_posts(
            conn, view.event["id"], stance=stance or "", limit=POSTS + 1, offset=at * POSTS
        )
        said = queries_judging.corrected(conn, [r.post_id for r in refs[:POSTS]])
    found = desk.index.get([r.post_id for r in refs[:POSTS]])
    with desk.store.read() as conn:
        known = queries_library.claim_rows(
            conn, (m.id for item in found.values() for m in item.annotation.claims)
        )
    if not refs:
        widgets.empty("这一立场下没有帖文。")
    for ref in refs[:POSTS]:
        item = found.get(ref.post_id)
        if item is None:
            show(div("这条帖文已过保存期；处置中引用过的已存为依据。", cls="soft"))
            continue
        first = ref.post_id == view.event["first_post_id"]
        show(widgets.post_card(item, now, copies=ref.copies, note="首帖" if first else ""))
        claim_pair.beside(known, item, now)
        stands = said.get(ref.post_id, [])
        post_tools(visit, item, stands)
        corrections.people_say(visit, stands)
    with st.container(horizontal=True):
        if at and st.button("上一页", key="posts_prev"):
            st.session_state["_post_page"] = at - 1
            st.rerun()
        if len(refs) > POSTS and st.button("下一页", key="posts_next"):
            st.session_state["_post_page"] = at + 1
            st.rerun()


def post_tools(visit: Visit, item: AnnotatedPost, stands: Sequence[Standing]) -> None:
    """The link, only when asked for; and the correction of a label."""
    with st.container(horizontal=True):
        with st.popover("原文链接", key=f"link_{item.post.id}"):
            st.caption("外部链接，请在隔离的浏览器中打开；系统不加载其中的图片和视频。")
            st.code(item.post.url or "来源没有给出链接", language=None, wrap_lines=True)
        corrections.correct(visit, item, stands)


def evidence(visit: Visit, view: EventView) -> None:
    """Warnings in force then, the known claim, what was released, the desk's files."""
    now = visit.desk.now()
    widgets.title("当时生效的预警")
    if not view.warnings:
        widgets.empty("这段时间没有生效的预警信号。")
    for w in view.warnings:
        show(
            div(
                div(
                    words.warning_badge(w["colour"], w["type_name"]),
                    span(w["station"]),
                    span(f"{words.stamp(w['issued_at'], now)} 发布", cls="push"),
                    cls="line",
                ),
                div(w["text"], cls="soft"),
                cls="card",
            )
        )
    widgets.title("已知谣言")
    if view.claim is None:
        widgets.empty("没有相近的已知谣言。相近的会带相似度显示在这里。")
    else:
        c = view.claim
        show(
            div(
                div(tag("b", c["id"]), f" “{c['claim']}”"),
                div(f"结论：{c['verdict']}。{c['correction']}"),
                div(f"{c['source_name']} {c['date']} {shown_link(c['source_url'])}", cls="soft"),
                cls="card",
            )
        )
        claim_pair.of_event(visit, c, view.event["id"])
    widgets.title("已发布")
    if not view.releases:
        widgets.empty("尚未就此事发布。立单后可起草澄清。")
    for r in view.releases:
        show(
            div(
                div(tag("b", r["number"]), f" {r['content'].get('title', '')}"),
                div(f"{words.ago(r['released_at'], now)}，签发 {r['signer']}", cls="soft"),
                cls="card",
            )
        )
    if view.cases:
        widgets.title("处置单")
        show(
            div(
                *(
                    div(
                        tag("b", c["number"]),
                        span(CaseStatus(c["status"]).label),
                        span(c["owner"], cls="push"),
                        cls="line",
                    )
                    for c in view.cases
                ),
                cls="card",
            )
        )
