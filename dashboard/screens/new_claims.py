"""首次出现的说法: the five that should be looked into first, each with its reasons."""

from __future__ import annotations

import streamlit as st

from dashboard import outage, widgets, words
from dashboard.acting import Visit
from dashboard.going import can_go, go
from dashboard.markup import div, show, span
from pipeline.desk.queries_new_claims import new_claims
from pipeline.domain.checkworthy import Worth

MOST = 5


@st.fragment(run_every=15, key="new_claims")
@outage.kept_open
@outage.needs("index")
def first_spoken(visit: Visit) -> None:
    """Claims of the last day that match nothing in the library, most important first."""
    desk = visit.desk
    now = desk.now()

    def read() -> list[Worth]:
        with desk.store.read() as conn:
            return new_claims(conn, desk.index, now, most=MOST)

    found = desk.shared.get("new_claims", 5, read)
    widgets.title("首次出现的说法", "谣言库里没有；按后果、传播、谁在说、有无来源排")
    if not found:
        widgets.empty("近 24 小时没有谣言库以外的新说法。")
    for number, one in enumerate(found, 1):
        said = one.spoken
        with st.container(key=f"row_nc_{said.event_id}", horizontal=True):
            st.html(
                div(
                    div(
                        span(f"{number}", cls="n"),
                        span(words.people_say(said.title, 40), cls="ttl"),
                        span(f"×{said.posts}", cls="n"),
                        cls="head",
                    ),
                    div("为何先查：", "；".join(one.reasons) or "新出现", cls="why"),
                    div(span(f"首帖 {words.ago(said.first_at, now)}"), cls="foot"),
                    cls="it",
                ),
                width="stretch",
            )
            if can_go("events") and st.button("查看", key=f"nc_go_{said.event_id}"):
                go("events", id=said.event_id)
    if found:
        show(div(f"只列前 {MOST} 条；其余见“事件”。", cls="soft"))
