"""The post-incident review (复盘) of a case: facts counted from the tables, lessons as tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, cast, func, insert, select, update

from pipeline.bus.topics import DESK_FACTS
from pipeline.clock import BEIJING
from pipeline.domain.case import CaseStatus
from pipeline.domain.event import Level
from pipeline.domain.review import (
    Bucket,
    Effect,
    Figure,
    Moment,
    Review,
    delays,
    effect,
    half_life,
    half_spread,
    response_in_time,
    second_waves,
)
from pipeline.domain.rights import Actor, require
from pipeline.errors import MissingFields, NotFound
from pipeline.store import tables as t
from pipeline.store.sql import Tx

EFFECT_HOURS = (1, 6, 24)


def load_review(conn: Connection, case_id: int, now: datetime, made_by: str = "") -> Review:
    """Count everything anew from the tables. Raises: NotFound."""
    case = _one(conn, t.cases, t.cases.c.id == case_id)
    if case is None:
        raise NotFound(f"没有编号为 {case_id} 的处置单")
    event = _one(conn, t.events, t.events.c.id == case["event_id"]) or {}
    saved = _one(conn, t.reviews, t.reviews.c.case_id == case_id)
    timeline = _all(
        conn,
        select(t.case_timeline)
        .where(t.case_timeline.c.case_id == case_id)
        .order_by(t.case_timeline.c.at, t.case_timeline.c.id),
    )
    releases = _all(
        conn, select(t.releases).where(t.releases.c.case_id == case_id).order_by(t.releases.c.id)
    )
    buckets = _buckets(conn, case["event_id"])
    moments = _moments(conn, case, event, releases)
    released = next((m.at for m in moments if m.key == "released"), None)
    effects: list[Effect] = (
        [effect(buckets, released, hours) for hours in EFFECT_HOURS] if released else []
    )
    return Review(
        case_id=case_id,
        number=case["number"],
        title=case["title"],
        level=Level(case["level"]).label,
        status=CaseStatus(case["status"]).label,
        made_at=saved["made_at"] if saved else now,
        made_by=saved["made_by"] if saved else made_by,
        moments=tuple(moments),
        figures=tuple(_figures(conn, case, event, moments, buckets, released)),
        effects=tuple(effects),
        buckets=tuple(buckets),
        timeline=tuple(timeline),
        releases=tuple(releases),
        lessons=tuple(
            _all(conn, select(t.lessons).where(t.lessons.c.case_id == case_id).order_by("id"))
        ),
        summary=saved["summary"] if saved else "",
        is_drill=case["is_drill"],
    )


def write_review(tx: Tx, actor: Actor, case_id: int, summary: str) -> Review:
    """Keep a review with its figures as they are now and the writer's summary.

    Raises: NotAllowed, NotFound, MissingFields (no summary, or the case is not closed yet).
    """
    require(actor, "write_review")
    review = load_review(tx.conn, case_id, tx.now, actor.name)
    if not summary.strip():
        raise MissingFields({"summary": "复盘小结"})
    if review.status not in (CaseStatus.CLOSED.label, CaseStatus.ARCHIVED.label):
        raise MissingFields({"status": "办结后才能复盘，请先办结处置单"})
    figures = [
        {"key": f.key, "label": f.label, "value": f.value, "unit": f.unit, "formula": f.formula}
        for f in review.figures
    ]
    before = _one(tx.conn, t.reviews, t.reviews.c.case_id == case_id)
    row = {"made_at": tx.now, "made_by": actor.name, "figures": figures, "summary": summary.strip()}
    if before is None:
        tx.conn.execute(insert(t.reviews), {"case_id": case_id, **row})
    else:
        tx.conn.execute(update(t.reviews).where(t.reviews.c.case_id == case_id).values(**row))
    _record(tx, actor, case_id, "write_review", "review_written", "完成复盘", {"summary": summary})
    return load_review(tx.conn, case_id, tx.now, actor.name)


def add_lesson(
    tx: Tx, actor: Actor, case_id: int, text: str, office: str, due_at: datetime | None
) -> int:
    """A lesson becomes a task with an office and a date. Raises: NotAllowed, MissingFields."""
    require(actor, "write_review")
    missing = {}
    if not text.strip():
        missing["text"] = "改进事项"
    if not office:
        missing["office"] = "责任科室"
    if due_at is None:
        missing["due_at"] = "完成时限"
    if missing:
        raise MissingFields(missing)
    lesson_id = tx.conn.execute(
        insert(t.lessons),
        {
            "case_id": case_id,
            "text": text.strip(),
            "office": office,
            "due_at": due_at,
            "created_at": tx.now,
            "created_by": actor.name,
        },
    ).inserted_primary_key
    assert lesson_id is not None and due_at is not None
    line = f"改进事项：{text.strip()}（{office}，{due_at.astimezone(BEIJING):%Y-%m-%d} 前）"
    _record(tx, actor, case_id, "add_lesson", "lesson_added", line, {"lesson": lesson_id[0]})
    return int(lesson_id[0])


def finish_lesson(tx: Tx, actor: Actor, lesson_id: int) -> None:
    """A lesson's task is done. Raises: NotAllowed, NotFound."""
    require(actor, "write_review")
    lesson = _one(tx.conn, t.lessons, t.lessons.c.id == lesson_id)
    if lesson is None:
        raise NotFound(f"没有编号为 {lesson_id} 的改进事项")
    tx.conn.execute(
        update(t.lessons)
        .where(t.lessons.c.id == lesson_id)
        .values(done_at=tx.now, done_by=actor.name)
    )
    line = f"改进事项已完成：{lesson['text']}"
    _record(tx, actor, lesson["case_id"], "finish_lesson", "lesson_done", line, {"id": lesson_id})


def _record(
    tx: Tx, actor: Actor, case_id: int, act: str, fact: str, text: str, data: dict[str, Any]
) -> None:
    """Audit, timeline and fact of one act on a case."""
    tx.audit(actor, act, "case", case_id, None, data)
    tx.conn.execute(
        insert(t.case_timeline),
        {
            "case_id": case_id,
            "at": tx.now,
            "actor": actor.name,
            "kind": fact,
            "text": text,
            "data": {},
        },
    )
    tx.emit(DESK_FACTS, str(case_id), {"fact": fact, "case_id": case_id, "text": text})


def _one(conn: Connection, table: Any, where: Any) -> dict[str, Any] | None:
    row = conn.execute(select(table).where(where)).mappings().first()
    return dict(row) if row else None


def _all(conn: Connection, query: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in conn.execute(query).mappings()]


def _buckets(conn: Connection, event_id: str) -> list[Bucket]:
    b = t.event_buckets.c
    query = (
        select(b.start, b.posts, b.spread, b.question, b.debunk, b.official, b.neg, b.heat)
        .where(b.event_id == event_id)
        .order_by(b.start)
    )
    return [Bucket(*row) for row in conn.execute(query)]


def _moments(
    conn: Connection,
    case: dict[str, Any],
    event: dict[str, Any],
    releases: list[dict[str, Any]],
) -> list[Moment]:
    """The steps of the way, each with the row it comes from."""
    a, s, c, st, tl = (
        t.alerts.c,
        t.assignments.c,
        t.clarifications.c,
        t.clarification_steps.c,
        t.case_timeline.c,
    )

    def first(column: Any, *where: Any) -> datetime | None:
        value: datetime | None = conn.execute(select(func.min(column)).where(*where)).scalar()
        return value

    of_case = s.case_id == case["id"]
    signed = conn.execute(
        select(func.min(st.at))
        .select_from(t.clarification_steps.join(t.clarifications, c.id == st.clarification_id))
        .where(c.case_id == case["id"], st.step == "sign", st.outcome == "passed")
    ).scalar()
    event_id = case["event_id"] or "-"
    return [
        Moment("first_post", "首帖发布", event.get("first_at"), event.get("first_post_id", "")),
        Moment(
            "first_seen", "系统采到", event.get("first_seen_at"), event.get("first_post_id", "")
        ),
        Moment("alert", "发出预警", first(a.recorded_at, a.event_id == event_id)),
        Moment("claimed", "认领", first(a.claimed_at, a.event_id == event_id)),
        Moment("opened", "立单", case["opened_at"], case["number"]),
        Moment("confirmed", "确认（T0）", case["confirmed_at"], case["number"]),
        Moment("assessed", "研判", first(tl.at, tl.case_id == case["id"], tl.kind == "assessed")),
        Moment("assigned", "分办", first(s.sent_at, of_case)),
        Moment("received", "签收", first(s.received_at, of_case)),
        Moment("replied", "反馈", first(s.replied_at, of_case)),
        Moment("drafted", "起草", first(c.created_at, c.case_id == case["id"])),
        Moment("signed", "签发", signed),
        Moment(
            "released",
            "发布",
            releases[0]["released_at"] if releases else None,
            releases[0]["number"] if releases else "",
        ),
        Moment("closed", "办结", case["closed_at"]),
    ]


def _figures(
    conn: Connection,
    case: dict[str, Any],
    event: dict[str, Any],
    moments: list[Moment],
    buckets: list[Bucket],
    released: datetime | None,
) -> list[Figure]:
    due = conn.execute(
        select(t.clocks.c.due_at)
        .where(t.clocks.c.case_id == case["id"], t.clocks.c.name == "first_release")
        .order_by(t.clocks.c.id)
    ).scalar()
    figures = [*delays(moments), response_in_time(moments, due)]
    posts = int(event.get("posts") or 0)
    refs = (case["event_id"],)
    first = event.get("first_at")
    figures += [
        Figure("posts", "涉事帖文", float(posts), "条", "事件内全部帖文，含转发与近似副本", refs),
        Figure(
            "unique",
            "去重后帖文",
            float(event.get("unique_posts") or 0),
            "条",
            "近似副本折叠为一条",
            refs,
        ),
        Figure(
            "heat", "热度", float(event.get("heat") or 0), "", "新帖+转发+0.5评+0.1赞+0.01阅", refs
        ),
        Figure(
            "t50",
            "半数传播用时 t50",
            half_spread(buckets, first) if first else None,
            "分钟",
            "首帖到半数转述帖出现的时间（10 分钟一档）",
            refs,
        ),
        Figure(
            "half_life",
            "发布后半衰期",
            half_life(buckets, released) if released else None,
            "分钟",
            "发布后 30 分钟转述量降到发布前 30 分钟一半所用时间",
            refs,
        ),
        Figure(
            "still_repeating",
            "发布后仍在转述",
            float(sum(b.spread for b in buckets if b.start >= released)) if released else None,
            "条",
            "发布时刻之后的转述帖（10 分钟一档）",
            refs,
        ),
        Figure(
            "official_share",
            "官方信息占比",
            100 * float(event.get("official") or 0) / posts if posts else None,
            "%",
            f"官方账号帖文 ÷ 全部帖文（n={posts}）",
            refs,
        ),
        Figure(
            "second_waves",
            "二次舆情",
            float(second_waves(buckets, released)) if released else None,
            "次",
            "发布后热度由峰值四分之一以下回升到峰值一半以上的次数",
            refs,
        ),
    ]
    d = t.deliveries.c

    def count(*where: Any) -> float:
        return float(
            conn.execute(select(func.count()).select_from(t.deliveries).where(*where)).scalar_one()
        )

    of_case = d.case_id == case["id"]
    figures.append(
        Figure(
            "reminders", "催办提醒", count(of_case, d.reason == "reminder"), "次", "本单发出的催办"
        )
    )
    figures.append(
        Figure(
            "escalations", "升级提醒", count(of_case, d.reason == "escalation"), "次", "本单的升级"
        )
    )
    judged = conn.execute(
        select(func.count(), func.sum(cast(t.alerts.c.useful, Integer))).where(
            t.alerts.c.event_id == (case["event_id"] or "-"), t.alerts.c.useful.is_not(None)
        )
    ).one()
    figures.append(
        Figure(
            "useful",
            "有用预警占比",
            100 * float(judged[1] or 0) / judged[0] if judged[0] else None,
            "%",
            f"评为有用的预警 ÷ 已评预警（n={judged[0]}）",
        )
    )
    return figures
