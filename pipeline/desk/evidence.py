"""Evidence (依据): copied into the desk when used, so that retention of posts never eats a case."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select

from pipeline.desk.casefile import load_case
from pipeline.desk.guard import Act, Row, add, need, office_on_case, record, rows
from pipeline.domain.post import mask
from pipeline.domain.rights import Actor, require
from pipeline.domain.warning import signal_name
from pipeline.errors import MissingFields
from pipeline.store import tables as t
from pipeline.store.sql import Tx

EVIDENCE_KINDS: dict[str, str] = {
    "warning": "预警信号",
    "observation": "实况",
    "claim": "已知说法",
    "release": "既往发布",
    "post": "帖文",
    "reply": "科室反馈",
}


def evidence_rows(conn: Connection, ids: Sequence[int]) -> list[Row]:
    """Evidence by number, in the order given; unknown numbers are left out."""
    if not ids:
        return []
    found = rows(conn, select(t.evidence).where(t.evidence.c.id.in_(list(ids))))
    by_id = {e["id"]: e for e in found}
    return [by_id[i] for i in ids if i in by_id]


def add_evidence(
    tx: Tx,
    actor: Actor,
    case_id: int,
    *,
    kind: str,
    ref: str,
    title: str,
    text: str,
    url: str = "",
    station: str = "",
    at: datetime | None = None,
) -> int:
    """Copy a piece of evidence into the case, masked; the same piece twice is one row.

    Raises: MissingFields, also for an observation without station and time (气象法 25).
    """
    require(actor, "draft")
    case = load_case(tx.conn, case_id)
    office_on_case(tx.conn, actor, case)
    need(ref=(ref, "出处"), text=(text, "依据内容"))
    if kind not in EVIDENCE_KINDS:
        raise MissingFields({"kind": "依据种类"})
    if kind == "observation":
        need(station=(station, "台站"), at=(at, "观测时间"))
    shown, title = mask(text.strip())[0], mask(title.strip())[0]
    digest = hashlib.sha256("\x00".join([kind, ref, title, shown, station]).encode()).hexdigest()
    e = t.evidence.c
    there = rows(tx.conn, select(t.evidence).where(e.case_id == case_id, e.sha256 == digest))
    number = (
        there[0]["id"]
        if there
        else add(
            tx,
            t.evidence,
            case_id=case_id,
            kind=kind,
            ref=ref,
            title=title,
            text=shown,
            url=url,
            station=station,
            at=at,
            sha256=digest,
            captured_at=tx.now,
            captured_by=actor.name,
        )
    )
    line = f"{actor.name}留存依据（{EVIDENCE_KINDS[kind]}）：{title or ref}"
    record(
        tx,
        actor,
        Act(
            "add_evidence",
            "evidence_added",
            "evidence",
            number,
            line,
            case_id=case_id,
            after={"kind": kind, "ref": ref, "sha256": digest},
        ),
    )
    return int(number)


def suggest_evidence(conn: Connection, case_id: int) -> list[dict[str, Any]]:
    """What the officer will want to cite, best first: arguments of ``add_evidence`` with ``why``.

    Warnings in force since the event began, the matched claim and claims of the same hazard and
    place, replies of the offices, earlier clarifications, posts kept with the case's alerts.
    """
    case = load_case(conn, case_id)
    found = rows(conn, select(t.events).where(t.events.c.id == case["event_id"]))
    event = found[0] if found else {}
    taken = {
        (e["kind"], e["ref"])
        for e in rows(conn, select(t.evidence).where(t.evidence.c.case_id == case_id))
    }
    items = [
        *_warnings(conn, event, case["opened_at"]),
        *_claims(conn, event),
        *_replies(conn, case_id),
        *_releases(conn, case_id, event),
        *_posts(conn, case_id),
    ]
    return [i for i in items if (i["kind"], i["ref"]) not in taken]


def _item(kind: str, ref: str, title: str, text: str, why: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "ref": ref, "title": title, "text": text, "why": why, **more}


def _warnings(conn: Connection, event: Row, opened: datetime) -> list[dict[str, Any]]:
    w = t.warnings.c
    since = event.get("first_at") or opened
    query = select(t.warnings).where(or_(w.lifted_at.is_(None), w.lifted_at >= since))
    query = query.order_by(w.issued_at.desc()).limit(50)
    city = (event.get("adcode") or "")[:4]
    return [
        _item(
            "warning",
            row["id"],
            f"{signal}信号（{row['area'] or row['station']}）",
            row["text"] or f"{row['station']}{signal}",
            "当时生效的预警" if row["lifted_at"] is None else "事件期间生效、现已变更或解除的预警",
            url=row["url"],
            station=row["station"],
            at=row["issued_at"],
        )
        for row in rows(conn, query)
        for signal in [signal_name(row["type_name"], row["colour"])]
        if not city or row["adcode"][:4] == city or row["adcode"][2:] == "0000"
    ]


def _claims(conn: Connection, event: Row) -> list[dict[str, Any]]:
    if not event:
        return []
    c = t.claims.c
    same = [c.id == event["claim_id"]] if event["claim_id"] else []
    near = (c.hazard == event["hazard"]) & (c.adcode.like(f"{event['adcode'][:4]}%"))
    if event["hazard"] and event["adcode"]:
        same.append(near)
    if not same:
        return []
    query = select(t.claims).where(c.active.is_(True), or_(*same)).limit(20)
    found = sorted(rows(conn, query), key=lambda r: r["id"] != event["claim_id"])
    return [
        _item(
            "claim",
            row["id"],
            f"【{row['verdict']}】{row['claim']}",
            row["correction"] or row["claim"],
            "与本事件相同的说法" if row["id"] == event["claim_id"] else "同地区同灾种的旧说法",
            url=row["source_url"],
        )
        for row in found
    ]


def _replies(conn: Connection, case_id: int) -> list[dict[str, Any]]:
    a = t.assignments.c
    query = select(t.assignments).where(a.case_id == case_id, a.reply != "").order_by(a.id)
    return [
        _item(
            "reply",
            f"assignment:{row['id']}",
            f"{row['office']}反馈",
            row["reply"],
            "承办科室的反馈",
            station=row["office"],
            at=row["replied_at"],
        )
        for row in rows(conn, query)
    ]


def _releases(conn: Connection, case_id: int, event: Row) -> list[dict[str, Any]]:
    r = t.releases.c
    query = select(t.releases).where(r.kind != "withdrawal").order_by(r.id.desc()).limit(100)
    words = set((event.get("title") or "")[:40])
    items = []
    for row in rows(conn, query):
        shared = words & set(str(row["content"].get("claim", "")))
        if row["case_id"] != case_id and len(shared) < 6:
            continue
        items.append(
            _item(
                "release",
                row["number"],
                str(row["content"].get("title", "")),
                str(row["content"].get("facts", "")),
                "本单此前的发布" if row["case_id"] == case_id else "内容相近的既往发布",
                at=row["released_at"],
            )
        )
    return items[:10]


def _posts(conn: Connection, case_id: int) -> list[dict[str, Any]]:
    a, e = t.alerts.c, t.evidence.c
    marks = select(a.fingerprint).where(a.case_id == case_id)
    query = select(t.evidence).where(e.fingerprint.in_(marks), e.kind == "post").limit(20)
    return [
        _item(
            "post", row["ref"], row["title"], row["text"], "预警留存的帖文",
            url=row["url"], at=row["at"],
        )
        for row in rows(conn, query)
    ]  # fmt: skip
