"""判读: which model judges, who disagrees with it, what its thresholds give, has the talk moved."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, do
from dashboard.markup import Safe, div, show, span, tag
from dashboard.screens import corrections
from pipeline.claim_thresholds import in_force
from pipeline.desk import models, queries_judging, spot_checks
from pipeline.desk.queries_judging import Threshold
from pipeline.domain.drift import Drift
from pipeline.domain.rights import Actor, may
from pipeline.store.sql import Tx

LEVEL_WORDS = {
    **{
        f"unsure.{head}": f"{name}低于此概率时说“把握不足”"
        for head, name in words.HEAD_WORDS.items()
    },
    "irrelevant": "“无关”达到此概率时不进事件",
    "help": "“求助”达到此概率即报警",
    "claims.suggest": "与已知说法相似到此即提示",
    "claims.confirm": "与已知说法相似到此可自动归入",
}
_GIVES = {
    "irrelevant": "留下的有 {p} 确实相关，相关的有 {r} 被留下",
    "help": "找出的有 {p} 确是求助，求助的有 {r} 被找出",
    "claims.suggest": "重复和求证有 {r} 首先提示对的说法，200 条普通帖误提示 {f} 次",
    "claims.confirm": "归入的有 {p} 归对，重复的有 {r} 归入",
}
_UNSURE_GIVES = "说“把握不足”的占 {s}，其中 {p} 确实判错，判错的有 {r} 被提示"
SET_WORDS = {
    "held-back corrections": "留出的更正",
    "spot checks": "抽查",
    "newest posts": "最新帖文",
}
VERDICT_WORDS = {
    "better": "更好",
    "worse": "更差",
    "mixed": "有升有降",
    "no clear difference": "无明显差别",
    "too few": "太少，不作判断",
    "selected": "只含在用模型判错的，不能据此判断",
}


def page(visit: Visit) -> None:
    """A page of its own for the leader, a part of 管理 for the administrator."""
    model_part(visit)
    field_accuracy(visit)
    corrections.disputes(visit)
    drift(visit)
    thresholds(visit)


# ---- the model ----------------------------------------------------------------------------


def model_part(visit: Visit) -> None:
    desk, now = visit.desk, visit.desk.now()
    folder = desk.settings.models_dir
    with desk.store.read() as conn:
        used, past = models.in_use(conn), models.uses(conn, 5)
    widgets.title("判读模型", "在用 1 个；新训练的模型须由人启用，可随时退回")
    found = models.list_models(folder)
    if used not in {one.name for one in found}:
        show(div(f"启用的模型 {used} 文件缺失，暂用随系统发布的模型。", cls="card neg"))
    for one in found:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(_model_line(one, used), width="stretch")
            if one.name != used and not one.problem and may(visit.actor, "use_model"):
                _use_button(visit, folder, one)
        if one.compared is not None and one.name != used:
            with st.expander(f"{one.version} 与在用模型的比较"):
                comparison(one.compared, used)
    if past and may(visit.actor, "use_model"):
        _back_button(visit, folder)
    if past:
        widgets.table(
            ("何时", "谁", "启用", "理由"),
            [
                (words.stamp(p["at"], now), p["by"], p["version"] or "随系统发布", p["reason"])
                for p in past
            ],
        )


def _model_line(one: models.ModelFile, used: str) -> Safe:
    moved = (one.card or {}).get("adapted", {})
    said = (
        f"由 {moved['from']} 按更正调整："
        + "、".join(f"{words.HEAD_WORDS[h]} {n}" for h, n in moved["corrections"].items() if n)
        if moved
        else ""
    )
    return div(
        tag("b", one.version or one.name),
        widgets.chip("随系统发布") if one.name == models.SHIPPED else "",
        widgets.chip("在用") if one.name == used else "",
        span(f"训练于 {one.trained_on}" if one.trained_on else "", cls="soft"),
        span(said, cls="soft"),
        span(f"不能使用：{one.problem}" if one.problem else "", cls="neg"),
        cls="line",
    )


def _use_button(visit: Visit, folder: Path, one: models.ModelFile) -> None:
    with st.popover("启用", key=f"use_{one.name or 'shipped'}"):
        if one.compared is None and one.name != models.SHIPPED:
            st.caption("尚未与在用模型比较；先运行 tingfeng evaluate --challenger。")
        st.caption("几秒内从下一批帖文起生效，已判读的帖文不变；记入审计，可一键退回。")
        reason = st.text_input("理由", key=f"use_why_{one.name}")
        if st.button("确认启用", key=f"use_go_{one.name}", type="primary") and do(
            visit.desk, partial(_use, folder, one.name, reason), "已启用"
        ):
            st.rerun()


def _back_button(visit: Visit, folder: Path) -> None:
    with st.popover("退回上一个模型", key="model_back"):
        reason = st.text_input("理由", key="back_why")
        if st.button("确认退回", key="back_go", type="primary") and do(
            visit.desk, partial(_back, folder, reason), "已退回"
        ):
            st.rerun()


def _use(folder: Path, name: str, reason: str, tx: Tx, who: Actor) -> None:
    models.use_model(tx, who, folder, name, reason)


def _back(folder: Path, reason: str, tx: Tx, who: Actor) -> None:
    models.back(tx, who, folder, reason)


def comparison(compared: models.Comparison, used: str) -> None:
    """Both models side by side, as ``tingfeng evaluate --challenger`` measured them."""
    if compared.champion != used:
        st.caption(f"比较的是当时在用的 {compared.champion or '随系统发布的模型'}，请重新比较。")
    if not compared.rows:
        widgets.empty("还没有留出的更正可比；请用固定测试集运行 tingfeng evaluate --challenger。")
        return
    widgets.table(
        (
            "测试集",
            "项",
            "条数",
            "准确率",
            "宏 F1",
            "召回 95% 时精确率",
            "校准误差",
            "改判",
            "结论",
        ),
        [
            (
                SET_WORDS.get(row["set"], row["set"]),
                words.HEAD_WORDS.get(row["head"], words.KIND_WORDS.get(row["head"], row["head"])),
                str(row["n"]),
                *(_change(row, m) for m in ("accuracy", "macro_f1", "precision", "ece")),
                f"{row['changed']:.1%}" if "changed" in row else "",
                VERDICT_WORDS.get(row["verdict"], row["verdict"]),
            )
            for row in compared.rows
        ],
        bad=[n for n, row in enumerate(compared.rows) if row["verdict"] == "worse"],
    )
    st.caption("方括号为差值的 95% 区间；含 0 即无明显差别。")


def _change(row: dict[str, Any], measure: str) -> str:
    if measure not in row:
        return ""
    by = row.get(f"{measure}_by")
    span_ = f"［{by[0]:+.3f}，{by[1]:+.3f}］" if by else ""
    return f"{row[measure]:.3f} → {row[f'{measure}_new']:.3f}{span_}"


def field_accuracy(visit: Visit) -> None:
    """How often it was right on posts drawn by chance: the only figure from the bureau's own
    stream that nobody chose."""
    with visit.desk.store.read() as conn:
        counts = spot_checks.accuracy(conn, visit.desk.now())
    widgets.title(
        "抽查准确率",
        f"近 {spot_checks.DAYS} 天；每天随机抽 {spot_checks.PER_DAY} 条，在“事件 → 抽查”",
    )
    if not counts:
        widgets.empty("还没有抽查。")
        return
    widgets.table(
        ("项", "判对", "条数", "准确率", "95% 区间"),
        [
            (
                words.HEAD_WORDS[head],
                str(counts[head][0]),
                str(counts[head][1]),
                f"{counts[head][0] / counts[head][1]:.0%}",
                "{:.0%} 至 {:.0%}".format(*spot_checks.interval(*counts[head])),
            )
            for head in words.HEAD_WORDS
            if head in counts
        ],
    )


# ---- thresholds ---------------------------------------------------------------------------


def thresholds(visit: Visit) -> None:
    """What is in force, and what it gives on texts the model had not seen."""
    desk = visit.desk
    with desk.store.read() as conn:
        card = models.card_in_use(conn, desk.settings.models_dir)
    found = queries_judging.thresholds(
        card, desk.settings.thresholds, desk.detect_rules.help.threshold, in_force(desk.settings)
    )
    widgets.title(
        "阈值",
        "在 tingfeng.toml 的 thresholds 中改（求助在 rules.toml），重启生效；数字来自交叉验证"
        + ("，属于按更正调整之前的模型" if "adapted" in card else ""),
    )
    widgets.table(
        ("阈值", "现值", "模型建议", "此值在真实帖文上"),
        [
            (
                LEVEL_WORDS[one.name],
                f"{one.level:.2f}" + (_set_where(one) if one.is_own else ""),
                f"{one.advised:.2f}",
                _gives(one),
            )
            for one in found
        ],
    )


def _set_where(one: Threshold) -> str:
    return "（rules.toml）" if one.name == "help" else "（本局设定）"


def _gives(one: Threshold) -> str:
    if one.precision is None and one.recall is None:
        return "没有测过此值"
    return _GIVES.get(one.name, _UNSURE_GIVES).format(
        p=_percent(one.precision),
        r=_percent(one.recall),
        s=_percent(one.share),
        f=f"{one.false_per_200:.1f}",
    )


def _percent(share: float | None) -> str:
    return "缺" if share is None else f"{share:.0%}"


# ---- drift --------------------------------------------------------------------------------


def drift(visit: Visit) -> None:
    settings = visit.desk.settings
    with visit.desk.store.read() as conn:
        found = queries_judging.drifts(
            conn, visit.desk.now(), unsure_by=settings.drift_unsure, mix_by=settings.drift_mix
        )
    widgets.title(
        "与上月相比",
        "近 7 天对此前 30 天，每小时统计一次；变动 0 为相同、1 为全不同，"
        f"把握不足升 {settings.drift_unsure:.0%} 或变动过 {settings.drift_mix:g} 时提示",
    )
    if not found:
        widgets.empty("还没有统计。系统运行一小时后出现。")
        return
    widgets.table(
        ("信源", "近 7 天/此前", "把握不足", "标签构成变动", "用词变动", "提示"),
        [_drift_row(d) for d in found],
        bad=[n for n, d in enumerate(found) if d.notable],
    )


def _drift_row(d: Drift) -> tuple[str, ...]:
    source, counts = d.source or "全部信源", f"{d.posts}/{d.posts_before}"
    if not d.judged:
        return (source, counts, "", "", "", "帖文太少，不作判断")
    head = max(d.unsure, key=lambda h: d.unsure[h][0] - d.unsure[h][1])
    now, before = d.unsure[head]
    most = max(d.mix, key=d.mix.__getitem__)
    said = [f"{words.HEAD_WORDS[h]}有变" for h in d.heads]
    if d.words_moved:
        said.append("用词有变" + (f"（多了{'、'.join(d.risen)}）" if d.risen else ""))
    notes = ["、".join(said)] if said else []
    if d.other_model:
        notes.append("其间换过模型，标签变动可能由此而来")
    if said:
        notes.append("更正一批近期帖文后重新训练")
    return (
        source,
        counts,
        f"{words.HEAD_WORDS[head]} {now:.0%}（此前 {before:.0%}）",
        f"{words.HEAD_WORDS[most]} {d.mix[most]:.3f}",
        f"{d.words:.3f}",
        "；".join(notes),
    )
