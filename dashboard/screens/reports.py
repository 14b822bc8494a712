"""上报: two lines above the bureau; by telephone first, then in writing."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, do
from dashboard.markup import div, show, span, tag
from pipeline.desk import reports as desk_reports
from pipeline.desk.queries_cases import CaseView
from pipeline.domain.case import REPORT_STAGES
from pipeline.domain.rights import may


def reports(visit: Visit, view: CaseView) -> None:
    for r in view.reports:
        report(visit, r)
    if not view.reports:
        widgets.empty("还没有上报。重大、特别重大须先电话后书面，两条线：广西气象局、市政府。")
    if "report" in view.can:
        new_report(visit, view)


def report(visit: Visit, r: dict[str, Any]) -> None:
    """One report: text, telephone, signature, sent."""
    desk, now, number = visit.desk, visit.desk.now(), r["id"]
    facts = [
        f"电话 {words.stamp(r['phoned_at'], now)} {r['phoned_by']}→{r['phoned_to']}"
        if r["phoned_at"]
        else "电话未报",
        f"签发 {r['signed_by']} {words.stamp(r['signed_at'], now)}" if r["signed_at"] else "未签发",
        f"已送出 {words.stamp(r['sent_at'], now)}" if r["sent_at"] else "未送出",
    ]
    with st.container(key=f"row_r{number}"):
        show(
            div(
                div(
                    tag("b", f"{r['line']} · {r['stage']}"),
                    *(span(f, cls="chip") for f in facts),
                    cls="head",
                ),
                cls="it",
            )
        )
        writer = may(visit.actor, "write_report")
        if r["sent_at"] or not writer:
            show(div(r["text"], cls="diff"))
            return
        text = st.text_area(
            "报告正文",
            value=r["text"],
            key=f"rep_{number}_{r['version']}",
            height=200,
            persist_state="session",
        )
        with st.container(horizontal=True):
            if st.button("保存", key=f"rep_save_{number}", disabled=text == r["text"]) and do(
                desk,
                lambda tx, who: desk_reports.save_report(tx, who, number, r["version"], text),
                "已保存",
            ):
                st.rerun()
            if (
                may(visit.actor, "sign_report")
                and not r["signed_at"]
                and st.button("签发上报", key=f"rep_sign_{number}", type="primary")
                and do(desk, lambda tx, who: desk_reports.sign_report(tx, who, number), "已签发")
            ):
                st.rerun()
            if (
                r["signed_at"]
                and st.button("登记已送出", key=f"rep_send_{number}", type="primary")
                and do(
                    desk, lambda tx, who: desk_reports.send_report(tx, who, number), "已登记送出"
                )
            ):
                st.rerun()
        with st.expander("登记电话报告"):
            to = st.text_input(
                "接听人（单位和姓名）", key=f"rep_to_{number}", persist_state="session"
            )
            at = st.datetime_input(
                "通话时间（北京时间）",
                value=words.beijing(now).replace(tzinfo=None, microsecond=0),
                key=f"rep_at_{number}",
                step=60,
                width=300,
            )
            if (
                st.button("登记电话", key=f"rep_phone_{number}")
                and at is not None
                and do(
                    desk,
                    lambda tx, who: desk_reports.record_phone(
                        tx, who, number, to, min(words.from_beijing(at), tx.now)
                    ),
                    "已登记电话报告",
                )
            ):
                st.rerun()


def new_report(visit: Visit, view: CaseView) -> None:
    desk, case_id = visit.desk, view.case["id"]
    lines = view.case["frozen_rules"].get("report_lines") or list(desk.rules.report_lines)
    with st.container(key="row_new_report", horizontal=True, vertical_alignment="bottom"):
        line = st.selectbox("报送对象", lines, key=f"rl_{case_id}", width=180)
        stage = st.selectbox("阶段", REPORT_STAGES, key=f"rs_{case_id}", width=120)
        if st.button("按处置单内容起草", key="rep_new", type="primary") and do(
            desk,
            lambda tx, who: desk_reports.draft_report(
                tx, who, case_id, stage or "", line or "", bureau=desk.settings.bureau
            ),
            "已起草，请核对后签发",
        ):
            st.rerun()
