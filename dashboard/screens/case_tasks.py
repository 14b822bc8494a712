"""分办: tasks with receipts. Signing for receipt is neither reading nor doing."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, do
from dashboard.markup import Safe, div, show, span, tag
from pipeline.desk import assignments, queries
from pipeline.desk.queries_cases import CaseView


def tasks(visit: Visit, view: CaseView) -> None:
    for a in view.assignments:
        task(visit, a)
    if not view.assignments:
        widgets.empty("还没有分办。研判后可分办给牵头和协办科室。")
    if "assign" in view.can:
        new_task(visit, view)


def task(visit: Visit, a: dict[str, Any]) -> None:
    now = visit.desk.now()
    receipts = [f"{words.stamp(a['sent_at'], now)} {a['sent_by']}派出"]
    if a["received_at"]:
        receipts.append(f"{words.stamp(a['received_at'], now)} {a['received_by']}签收")
    if a["replied_at"]:
        receipts.append(f"{words.stamp(a['replied_at'], now)} {a['replied_by']}反馈")
    if a["decided_at"]:
        receipts.append(f"{words.stamp(a['decided_at'], now)} {a['decided_by']}{a['label']}")
    waiting = a["state"] in ("sent", "received", "returned")
    with st.container(key=f"row_t{a['id']}"):
        show(
            div(
                div(
                    tag("b", a["office"]),
                    widgets.chip("牵头" if a["part"] == "lead" else "协办"),
                    widgets.chip(a["label"]),
                    words.due_badge(a["due_at"], "反馈", now) if waiting else Safe(""),
                    cls="head",
                ),
                div(a["task"]),
                div(span("反馈：", cls="soft"), a["reply"]) if a["reply"] else Safe(""),
                div(span("意见：", cls="soft"), a["comment"]) if a["comment"] else Safe(""),
                div(" → ".join(receipts), cls="foot"),
                cls="it",
            )
        )
        _task_acts(visit, a)


def _task_acts(visit: Visit, a: dict[str, Any]) -> None:
    desk, number, can = visit.desk, a["id"], a["can"]
    if (
        "receive" in can
        and st.button("签收", key=f"receive_{number}", type="primary")
        and do(
            desk,
            lambda tx, who: assignments.receive(tx, who, number),
            "已签收。签收不等于办结，请在时限内反馈。",
        )
    ):
        st.rerun()
    if "reply" in can:
        text = st.text_area(
            "反馈内容",
            key=f"reply_{number}",
            persist_state="session",
            height=100,
            placeholder="核实到的事实（站点、时间、数值）、已采取的措施、可公开的口径",
        )
        if st.button("提交反馈", key=f"reply_go_{number}", type="primary") and do(
            desk, lambda tx, who: assignments.reply(tx, who, number, text), "已反馈，等待审定"
        ):
            st.rerun()
    if "accept" in can:
        comment = st.text_input("审定意见", key=f"decide_{number}", persist_state="session")
        with st.container(horizontal=True):
            if st.button("审定通过", key=f"accept_{number}", type="primary") and do(
                desk,
                lambda tx, who: assignments.accept_reply(tx, who, number, comment),
                "已审定通过",
            ):
                st.rerun()
            if st.button("退回补充", key=f"return_{number}") and do(
                desk,
                lambda tx, who: assignments.return_reply(tx, who, number, comment),
                "已退回补充",
            ):
                st.rerun()
    if "hand_back" in can:
        with st.expander("退办：不归本科室管"):
            why = st.text_input("退办原因", key=f"back_{number}", persist_state="session")
            if st.button("退办", key=f"back_go_{number}") and do(
                desk, lambda tx, who: assignments.hand_back(tx, who, number, why), "已退回值班室"
            ):
                st.rerun()
    if "reassign" in can:
        with st.expander("改派"):
            office = _office(visit, f"re_{number}", but=a["office"])
            why = st.text_input("改派原因", key=f"re_why_{number}", persist_state="session")
            if st.button("改派", key=f"re_go_{number}", disabled=not office) and do(
                desk,
                lambda tx, who: assignments.reassign(tx, who, number, office, why),
                f"已改派{office}",
            ):
                st.rerun()


def _office(visit: Visit, key: str, *, but: str = "", first: str = "") -> str:
    """An office with somebody who can sign for receipt."""
    with visit.desk.store.read() as conn:
        offices = [o for o in queries.offices(conn) if o != but]
    index = offices.index(first) if first in offices else None
    picked = st.selectbox("科室", offices, index=index, key=f"office_{key}", placeholder="选择科室")
    return picked or ""


def new_task(visit: Visit, view: CaseView) -> None:
    """Assign, with the office that the route proposes."""
    desk, case = visit.desk, view.case
    taken = {a["office"] for a in view.assignments if a["state"] not in ("reassigned",)}
    lead_open = case["lead_office"] not in taken
    with st.container(key="row_new_task"):
        helpers = "、".join(case["helper_offices"]) or "无"
        widgets.title("新的分办", f"按规则建议：牵头 {case['lead_office']}，协办 {helpers}")
        first = (
            case["lead_office"]
            if lead_open
            else next((o for o in case["helper_offices"] if o not in taken), "")
        )
        office = _office(visit, f"new_{case['id']}_{len(view.assignments)}", first=first)
        part = st.radio(
            "角色",
            ("lead", "helper"),
            index=0 if lead_open else 1,
            horizontal=True,
            format_func={"lead": "牵头", "helper": "协办"}.__getitem__,
            key=f"part_{case['id']}_{len(view.assignments)}",
        )
        asked = next((a["asked"] for a in view.alerts if a["asked"]), "")
        task_text = st.text_area(
            "任务",
            value=asked if lead_open else "",
            persist_state="session",
            height=80,
            key=f"task_{case['id']}_{len(view.assignments)}",
        )
        if st.button("分办", key="assign_go", type="primary") and do(
            desk,
            lambda tx, who: assignments.assign(
                tx, who, case["id"], office, task_text, part=part or "lead"
            ),
            f"已分办给{office}，签收时限开始计时",
        ):
            st.rerun()
