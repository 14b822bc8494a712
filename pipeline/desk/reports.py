"""Upward reports (向上报告): by telephone first, then in writing; two lines above the bureau."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from pipeline.clock import BEIJING
from pipeline.desk import clocks
from pipeline.desk.casefile import load_case
from pipeline.desk.guard import Act, Row, add, change, clock_text, load, need, record, rows, some
from pipeline.domain.case import REPORT_STAGES
from pipeline.domain.event import EVENT_KIND_NAMES, Level
from pipeline.domain.post import mask
from pipeline.domain.rights import Actor, require
from pipeline.errors import IllegalTransition, MissingFields, Stale
from pipeline.store import tables as t
from pipeline.store.sql import Tx

UNKNOWN = "【待补充】"


def _act(row: Row, name: str, fact: str, text: str, **after: Any) -> Act:
    return Act(
        name,
        fact,
        "report",
        row["id"],
        text,
        case_id=row["case_id"],
        before={"signed_by": row["signed_by"], "version": row["version"]},
        after=after,
        data={"report": row["id"], "stage": row["stage"], "line": row["line"]},
    )


def draft_report(
    tx: Tx, actor: Actor, case_id: int, stage: str, line: str, *, bureau: str = "南宁市气象局"
) -> int:
    """Write a report from what the case knows; returns its number.

    Raises: MissingFields for an unknown stage or line, or a 续报 or 终报 without a 初报.
    """
    require(actor, "write_report")
    case = load_case(tx.conn, case_id)
    texts = case["frozen_rules"].get("report_texts") or clocks.shipped_rules().report_texts
    lines = case["frozen_rules"].get("report_lines") or clocks.shipped_rules().report_lines
    wrong = {}
    if stage not in REPORT_STAGES or stage not in texts:
        wrong["stage"] = "报告阶段（初报、续报、终报）"
    if line not in lines:
        wrong["line"] = f"报送对象（{'、'.join(lines)}）"
    if wrong:
        raise MissingFields(wrong)
    u = t.upward_reports.c
    first = rows(
        tx.conn,
        select(t.upward_reports).where(
            u.case_id == case_id, u.line == line, u.stage == REPORT_STAGES[0]
        ),
    )
    if stage != REPORT_STAGES[0] and not first:
        raise MissingFields({"stage": f"对{line}的初报（先有初报，才有{stage}）"})
    facts = {**report_facts(tx.conn, case), "line": line, "bureau": bureau}
    facts["now"] = _long(tx.now)
    text = re.sub(r"\{(\w+)\}", lambda m: facts.get(m.group(1)) or UNKNOWN, texts[stage]).strip()
    number = add(
        tx,
        t.upward_reports,
        case_id=case_id,
        stage=stage,
        line=line,
        text=text,
        created_at=tx.now,
        created_by=actor.name,
    )
    row = load(tx.conn, t.upward_reports, number, "报告")
    said = f"{actor.name}起草对{line}的{stage}"
    record(tx, actor, _act(row, "draft_report", "report_drafted", said, stage=stage, line=line))
    return number


def report_facts(conn: Connection, case: Row) -> dict[str, str]:
    """接报时间、信息来源、时间地点、性质、影响范围、趋势、措施: filled from the tables."""
    found = rows(conn, select(t.events).where(t.events.c.id == case["event_id"]))
    event = found[0] if found else {}
    kind = EVENT_KIND_NAMES.get(event.get("kind", ""), "舆情")
    sources = event.get("sources") or {}
    names = sorted(sources, key=lambda s: -sources[s])
    scope = trend = ""
    if event:
        scope = (
            f"涉及帖文{event['posts']}条（去重后{event['unique_posts']}条），"
            f"转发{event['reposts']}次、评论{event['comments']}次；"
            f"转述{event['spread']}条、询问{event['question']}条、辟谣{event['debunk']}条"
        )
        trend = _trend(conn, event["id"])
    return {
        "title": mask(case["title"])[0],
        "seen_at": _long(event.get("first_seen_at") or case["opened_at"]),
        "sources": some(f"{n}（{sources[n]}条）" for n in names),
        "first_at": _long(event.get("first_at")),
        "place": event.get("place_name", ""),
        "nature": f"{kind}类舆情",
        "level": Level(case["level"]).label,
        "level_reason": case["level_reason"],
        "scope": scope,
        "trend": trend,
        "measures": _measures(conn, case["id"]),
    }


def _long(at: datetime | None) -> str:
    if at is None:
        return ""
    b = at.astimezone(BEIJING)
    return f"{b.year}年{b.month}月{b.day}日{b.hour:02d}时{b.minute:02d}分"


def _trend(conn: Connection, event_id: str) -> str:
    b = t.event_buckets
    query = select(b.c.posts).where(b.c.event_id == event_id).order_by(b.c.start.desc()).limit(6)
    last = [int(n) for (n,) in conn.execute(query)]
    if len(last) < 2:
        return ""
    half = len(last) // 2
    late, early = sum(last[:half]), sum(last[half : 2 * half])
    word = "上升" if late > early * 1.2 else "下降" if late < early * 0.8 else "平稳"
    return f"{word}（近{half * 10}分钟{late}条，此前{half * 10}分钟{early}条）"


_MEASURES = (
    "assessed", "assigned", "received", "replied", "signed", "released", "corrected",
    "withdrawn", "responded", "press_held",
)  # fmt: skip


def _measures(conn: Connection, case_id: int) -> str:
    tl = t.case_timeline
    query = select(tl).where(tl.c.case_id == case_id, tl.c.kind.in_(_MEASURES)).order_by(tl.c.id)
    lines = [f"{clock_text(r['at'])}，{mask(r['text'])[0]}" for r in rows(conn, query)]
    return "；".join(lines[-12:])


def _unsent(tx: Tx, report_id: int) -> Row:
    row = load(tx.conn, t.upward_reports, report_id, "报告")
    if row["sent_at"] is not None:
        raise IllegalTransition("报告已报出，不能再改；请另写续报")
    return row


def save_report(tx: Tx, actor: Actor, report_id: int, version: int, text: str) -> int:
    """Save the text over ``version``; returns the new version. A signature falls with it.

    Raises: Stale when somebody else saved meanwhile.
    """
    require(actor, "write_report")
    need(text=(text, "报告正文"))
    row = _unsent(tx, report_id)
    if row["version"] != version:
        raise Stale(f"报告已被更新为第 {row['version']} 版；你的文字还在，请对照后再保存")
    new = change(tx, t.upward_reports, row, text=text.strip(), signed_by="", signed_at=None)
    said = f"{actor.name}修改对{row['line']}的{row['stage']}"
    said += "，原签发作废" if row["signed_by"] else ""
    record(tx, actor, _act(row, "save_report", "report_saved", said, version=new["version"]))
    return int(new["version"])


def record_phone(tx: Tx, actor: Actor, report_id: int, to: str, at: datetime) -> None:
    """Told by telephone: whom and when. May lie in the past, never in the future."""
    require(actor, "write_report")
    need(to=(to, "接听人"))
    row = load(tx.conn, t.upward_reports, report_id, "报告")
    if at > tx.now:
        raise MissingFields({"at": "电话报告时间（不能晚于现在）"})
    change(
        tx,
        t.upward_reports,
        row,
        phoned_at=at,
        phoned_by=actor.name,
        phoned_to=to.strip()[:64],
    )
    _meet(tx, row, "report_phone")
    said = f"{actor.name}于{clock_text(at)}电话报告{row['line']}（{to.strip()}）"
    record(tx, actor, _act(row, "record_phone", "report_phoned", said, to=to.strip(), at=at))


def sign_report(tx: Tx, actor: Actor, report_id: int) -> None:
    """The leader signs the text as it stands.

    Raises: MissingFields while 【待补充】 stands in it.
    """
    require(actor, "sign_report")
    row = _unsent(tx, report_id)
    if UNKNOWN in row["text"]:
        raise MissingFields({"text": f"报告正文中的{UNKNOWN}"})
    if row["signed_by"]:
        raise IllegalTransition(f"报告已由{row['signed_by']}签发")
    change(tx, t.upward_reports, row, signed_by=actor.name, signed_at=tx.now)
    said = f"{actor.name}签发对{row['line']}的{row['stage']}"
    record(tx, actor, _act(row, "sign_report", "report_signed", said, signed_by=actor.name))


def send_report(tx: Tx, actor: Actor, report_id: int) -> None:
    """It went out in writing. Raises: IllegalTransition before the signature."""
    require(actor, "write_report")
    row = _unsent(tx, report_id)
    if not row["signed_by"]:
        raise IllegalTransition("报告未经带班领导签发，不能报出")
    change(tx, t.upward_reports, row, sent_at=tx.now)
    _meet(tx, row, "report_written")
    _meet(tx, row, "report_phone")  # in writing within the time of the call: nothing is owed
    said = f"{actor.name}向{row['line']}报出{row['stage']}"
    record(tx, actor, _act(row, "send_report", "report_sent", said, sent_at=tx.now))


def _meet(tx: Tx, row: Row, name: str) -> None:
    clocks.meet(tx, "case", row["case_id"], f"{name}:{row['line']}")
