"""What can be done with a case as a whole: assess, answer, watch, close, and the ways out."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, do
from dashboard.going import go
from dashboard.markup import div, show
from pipeline.desk import cases, queries_cases
from pipeline.desk.queries_cases import CaseView
from pipeline.domain.case import DISMISS_REASONS, CaseClass, CaseStatus
from pipeline.domain.event import Level
from pipeline.domain.rights import Actor, may
from pipeline.store.sql import Tx

NEXT = {
    CaseStatus.TRIAGE: "先研判：定等级、类别，写理由。重大、特别重大由带班领导定。",
    CaseStatus.ASSESSED: "接着分办给责任科室，或直接起草澄清。",
    CaseStatus.HANDLING: "科室反馈后起草澄清，经核稿、保密审查、签发后发布；也可登记其他回应。",
    CaseStatus.RESPONDED: "已回应，转入观察，看声量和转述是否回落。",
    CaseStatus.WATCHING: "平息后办结，写清结果。",
    CaseStatus.CLOSED: "已办结。写复盘，改进事项落到科室和日期，然后归档。",
    CaseStatus.ARCHIVED: "已归档。如有新情况可重开。",
    CaseStatus.DISMISSED: "不予处置。如有新情况可重开。",
    CaseStatus.MERGED: "已并入其他处置单，请到那一单办理。",
}


def steps(visit: Visit, view: CaseView) -> None:
    """The next step first; everything else folded behind it."""
    show(div(NEXT[view.status], cls="card"))
    _shortcuts(view)
    first = view.status is CaseStatus.TRIAGE
    if "assess" in view.can:
        if first:
            assess(visit, view)
        else:
            with st.expander("重新研判：改等级或类别"):
                assess(visit, view)
    case_id = view.case["id"]
    if "responded" in view.can:
        with st.expander("登记回应：电话、留言、媒体等（非澄清发布）"):
            _note(
                visit,
                case_id,
                "responded",
                "回应方式和内容",
                "登记已回应",
                "已登记回应",
                lambda tx, who, text: cases.mark_responded(tx, who, case_id, text),
            )
    if "press" in view.can:
        with st.expander("登记新闻发布会：时限随之停止"):
            _note(
                visit,
                case_id,
                "press",
                "何时何地、谁发布、说了什么",
                "登记发布会",
                "已登记新闻发布会",
                lambda tx, who, text: cases.mark_press(tx, who, case_id, text),
            )
    if (
        "watch" in view.can
        and st.button("转入观察", key="case_watch", type="primary")
        and do(visit.desk, lambda tx, who: cases.watch_case(tx, who, case_id), "已转入观察")
    ):
        st.rerun()
    if "close" in view.can:
        widgets.title("办结")
        _note(
            visit,
            case_id,
            "close",
            "办结说明",
            "办结",
            "已办结，请写复盘",
            lambda tx, who, text: cases.close_case(tx, who, case_id, text),
            main=True,
        )
    if "review" in view.can:
        with st.container(horizontal=True):
            if st.button("写复盘", key="case_review", type="primary"):
                go("reviews", id=case_id)
            if (
                "archive" in view.can
                and st.button("归档", key="case_archive")
                and do(visit.desk, lambda tx, who: cases.archive_case(tx, who, case_id), "已归档")
            ):
                st.rerun()
    if "reopen" in view.can:
        with st.expander("重开"):
            _note(
                visit,
                case_id,
                "reopen",
                "重开原因",
                "重开",
                "已重开",
                lambda tx, who, text: cases.reopen_case(tx, who, case_id, text),
            )
    more(visit, view)


def _shortcuts(view: CaseView) -> None:
    """From the next step straight to its form."""
    if view.status not in (CaseStatus.ASSESSED, CaseStatus.HANDLING):
        return
    key = f"case_tab_{view.case['id']}"

    def to(part: str) -> None:
        st.session_state[key] = part

    with st.container(horizontal=True):
        for name, part, label in (("assign", "tasks", "去分办"), ("draft", "drafts", "去起草澄清")):
            if name in view.can:
                main = name == "assign" and not view.assignments
                st.button(
                    label,
                    key=f"to_{part}",
                    on_click=to,
                    args=(part,),
                    type="primary" if main else "secondary",
                )


def assess(visit: Visit, view: CaseView) -> None:
    """A person decides the level; the machine's proposal is shown beside it."""
    case, now = view.case, visit.desk.now()
    case_id = case["id"]
    if view.event is not None:
        proposed = Level(view.event["proposed_level"])
        why = "；".join(view.event["proposed_reasons"]) or "按帖文数和紧急度"
        show(div(f"系统建议：{proposed.bars} {proposed.label}。{why}", cls="soft"))
    major = may(visit.actor, "assess_major")
    level = st.radio(
        "舆情等级",
        list(Level),
        index=int(view.level) - 1,
        format_func=lambda lv: f"{lv.bars} {lv.label}",
        horizontal=True,
        key=f"as_level_{case_id}",
        help=None if major else "重大、特别重大须由带班领导定",
    )
    kind = st.radio(
        "类别",
        list(CaseClass),
        index=list(CaseClass).index(CaseClass(case["case_class"])),
        format_func=lambda c: c.label,
        horizontal=True,
        key=f"as_class_{case_id}",
    )
    t0 = st.datetime_input(
        "确认时间（时限从此起算，北京时间）",
        value=words.beijing(case["confirmed_at"] or now).replace(tzinfo=None),
        key=f"as_t0_{case_id}",
        step=60,
        width=300,
    )
    reason = st.text_area(
        "研判理由",
        key=f"as_why_{case_id}",
        persist_state="session",
        height=80,
        placeholder="例如：涉及公共安全，两个区同时出现，转述上升",
    )
    if level is not None and level >= Level.MAJOR and not major:
        show(div("重大、特别重大由带班领导定：请先按较大研判，或请带班领导打开本单。", cls="soft"))
    confirmed = words.from_beijing(t0) if t0 else None
    if (
        st.button("定级", key="case_assess", type="primary")
        and level is not None
        and do(
            visit.desk,
            lambda tx, who: cases.assess_case(
                tx,
                who,
                case_id,
                int(level),
                reason,
                kind.value if kind else None,
                confirmed_at=min(confirmed, tx.now) if confirmed else None,
            ),
            f"已定为{level.label}",
        )
    ):
        st.rerun()


def _note(
    visit: Visit,
    case_id: int,
    key: str,
    label: str,
    button: str,
    done: str,
    act: Callable[[Tx, Actor, str], object],
    *,
    main: bool = False,
) -> None:
    """A sentence and a button."""
    text = st.text_area(label, key=f"{key}_{case_id}", persist_state="session", height=80)
    if st.button(button, key=f"case_{key}", type="primary" if main else "secondary") and do(
        visit.desk, lambda tx, who: act(tx, who, text), done
    ):
        st.rerun()


def more(visit: Visit, view: CaseView) -> None:
    """The ways out and the change of owner."""
    desk, case_id = visit.desk, view.case["id"]
    if "owner" in view.can:
        with st.expander("更换承办人"):
            with desk.store.read() as conn:
                people = queries_cases.desk_people(conn)
            others = [p for p in people if p != view.case["owner"]]
            to = st.selectbox(
                "改由谁承办",
                others,
                index=None,
                key=f"own_{case_id}",
                placeholder="选择值班员或带班领导",
            )
            if st.button("更换", key="case_owner", disabled=to is None) and do(
                desk,
                lambda tx, who: cases.change_owner(tx, who, case_id, to or ""),
                f"已改由{to}承办",
            ):
                st.rerun()
    if "merge" in view.can:
        with st.expander("并入另一单"):
            with desk.store.read() as conn:
                others_open = queries_cases.other_open_cases(conn, case_id)
            into = st.selectbox(
                "并入",
                others_open,
                index=None,
                key=f"merge_{case_id}",
                format_func=lambda c: f"{c['number']} {words.people_say(c['title'], 24)}",
                placeholder="选择在办的处置单",
            )
            why = st.text_input("并入原因", key=f"merge_why_{case_id}")
            if (
                widgets.ask_once(
                    "并入",
                    "本单结束，预警和事件归到那一单；不能撤回。",
                    f"merge_{case_id}",
                    disabled=into is None,
                )
                and into is not None
                and do(
                    desk,
                    lambda tx, who: cases.merge_case(tx, who, case_id, into["id"], why),
                    "已并入",
                )
            ):
                go("cases", id=into["id"])
    if "dismiss" in view.can:
        with st.expander("不予处置"):
            code = st.selectbox(
                "理由",
                list(DISMISS_REASONS),
                format_func=DISMISS_REASONS.__getitem__,
                index=None,
                key=f"dis_{case_id}",
                placeholder="从列表选择",
            )
            note = st.text_input("补充说明", key=f"dis_note_{case_id}")
            if widgets.ask_once(
                "不予处置",
                "各项时限停止，处置单转为不予处置；可以重开。",
                f"dismiss_{case_id}",
                disabled=code is None,
            ) and do(
                desk,
                lambda tx, who: cases.dismiss_case(tx, who, case_id, code or "", note),
                "已不予处置",
            ):
                st.rerun()
