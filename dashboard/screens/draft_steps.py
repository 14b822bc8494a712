"""Check, confidentiality review, signature: the forms of those who did not write the draft."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, do
from dashboard.markup import Safe, div, join, show, span, tag
from pipeline.desk import clarifications
from pipeline.domain.release import Step

OUTCOMES = {"done": "", "passed": "通过", "sent_back": "退回"}
STEPS = {
    "start": "起草",
    "save": "保存",
    "submit": "送审",
    "check": "业务核稿",
    "secrecy": "保密审查",
    "sign": "签发",
    "release": "发布",
    "discard": "作废",
}


def decide(visit: Visit, row: dict[str, Any], can: frozenset[str]) -> None:
    """My step on somebody else's draft."""
    for step in Step:
        if step.value in can:
            _decide(visit, row, step)
            return


def _decide(visit: Visit, row: dict[str, Any], step: Step) -> None:
    desk, number = visit.desk, row["id"]
    widgets.title(step.label, HINTS[step])
    answers: dict[str, str] = {}
    if step is Step.SECRECY:
        answers = _findings(visit, number)
    comment = st.text_area(
        "意见", key=f"comment_{step}_{number}", height=70, persist_state="session"
    )
    with st.container(horizontal=True):
        if st.button(
            f"{step.label}通过" if step is not Step.SIGN else "签发",
            key=f"pass_{step}_{number}",
            type="primary",
        ):
            acts = {
                Step.CHECK: lambda tx, who: clarifications.pass_check(tx, who, number, comment),
                Step.SECRECY: lambda tx, who: clarifications.pass_secrecy(
                    tx, who, number, comment, answers
                ),
                Step.SIGN: lambda tx, who: clarifications.sign_off(tx, who, number, comment),
            }
            do(desk, acts[step], f"{step.label}已通过")
            st.rerun()
        if st.button("退回", key=f"back_{step}_{number}") and do(
            desk,
            lambda tx, who: clarifications.send_back(tx, who, number, comment),
            "已退回起草人",
        ):
            st.rerun()


HINTS = {
    Step.CHECK: "数据、术语、预警时间是否与实况一致",
    Step.SECRECY: "负面清单逐条作答；命中只是提问，由您判断",
    Step.SIGN: "签发人与保密审查人须为两人",
}


def _findings(visit: Visit, number: int) -> dict[str, str]:
    """Hits of the negative list, each to be answered."""
    with visit.desk.store.read() as conn:
        found = clarifications.negative_findings(conn, number)
    if not found:
        show(div("负面清单没有命中。仍请通读后决定。", cls="soft"))
    answers = {}
    for f in found:
        show(
            div(
                div(
                    tag("b", f"{f.field} 命中“{f.words}”"),
                    span(f"{f.title}（{f.basis}）", cls="soft"),
                    cls="line",
                ),
                div(f"…{f.context}…", cls="soft"),
            )
        )
        answers[f.id] = st.text_input(f.ask, key=f"neg_{number}_{f.id}", persist_state="session")
    return answers


def history(visit: Visit, row: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    """Every step with its comment, and what changed between any two versions."""
    now = visit.desk.now()
    with st.expander(f"环节与差异（{len(steps)} 步）", expanded=row["status"] != "draft"):
        lines = [
            div(
                span(words.stamp(s["at"], now), cls="soft num"),
                f" {s['actor']} {STEPS.get(s['step'], s['step'])}{OUTCOMES.get(s['outcome'], '')}",
                span(f"（第 {s['version']} 版）", cls="soft"),
                f"：{s['comment']}" if s["comment"] else Safe(""),
                *(
                    div(f"“{f['words']}”：{f.get('answer', '')}", cls="soft")
                    for f in s["findings"]
                    if "words" in f
                ),
                cls="ev",
            )
            for s in reversed(steps)
        ]
        show(div(*lines, cls="time"))
        versions = sorted({s["version"] for s in steps})
        if len(versions) < 2:
            return
        one, two = st.columns(2)
        a = one.selectbox("从第几版", versions[:-1], index=0, key=f"diff_a_{row['id']}")
        b = two.selectbox(
            "到第几版", versions[1:], index=len(versions) - 2, key=f"diff_b_{row['id']}"
        )
        if a is not None and b is not None and a != b:
            with visit.desk.store.read() as conn:
                changes = clarifications.diff(conn, row["id"], a, b)
            if not changes:
                show(div("两版文字没有差别。", cls="soft"))
            for label, diff in changes:
                show(div(tag("b", label), div(*map(_diff_line, diff)), cls="diff"))


def _diff_line(line: str) -> Safe:
    if line.startswith("@@"):
        return Safe("")
    kind = {"+": "ins", "-": "del"}.get(line[:1])
    return div(tag(kind, line[1:])) if kind else div(join(line[1:]), cls="soft")
