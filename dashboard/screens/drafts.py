"""澄清与发布: one clarification at a time - its form, its steps, its releases."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, make
from dashboard.going import choose, chosen
from dashboard.markup import Safe, div, join, show, span, tag
from dashboard.screens import draft_form, draft_steps, release_part
from pipeline.desk import clarifications, queries_cases
from pipeline.desk.drafts import shipped_templates
from pipeline.desk.queries_cases import CaseView
from pipeline.domain.release import ClarificationStatus


def drafts(visit: Visit, view: CaseView) -> None:
    """Which clarification, then its present step."""
    if not view.drafts:
        widgets.empty("还没有澄清稿。研判后可以起草；系统按事件类型套用模板。")
    ids = [str(d["id"]) for d in view.drafts]
    picked = chosen("draft") if chosen("draft") in ids else (ids[-1] if ids else "")
    if len(ids) > 1:
        titles = {
            str(
                d["id"]
            ): f"{words.people_say(d['title'], 20)}（{ClarificationStatus(d['status']).label}）"
            for d in view.drafts
        }
        picked = st.selectbox(
            "澄清稿",
            ids,
            index=ids.index(picked),
            format_func=titles.__getitem__,
            key=f"pick_draft_{view.case['id']}",
        )
    choose("draft", picked or "")
    row = next((d for d in view.drafts if str(d["id"]) == picked), None)
    if row is not None:
        one(visit, view, row)
    if "draft" in view.can:
        start(visit, view, is_first=not ids)


def start(visit: Visit, view: CaseView, *, is_first: bool) -> None:
    """A new draft from a template."""
    templates = shipped_templates()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        template = st.selectbox(
            "模板",
            templates,
            index=None,
            format_func=lambda t: t.name,
            key="draft_template",
            placeholder="按事件自动选择",
            width=240,
        )
        if st.button(
            "起草澄清" if is_first else "另起一稿",
            key="draft_new",
            type="primary" if is_first else "secondary",
        ):
            number = make(
                visit.desk,
                lambda tx, who: clarifications.start_draft(
                    tx, who, view.case["id"], template=template.id if template else None
                ),
                "已按模板起草，请补全【】处",
            )
            if number is not None:
                choose("draft", str(number))
            st.rerun()


STAGES = (
    ClarificationStatus.DRAFT,
    ClarificationStatus.CHECK,
    ClarificationStatus.SECRECY,
    ClarificationStatus.SIGN,
    ClarificationStatus.SIGNED,
    ClarificationStatus.RELEASED,
)


def one(visit: Visit, view: CaseView, row: dict[str, Any]) -> None:
    """The way the draft has gone, then the form or the text, then what I may do."""
    status = ClarificationStatus(row["status"])
    with visit.desk.store.read() as conn:
        steps = clarifications.history(conn, row["id"])
    last_submit = max((i for i, s in enumerate(steps) if s["step"] == "submit"), default=-1)
    late_done = frozenset(
        s["step"] for s in steps[last_submit + 1 :] if s["step"] in ("check", "secrecy")
    )
    can = queries_cases.clarification_acts(
        {**row, "level": view.case["level"]}, visit.actor, late_done
    )
    with st.container(key=f"row_sel_draft_{row['id']}"):
        show(
            div(
                div(
                    *(
                        span(
                            tag("b", f"● {s.label}") if s is status else f"○ {s.label}",
                            cls="" if s is status else "soft",
                        )
                        for s in STAGES
                    ),
                    widgets.chip(status.label) if status not in STAGES else Safe(""),
                    widgets.chip("应急先签，两小时内补审") if row["emergency"] else Safe(""),
                    cls="head",
                ),
                div(f"待复核：{row['needs_review']}", cls="neg")
                if row["needs_review"]
                else Safe(""),
                cls="it",
            )
        )
        if "edit" in can and "draft" in view.can:
            draft_form.form(visit, view, row, can)
        else:
            text_of(row, view)
        draft_steps.decide(visit, row, can)
        if "release" in can:
            release_part.publish(visit, row)
    release_part.releases(visit, view, row)
    draft_steps.history(visit, row, steps)


def text_of(row: dict[str, Any], view: CaseView) -> None:
    """The clarification as it would be read."""
    cited = [e for e in view.evidence if e["id"] in row["evidence"]]
    show(
        div(
            div(row["title"], cls="big"),
            div(span("网传内容：", cls="soft"), row["claim"]),
            div(span("核查结论：", cls="soft"), tag("b", row["verdict"])),
            *(
                div(tag("b", label), tag("div", row[key] or "（空）", cls="diff"))
                for key, label in (
                    ("facts", "事实真相"),
                    ("measures", "政策措施"),
                    ("results", "处置结果"),
                )
            ),
            div(
                span("依据：", cls="soft"),
                join(*(e["title"] for e in cited), gap="；") if cited else Safe("无"),
            ),
            div(f"起草 {row['author']}，有效期至 {words.stamp(row['valid_until'])}", cls="soft"),
            cls="it",
        )
    )
