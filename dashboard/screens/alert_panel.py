"""One alert beside the list: why it is here, why it is quiet, who was told, and what can be done.

Not part of any live fragment, so half-typed reasons survive every refresh of the list.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, do, make
from dashboard.going import choose, go
from dashboard.markup import Safe, div, show, span
from pipeline.desk import alerts, cases, queries_events, silences
from pipeline.desk.queries_events import AlertView
from pipeline.domain.alert import lateness
from pipeline.domain.rights import may

HOURS = (1, 2, 4, 12, 24)


def panel(visit: Visit, fingerprint: str, *, closable: bool = True) -> None:
    """Everything about one alert, with its actions. ``closable``: it can be folded away."""
    desk = visit.desk
    now = desk.now()
    with desk.store.read() as conn:
        view = queries_events.alert_view(conn, fingerprint, now, visit.actor)
    if view is None:
        widgets.empty("这条预警不存在或已随数据清理移出。请返回列表。")
        return
    a = view.alert
    late = lateness(a["fired_at"], a["recorded_at"])
    late = f"{late}，" if late else ""
    with st.container(key=f"row_sel_panel_{fingerprint}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(words.level_badge(a["level"]) + " " + widgets.chip(view.state_label))
            if closable and st.button("收起", key="close_panel", type="tertiary"):
                choose("sel", "")
                st.rerun()
        show(div(a["title"], cls="big"))
        show(
            div(
                _line("为何在此", a["sentence"]),
                _line(
                    "何时",
                    f"首次 {words.ago(a['fired_at'], now)}，最近 {words.ago(a['last_at'], now)}，"
                    f"{late}共触发 {a['times']} 次",
                ),
                _line("谁在办", f"{a['claimed_by']} {words.ago(a['claimed_at'], now)} 认领")
                if a["claimed_by"]
                else _line("谁在办", "无人认领"),
                _line("为何安静", view.quiet) if view.quiet else Safe(""),
                _line(
                    "牵头",
                    "、".join([a["lead_office"], *(f"{o}（协办）" for o in a["helper_offices"])]),
                ),
                _line("要求", a["asked"]) if a["asked"] else Safe(""),
                cls="it",
            )
        )
        for link in a["links"][:3]:
            show(div(f"“{words.people_say(str(link.get('text', '')), 90)}”", cls="soft"))
        _told(view)
        _actions(visit, view)


def _line(name: str, text: str) -> Safe:
    return div(span(f"{name}：", cls="soft"), text)


def _told(view: AlertView) -> None:
    if not view.deliveries:
        return
    lines = [
        div(
            span(d["receiver"]),
            span(d["channel"], cls="soft"),
            span(
                words.DELIVERY_STATES.get(d["state"], d["state"]),
                cls="neg" if d["state"] in ("failed", "given_up") else "",
            ),
            span(words.stamp(d["sent_at"] or d["created_at"]), cls="push"),
            cls="line",
        )
        for d in view.deliveries[:6]
    ]
    show(div(widgets.heading("已告知"), *lines, cls="it"))


def _actions(visit: Visit, view: AlertView) -> None:
    fp = view.alert["fingerprint"]
    desk = visit.desk
    with st.container(horizontal=True):
        if "claim" in view.can and st.button("认领", key=f"p_claim_{fp}", type="primary"):
            do(
                desk,
                lambda tx, who: alerts.claim_alert(tx, who, fp),
                "已认领",
                undo=lambda tx, who: alerts.release_claim(tx, who, fp),
            )
            st.rerun()
        if "open_case" in view.can and st.button(
            "立单", key=f"p_open_{fp}", type="primary" if "claim" not in view.can else "secondary"
        ):
            case_id = open_case(visit, fp)
            if case_id is not None:
                go("cases", id=case_id)
            st.rerun()
        if view.case_id is not None and st.button(
            "去处置单", key=f"p_case_{fp}", type="primary", shortcut="O"
        ):
            go("cases", id=view.case_id)
        if view.alert["event_id"] and st.button("看事件", key=f"p_event_{fp}", shortcut="E"):
            go("events", id=view.alert["event_id"])
        if "release" in view.can and st.button("释放认领", key=f"p_release_{fp}"):
            do(
                desk,
                lambda tx, who: alerts.release_claim(tx, who, fp),
                "已释放认领",
                undo=lambda tx, who: alerts.claim_alert(tx, who, fp),
            )
            st.rerun()
    if "shelve" in view.can:
        with st.expander("暂挂：到时自动回来"):
            reason = st.text_input("暂挂原因", key=f"shelve_why_{fp}")
            hours = st.segmented_control(
                "多久",
                HOURS,
                default=1,
                format_func=lambda h: f"{h} 小时",
                key=f"shelve_h_{fp}",
                required=True,
            )
            if st.button("暂挂", key=f"p_shelve_{fp}"):
                until = desk.now() + timedelta(hours=hours or 1)
                if do(
                    desk,
                    lambda tx, who: alerts.shelve_alert(tx, who, fp, until, reason),
                    f"已暂挂至 {words.stamp(until, desk.now())}",
                    undo=lambda tx, who: alerts.reopen_alert(tx, who, fp, "撤销暂挂"),
                ):
                    st.rerun()
    if "close" in view.can:
        with st.expander("关闭：不再需要处理"):
            reason = st.text_input("关闭原因", key=f"close_why_{fp}")
            useful = st.radio(
                "这条预警有用吗（进入复盘统计）",
                ("有用", "误报", "暂不判断"),
                index=2,
                horizontal=True,
                key=f"close_useful_{fp}",
            )
            if st.button("关闭预警", key=f"p_close_{fp}"):
                judged = {"有用": True, "误报": False}.get(useful or "")
                if do(
                    desk,
                    lambda tx, who: alerts.close_alert(tx, who, fp, reason, judged),
                    "已关闭",
                    undo=lambda tx, who: alerts.reopen_alert(tx, who, fp, "撤销关闭"),
                ):
                    st.rerun()
    if view.silence is not None:
        _silenced(visit, view.silence)
    elif "silence" in view.can:
        _silence(visit, view)
    if "reopen" in view.can:
        with st.expander("重开：回到未认领"):
            reason = st.text_input("重开原因", key=f"reopen_why_{fp}")
            if st.button("重开", key=f"p_reopen_{fp}") and do(
                desk, lambda tx, who: alerts.reopen_alert(tx, who, fp, reason), "已重开"
            ):
                st.rerun()


def _silence(visit: Visit, view: AlertView) -> None:
    """Mute what is like this alert; what would vanish is shown before."""
    a, desk = view.alert, visit.desk
    with st.expander("静默同类：先看会静掉哪些"):
        matchers = {"rule": a["rule"], "kind": a["kind"]}
        if a["adcode"] and st.checkbox(
            f"只限 {a['place_name'] or a['adcode']}",
            value=True,
            key=f"sil_place_{a['fingerprint']}",
        ):
            matchers["adcode"] = a["adcode"]
        with desk.store.read() as conn:
            hit = silences.preview_silence(conn, matchers)
        titles = "；".join(words.people_say(str(h["title"]), 20) for h in hit[:5])
        show(
            div(
                f"现在会静掉 {len(hit)} 条：{titles}" if hit else "现在没有会被静掉的预警。",
                cls="soft",
            )
        )
        reason = st.text_input("静默原因", key=f"sil_why_{a['fingerprint']}")
        hours = st.segmented_control(
            "多久",
            HOURS,
            default=2,
            format_func=lambda h: f"{h} 小时",
            key=f"sil_h_{a['fingerprint']}",
            required=True,
        )
        if widgets.ask_once(
            "静默",
            f"到时之前，{len(hit)} 条及以后同类的预警不再出声，但仍记录。您是责任人。",
            f"silence_{a['fingerprint']}",
        ):
            ends = desk.now() + timedelta(hours=hours or 2)
            if do(
                desk,
                lambda tx, who: silences.add_silence(tx, who, matchers, reason, ends),
                "已静默",
            ):
                st.rerun()


def _silenced(visit: Visit, silence: dict[str, Any]) -> None:
    """Who muted what is like this, until when and why; whoever may mute may end it."""
    now = visit.desk.now()
    said = f"{silence['owner']}静默至 {words.stamp(silence['ends_at'], now)}：{silence['reason']}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(div(_line("同类静默中", said), cls="it"), width="stretch")
        if (
            may(visit.actor, "silence_short")
            and widgets.ask_once(
                "结束静默", "同类的新预警从现在起重新出声。", f"unsilence_{silence['id']}"
            )
            and do(
                visit.desk,
                lambda tx, who: silences.end_silence(tx, who, silence["id"]),
                "已结束静默",
            )
        ):
            st.rerun()


def open_case(visit: Visit, fingerprint: str) -> int | None:
    """立单 on an alert; None when refused."""
    return make(
        visit.desk,
        lambda tx, who: cases.open_case(tx, who, fingerprint=fingerprint, rules=visit.desk.rules),
        "已立单，请研判：定等级、写理由",
    )
