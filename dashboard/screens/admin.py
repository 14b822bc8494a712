"""管理: settings and sources, users, audit; three people, none of whom works on cases."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from dashboard import outage, widgets, words
from dashboard.acting import Visit, do, make
from dashboard.markup import Safe, div, show, span, tag
from dashboard.screens import judging
from pipeline.bus.base import Bus
from pipeline.desk import operations, queries, queries_admin, users
from pipeline.desk.silences import matchers_text
from pipeline.domain.event import EVENT_KIND_NAMES, HAZARD_NAMES, Level
from pipeline.domain.rights import Actor, Role
from pipeline.store.sql import Tx, verify_audit


def page(visit: Visit) -> None:
    if visit.actor.role is Role.ADMIN:
        administrator(visit)
    elif visit.actor.role is Role.SECURITY:
        accounts(visit)
    else:
        audit(visit)


def administrator(visit: Visit) -> None:
    parts = {
        "sources": "信源",
        "routes": "分派规则",
        "deadlines": "时限",
        "deliveries": "通知",
        "dead": "死信",
        "silences": "静默",
        "parts": "机器",
        "judging": "判读",
    }
    part = st.segmented_control(
        "部分",
        list(parts),
        default="sources",
        format_func=parts.__getitem__,
        key="admin_part",
        label_visibility="collapsed",
        required=True,
    )
    {
        "routes": routes,
        "deadlines": deadlines,
        "deliveries": deliveries,
        "dead": dead,
        "silences": silences,
        "parts": machine,
        "judging": judging.page,
    }.get(part or "", sources)(visit)


def sources(visit: Visit) -> None:
    now = visit.desk.now()
    with visit.desk.store.read() as conn:
        found = queries.sources(conn)
    widgets.title(f"信源 {sum(s.is_ok for s in found)}/{len(found)} 正常")
    if not found:
        widgets.empty("还没有信源运行过。在 sources.toml 中登记后重新启动。")
        return
    widgets.table(
        ("信源", "状态", "上次成功", "最新一帖", "间隔", "平时/小时", "运行/失败", "条/坏"),
        [
            (
                s.source,
                " ".join(x for x in (words.SOURCE_STATES.get(s.state, s.state), s.reason) if x),
                words.ago(s.last_success_at, now),
                words.ago(s.last_post_at, now),
                f"{s.every_s:.0f} 秒",
                f"{s.usual_per_hour:.0f}",
                f"{s.runs}/{s.failures}",
                f"{s.items}/{s.broken}",
            )
            for s in found
        ],
        bad=[n for n, s in enumerate(found) if not s.is_ok],
    )


def routes(visit: Visit) -> None:
    """Who would get this? A trial that sends nothing."""
    widgets.title("试一试：谁会收到", "只试算，不发送")
    one, two, three, four = st.columns(4)
    kind = one.selectbox("类型", list(EVENT_KIND_NAMES), format_func=EVENT_KIND_NAMES.__getitem__)
    hazard = two.selectbox("灾种", list(HAZARD_NAMES), format_func=HAZARD_NAMES.__getitem__)
    code = three.text_input("区划代码", value=visit.desk.settings.home_adcode)
    level = four.selectbox("等级", list(Level), index=2, format_func=lambda lv: lv.label)
    routing, asked = visit.desk.routes.choose(
        hazard or "", code, kind or "", level or Level.GENERAL
    )
    show(
        div(
            div("牵头", tag("b", routing.lead), cls="line"),
            div("协办", span("、".join(routing.helpers) or "无"), cls="line"),
            div("抄送", span("、".join(routing.copies) or "无"), cls="line"),
            div("要求", span(asked or "无"), cls="line"),
            div("依据规则", span(routing.rule or "默认"), cls="line"),
            cls="card",
        )
    )
    widgets.title("现行规则", "改 routes.toml 后重启生效；已立单的不受影响")
    widgets.table(
        ("规则", "牵头", "协办", "抄送", "类型", "灾种", "起点等级"),
        [
            (
                r.name,
                r.lead,
                "、".join(r.helpers),
                "、".join(r.copies),
                "、".join(EVENT_KIND_NAMES.get(k, k) for k in sorted(r.kinds)),
                "、".join(HAZARD_NAMES.get(h, h) for h in sorted(r.hazards)),
                r.min_level.label,
            )
            for r in visit.desk.routes.routes
        ],
    )


def deadlines(visit: Visit) -> None:
    widgets.title("时限", "立单时冻结进处置单；改 deadlines.toml 后只影响新单")
    widgets.table(
        ("时限", "用于", "多久", "等级", "依据"),
        [
            (
                c.label,
                c.owner,
                f"{c.minutes} 分钟" if c.minutes else f"{c.workdays} 个工作日",
                "、".join(Level(n).label for n in c.levels),
                c.basis,
            )
            for c in visit.desk.rules.clocks
        ],
    )


def deliveries(visit: Visit) -> None:
    now = visit.desk.now()
    with visit.desk.store.read() as conn:
        failed = queries_admin.deliveries(conn, failed=True)
        latest = queries_admin.deliveries(conn, failed=False, limit=30)
    widgets.title(f"失败的通知 {len(failed)}")
    if not failed:
        widgets.empty("没有失败的通知。")
    for d in failed:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(
                div(
                    tag("b", d["receiver"]),
                    widgets.chip(d["channel"]),
                    span(words.DELIVERY_STATES.get(d["state"], d["state"]), cls="neg"),
                    span(words.people_say(d["title"], 40)),
                    span(d["last_error"], cls="soft"),
                    span(f"试过 {d['attempts']} 次", cls="push"),
                    cls="line",
                ),
                width="stretch",
            )
            if st.button("重发", key=f"resend_{d['id']}") and do(
                visit.desk,
                partial(_resend, d["id"]),
                "已排队重发",
            ):
                st.rerun()
    widgets.title("最近的通知")
    widgets.table(
        ("何时", "给谁", "渠道", "事由", "状态"),
        [
            (
                words.ago(d["created_at"], now),
                d["receiver"],
                d["channel"],
                words.people_say(d["title"], 40),
                words.DELIVERY_STATES.get(d["state"], d["state"]),
            )
            for d in latest
        ],
        bad=[n for n, d in enumerate(latest) if d["state"] in queries_admin.FAILED],
    )


@outage.needs("bus")
def dead(visit: Visit) -> None:
    """Messages that could not be handled; their text is not shown, only why and where."""
    now = visit.desk.now()
    letters = visit.desk.bus.dead(limit=100)
    widgets.title(f"死信 {len(letters)}", "没有丢：原文保留，可重投")
    if not letters:
        widgets.empty("没有死信。读不懂的帖文和消息会出现在这里，带原因。")
    for x in letters:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(
                div(
                    tag("b", str(x.id)),
                    widgets.chip(x.topic),
                    widgets.chip(x.stage),
                    span(x.error, cls="neg"),
                    span(f"{len(x.value)} 字节，试过 {x.tries} 次", cls="soft"),
                    span(words.ago(x.at, now), cls="push"),
                    cls="line",
                ),
                width="stretch",
            )
            if st.button("重投", key=f"dead_{x.id}") and do(
                visit.desk,
                partial(_retry, visit.desk.bus, x.id),
                "已重投",
            ):
                st.rerun()


def _resend(number: int, tx: Tx, who: Actor) -> None:
    operations.retry_delivery(tx, who, number)


def _retry(bus: Bus, number: int, tx: Tx, who: Actor) -> None:
    operations.retry_dead(tx, who, bus, number)


def silences(visit: Visit) -> None:
    now = visit.desk.now()
    with visit.desk.store.read() as conn:
        found = queries_admin.silences(conn, now)
    widgets.title("静默", "在用的和近一天到期的；由值班员在预警上设置")
    if not found:
        widgets.empty("没有静默。")
        return
    widgets.table(
        ("条件", "责任人", "原因", "起", "止", "状态"),
        [
            (
                matchers_text(s["matchers"]),
                s["owner"],
                s["reason"],
                words.stamp(s["starts_at"], now),
                words.stamp(s["ends_at"], now),
                "在用" if s["is_on"] else f"已结束 {s['ended_by']}".strip(),
            )
            for s in found
        ],
    )


def machine(visit: Visit) -> None:
    now = visit.desk.now()
    with visit.desk.store.read() as conn:
        found = queries_admin.heartbeats(conn)
    widgets.title("机器各部分", "多久没动、积压多少")
    widgets.table(
        ("部分", "上次动作", "积压", "说明"),
        [(b["part"], words.ago(b["at"], now), str(b["lag"]), b["note"]) for b in found],
    )


# ---- users and audit ----------------------------------------------------------------------


def accounts(visit: Visit) -> None:
    """Users and roles: the security administrator's page."""
    desk, now = visit.desk, visit.desk.now()
    with desk.store.read() as conn:
        found = queries_admin.users(conn)
    left, right = st.columns([1.7, 1], gap="medium")
    with left:
        widgets.title(f"账号 {len(found)}", "三员分设：系统、安全、审计各一人")
        for u in found:
            account(visit, u, now)
    with right, st.container(key="row_new_user"):
        widgets.title("新增账号")
        name = st.text_input("用户名", key="nu_name")
        role = st.selectbox("岗位", list(Role), format_func=lambda r: r.label, key="nu_role")
        office = st.text_input("科室（科室岗位必填）", key="nu_office")
        if st.button("新增", key="nu_go", type="primary"):
            password = make(
                desk,
                lambda tx, who: users.add_user(tx, who, name, role or Role.DUTY, office),
                "已新增",
            )
            if password is not None:
                st.session_state["_new_password"] = (name, password)
            st.rerun()
        given = st.session_state.pop("_new_password", None)
        if given is not None:
            st.info(f"{given[0]} 的一次性密码，只显示这一次：")
            st.code(given[1], language=None)


def account(visit: Visit, u: dict[str, Any], now: Any) -> None:
    marks = [span("已停用", cls="neg")] if u["disabled"] else []
    if u["locked_until"] and u["locked_until"] > now:
        marks.append(span(f"锁定至 {words.stamp(u['locked_until'], now)}", cls="neg"))
    if u["must_change"]:
        marks.append(widgets.chip("待改密码"))
    name = u["name"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(
            div(
                tag("b", name),
                span(u["display"], cls="soft") if u["display"] != name else Safe(""),
                widgets.chip(Role(u["role"]).label),
                span(u["office"]),
                *marks,
                cls="line",
            ),
            width="stretch",
        )
        if name == visit.actor.name:
            return
        if u["disabled"]:
            if st.button("启用", key=f"en_{u['id']}") and do(
                visit.desk, lambda tx, who: users.enable(tx, who, name), "已启用"
            ):
                st.rerun()
            return
        if widgets.ask_once(
            "停用", f"{name} 立即退出且不能登录；可再启用。", f"dis_{u['id']}"
        ) and do(visit.desk, lambda tx, who: users.disable(tx, who, name), "已停用"):
            st.rerun()
        if widgets.ask_once("重置密码", f"{name} 立即退出，须用一次性密码登录。", f"rp_{u['id']}"):
            password = make(
                visit.desk, lambda tx, who: users.reset_password(tx, who, name), "已重置"
            )
            if password is not None:
                st.session_state["_new_password"] = (name, password)
            st.rerun()


def audit(visit: Visit) -> None:
    """Who did what, and whether the chain of lines is whole."""
    now = visit.desk.now()
    if st.button("校验审计链", key="verify", type="primary"):
        with visit.desk.store.read() as conn:
            st.session_state["_chain"] = (verify_audit(conn), now)
    kept = st.session_state.get("_chain")
    if kept is not None:
        report, at = kept
        said = (
            f"完整：{report.lines} 行，末行 {report.head[:16]}，校验于 {words.stamp(at, now)}"
            if report.ok
            else f"不完整：{report.problem}。请保留数据库并报告。"
        )
        show(div(said, cls="card" if report.ok else "card neg"))
    with st.container(horizontal=True):
        who = st.text_input("人员", key="au_who", width=180)
        act = st.text_input("动作", key="au_act", width=180, placeholder="如 open_vault")
    with visit.desk.store.read() as conn:
        lines = queries_admin.audit_lines(conn, actor=who.strip(), act=act.strip())
    widgets.title("审计", f"最近 {len(lines)} 行")
    widgets.table(
        ("行", "何时", "谁", "岗位", "动作", "对象", "从哪里", "之后"),
        [
            (
                str(x["seq"]),
                words.stamp(x["at"], now),
                x["actor"],
                x["role"],
                x["act"],
                f"{x['object']} {x['object_id'][:12]}",
                x["origin"],
                words.people_say(str(x["after"] or ""), 60),
            )
            for x in lines
        ],
    )
