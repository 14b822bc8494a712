"""复盘: what was counted, each figure with its formula; lessons that become tasks; the export."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import streamlit as st

from dashboard import charts, widgets, words
from dashboard.acting import Visit, do
from dashboard.going import choose, chosen, go
from dashboard.markup import div, show, span, tag
from pipeline.desk import queries, queries_library
from pipeline.desk import review as desk_review
from pipeline.desk.review_export import to_docx, to_html
from pipeline.domain.case import CaseStatus
from pipeline.domain.review import Effect, Review
from pipeline.domain.rights import may

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def page(visit: Visit) -> None:
    number = chosen("id")
    if number.isdigit():
        one(visit, int(number))
        return
    now = visit.desk.now()
    with visit.desk.store.read() as conn:
        found = queries_library.reviewable(conn)
    widgets.title(f"已办结 {len(found)}", "办结后写复盘，再归档")
    if not found:
        widgets.empty("还没有办结的处置单。办结后在这里写复盘、导出报告。")
    for c in found:
        with (
            st.container(key=f"row_v{c['id']}"),
            st.container(horizontal=True, vertical_alignment="center"),
        ):
            state = f"复盘于 {words.stamp(c['made_at'], now)}" if c["made_at"] else "待复盘"
            st.html(
                div(
                    div(
                        words.level_badge(c["level"]),
                        widgets.chip(CaseStatus(c["status"]).label),
                        span(c["title"], cls="ttl"),
                        cls="head",
                    ),
                    div(
                        span(c["number"]),
                        span(f"办结 {words.stamp(c['closed_at'], now)}"),
                        span(state, cls="" if c["made_at"] else "neg"),
                        cls="foot",
                    ),
                    cls="it",
                ),
                width="stretch",
            )
            if st.button("打开", key=f"open_v{c['id']}"):
                choose("id", str(c["id"]))
                st.rerun()


def one(visit: Visit, case_id: int) -> None:
    """The review of one case."""
    desk, now = visit.desk, visit.desk.now()
    with desk.store.read() as conn:
        r = desk_review.load_review(conn, case_id, now, visit.actor.name)
        offices = queries.offices(conn)
    with st.container(key="row_sel_review"):
        show(
            div(
                div(
                    span(r.number, cls="soft"),
                    widgets.chip(r.level),
                    widgets.chip(r.status),
                    cls="head",
                ),
                div(r.title, cls="big"),
                cls="it",
            )
        )
        with st.container(horizontal=True):
            if st.button("准备导出", key="rv_prepare"):
                st.session_state[f"_export_{case_id}"] = (to_docx(r), to_html(r))
            kept = st.session_state.get(f"_export_{case_id}")
            if kept is not None:
                name = f"复盘-{r.number}"
                st.download_button("下载 DOCX", kept[0], f"{name}.docx", DOCX, key="rv_docx")
                st.download_button("下载 HTML", kept[1], f"{name}.html", "text/html", key="rv_html")
            if st.button("看处置单", key="rv_case", type="tertiary"):
                go("cases", id=case_id)
            if st.button("返回列表", key="rv_back", type="tertiary"):
                choose("id", "")
                st.rerun()
    left, right = st.columns([1.5, 1], gap="medium")
    with left:
        figures(r)
        curve(r)
        effects(r.effects)
        summary(visit, r)
        lessons(visit, r, offices)
    with right:
        lines = [
            div(span(words.stamp(e["at"]), cls="soft num"), " ", e["text"], cls="ev")
            for e in r.timeline
        ]
        show(div(widgets.heading("时间线"), div(*lines, cls="time"), cls="card"))


def figures(r: Review) -> None:
    """Each figure with its formula on hover; what is missing says so."""
    widgets.title("指标", "把鼠标停在数字上看公式；缺就是缺，不记为零")
    cells = [
        div(
            span(f.label, cls="soft"),
            tag("b", f.text),
            span(f.note, cls="soft"),
            cls="tile",
            title=f"{f.formula}" + (f"（依据：{'、'.join(f.refs)}）" if f.refs else ""),
        )
        for f in r.figures
    ]
    show(div(*cells, cls="tiles"))


def curve(r: Review) -> None:
    if not r.buckets:
        return
    widgets.title("传播曲线", "每 10 分钟；竖线为关键节点")
    marks = [
        (m.at, m.label, "release" if m.key == "released" else "alert")
        for m in r.moments
        if m.at is not None and m.key in ("alert", "released")
    ]
    charts.draw(
        charts.spread_curve([asdict(b) for b in r.buckets], marks), alt="传播曲线", key="rv_curve"
    )


def effects(found: tuple[Effect, ...]) -> None:
    """Volume and stance before and after the release."""
    widgets.title("发布前后", "同样长的时段相比")
    if not found:
        widgets.empty("没有发布，因此没有发布前后的比较。")
        return

    def share(value: float | None) -> str:
        return "缺" if value is None else f"{100 * value:.0f}%"

    widgets.table(
        ("时段", "帖文 前→后", "转述 前→后", "转述变化", "辟谣占比 前→后"),
        [
            (
                f"{e.hours} 小时",
                f"{e.before} → {e.after}",
                f"{e.spread_before} → {e.spread_after}",
                "缺" if e.change is None else f"{e.change:+.0f}%（n={e.spread_before}）",
                f"{share(e.share_debunk_before)} → {share(e.share_debunk_after)}",
            )
            for e in found
        ],
    )


def summary(visit: Visit, r: Review) -> None:
    widgets.title("小结")
    if not may(visit.actor, "write_review"):
        show(div(r.summary or "还没有小结。", cls="card"))
        return
    text = st.text_area(
        "复盘小结",
        value=r.summary,
        key=f"rv_sum_{r.case_id}",
        height=120,
        persist_state="session",
        placeholder="做对了什么，慢在哪里，下次怎么改",
        label_visibility="collapsed",
    )
    if st.button("保存复盘", key="rv_save", type="primary") and do(
        visit.desk,
        lambda tx, who: desk_review.write_review(tx, who, r.case_id, text),
        "复盘已保存，可以归档",
    ):
        st.rerun()


def lessons(visit: Visit, r: Review, offices: list[str]) -> None:
    """Lessons are tasks with an office and a date."""
    now = visit.desk.now()
    widgets.title(f"改进事项 {len(r.lessons)}")
    if not r.lessons:
        widgets.empty("还没有改进事项。写下一条，落到科室和日期。")
    for x in r.lessons:
        _lesson(visit, x, now)
    if not may(visit.actor, "write_review"):
        return
    with st.container(key="row_new_lesson"):
        text = st.text_input("改进事项", key=f"ls_{r.case_id}", persist_state="session")
        one_, two = st.columns(2)
        office = one_.selectbox(
            "责任科室", offices, index=None, key=f"ls_o_{r.case_id}", placeholder="选择科室"
        )
        due = two.datetime_input("完成时限（北京时间）", value=None, key=f"ls_d_{r.case_id}")
        due_at = words.from_beijing(due) if due else None
        if st.button("加入改进事项", key="ls_go") and do(
            visit.desk,
            lambda tx, who: desk_review.add_lesson(tx, who, r.case_id, text, office or "", due_at),
            "已加入",
        ):
            st.session_state.pop(f"ls_{r.case_id}", None)
            st.rerun()


def _lesson(visit: Visit, x: dict[str, Any], now: Any) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        done = f"{x['done_by']} {words.stamp(x['done_at'], now)} 完成" if x["done_at"] else ""
        st.html(
            div(
                span(x["text"]),
                widgets.chip(x["office"]),
                span(done, cls="pos") if done else words.due_badge(x["due_at"], "", now),
                cls="line",
            ),
            width="stretch",
        )
        if (
            not x["done_at"]
            and may(visit.actor, "write_review")
            and st.button("已完成", key=f"ls_done_{x['id']}")
            and do(
                visit.desk,
                lambda tx, who: desk_review.finish_lesson(tx, who, x["id"]),
                "已记为完成",
            )
        ):
            st.rerun()
