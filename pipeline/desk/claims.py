"""The library of known claims (谣言库): shipped, own, imported."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, insert, select

from nlp.claims import KnownClaim, load_library
from pipeline.desk.guard import Act, change, load, need, record, rows
from pipeline.domain.post import mask
from pipeline.domain.release import Verdict
from pipeline.domain.rights import MACHINE, Actor, require
from pipeline.errors import IllegalTransition, MissingFields
from pipeline.store import tables as t
from pipeline.store.sql import Tx


def add_claim(
    tx: Tx,
    actor: Actor,
    *,
    claim: str,
    verdict: str,
    correction: str = "",
    hazard: str = "",
    place: str = "",
    adcode: str = "",
    date: str = "",
    source_name: str = "",
    source_url: str = "",
    review_at: datetime | None = None,
    origin: str = "own",
) -> str:
    """A claim somebody has looked into; returns its id.

    Raises: MissingFields for no claim, an unknown verdict, or a verdict without a source.
    """
    require(actor, "edit_claims")
    need(claim=(claim, "说法"))
    if verdict not in set(Verdict):
        raise MissingFields({"verdict": "结论"})
    if verdict in (Verdict.FALSE, Verdict.TRUE, Verdict.PARTLY):
        need(
            correction=(correction, "核查说明"),
            source_name=(source_name, "核查来源"),
        )
    claim_id = f"{origin[:3].upper()}-{secrets.token_hex(5)}"
    tx.conn.execute(
        insert(t.claims),
        {
            "id": claim_id,
            "claim": mask(claim.strip())[0],
            "verdict": verdict,
            "correction": mask(correction.strip())[0],
            "hazard": hazard,
            "place": place.strip()[:64],
            "adcode": adcode.strip()[:12],
            "date": date[:10],
            "source_name": source_name.strip()[:128],
            "source_url": source_url.strip(),
            "origin": origin,
            "active": True,
            "review_at": review_at,
            "created_at": tx.now,
            "created_by": actor.name,
        },
    )
    text = f"{actor.name}加入谣言库：{mask(claim.strip())[0]}（{verdict}）"
    after = {"claim": mask(claim.strip())[0], "verdict": verdict}
    record(tx, actor, Act("add_claim", "claim_added", "claim", claim_id, text, after=after))
    return claim_id


def retire_claim(tx: Tx, actor: Actor, claim_id: str, reason: str) -> None:
    """No post is matched with it any more; it stays readable."""
    require(actor, "edit_claims")
    need(reason=(reason, "停用原因"))
    row = load(tx.conn, t.claims, claim_id, "说法")
    if not row["active"]:
        raise IllegalTransition("此条已停用")
    change(tx, t.claims, row, active=False)
    text = f"{actor.name}停用谣言库条目：{row['claim']}（{reason.strip()}）"
    record(
        tx,
        actor,
        Act(
            "retire_claim",
            "claim_retired",
            "claim",
            claim_id,
            text,
            before={"active": True},
            after={"active": False, "reason": reason.strip()},
        ),
    )


def seed_library(tx: Tx, known_claims: Iterable[KnownClaim]) -> int:
    """Put shipped claims in that are not there yet; what the desk retired stays retired."""
    there = set(tx.conn.execute(select(t.claims.c.id)).scalars())
    new = [
        {
            "id": c.id,
            "claim": c.claim,
            "verdict": c.verdict,
            "correction": c.correction,
            "hazard": c.hazard,
            "place": c.place[:64],
            "adcode": c.adcode,
            "date": c.date[:10],
            "source_name": c.source_name[:128],
            "source_url": c.source_url,
            "origin": "library",
            "active": c.active,
            "created_at": tx.now,
            "created_by": MACHINE.name,
        }
        for c in known_claims
        if c.id not in there
    ]
    if new:
        tx.conn.execute(insert(t.claims), new)
        text = f"随附谣言库入库 {len(new)} 条"
        act = Act("seed_library", "library_seeded", "claim", "library", text, after={"n": len(new)})
        record(tx, MACHINE, act)
    return len(new)


@cache
def _suggest_only() -> frozenset[str]:
    """Shipped claims that never join by themselves; the table has no column for it."""
    return frozenset(c.id for c in load_library() if c.suggest_only)


def active_claims(conn: Connection) -> list[KnownClaim]:
    """What the annotator compares posts with."""
    query = select(t.claims).where(t.claims.c.active.is_(True)).order_by(t.claims.c.id)
    return [
        KnownClaim(
            id=row["id"],
            claim=row["claim"],
            verdict=row["verdict"],
            correction=row["correction"],
            hazard=row["hazard"],
            place=row["place"],
            adcode=row["adcode"],
            date=row["date"],
            source_name=row["source_name"],
            source_url=row["source_url"],
            suggest_only=row["id"] in _suggest_only(),
        )
        for row in rows(conn, query)
    ]
