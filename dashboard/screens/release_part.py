"""发布: channels with receipts; corrections and withdrawals are new releases that name the old."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, do, make
from dashboard.going import choose
from dashboard.markup import Safe, div, show, span, tag
from pipeline.desk import releases as desk_releases
from pipeline.desk.drafts import CHANNELS
from pipeline.desk.queries_cases import CaseView
from pipeline.domain.release import PORTAL, ReleaseKind
from pipeline.domain.rights import Actor, may
from pipeline.store.sql import Tx


def publish(visit: Visit, row: dict[str, Any]) -> None:
    """Release a signed text: the portal first, then the channels by hand with receipts."""
    number = row["id"]
    widgets.title("发布", "门户自动首发；其他渠道发出后在下面登记链接和回执")
    channels = st.pills(
        "渠道",
        list(CHANNELS),
        selection_mode="multi",
        format_func=CHANNELS.__getitem__,
        default=list(dict.fromkeys([PORTAL, *(c for c in row["channels"] if c in CHANNELS)])),
        key=f"rel_ch_{number}",
    )
    names = "、".join(CHANNELS[c] for c in dict.fromkeys([PORTAL, *channels]))
    if widgets.ask_once(
        "发布",
        f"“{row['title']}”将发布到{names}，公众立即可见。发布后不能删除，只能更正或撤回。",
        f"release_{number}",
    ) and do(
        visit.desk,
        lambda tx, who: desk_releases.release(tx, who, number, channels),
        "已发布，门户页面正在生成",
    ):
        st.rerun()


def releases(visit: Visit, view: CaseView, row: dict[str, Any]) -> None:
    """What went out of this clarification, channel by channel."""
    for r in view.releases:
        if r["clarification_id"] == row["id"] or r["of_release"]:
            _release(visit, r)


def _release(visit: Visit, r: dict[str, Any]) -> None:
    now = visit.desk.now()
    kind = ReleaseKind(r["kind"])
    waiting = sum(c["state"] != "done" for c in r["channels"])
    with st.container(key=f"row_rel{r['id']}"):
        show(
            div(
                div(
                    tag("b", r["number"]),
                    widgets.chip(kind.label),
                    widgets.chip("现行" if r["is_current"] else "已被更正或撤回")
                    if kind is not ReleaseKind.WITHDRAWAL
                    else Safe(""),
                    span(f"{waiting} 个渠道待登记", cls="neg")
                    if waiting
                    else span("渠道齐", cls="pos"),
                    cls="head",
                ),
                div(
                    f"{words.ago(r['released_at'], now)} {r['released_by']}发布，"
                    f"签发 {r['signer']}，校验 {r['sha256'][:12]}"
                    + (f"；原因：{r['reason']}" if r["reason"] else ""),
                    cls="soft",
                ),
                *(_channel(c, now) for c in r["channels"]),
                cls="it",
            )
        )
        if may(visit.actor, "release"):
            _receipts(visit, r)
        if r["is_current"] and (may(visit.actor, "correct") or may(visit.actor, "withdraw")):
            _mend(visit, r)


def _channel(c: dict[str, Any], now: Any) -> Safe:
    return div(
        span(CHANNELS.get(c["channel"], c["channel"])),
        span(
            words.CHANNEL_STATES.get(c["state"], c["state"]),
            cls={"done": "pos", "failed": "neg"}.get(c["state"], "soft"),
        ),
        span(c["link"] or c["error"], cls="soft"),
        span(c["receipt"], cls="soft"),
        span(words.stamp(c["done_at"], now) if c["done_at"] else "", cls="push"),
        cls="line",
    )


def _receipts(visit: Visit, r: dict[str, Any]) -> None:
    open_channels = [c for c in r["channels"] if c["state"] != "done" and c["channel"] != PORTAL]
    if not open_channels:
        return
    with st.expander(f"登记回执（{len(open_channels)}）", expanded=False):
        for c in open_channels:
            name = CHANNELS.get(c["channel"], c["channel"])
            one, two = st.columns(2)
            link = one.text_input(f"{name}链接", key=f"rc_link_{c['id']}", persist_state="session")
            receipt = two.text_input(
                f"{name}回执（编号、经手人）", key=f"rc_rec_{c['id']}", persist_state="session"
            )
            if st.button(f"登记{name}", key=f"rc_{c['id']}") and do(
                visit.desk,
                _receipt(c["id"], link, receipt),
                f"已登记{name}",
            ):
                st.rerun()


def _receipt(channel_id: int, link: str, receipt: str) -> Callable[[Tx, Actor], object]:
    return lambda tx, who: desk_releases.record_receipt(tx, who, channel_id, link, receipt)


def _mend(visit: Visit, r: dict[str, Any]) -> None:
    desk = visit.desk
    with st.expander("更正或撤回"):
        why = st.text_input("原因", key=f"mend_{r['id']}", persist_state="session")
        with st.container(horizontal=True):
            if may(visit.actor, "correct") and st.button("起草更正", key=f"correct_{r['id']}"):
                draft = make(
                    desk,
                    lambda tx, who: desk_releases.correct(tx, who, r["id"], why),
                    "已起草更正稿；原稿在更正发布前仍有效",
                )
                if draft is not None:
                    choose("draft", str(draft))
                st.rerun()
            if (
                may(visit.actor, "withdraw")
                and widgets.ask_once(
                    "撤回", "撤回声明立即发布，原稿标为已撤回并保留可查。", f"withdraw_{r['id']}"
                )
                and do(
                    desk, lambda tx, who: desk_releases.withdraw(tx, who, r["id"], why), "已撤回"
                )
            ):
                st.rerun()
