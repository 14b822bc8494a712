"""Every page's frame: session, top line, navigation by role."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import datetime
from functools import cache

import streamlit as st

from dashboard import acting, outage, theme, words
from dashboard.acting import Visit, here, pending_undo, said, who
from dashboard.context import Desk, current
from dashboard.markup import Safe, div, show, span, tag
from dashboard.screens import admin, cases, events, help_lane, judging, overview, reviews, rumours
from pipeline.desk import queries
from pipeline.domain.rights import Actor, Role
from pipeline.errors import StoreBusy

WORKERS = (Role.DUTY, Role.LEADER, Role.CHECKER, Role.SECRECY, Role.SIGNER)
DESK = (Role.DUTY, Role.LEADER)
ADMINS = (Role.ADMIN, Role.SECURITY, Role.AUDITOR)

PAGES: tuple[tuple[str, str, Callable[[Visit], None], tuple[Role, ...]], ...] = (
    ("overview", "总览", overview.page, (*WORKERS, Role.OFFICE)),
    ("events", "事件", events.page, WORKERS),
    ("help", "求助", help_lane.page, DESK),
    ("cases", "处置", cases.page, (*WORKERS, Role.OFFICE)),
    ("rumours", "谣言库", rumours.page, (*WORKERS, Role.OFFICE)),
    ("reviews", "复盘", reviews.page, WORKERS),
    ("judging", "判读", judging.page, (Role.LEADER,)),
    ("admin", "管理", admin.page, ADMINS),
)


def main() -> None:
    """One run of the script."""
    st.set_page_config(page_title="听风 · 气象舆情值班台", page_icon="🌀", layout="wide")
    st.html(theme.style())
    page()


def page() -> None:
    """Frame and page of whoever it is."""
    try:
        session = who()
        if session is None or session.must_change:
            ended()
            return
        here(session)
    except StoreBusy as error:
        desk = current()
        desk.watch.failed("store", desk.now(), error)
        top_line()  # it says so, and brings the page back
        return
    desk = current()
    visit = Visit(desk, session.actor)
    pages = {
        name: st.Page(
            _bound(body, visit), title=title, url_path=name, default=name == _first(session.actor)
        )
        for name, title, body, roles in PAGES
        if session.actor.role in roles
    }
    chosen = st.navigation(list(pages.values()), position="hidden")
    st.session_state["_pages"] = pages
    top_line()
    if desk.is_drill:
        show(div("演练：本页全部内容为虚构，与任何真实事件、单位和个人无关", cls="drillbar"))
    with st.container(key="nav", horizontal=True):
        for page in pages.values():
            is_here = page.url_path == chosen.url_path
            st.page_link(page, label=f"**{page.title}**" if is_here else page.title)
    said()
    undo_line()
    chosen.run()
    _loaded_for_good()


@cache
def _loaded_for_good() -> None:
    """What the first page loaded is not garbage either; see ``asgi.make_app``."""
    gc.collect()
    gc.freeze()


def _bound(body: Callable[[Visit], None], visit: Visit) -> Callable[[], None]:
    @outage.kept_open
    def run() -> None:
        body(visit)

    run.__name__ = body.__module__.rsplit(".", 1)[-1]
    return run


def _first(actor: Actor) -> str:
    return "admin" if actor.role in ADMINS else "overview"


def has_address(actor: Actor, path: str) -> bool:
    """False for the address of a page that this role does not have, or has as its first (``/``)."""
    name = path.strip("/")
    roles = next((roles for page, _, _, roles in PAGES if page == name), None)
    return roles is None or (actor.role in roles and name != _first(actor))


def ended() -> None:
    """The session is over: nothing is shown but the way back."""
    show(
        div(
            div("登录已结束", cls="big"),
            div("可能是到时、空闲过久，或账号被停用。", cls="soft"),
            tag("p", tag("a", "重新登录", href="/login", target="_self")),
            cls="card",
        )
    )


@st.fragment(run_every=3, key="top_line")
@outage.kept_open
def top_line() -> None:
    """Product, mode, data until, sources, unclaimed, who, time: on every page, always."""
    desk = current()
    session = who()
    if session is None:
        show(div(span("听风", cls="brand"), span("登录已结束", cls="warnword"), cls="tl"))
        return
    show(_top_markup(desk, session.actor))
    if outage.brought_back():
        st.rerun()


def _top_markup(desk: Desk, actor: Actor) -> Safe:
    now = desk.now()

    away = desk.watch.away(now)
    newest = desk.watch.answer("index")

    def read() -> queries.TopLine:
        with desk.store.read() as conn:
            return queries.top_line(conn, now, newest if isinstance(newest, datetime) else None)

    top = desk.shared.get("top", 0.4, read)
    if desk.is_drill:
        mode = span("演练", cls="mode drill")
    elif top.at_war:
        mode = span("战时", cls="mode war")
    else:
        mode = span("平时", cls="mode")
    if top.data_at is None:
        data = span("尚无数据", cls="warnword")
    elif top.is_stale(now, desk.speed):
        late = words.long_span(now - top.data_at)
        data = span(
            span(f"数据截至 {words.clock(top.data_at)}", cls="stale"),
            span(f" 已过 {late}，停更", cls="warnword"),
        )
    else:
        data = span(f"数据截至 {words.clock(top.data_at)}", cls="num")
    if top.lag > 1000:
        data = span(data, span(f" 积压 {top.lag} 条", cls="warnword"))
    all_well = top.sources > 0 and top.sources_ok == top.sources
    sources = span(
        span(cls="dot" if all_well else "dot bad"),
        f"信源 {top.sources_ok}/{top.sources} 正常" if top.sources else "信源未登记",
    )
    pieces = [
        span("听风", cls="brand"),
        mode,
        data,
        sources,
        span("未认领 ", tag("b", str(top.unclaimed))),
    ]
    if top.help_waiting:
        pieces.append(span("求助未转 ", tag("b", str(top.help_waiting)), cls="warnword"))
    if top.failed_deliveries:
        pieces.append(span(f"通知失败 {top.failed_deliveries}", cls="warnword"))
    pieces += [
        span(f"{outage.NAMES[name]} {words.clock(one.since)} 起{one.words}", cls="warnword")
        for name, one in away.items()
    ]
    # a server that is away was named above: that the parts miss it is not said a second time
    said = dict.fromkeys(map(words.part_note, top.notes))
    pieces += [span(note, cls="warnword") for note in said if not away or "尚未连上" not in note]
    role = actor.role.label if actor.role else ""
    local = words.beijing(now)
    pieces += [
        span(
            f"{actor.name}（{role}{' · ' + actor.office if actor.office else ''}）",
            cls="push",
        ),
        span(
            tag("a", "日", href="/theme?to=light", target="_self", title="日间配色"),
            " ",
            tag("a", "夜", href="/theme?to=dark", target="_self", title="夜间配色"),
            " ",
            tag(
                "a", "随时辰", href="/theme?to=auto", target="_self", title="19 时至次日 7 时为夜间"
            ),
        ),
        span(tag("a", "退出", href="/logout", target="_self")),
        span(f"{local:%m-%d} 周{words.WEEKDAYS[local.weekday()]} {local:%H:%M:%S}", cls="num"),
    ]
    return div(*pieces, cls="tl")


def undo_line() -> None:
    """The last act and a button that takes it back, for ten seconds."""
    if pending_undo() is not None:
        _undo_fragment()


@st.fragment(run_every=1, key="undo_line")
@outage.kept_open
def _undo_fragment() -> None:
    found = pending_undo()
    if found is None:
        return
    undo, left = found
    with st.container(key="undo", horizontal=True, vertical_alignment="center"):
        show(span(undo.label, cls="soft"))
        if st.button(f"撤销（{left} 秒）", key="undo_button"):
            st.session_state.pop("_undo", None)
            acting.do(current(), undo.act, "已撤销")
            st.rerun()
