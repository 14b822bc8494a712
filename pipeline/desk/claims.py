"""The library of known claims (谣言库): shipped, own, imported."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import ColumnElement, Connection, insert, or_, select

from nlp.claims import KnownClaim, load_library
from pipeline.desk.guard import Act, change, load, need, record, rows
from pipeline.domain.claim_review import ReviewedClaim
from pipeline.domain.post import mask
from pipeline.domain.release import Verdict
from pipeline.domain.rights import MACHINE, Actor, require
from pipeline.errors import IllegalTransition, MissingFields
from pipeline.store import tables as t
from pipeline.store.sql import Tx

REVIEW_GRACE = timedelta(days=30)
"""A claim due for review is still compared for so long: a rumour's next wave comes within weeks,
also when what we said about it held for a night only."""
IMPORT_KEPT = timedelta(days=180)
"""An imported claim is compared with posts for so long; then somebody must look at it again."""


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


def renew_claim(tx: Tx, actor: Actor, claim_id: str, until: datetime) -> None:
    """Looked at again and still right: compared with posts until another day of review.

    Raises: IllegalTransition for a retired claim or a day that has passed.
    """
    require(actor, "edit_claims")
    row = load(tx.conn, t.claims, claim_id, "说法")
    if not row["active"]:
        raise IllegalTransition("此条已停用，请新增一条")
    if until <= tx.now:
        raise IllegalTransition("复核日期应在今天之后")
    change(tx, t.claims, row, review_at=until)
    text = f"{actor.name}复核谣言库条目，继续使用：{row['claim']}"
    before = {"review_at": str(row["review_at"] or "")}
    after = {"review_at": str(until)}
    record(
        tx,
        actor,
        Act("renew_claim", "claim_renewed", "claim", claim_id, text, before=before, after=after),
    )


def import_reviews(
    tx: Tx, actor: Actor, reviews: Iterable[ReviewedClaim], *, origin: str
) -> tuple[int, int]:
    """Put claims in that others have looked into: (how many are new, how many were here).

    ``origin``: file or address, for the audit. The same review is one claim however often it
    comes; a claim that stands in the library in the same words and with the same verdict, retired
    or not, is not doubled.
    """
    c = t.claims.c
    ids = set(tx.conn.execute(select(c.id)).scalars())
    words = {(row[0], row[1]) for row in tx.conn.execute(select(c.claim, c.verdict))}
    new: list[dict[str, object]] = []
    known = 0
    for review in reviews:
        claim = mask(review.claim)[0]
        if review.id in ids or (claim, review.verdict) in words:
            known += 1
            continue
        ids.add(review.id)
        words.add((claim, review.verdict))
        new.append(
            {
                "id": review.id,
                "claim": claim,
                "verdict": review.verdict,
                "correction": mask(review.correction)[0],
                "date": review.day,
                "source_name": review.source_name,
                "source_url": review.link,
                "origin": "import",
                "active": True,
                "review_at": tx.now + IMPORT_KEPT,
                "created_at": tx.now,
                "created_by": actor.name,
            }
        )
    if new:
        tx.conn.execute(insert(t.claims), new)
        text = f"{actor.name}从 {origin} 导入核查结论 {len(new)} 条"
        act = Act("import_claims", "claims_imported", "claim", "import", text,
                  after={"n": len(new), "origin": origin})  # fmt: skip
        record(tx, actor, act)
    return len(new), known


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


def active_claims(conn: Connection, now: datetime) -> list[KnownClaim]:
    """What the annotator compares posts with: neither retired nor long past its day of review.

    What nobody looks at again would be compared for ever, and each claim more makes chance
    likeness likelier. The library page lists it as due; ``renew_claim`` takes it back in.
    """
    query = select(t.claims).where(*_in_use(now)).order_by(t.claims.c.id)
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


def active_ids(conn: Connection, now: datetime) -> tuple[str, ...]:
    """The ids of ``active_claims``: what a running annotator asks to see whether they changed.

    The text of a claim never changes, so the ids say it all.
    """
    query = select(t.claims.c.id).where(*_in_use(now)).order_by(t.claims.c.id)
    return tuple(conn.execute(query).scalars())


def _in_use(now: datetime) -> tuple[ColumnElement[bool], ...]:
    c = t.claims.c
    return (c.active.is_(True), or_(c.review_at.is_(None), c.review_at > now - REVIEW_GRACE))
