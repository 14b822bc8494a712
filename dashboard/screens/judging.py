"""判读: which model judges, what its thresholds give, whether the talk has moved, who disagrees."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, do
from dashboard.markup import div, join, span, tag
from nlp.annotator import own_levels
from pipeline.desk import labels, models, queries_judging
from pipeline.domain.corrections import Standing
from pipeline.domain.drift import Drift
from pipeline.domain.rights import Actor, may
from pipeline.store.sql import Tx

LEVEL_WORDS = {
    "unsure.kind": "类型低于此概率时说“把握不足”",
    "unsure.sentiment": "态度低于此概率时说“把握不足”",
    "unsure.urgency": "紧急低于此概率时说“把握不足”",
    "unsure.rumour": "传言低于此概率时说“把握不足”",
    "irrelevant": "“无关”达到此概率时不进事件",
    "help": "“求助”达到此概率可找回 95% 的求助",
}
_GIVES = {
    "irrelevant": "留下的有 {p} 确实相关，相关的有 {r} 被留下",
    "help": "找出的有 {p} 确是求助，求助的有 {r} 被找出",
}
_UNSURE_GIVES = "说“把握不足”的占 {s}，其中 {p} 确实判错，判错的有 {r} 被提示"


def page(visit: Visit) -> None:
    """The part of 管理 that the administrator sees."""
    model_part(visit)
    thresholds(visit)
    drift(visit)
    disputes(visit)


def model_part(visit: Visit) -> None:
    desk, now = visit.desk, visit.desk.now()
    folder = desk.settings.models_dir
    with desk.store.read() as conn:
        used, past = models.in_use(conn), models.uses(conn, 5)
    widgets.title("判读模型", "在用 1 个；新训练的模型须由人启用，可随时退回")
    for found in models.list_models(folder):
        card = found.card or {}
        moved = card.get("adapted", {})
        said = (
            f"由 {moved['from']} 按更正调整："
            + "、".join(f"{words.HEAD_WORDS[h]} {n}" for h, n in moved["corrections"].items() if n)
            if moved
            else ""
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(
                div(
                    tag("b", found.version or found.name),
                    widgets.chip("随系统发布") if found.name == models.SHIPPED else "",
                    widgets.chip("在用") if found.name == used else "",
                    span(f"训练于 {found.trained_on}" if found.trained_on else "", cls="soft"),
                    span(said, cls="soft"),
                    span(found.problem, cls="neg"),
                    cls="line",
                ),
                width="stretch",
            )
            if found.name != used and not found.problem and may(visit.actor, "use_model"):
                with st.popover("启用", key=f"use_{found.name or 'shipped'}"):
                    st.caption(
                        "先用 tingfeng evaluate --challenger 与在用模型比较。启用后几秒内生效，"
                        "已判读的帖文不变；记入审计。"
                    )
                    reason = st.text_input("理由", key=f"use_why_{found.name}")
                    if st.button("确认启用", key=f"use_go_{found.name}", type="primary") and do(
                        desk, partial(_use, folder, found.name, reason), "已启用"
                    ):
                        st.rerun()
    if past:
        widgets.table(
            ("何时", "谁", "启用", "理由"),
            [
                (words.stamp(p["at"], now), p["by"], p["version"] or "随系统发布", p["reason"])
                for p in past
            ],
        )


def _use(folder: Any, name: str, reason: str, tx: Tx, who: Actor) -> None:
    models.use_model(tx, who, folder, name, reason)


def thresholds(visit: Visit) -> None:
    """What is set, what it gives on texts the model had not seen, and what others would give."""
    desk = visit.desk
    with desk.store.read() as conn:
        name = models.in_use(conn)
    found = next((m for m in models.list_models(desk.settings.models_dir) if m.name == name), None)
    if found is None or found.card is None:
        return
    card = found.card
    own = own_levels(card)
    curves: dict[str, list[list[float]]] = card.get("curves", {})
    widgets.title("阈值", "在 tingfeng.toml 的 thresholds 中改，重启生效；数字来自交叉验证")
    rows = []
    for key in (*own, "help"):
        level = desk.settings.thresholds.get(key, own.get(key, card["thresholds"].get("help", 0)))
        changed = key in desk.settings.thresholds
        rows.append(
            (
                LEVEL_WORDS[key],
                f"{level:.2f}" + ("（本局设定）" if changed else ""),
                _gives(key, curves.get(key, []), level),
            )
        )
    widgets.table(("阈值", "现值", "在真实帖文上"), rows)


def _gives(key: str, curve: Sequence[Sequence[float]], level: float) -> str:
    if not curve:
        return "此模型没有附带数据"
    _, precision, recall, share = min(curve, key=lambda point: abs(point[0] - level))
    text = _GIVES.get(key, _UNSURE_GIVES)
    return text.format(p=f"{precision:.0%}", r=f"{recall:.0%}", s=f"{share:.0%}")


def drift(visit: Visit) -> None:
    settings = visit.desk.settings
    with visit.desk.store.read() as conn:
        found = queries_judging.drifts(
            conn, visit.desk.now(), unsure_by=settings.drift_unsure, mix_by=settings.drift_mix
        )
    widgets.title("与上月相比", "近 7 天对此前 30 天；每小时统计一次")
    if not found:
        widgets.empty("还没有统计。系统运行一小时后出现。")
        return
    widgets.table(
        ("信源", "近 7 天/此前", "把握不足", "标签构成变动", "用词变动", "提示"),
        [_drift_row(d) for d in found],
        bad=[n for n, d in enumerate(found) if d.notable],
    )


def _drift_row(d: Drift) -> tuple[str, ...]:
    counts = f"{d.posts}/{d.posts_before}"
    if not d.judged:
        return (d.source, counts, "", "", "", "帖文太少，不作判断")
    now, before = max(d.unsure.values(), key=lambda pair: pair[0] - pair[1])
    most = max(d.mix, key=d.mix.__getitem__)
    said = [f"{words.HEAD_WORDS[head]}有变" for head in d.heads]
    said += ["用词有变"] if d.words_moved else []
    advice = "；更正一批近期帖文后重新训练" if said else ""
    return (
        d.source,
        counts,
        f"{now:.0%}（此前 {before:.0%}）",
        f"{words.HEAD_WORDS[most]} {d.mix[most]:.3f}",
        f"{d.words:.3f}",
        "、".join(said) + advice,
    )


def disputes(visit: Visit) -> None:
    """Posts on whose label two people differ. A leader may decide here."""
    with visit.desk.store.read() as conn:
        found = queries_judging.disputed(conn)
    widgets.title(f"判读分歧 {len(found)}", "两人更正不一致；带班领导裁定前不用于训练")
    if not found:
        widgets.empty("没有分歧。")
    for stands in found:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(
                div(
                    span(words.people_say(stands.text, 60)),
                    span(said_line(stands), cls="soft"),
                    cls="line",
                ),
                width="stretch",
            )
            if may(visit.actor, "settle_label"):
                settle(visit, stands)


def said_line(stands: Standing) -> Any:
    """Who says what, as one line."""
    named = words.LABEL_WORDS[stands.head]
    said = [f"{who}：{named.get(label, label)}" for who, label in stands.words.items()]
    state = (
        "有分歧"
        if stands.disputed
        else f"{stands.settled_by}裁定为{named.get(stands.label or '', stands.label or '')}"
        if stands.settled_by
        else ""
    )
    return join(
        f"{words.HEAD_WORDS[stands.head]}（机器：{named.get(stands.machine, stands.machine)}） ",
        "，".join(said),
        span(f" {state}", cls="warnword") if state else "",
    )


def settle(visit: Visit, stands: Standing) -> None:
    """The leader's choice between the labels people named."""
    named = words.LABEL_WORDS[stands.head]
    key = f"{stands.post_id}_{stands.head}"
    with st.popover("裁定", key=f"settle_{key}"):
        label = st.selectbox(
            words.HEAD_WORDS[stands.head],
            list(dict.fromkeys([*stands.words.values(), stands.machine])),
            format_func=lambda v: named.get(v, v),
            key=f"settle_to_{key}",
        )
        if st.button("确认裁定", key=f"settle_go_{key}", type="primary") and do(
            visit.desk, partial(_settle, stands, label or ""), "已裁定"
        ):
            st.rerun()


def _settle(stands: Standing, label: str, tx: Tx, who: Actor) -> None:
    labels.settle_label(tx, who, stands.post_id, stands.head, stands.machine, label, stands.text)


def people_say(visit: Visit, stands: Sequence[Standing]) -> None:
    """Under a post: what people said against the machine."""
    for one in stands:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(div(span("人工更正：", cls="soft"), said_line(one), cls="line"))
            if one.disputed and may(visit.actor, "settle_label"):
                settle(visit, one)
