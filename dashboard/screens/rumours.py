"""谣言库: known claims, what they were found to be, and how often they came back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import streamlit as st

from dashboard import claim_pair, widgets, words
from dashboard.acting import Visit, do
from dashboard.going import can_go, go
from dashboard.markup import Safe, div, show, span, tag
from dashboard.screens.new_claims import first_spoken
from nlp.claim_library import shown_link
from pipeline.desk import claims, queries_library
from pipeline.domain.event import HAZARD_NAMES
from pipeline.domain.release import Verdict
from pipeline.domain.rights import may

STATES = {"active": "在用", "due": "待复核", "retired": "已停用", "all": "全部"}
KEPT = timedelta(days=180)
"""So long a claim is used before somebody looks at it again."""
ORIGINS = {"own": "本单位", "library": "随附", "import": "导入"}


def page(visit: Visit) -> None:
    now = visit.desk.now()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        typed = st.text_input(
            "查找", key="rq", bind="query-params", placeholder="如 泄洪 或 R0042", width=280
        )
        state = st.segmented_control(
            "状态",
            list(STATES),
            default="active",
            format_func=STATES.__getitem__,
            key="claim_state",
            required=True,
        )
    with visit.desk.store.read() as conn:
        found, total = queries_library.claim_list(
            conn, now, words=typed or "", state=state or "active"
        )
    left, right = st.columns([1.8, 1], gap="medium")
    with left:
        widgets.title(f"已知说法 {total}", "只提示“这条要核实”，不替人下结论")
        if not found:
            widgets.empty("没有符合的条目。可少写一个词，或在右侧新增。")
        for c in found:
            claim(visit, c)
        if total > len(found):
            show(div(f"只列出前 {len(found)} 条。", cls="soft"))
    with right:
        first_spoken(visit)
        if may(visit.actor, "edit_claims"):
            new_claim(visit)
        else:
            widgets.empty("新增和停用由值班员、带班领导、业务核稿办理。")


def claim(visit: Visit, c: dict[str, Any]) -> None:
    """One claim with the life it has had."""
    now = visit.desk.now()
    due = c["review_at"] is not None and c["review_at"] <= now
    with st.container(key=f"row_k{c['id']}"):
        lives = [
            div(
                span(words.people_say(e["title"], 30)),
                span(f"×{e['posts']}", cls="n"),
                span(
                    f"{words.stamp(e['first_at'], now)} 至 {words.stamp(e['last_at'], now)}",
                    cls="push",
                ),
                cls="line",
            )
            for e in c["life"][:5]
        ]
        show(
            div(
                div(
                    widgets.chip(c["id"]),
                    tag("b", f"“{c['claim']}”"),
                    widgets.chip(c["verdict"]),
                    span(_due_text(c, now), cls="neg") if due and c["active"] else Safe(""),
                    Safe("") if c["active"] else span("已停用", cls="chip"),
                    cls="head",
                ),
                div(c["correction"]) if c["correction"] else Safe(""),
                div(
                    span(f"{c['place']} {c['date']}"),
                    span(f"核查 {c['source_name'] or '未注明'}"),
                    span(shown_link(c["source_url"])),
                    span(ORIGINS.get(c["origin"], c["origin"])),
                    span(f"出现 {len(c['life'])} 次"),
                    cls="foot",
                ),
                *lives,
                cls="it",
            )
        )
        if c["life"] and st.toggle("与帖文对照", key=f"pair_{c['id']}"):
            claim_pair.of_event(visit, c)
        with st.container(horizontal=True):
            if c["life"] and can_go("events") and st.button("看最近一次", key=f"life_{c['id']}"):
                go("events", id=c["life"][0]["id"])
            if (
                due
                and c["active"]
                and may(visit.actor, "edit_claims")
                and st.button("已复核，继续使用", key=f"renew_{c['id']}")
                and do(
                    visit.desk,
                    lambda tx, who: claims.renew_claim(tx, who, c["id"], tx.now + KEPT),
                    f"已复核，{KEPT.days} 天内继续比对",
                )
            ):
                st.rerun()
            if c["active"] and may(visit.actor, "edit_claims"):
                with st.popover("停用", key=f"retire_{c['id']}"):
                    st.write("停用后新帖文不再与它比对；条目保留可查。")
                    why = st.text_input("停用原因", key=f"retire_why_{c['id']}")
                    if st.button("确认停用", key=f"retire_go_{c['id']}") and do(
                        visit.desk,
                        lambda tx, who: claims.retire_claim(tx, who, c["id"], why),
                        "已停用",
                    ):
                        st.rerun()


def _due_text(c: dict[str, Any], now: datetime) -> str:
    if c["review_at"] <= now - claims.REVIEW_GRACE:
        return "逾期未复核，不再与新帖文比对"
    return "待复核"


def new_claim(visit: Visit) -> None:
    """Add what somebody has looked into."""
    with st.container(key="row_new_claim"):
        widgets.title("新增说法")
        text = st.text_area("说法（照原话）", key="nc_claim", height=80, persist_state="session")
        verdict = st.radio("结论", [v.value for v in Verdict], index=2, horizontal=True, key="nc_v")
        said = st.text_area("核查说明", key="nc_said", height=90, persist_state="session")
        source = st.text_input("核查来源（单位）", key="nc_source", persist_state="session")
        url = st.text_input("来源链接", key="nc_url", persist_state="session")
        hazard = st.selectbox(
            "灾种",
            list(HAZARD_NAMES),
            index=None,
            format_func=HAZARD_NAMES.__getitem__,
            key="nc_hazard",
            placeholder="不限",
        )
        place = st.text_input("地点", value=visit.desk.settings.home_name, key="nc_place")
        if st.button("加入谣言库", key="nc_go", type="primary") and do(
            visit.desk,
            lambda tx, who: claims.add_claim(
                tx,
                who,
                claim=text,
                verdict=verdict or "",
                correction=said,
                hazard=hazard or "",
                place=place,
                adcode=visit.desk.settings.home_adcode,
                source_name=source,
                source_url=url,
                date=f"{words.beijing(tx.now):%Y-%m-%d}",
                review_at=tx.now + KEPT,
            ),
            "已加入，新帖文将与它比对",
        ):
            for key in ("nc_claim", "nc_said", "nc_source", "nc_url"):
                st.session_state.pop(key, None)
            st.rerun()
