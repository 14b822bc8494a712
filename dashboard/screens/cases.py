"""处置: my steps and the cases; one case with its clocks, tasks, drafts, reports and timeline."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from dashboard import outage, widgets, words
from dashboard.acting import Visit, do
from dashboard.going import choose, chosen, go
from dashboard.markup import Safe, div, join, show, span, tag
from dashboard.screens import case_steps, case_tasks, drafts, overview, reports
from pipeline.desk import handover, queries_cases
from pipeline.desk.queries_cases import GROUPS, CaseView, ClockView
from pipeline.domain.case import CaseStatus
from pipeline.domain.rights import may


def page(visit: Visit) -> None:
    st.session_state["_visit"] = visit
    number = chosen("id")
    if number.isdigit():
        one_case(visit, int(number))
    else:
        all_cases(visit)


def all_cases(visit: Visit) -> None:
    """What waits for me, then every case I may see."""
    left, right = st.columns([1.15, 1], gap="medium")
    with left:
        mine = [i for i in overview.read_board(visit).items if i.is_mine]
        widgets.title(f"我的事项 {len(mine)}", "最急的在前")
        if not mine:
            widgets.empty("没有等您办理的事项。在总览认领预警并立单后，会出现在这里。")
        for item in mine[:20]:
            overview.row(visit, item, True)
        if may(visit.actor, "hand_over"):
            hand_over(visit)
    with right:
        widgets.title("处置单")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            group = st.segmented_control(
                "范围",
                list(GROUPS),
                default=chosen("g") if chosen("g") in GROUPS else "open",
                format_func=GROUPS.__getitem__,
                key="case_group",
                label_visibility="collapsed",
                required=True,
            )
            choose("g", group if group and group != "open" else "")
            typed = st.text_input(
                "编号或标题",
                key="cq",
                bind="query-params",
                placeholder="编号或标题",
                width=220,
                label_visibility="collapsed",
            )
        with visit.desk.store.read() as conn:
            found = queries_cases.case_list(
                conn, visit.actor, group=group or "open", words=typed or ""
            )
        if not found:
            widgets.empty("这里没有处置单。换一个范围或清空查找。")
        for case in found:
            case_row(visit, case)


def case_row(visit: Visit, case: dict[str, object]) -> None:
    now = visit.desk.now()
    status = CaseStatus(str(case["status"]))
    with (
        st.container(key=f"row_c{case['id']}"),
        st.container(horizontal=True, vertical_alignment="center"),
    ):
        due = case["next_due"]
        st.html(
            div(
                div(
                    words.level_badge(int(case["level"])),  # type: ignore[call-overload]
                    widgets.chip(status.label),
                    span(str(case["title"]), cls="ttl"),
                    cls="head",
                ),
                div(
                    span(str(case["number"])),
                    span(f"承办 {case['owner']}"),
                    words.due_badge(due, "", now) if due else Safe(""),  # type: ignore[arg-type]
                    cls="foot",
                ),
                cls="it",
            ),
            width="stretch",
        )
        if st.button("打开", key=f"open_c{case['id']}"):
            choose("id", str(case["id"]))
            st.rerun()


def hand_over(visit: Visit) -> None:
    """交班: the open items go to the next officer, frozen as they stand."""
    desk = visit.desk
    with st.expander("交班"):
        with desk.store.read() as conn:
            people = [n for n in queries_cases.desk_people(conn) if n != visit.actor.name]
            items = handover.open_items(conn, desk.now())
        said = "，".join(f"{label} {len(items.get(key, []))}" for key, label in HAND_OVER.items())
        show(div(f"将一并移交：{said}", cls="soft"))
        to = st.selectbox("交给", people, index=None, placeholder="选择接班人", key="ho_to")
        note = st.text_area("交班说明", key="ho_note", persist_state="session", height=80)
        if widgets.ask_once(
            "交班",
            f"未办事项移交给{to or '接班人'}，您名下的认领和处置单随之转移。",
            "handover",
            disabled=to is None,
        ) and do(
            desk, lambda tx, who: handover.hand_over(tx, who, to or "", note), f"已交班给{to}"
        ):
            st.rerun()


HAND_OVER = {"alerts": "预警", "cases": "处置单", "help_calls": "求助", "silences": "静默"}


def one_case(visit: Visit, case_id: int) -> None:
    """The file of one case."""
    desk = visit.desk
    with desk.store.read() as conn:
        view = queries_cases.case_view(conn, case_id, desk.now(), visit.actor)
    if view is None:
        widgets.empty("没有这份处置单，或它没有分办给本科室。请返回列表。")
        if st.button("返回列表", key="case_back"):
            choose("id", "")
            st.rerun()
        return
    left, right = st.columns([1.9, 1], gap="medium")
    with left:
        header(visit, view)
        names = {
            "work": "办理",
            "tasks": f"分办 {len(view.assignments)}",
            "drafts": f"澄清与发布 {len(view.drafts)}",
            "reports": f"上报 {len(view.reports)}",
            "proof": f"依据 {len(view.evidence)}",
        }
        asked = "drafts" if chosen("draft") else chosen("tab")
        part = st.segmented_control(
            "部分",
            list(names),
            default=asked if asked in names else "work",
            format_func=names.__getitem__,
            key=f"case_tab_{case_id}",
            label_visibility="collapsed",
            required=True,
        )
        if part == "tasks":
            case_tasks.tasks(visit, view)
        elif part == "drafts":
            drafts.drafts(visit, view)
        elif part == "reports":
            reports.reports(visit, view)
        elif part == "proof":
            proof(visit, view)
        else:
            case_steps.steps(visit, view)
    with right:
        clocks(case_id)


def header(visit: Visit, view: CaseView) -> None:
    c, now = view.case, visit.desk.now()
    with st.container(key="row_sel_case"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(
                join(
                    words.level_badge(view.level),
                    widgets.chip(view.status.label),
                    widgets.chip(queries_cases.class_label(c["case_class"])),
                    span(c["number"], cls="soft"),
                    span("演练", cls="chip") if c["is_drill"] else Safe(""),
                    gap=" ",
                )
            )
            if view.event is not None and st.button("看事件", key="case_event", type="tertiary"):
                go("events", id=c["event_id"])
            if st.button("返回列表", key="case_back", type="tertiary"):
                choose("id", "")
                choose("draft", "")
                st.rerun()
        show(div(c["title"], cls="big"))
        offices = "、".join(
            [
                f"{c['lead_office']}（牵头）",
                *c["helper_offices"],
                *(f"{o}（抄送）" for o in c["copy_offices"]),
            ]
        )
        reason = f"；理由：{c['level_reason']}" if c["level_reason"] else ""
        show(
            div(
                div(f"承办 {c['owner']} · {offices}"),
                div(
                    f"立单 {words.ago(c['opened_at'], now)}，"
                    f"确认 {words.stamp(c['confirmed_at'], now)}{reason}"
                ),
                cls="it soft",
            )
        )


@st.fragment(run_every=5, key="clocks")
@outage.kept_open
def clocks(case_id: int) -> None:
    """Clocks as bars with 50 % and 80 % marks, and the timeline that writes itself; live."""
    visit: Visit = st.session_state["_visit"]
    now = visit.desk.now()
    with visit.desk.store.read() as conn:
        view = queries_cases.case_view(conn, case_id, now, visit.actor)
    if view is None:
        return
    running = [k for k in view.clocks if not k.cancelled]
    body = [_clock(k, now) for k in running] or [
        div("研判定级后，各项时限从确认时间起算，显示在这里。", cls="soft")
    ]
    show(div(widgets.heading("时限"), *body, cls="card"))
    lines = [
        div(span(words.stamp(e["at"], now), cls="soft num"), " ", e["text"], cls="ev")
        for e in view.timeline[:40]
    ]
    more = len(view.timeline) - 40
    if more > 0:
        lines.append(div(f"更早还有 {more} 条", cls="ev soft"))
    show(div(widgets.heading(f"时间线 {len(view.timeline)}"), div(*lines, cls="time"), cls="card"))


def _clock(k: ClockView, now: datetime) -> Safe:
    if k.is_met:
        late = k.met_at is not None and k.met_at > k.due_at
        said = f"{'超时完成' if late else '已完成'} {words.stamp(k.met_at, now)}"
        cls = "bar met"
    else:
        said = words.left(k.due_at, now)
        cls = "bar late" if k.due_at <= now else "bar"
    fill = Safe(f'<i style="width:{100 * k.share:.1f}%"></i>')
    marks = join(*(Safe(f'<s style="left:{100 * m:.1f}%"></s>') for m in k.marks))
    title = f"{k.basis}；起 {words.stamp(k.started_at, now)}，止 {words.stamp(k.due_at, now)}"
    return div(
        div(tag("b", k.label), span(said, cls="push"), cls="line", title=title),
        div(fill, marks, cls=cls, title=title),
    )


def proof(visit: Visit, view: CaseView) -> None:
    """What was copied into the case, so that it outlives the posts' retention."""
    now = visit.desk.now()
    if not view.evidence:
        widgets.empty("还没有留存依据。起草澄清时引用的预警、实况、旧稿、帖文会留存在这里。")
    for e in view.evidence:
        show(
            div(
                div(tag("b", e["title"] or e["kind"]), span(e["station"], cls="soft"), cls="line"),
                div(e["text"]),
                div(
                    f"{words.stamp(e['at'], now) if e['at'] else ''} "
                    f"由{e['captured_by']}于 {words.stamp(e['captured_at'], now)} 留存，"
                    f"校验 {e['sha256'][:12]}",
                    cls="soft",
                ),
                cls="card",
            )
        )
