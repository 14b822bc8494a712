"""求助: a lane of its own, oldest first, on a clock of minutes. Passing on comes before judging."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import streamlit as st

from dashboard import charts, outage, widgets, words
from dashboard.acting import Visit, do, make
from dashboard.going import choose, chosen
from dashboard.markup import Safe, div, show, span, tag
from pipeline.desk import help as desk_help
from pipeline.desk import queries_help
from pipeline.domain.case import HELP_RECEIVERS, HelpState
from pipeline.domain.rights import may


def page(visit: Visit) -> None:
    st.session_state["_visit"] = visit
    states = ("new", "passed", "answered", "closed")
    with visit.desk.store.read() as conn:
        counts = queries_help.help_counts(conn)
    labels = {s: f"{HelpState(s).label} {counts.get(s, 0)}" for s in states}
    labels["new"] = f"未转 {counts.get('new', 0)}"
    state = st.segmented_control(
        "状态",
        states,
        default=chosen("s") if chosen("s") in states else "new",
        format_func=labels.__getitem__,
        key="help_state",
        label_visibility="collapsed",
        required=True,
    )
    choose("s", state if state and state != "new" else "")
    selected = chosen("id")
    left, right = st.columns([1.5, 1], gap="medium")
    with left:
        lane(state or "new", selected)
    with right:
        if selected.isdigit():
            with st.container(key="detail"):
                panel(visit, int(selected))
        place_map(visit)


@st.fragment(run_every=2, key="lane")
@outage.kept_open
def lane(state: str, selected: str) -> None:
    """The lane, live: oldest first, so new ones come at the end and nothing moves."""
    visit: Visit = st.session_state["_visit"]
    now = visit.desk.now()

    def read() -> list[dict[str, Any]]:
        with visit.desk.store.read() as conn:
            return queries_help.help_calls(conn, state)

    calls = visit.desk.shared.get(("help", state), 0.8, read)
    widgets.title(
        {"new": "等待转办", "passed": "已转，等回音", "answered": "已回音", "closed": "已结"}[
            state
        ],
        "最早的在前" if state != "closed" else "最近的在前",
    )
    if not calls:
        widgets.empty(
            "没有等待转办的求助。新的求助会出现在这里，并在每一页顶上显示。"
            if state == "new"
            else "这里没有求助。"
        )
        return
    for call in calls:
        _row(call, now, is_selected=str(call["id"]) == selected)


def _row(call: dict[str, Any], now: datetime, *, is_selected: bool) -> None:
    key = call["id"]
    state = HelpState(call["state"])
    foot = [span(f"采到 {words.ago(call['seen_at'], now)}")]
    if state is HelpState.NEW:
        foot.append(words.due_badge(call["due_at"], "转办", now))
    if call["passed_to"]:
        foot.append(
            span(f"{call['passed_by']} 转 {call['passed_to']} {words.ago(call['passed_at'], now)}")
        )
    if call["answered_at"]:
        foot.append(span(f"回音 {words.ago(call['answered_at'], now)}"))
    with (
        st.container(key=f"row_{'sel_' if is_selected else ''}h{key}"),
        st.container(horizontal=True, vertical_alignment="center"),
    ):
        st.html(
            div(
                div(
                    span(call["place_name"] or "地点待核", cls="ttl"),
                    widgets.chip(state.label),
                    span(f"×{call['copies'] + 1}", cls="n", title="含相同内容")
                    if call["copies"]
                    else Safe(""),
                    cls="head",
                ),
                div(call["text"]),
                div(*foot, cls="foot"),
                cls="it",
            ),
            width="stretch",
        )
        if not is_selected and st.button(
            "转办" if state is HelpState.NEW else "办理",
            key=f"help_{key}",
            type="primary" if state is HelpState.NEW else "secondary",
        ):
            choose("id", str(key))
            st.rerun()


def panel(visit: Visit, help_id: int) -> None:
    """One call: pass it on, note the answer, close it, look at the contact with a reason."""
    desk = visit.desk
    with desk.store.read() as conn:
        call = queries_help.help_call(conn, help_id)
    if call is None:
        widgets.empty("没有这条求助。请从列表中选择。")
        return
    state = HelpState(call["state"])
    with st.container(key="row_sel_help"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(tag("b", call["place_name"] or "地点待核") + " " + widgets.chip(state.label))
            if st.button("收起", key="help_close_panel", type="tertiary"):
                choose("id", "")
                st.rerun()
        show(div(call["text"], cls="it"))
        st.caption("交接用文字（点右上角复制）")
        st.code(_handover_text(call, desk.settings.bureau), language=None, wrap_lines=True)
        if state in (HelpState.NEW, HelpState.PASSED):
            to = st.pills(
                "转给谁", HELP_RECEIVERS, key=f"to_{help_id}", default="119", required=True
            )
            other = st.text_input(
                "其他单位（填了以此为准）", key=f"to_other_{help_id}", persist_state="session"
            )
            note = st.text_input("备注", key=f"to_note_{help_id}", persist_state="session")
            whom = other.strip() or (to or "")
            label = f"已转 {whom}" if whom else "已转"
            if st.button(
                label, key="help_pass", type="primary", width="stretch", disabled=not whom
            ) and do(
                desk,
                lambda tx, who: desk_help.pass_on(tx, who, help_id, whom, note),
                f"已转 {whom}",
            ):
                st.rerun()
        if state is HelpState.PASSED:
            said = st.text_input("回音内容", key=f"ans_{help_id}", persist_state="session")
            if st.button("记下回音", key="help_answer") and do(
                desk, lambda tx, who: desk_help.answer(tx, who, help_id, said), "已记下回音"
            ):
                st.rerun()
        if state is not HelpState.CLOSED:
            with st.expander("办结"):
                why = st.text_input("办结说明", key=f"end_{help_id}", persist_state="session")
                if st.button("办结", key="help_end") and do(
                    desk,
                    lambda tx, who: desk_help.close_help(tx, who, help_id, why),
                    "已办结，联系方式将按规定销毁",
                    undo=lambda tx, who: desk_help.reopen_help(tx, who, help_id, "撤销办结"),
                ):
                    st.rerun()
        _contacts(visit, call)


def _contacts(visit: Visit, call: dict[str, Any]) -> None:
    """Look at the sealed contacts, keep them as evidence, destroy them: each leaves a line."""
    desk, help_id = visit.desk, call["id"]
    if not call["contacts"]:
        st.caption("没有联系方式，或已按规定销毁。")
        return
    if call["held"]:
        show(div(span("联系方式留作证据：", cls="soft"), call["held"], cls="it"))
    with st.expander("查看联系方式：须写理由，系统留痕"):
        reason = st.text_input("理由", key=f"vault_{help_id}")
        if st.button("查看", key="help_vault"):
            found = make(
                desk,
                lambda tx, who: desk_help.open_vault(tx, who, help_id, reason, desk.vault),
                "已留痕",
            )
            if found is None:
                st.rerun()
            else:
                st.code(found, language=None)
    if not call["held"] and may(visit.actor, "hold_evidence"):
        with st.expander("留作证据：办结后不自动销毁"):
            why = st.text_input("书面理由", key=f"hold_{help_id}", persist_state="session")
            if st.button("留作证据", key="help_hold") and do(
                desk,
                lambda tx, who: desk_help.hold_as_evidence(tx, who, help_id, why),
                "已留作证据，不再自动销毁",
            ):
                st.rerun()
    can_destroy = call["state"] == HelpState.CLOSED and not call["held"]
    if (
        can_destroy
        and may(visit.actor, "destroy_contacts")
        and widgets.ask_once("立即销毁联系方式", "销毁后任何人都不能恢复。", "help_destroy")
        and do(desk, lambda tx, who: desk_help.destroy_contacts(tx, who, help_id), "已销毁联系方式")
    ):
        st.rerun()


def _handover_text(call: dict[str, Any], bureau: str) -> str:
    """What is read out or pasted to the receiver: masked, with place, time and source."""
    return (
        f"【网上求助】地点：{call['place_name'] or '待核'}。内容：{call['text']}\n"
        f"发布 {words.stamp(call['published_at'])}，来源 {call['source']}，"
        f"相同内容 {call['copies'] + 1} 条。来自{bureau}舆情值班，请核实处置并回音。"
    )


def place_map(visit: Visit) -> None:
    """Where help is called for now."""
    with visit.desk.store.read() as conn:
        counts = queries_help.open_by_county(conn, visit.desk.city)
    widgets.title("未结求助在哪里", "方格示意")
    charts.tile_map(counts, hours=0)
