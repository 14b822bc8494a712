"""总览: what must be acted on next, and what is going on around it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import charts, outage, widgets, words
from dashboard.acting import Visit, do
from dashboard.going import choose, chosen, go
from dashboard.markup import Safe, div, show, span, tag
from dashboard.screens import alert_panel
from dashboard.screens.new_claims import first_spoken
from pipeline.desk import alerts, assignments, queries, queries_board
from pipeline.desk.queries_board import COUNTERS, ActionItem, Board
from pipeline.domain.rights import Actor, Role, may

PAGE = 15


def page(visit: Visit) -> None:
    st.session_state["_visit"] = visit
    counters()
    left, right = st.columns([2.05, 1], gap="medium")
    with left:
        action_list()
    with right:
        selected = chosen("sel")
        if selected.startswith("alert:"):
            with st.container(key="detail"):
                alert_panel.panel(visit, selected.partition(":")[2])
        around()
        if visit.actor.role in (Role.DUTY, Role.LEADER):
            first_spoken(visit)
    if may(visit.actor, "see_board"):
        pictures()


def _visit() -> Visit:
    visit: Visit = st.session_state["_visit"]
    return visit


def read_board(visit: Visit) -> Board:
    """The board of this person, shared between their tabs for a moment."""

    def read() -> Board:
        with visit.desk.store.read() as conn:
            return queries_board.board(conn, visit.desk.now(), visit.actor)

    actor = visit.actor
    return visit.desk.shared.get(("board", actor.user_id, actor.role, actor.office), 0.5, read)


@st.fragment(run_every=1.5, key="counters")
@outage.kept_open
def counters() -> None:
    """Six counters that are filters, kept in the address; and the door for new rows."""
    visit = _visit()
    board = read_board(visit)
    group = chosen("f")
    with st.container(key="counters", horizontal=True, gap="small"):
        for name, label in _counters_of(visit.actor).items():
            on = group == name
            clicked = st.button(
                f"{label} **{board.counters[name]}**",
                key=f"cnt_{name}",
                type="primary" if on else "secondary",
                width="stretch",
                help="再点一次显示全部" if on else f"只看：{label}",
            )
            if clicked:
                if name == "help" and visit.actor.role in (Role.DUTY, Role.LEADER):
                    go("help")
                choose("f", "" if on else name)
                st.session_state.pop("_order", None)
                st.rerun()
    new = _new_keys(board.only(group))
    if new and st.button(f"有 {len(new)} 条新的，点此插入", key="insert", width="stretch"):
        st.session_state.pop("_order", None)
        st.rerun()


def _counters_of(actor: Actor) -> dict[str, str]:
    if actor.role in (Role.DUTY, Role.LEADER):
        return COUNTERS
    if actor.role is Role.OFFICE:
        return {**{k: COUNTERS[k] for k in ("mine", "soon", "overdue")}, "new": "待签收"}
    return {k: COUNTERS[k] for k in ("mine", "sign", "soon", "overdue")}


def _new_keys(items: Sequence[ActionItem]) -> list[str]:
    order: list[str] | None = st.session_state.get("_order")
    if order is None:
        return []
    known = set(order)
    return [i.key for i in items if i.key not in known]


def _steady(items: Sequence[ActionItem]) -> list[tuple[ActionItem, bool]]:
    """The rows in the order the officer has before them; gone ones stay, marked, in their place."""
    by_key = {i.key: i for i in items}
    order: list[str] | None = st.session_state.get("_order")
    if order is None:
        order = [i.key for i in items]
        st.session_state["_order"] = order
        st.session_state["_rows"] = {}
    kept: dict[str, ActionItem] = st.session_state.setdefault("_rows", {})
    kept.update({k: by_key[k] for k in order if k in by_key})
    return [(kept[k], k in by_key) for k in order if k in kept]


@st.fragment(run_every=5, key="action_list")
@outage.kept_open
def action_list() -> None:
    """待处理, steady while it is read."""
    visit = _visit()
    board = read_board(visit)
    group = chosen("f")
    shown = _steady(board.only(group))
    head = "待处理" + (f" · 只看“{COUNTERS[group]}”" if group in COUNTERS else "")
    with st.container(horizontal=True, vertical_alignment="center"):
        widgets.title(head, "按谁该动、还剩多久排列")
        if shown and st.button("重新排列", key="resort", type="tertiary"):
            st.session_state.pop("_order", None)
            st.rerun(scope="fragment")
        if shown:
            _steps([item.key for item, _ in shown])
    if not shown:
        widgets.empty(_nothing(board, group, visit))
        return
    pages = (len(shown) - 1) // PAGE + 1
    at = min(int(st.session_state.get("_list_page", 0)), pages - 1)
    for item, alive in shown[at * PAGE : (at + 1) * PAGE]:
        row(visit, item, alive)
    if pages > 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("上一页", key="prev", disabled=at == 0):
                st.session_state["_list_page"] = at - 1
                st.rerun(scope="fragment")
            show(span(f"第 {at + 1}/{pages} 页，共 {len(shown)} 项", cls="soft"))
            if st.button("下一页", key="next", disabled=at == pages - 1):
                st.session_state["_list_page"] = at + 1
                st.rerun(scope="fragment")


def _steps(keys: Sequence[str]) -> None:
    """From row to row with the keyboard: J and K; A does what the row's main button does."""
    with st.container(key="steps", horizontal=True):
        for label, shortcut, by in (("上一条", "K", -1), ("下一条", "J", 1)):
            if st.button(label, key=f"step_{shortcut}", type="tertiary", shortcut=shortcut):
                sel = chosen("sel")
                at = keys.index(sel) + by if sel in keys else 0
                at = min(max(at, 0), len(keys) - 1)
                choose("sel", keys[at])
                st.session_state["_list_page"] = at // PAGE
                st.rerun()


def _nothing(board: Board, group: str, visit: Visit) -> str:
    if group:
        return f"“{COUNTERS.get(group, group)}”下没有事项。再点一次计数可看全部。"
    if visit.actor.role in (Role.DUTY, Role.LEADER):
        if board.last_claim is None:
            return "没有待处理的事项。新预警会出现在这里。"
        at, by = board.last_claim
        return f"没有待处理的事项。最近一次 {words.stamp(at, visit.desk.now())}，由{by}认领。"
    return "没有等您办理的事项。有新的分办或待审稿时会出现在这里。"


def row(visit: Visit, item: ActionItem, alive: bool) -> None:
    """One item: level, matter, size and trend, why here, who, how long; one main button."""
    now = visit.desk.now()
    chosen_row = chosen("sel") == item.key
    prefix = "row_sel_" if chosen_row else "row_"
    with st.container(key=f"{prefix}{item.key.replace(':', '_')}"):
        head = [
            words.level_badge(item.level),
            widgets.chip(item.kind),
            span(f"“{item.title}”" if item.event_id else item.title, cls="ttl"),
        ]
        if item.place:
            head.append(span(item.place, cls="soft"))
        if item.posts:
            head.append(span(f"×{item.posts}", cls="n", title="相关帖文，含相同内容"))
        if any(item.spark):
            head.append(
                span(words.blocks(item.spark), cls="spark", title="近 4 小时，每格 10 分钟")
            )
        if item.lately:
            head.append(span(f"+{item.lately}/10分", cls="n"))
        foot = [
            span(f"{item.who} {words.long_span(now - item.since)}"),
            widgets.chip(item.late, "系统中断或采集延迟，预警比帖文晚") if item.late else Safe(""),
            words.due_badge(item.due_at, item.due_what, now),
        ]
        if not alive:
            foot = [span("已处理，重新排列后移出", cls="chip")]
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.html(
                div(
                    div(*head, cls="head"),
                    div(
                        span("为何在此：" if item.event_id and not item.case_id else ""),
                        item.why,
                        cls="why",
                    ),
                    div(*foot, cls="foot"),
                    cls="it",
                ),
                width="stretch",
            )
            if alive:
                _buttons(visit, item)


def _buttons(visit: Visit, item: ActionItem) -> None:
    key = item.key.replace(":", "_")
    shortcut = "A" if chosen("sel") == item.key else None  # C and R are kept by Streamlit
    if item.act and st.button(item.act_label, key=f"act_{key}", type="primary", shortcut=shortcut):
        _main_act(visit, item)
    if item.key.startswith("alert:") and st.button("更多", key=f"more_{key}"):
        choose("sel", "" if chosen("sel") == item.key else item.key)
        st.rerun()


def _main_act(visit: Visit, item: ActionItem) -> None:
    if item.act == "claim":
        do(
            visit.desk,
            lambda tx, actor: alerts.claim_alert(tx, actor, item.ref),
            f"已认领“{words.people_say(item.title, 24)}”",
            undo=lambda tx, actor: alerts.release_claim(tx, actor, item.ref),
        )
        st.rerun()
    elif item.act == "open_case":
        case_id = alert_panel.open_case(visit, item.ref)
        if case_id is not None:
            go("cases", id=case_id)
        st.rerun()
    elif item.act == "receive":
        do(
            visit.desk,
            lambda tx, actor: assignments.receive(tx, actor, int(item.ref)),
            "已签收。签收不等于办结，请在时限内反馈。",
        )
        st.rerun()
    elif item.act == "open" and item.case_id is not None:
        more = {"draft": item.ref} if item.key.startswith("step:") else {}
        go("cases", id=item.case_id, **more)


@st.fragment(run_every=7, key="around")
@outage.kept_open
def around() -> None:
    """Help lane, warnings in force, sources."""
    visit = _visit()
    desk = visit.desk
    now = desk.now()
    is_desk = visit.actor.role in (Role.DUTY, Role.LEADER)

    def read() -> tuple[list[dict[str, object]], list[dict[str, object]], list[queries.SourceRow]]:
        with desk.store.read() as conn:
            return (
                queries_board.help_lane(conn, limit=5),
                queries.warnings_in_force(conn, now, city=desk.city),
                queries.sources(conn),
            )

    calls, warnings, sources = desk.shared.get("around", 1.5, read)
    if is_desk:
        help_box(visit, calls)
    widgets.warnings_card(warnings, now)
    widgets.sources_card(sources, now)


def help_box(visit: Visit, calls: Sequence[dict[str, object]]) -> None:
    """The oldest help calls that nobody has passed on."""
    now = visit.desk.now()
    with st.container(key="row_help"):
        lines = [
            div(
                tag("b", str(c["place_name"]) or "地点待核"),
                span(words.people_say(str(c["text"]), 42)),
                span(words.long_span(now - c["seen_at"]), cls="push"),  # type: ignore[operator]
                cls="line",
            )
            for c in calls
        ]
        body = lines or [div("没有未转的求助。", cls="soft")]
        show(div(widgets.heading("求助（先转后研判）"), *body, cls="it"))
        if calls and st.button("去转办", key="to_help", type="primary"):
            go("help")


@st.fragment(run_every=20, key="pictures")
@outage.kept_open
def pictures() -> None:
    """Volume and attitude, counties, kinds; slower, for nobody acts on a curve's second."""
    visit = _visit()
    desk = visit.desk
    now = desk.now()
    city = desk.city

    def read() -> tuple[object, object, object]:
        with desk.store.read() as conn:
            return (
                queries_board.volume(conn, now),
                queries_board.county_counts(conn, now, city),
                queries_board.kinds(conn, now),
            )

    volume, counties, kinds = desk.shared.get(("pictures", city), 10, read)
    one, two, three = st.columns([1.25, 1.1, 0.8], gap="medium")
    with one:
        widgets.title("声量与态度", "近 24 小时，每小时")
        if volume:
            charts.draw(charts.stacked_hours(volume), alt="每小时帖文数，按态度堆叠", key="volume")  # type: ignore[arg-type]
        else:
            widgets.empty("近 24 小时没有舆情事件的帖文。")
    with two:
        widgets.title("各县区", "方格示意，近 3 小时及变化")
        charts.tile_map(counties, hours=3)  # type: ignore[arg-type]
    with three:
        widgets.title("类型构成", "近 24 小时")
        if kinds:
            charts.draw(charts.bars(kinds), alt="各类舆情事件的帖文数", key="kinds")  # type: ignore[arg-type]
        else:
            widgets.empty("近 24 小时没有帖文。")
