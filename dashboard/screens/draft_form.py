"""The draft's form: three parts, evidence, what is missing; half-typed text survives everything."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from typing import Any

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, do, make
from dashboard.markup import Safe, div, join, show, span, tag
from dashboard.outage import in_passing
from pipeline.desk import clarifications
from pipeline.desk.drafts import CHANNELS, DISCLOSURES
from pipeline.desk.evidence import EVIDENCE_KINDS
from pipeline.desk.queries_cases import EDITING_FOR, CaseView
from pipeline.domain.release import PORTAL, Verdict

PARTS = (
    ("facts", "事实真相", "时间、地点、数值、站点；只写已核实的"),
    ("measures", "政策措施", "已采取和将采取的措施，公众该怎么做"),
    ("results", "处置结果", "处置到哪一步，何时再通报"),
)


def form(visit: Visit, view: CaseView, row: dict[str, Any], can: frozenset[str]) -> None:
    """The fields, the picker, what is missing, save and submit."""
    number = row["id"]
    _presence(visit, row)
    base = st.session_state.setdefault(f"_base_{number}", row["version"])
    values = _fields(row)
    values["evidence"] = picker(visit, view, row)
    missing = clarifications.missing_fields({**row, **values})
    changed = [k for k, v in values.items() if v != row[k]]
    if missing:
        show(div(span("送审前还缺：", cls="soft"), tag("b", "、".join(missing.values()))))
    else:
        show(div("要件齐全，可以送审。", cls="soft"))
    stale = base != row["version"]
    if stale:
        show(
            div(
                f"他人已保存第 {row['version']} 版，你的文字还在。请对照下方“环节与差异”后，"
                "选择以谁的为准。",
                cls="neg",
            )
        )
    with st.container(horizontal=True):
        if stale:
            _resolve(row)
        if st.button("保存", key=f"save_{number}", disabled=not changed or stale):
            save(visit, row, base, values)
        if "submit" in can and st.button(
            "送业务核稿", key=f"submit_{number}", type="primary", disabled=bool(missing) or stale
        ):
            if not changed or save(visit, row, base, values, rerun=False):
                do(
                    visit.desk,
                    lambda tx, who: clarifications.submit(tx, who, number),
                    "已送业务核稿",
                )
            st.rerun()
        if "emergency" in can and widgets.ask_once(
            "应急签发",
            "先送签发人，签发后两小时内补办核稿和保密审查，两项都会计时督办。",
            f"emergency_{number}",
            disabled=bool(missing) or stale,
        ):
            if not changed or save(visit, row, base, values, rerun=False):
                do(
                    visit.desk,
                    lambda tx, who: clarifications.submit(tx, who, number, emergency=True),
                    "已送应急签发",
                )
            st.rerun()
        with st.popover("作废", key=f"discard_{number}"):
            why = st.text_input("作废原因", key=f"discard_why_{number}")
            if st.button("确认作废", key=f"discard_go_{number}") and do(
                visit.desk,
                lambda tx, who: clarifications.discard_draft(tx, who, number, why),
                "已作废",
            ):
                st.rerun()


def _presence(visit: Visit, row: dict[str, Any]) -> None:
    """Who else has it open; and that I have."""
    now = visit.desk.now()
    other = row["editing_by"] and row["editing_by"] != visit.actor.name
    if other and row["editing_at"] and now - row["editing_at"] < EDITING_FOR:
        show(div(f"{row['editing_by']} 正在编辑（{words.ago(row['editing_at'], now)}）", cls="neg"))
        return
    key = f"_touched_{row['id']}"
    if monotonic() - st.session_state.get(key, -1e9) > 45:
        st.session_state[key] = monotonic()
        with in_passing(), visit.desk.store.begin(now) as tx:
            clarifications.touch_editing(tx, visit.actor, row["id"])


def _key(row: dict[str, Any], name: str) -> str:
    return f"d_{row['id']}_{name}"


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    """The written fields. Widgets keep their text for the session, whatever is opened meanwhile."""
    values: dict[str, Any] = {}
    values["title"] = st.text_input(
        "标题", value=row["title"], key=_key(row, "title"), persist_state="session"
    )
    values["claim"] = st.text_area(
        "网传内容（照谣言原话）",
        value=row["claim"],
        key=_key(row, "claim"),
        height=70,
        persist_state="session",
    )
    values["verdict"] = st.radio(
        "核查结论",
        [v.value for v in Verdict],
        index=[v.value for v in Verdict].index(row["verdict"]),
        horizontal=True,
        key=_key(row, "verdict"),
        persist_state="session",
        help="批评和质疑不是谣言；查不清就写“尚待核实”",
    )
    for name, label, hint in PARTS:
        values[name] = st.text_area(
            label,
            value=row[name],
            key=_key(row, name),
            height=110,
            placeholder=hint,
            persist_state="session",
        )
    values["channels"] = st.pills(
        "发布渠道（门户首发）",
        list(CHANNELS),
        selection_mode="multi",
        default=[c for c in row["channels"] if c in CHANNELS] or [PORTAL],
        format_func=CHANNELS.__getitem__,
        key=_key(row, "channels"),
        persist_state="session",
    )
    two, three = st.columns(2)
    with two:
        values["disclosure"] = st.selectbox(
            "公开属性",
            DISCLOSURES,
            index=DISCLOSURES.index(row["disclosure"]),
            key=_key(row, "disclosure"),
            persist_state="session",
        )
    with three:
        until = row["valid_until"] or row["created_at"] + timedelta(days=3)
        typed = st.datetime_input(
            "有效期至（北京时间）",
            value=words.beijing(until).replace(tzinfo=None, second=0, microsecond=0),
            key=_key(row, "until"),
            persist_state="session",
        )
        same = typed == words.beijing(until).replace(tzinfo=None, second=0, microsecond=0)
        values["valid_until"] = (
            row["valid_until"]
            if same and row["valid_until"] is not None
            else words.from_beijing(typed)
            if typed
            else None
        )
    return {k: v.strip() if isinstance(v, str) else v for k, v in values.items()}


def save(
    visit: Visit, row: dict[str, Any], base: int, values: dict[str, Any], *, rerun: bool = True
) -> bool:
    """Save over the version that I read. False, with the text kept, when it was refused."""
    version = make(
        visit.desk,
        lambda tx, who: clarifications.save_draft(tx, who, row["id"], base, **values),
        "已保存",
    )
    if version is not None:
        st.session_state[f"_base_{row['id']}"] = version
    if rerun:
        st.rerun()
    return version is not None


def _resolve(row: dict[str, Any]) -> None:
    number = row["id"]
    if st.button("以我的文字为准", key=f"mine_{number}"):
        st.session_state[f"_base_{number}"] = row["version"]
        st.rerun()
    if st.button("放弃我的文字，看新版", key=f"theirs_{number}"):
        for key in [k for k in st.session_state if str(k).startswith(f"d_{number}_")]:
            del st.session_state[key]
        st.session_state.pop(f"_cited_{number}", None)
        st.session_state[f"_base_{number}"] = row["version"]
        st.rerun()


# ---- evidence -----------------------------------------------------------------------------


def picker(visit: Visit, view: CaseView, row: dict[str, Any]) -> list[int]:
    """Evidence: cited, kept in the case, proposed, or an observation of one's own."""
    number, now = row["id"], visit.desk.now()
    cited: list[int] = st.session_state.setdefault(f"_cited_{number}", list(row["evidence"]))
    kept = {e["id"]: e for e in view.evidence}
    widgets.title(f"依据 {len(cited)}", "预警、实况、旧稿、帖文；引用即留存")
    for number_of in cited:
        e = kept.get(number_of)
        if e is None:
            continue
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(_line(e["kind"], e["title"], e["station"], e["at"], now), width="stretch")
            if st.button("不引用", key=f"uncite_{number}_{number_of}", type="tertiary"):
                st.session_state[f"_cited_{number}"] = [i for i in cited if i != number_of]
                st.rerun()
    with st.expander("添加依据", expanded=not cited):
        with visit.desk.store.read() as conn:
            proposed = clarifications.suggest_evidence(conn, row["case_id"])
        for e in view.evidence:
            if e["id"] not in cited:
                proposed.insert(0, {**e, "why": "本单已留存", "kept": e["id"]})
        if not proposed:
            show(div("没有可推荐的依据，可在下方手填实况。", cls="soft"))
        for n, item in enumerate(proposed[:20]):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.html(
                    _line(
                        item["kind"],
                        item["title"],
                        item.get("station", ""),
                        item.get("at"),
                        now,
                        item["why"],
                    ),
                    width="stretch",
                )
                if st.button("引用", key=f"cite_{number}_{item['kind']}_{item['ref']}_{n}"):
                    cite(visit, row, cited, item)
        own(visit, row, cited)
    return list(cited)


def _line(kind: str, title: str, station: str, at: Any, now: Any, why: str = "") -> Safe:
    return div(
        widgets.chip(EVIDENCE_KINDS.get(kind, kind)),
        span(words.people_say(title, 60)),
        span(join(station, words.stamp(at, now) if at else "", why, gap=" "), cls="soft"),
        cls="line",
    )


def cite(visit: Visit, row: dict[str, Any], cited: list[int], item: dict[str, Any]) -> None:
    """Copy a piece into the case and cite it."""
    number = item.get("kept")
    if number is None:
        fields = ("kind", "ref", "title", "text", "url", "station", "at")
        given = {k: item[k] for k in fields if item.get(k) is not None}
        number = make(
            visit.desk,
            lambda tx, who: clarifications.add_evidence(tx, who, row["case_id"], **given),
            "已引用并留存",
        )
    if number is not None:
        st.session_state[f"_cited_{row['id']}"] = [*cited, int(number)]
    st.rerun()


def own(visit: Visit, row: dict[str, Any], cited: list[int]) -> None:
    """An observation: station and time are not optional (气象法 25)."""
    number = row["id"]
    show(div("手填实况", cls="h5"))
    one, two, three = st.columns([1, 1.2, 1])
    station = one.text_input("站点", key=f"own_station_{number}", persist_state="session")
    text = two.text_input(
        "数值",
        key=f"own_text_{number}",
        placeholder="13—16 时雨量 96.4 毫米",
        persist_state="session",
    )
    at = three.datetime_input("时间（北京时间）", value=None, key=f"own_at_{number}", step=600)
    if st.button("引用这条实况", key=f"own_go_{number}"):
        moment = words.from_beijing(at) if at else None
        cite(
            visit,
            row,
            cited,
            {
                "kind": "observation",
                "ref": f"{station}-{words.stamp(moment)}",
                "title": f"{station} {text}".strip(),
                "text": text,
                "station": station,
                "at": moment,
            },
        )
