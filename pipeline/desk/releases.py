"""Releases (发布): what went out, frozen, numbered, verifiable; nothing is ever deleted.

A correction and a withdrawal are releases of their own that name the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from pipeline.clock import BEIJING
from pipeline.desk import clocks
from pipeline.desk.casefile import answered, load_case, next_number
from pipeline.desk.drafts import CHANNELS, SHOWN, insert_draft
from pipeline.desk.evidence import evidence_rows
from pipeline.desk.guard import Act, Row, add, change, clock_text, load, need, record, rows, some
from pipeline.desk.steps import add_step, corrects, last_passed
from pipeline.domain.case import CaseStatus, move
from pipeline.domain.release import (
    CLARIFICATION_MOVES,
    PORTAL,
    ClarificationStatus,
    ReleaseKind,
    Step,
    Verdict,
    content_hash,
    release_number,
)
from pipeline.domain.rights import MACHINE, Actor, require
from pipeline.errors import IllegalTransition, MissingFields
from pipeline.store import tables as t
from pipeline.store.sql import Tx

S = ClarificationStatus


def _move(row: Row, to: ClarificationStatus) -> str:
    return move(CLARIFICATION_MOVES, S(row["status"]), to).value


def verify_release(row: Mapping[str, Any]) -> bool:
    """True when the content still is what its SHA-256 says."""
    return content_hash(row["content"]) == str(row["sha256"])


def release(tx: Tx, actor: Actor, clarification_id: int, channels: Sequence[str] = ()) -> int:
    """Publish a signed clarification; returns the release's number in the table.

    The portal is always the first channel. The case is answered, its release clocks stop, and
    the claim enters the library. Raises: IllegalTransition when it is not signed.
    """
    require(actor, "release")
    row = load(tx.conn, t.clarifications, clarification_id, "澄清稿")
    status = _move(row, S.RELEASED)
    case = load_case(tx.conn, row["case_id"])
    if case["status"] in (CaseStatus.DISMISSED, CaseStatus.MERGED):
        label = CaseStatus(case["status"]).label
        raise IllegalTransition(f"{case['number']} 已“{label}”，不能发布；请先重开")
    wanted = list(dict.fromkeys([PORTAL, *(channels or row["channels"])]))
    if any(not c.strip() or len(c) > 32 for c in wanted):
        raise MissingFields({"channels": "发布渠道"})
    signed = last_passed(tx.conn, row["id"], Step.SIGN)
    if signed is None:  # the table says signed, the steps do not: never publish on that
        raise IllegalTransition("没有签发记录，不能发布；请重新走审签流程")
    fix = corrects(tx.conn, row["id"])
    kind = ReleaseKind.RELEASE if fix is None else ReleaseKind.CORRECTION
    new = change(tx, t.clarifications, row, status=status, channels=wanted, updated_at=tx.now)
    release_id = _write(
        tx,
        actor,
        case,
        new,
        kind,
        release_content(tx, new),
        wanted,
        signer=signed["actor"],
        of_release=fix[0] if fix else None,
        reason=fix[1] if fix else "",
    )
    if fix is not None:
        _retire(tx, fix[0], S.CORRECTED)
    add_step(tx, actor, new, "release", "done")
    _register_claim(tx, actor, case, new, release_id)
    after = answered(tx, case)
    out = load(tx.conn, t.releases, release_id, "发布")
    names = some(CHANNELS.get(c, c) for c in wanted)
    text = f"{actor.name}{kind.label} {out['number']}“{new['title']}”（{names}）"
    record(
        tx,
        actor,
        Act(
            "release",
            "released" if fix is None else "corrected",
            "release",
            release_id,
            text,
            case_id=case["id"],
            before={"status": row["status"], "case": case["status"]},
            after={"status": status, "case": after["status"], "sha256": out["sha256"]},
            data={
                "release": release_id,
                "number": out["number"],
                "verdict": new["verdict"],
                "sha256": out["sha256"],
                "channels": wanted,
                "of_release": fix[0] if fix else None,
            },
        ),
    )
    return release_id


def release_content(tx: Tx, row: Row) -> dict[str, Any]:
    """What goes out: the public fields and the cited evidence, plain JSON.

    Posts of persons are evidence inside the house; they are not shown to the public.
    """
    until = row["valid_until"]
    return {
        **{key: row[key] for key in SHOWN},
        "valid_until": until.isoformat() if until else "",
        "evidence": [
            {
                "kind": e["kind"],
                "title": e["title"],
                "text": e["text"],
                "station": e["station"],
                "at": e["at"].isoformat() if e["at"] else "",
                "sha256": e["sha256"],
            }
            for e in evidence_rows(tx.conn, row["evidence"])
            if e["kind"] not in ("post", "reply")
        ],
    }


def _write(
    tx: Tx,
    actor: Actor,
    case: Row,
    row: Row,
    kind: ReleaseKind,
    content: dict[str, Any],
    channels: Sequence[str],
    *,
    signer: str,
    of_release: int | None,
    reason: str,
) -> int:
    year = tx.now.astimezone(BEIJING).year
    short = case["frozen_rules"].get("short", "南气")
    n = next_number(tx.conn, t.releases.c.number, year)
    release_id = add(
        tx,
        t.releases,
        number=release_number(short, year, n),
        clarification_id=row["id"],
        case_id=case["id"],
        kind=kind.value,
        of_release=of_release,
        reason=reason,
        content=content,
        sha256=content_hash(content),
        signer=signer,
        released_by=actor.name,
        released_at=tx.now,
    )
    for channel in channels:
        add(tx, t.release_channels, release_id=release_id, channel=channel, state="waiting")
    return release_id


def _retire(tx: Tx, release_id: int, to: ClarificationStatus) -> None:
    """The clarification behind a release is corrected or withdrawn; its claim leaves the library.

    Raises: IllegalTransition when that happened before.
    """
    old = load(tx.conn, t.releases, release_id, "发布")
    row = load(tx.conn, t.clarifications, old["clarification_id"], "澄清稿")
    change(tx, t.clarifications, row, status=_move(row, to), needs_review="", updated_at=tx.now)
    c = t.claims.c
    tx.conn.execute(update(t.claims).where(c.clarification_id == row["id"]).values(active=False))


def _register_claim(tx: Tx, actor: Actor, case: Row, row: Row, release_id: int) -> None:
    found = rows(tx.conn, select(t.events).where(t.events.c.id == case["event_id"]))
    event = found[0] if found else {}
    add_claim = {
        "id": f"OWN-{release_id:05d}",
        "claim": row["claim"],
        "verdict": row["verdict"],
        "correction": row["facts"],
        "hazard": event.get("hazard", ""),
        "place": event.get("place_name", ""),
        "adcode": event.get("adcode", ""),
        "date": f"{tx.now.astimezone(BEIJING):%Y-%m-%d}",
        "source_name": "本局发布",
        "origin": "own",
        "clarification_id": row["id"],
        "active": True,
        "review_at": row["valid_until"],
        "created_at": tx.now,
        "created_by": actor.name,
    }
    tx.conn.execute(t.claims.insert(), add_claim)


# ---- afterwards ---------------------------------------------------------------------------


def record_receipt(
    tx: Tx, actor: Actor, release_channel_id: int, link: str = "", receipt: str = ""
) -> None:
    """A channel has it: where, and what it answered. The machine does it for the portal."""
    if not actor.is_machine:
        require(actor, "release")
    need(receipt=(link or receipt, "链接或回执"))
    row = load(tx.conn, t.release_channels, release_channel_id, "发布渠道")
    out = load(tx.conn, t.releases, row["release_id"], "发布")
    change(
        tx,
        t.release_channels,
        row,
        state="done",
        link=link.strip(),
        receipt=receipt.strip(),
        error="",
        done_at=tx.now,
    )
    name = CHANNELS.get(row["channel"], row["channel"])
    record(
        tx,
        actor,
        Act(
            "record_receipt",
            "channel_done",
            "release",
            out["id"],
            f"{out['number']} 已在{name}发布" + (f"：{link.strip()}" if link.strip() else ""),
            case_id=out["case_id"],
            before={"state": row["state"], "link": row["link"], "receipt": row["receipt"]},
            after={"state": "done", "link": link.strip(), "receipt": receipt.strip()},
            data={"channel": row["channel"], "link": link.strip()},
        ),
    )


def portal_waits(conn: Connection) -> bool:
    """True while some release's page is not confirmed to be on the portal."""
    c = t.release_channels.c
    query = select(c.id).where(c.channel == PORTAL, c.state == "waiting").limit(1)
    return conn.execute(query).first() is not None


def confirm_portal(tx: Tx, link_of: Callable[[str], str]) -> int:
    """The portal was written: its waiting channels are done. Returns how many.

    ``link_of``: public address of a release, from its number. For the machine, after publishing.
    """
    c, r = t.release_channels.c, t.releases.c
    query = (
        select(c.id, r.number, r.sha256)
        .join(t.releases, r.id == c.release_id)
        .where(c.channel == PORTAL, c.state == "waiting")
        .order_by(c.id)
    )
    found = tx.conn.execute(query).all()
    for row in found:
        record_receipt(tx, MACHINE, row.id, link_of(row.number), f"sha256:{row.sha256}")
    return len(found)


def correct(tx: Tx, actor: Actor, release_id: int, reason: str) -> int:
    """Start a correction: a new draft with the old text; its release will name the old one.

    The old release stays in force until then. Raises: IllegalTransition when it was corrected or
    withdrawn, or a correction is being written.
    """
    require(actor, "correct")
    need(reason=(reason, "更正原因"))
    out, row, case = _current(tx, release_id, S.CORRECTED)
    s, c = t.clarification_steps.c, t.clarifications.c
    going = rows(
        tx.conn,
        select(t.clarification_steps)
        .join(t.clarifications, c.id == s.clarification_id)
        .where(c.case_id == case["id"], s.step == "start")
        .where(c.status.in_([S.DRAFT, S.CHECK, S.SECRECY, S.SIGN, S.SIGNED])),
    )
    if any(f.get("of_release") == release_id for g in going for f in g["findings"]):
        raise IllegalTransition(f"{out['number']} 的更正稿正在办理，请在该稿上修改")
    values = {
        key: row[key]
        for key in (
            "title", "claim", "verdict", "facts", "measures", "results",
            "evidence", "channels", "disclosure", "valid_until",
        )
    }  # fmt: skip
    text = f"{actor.name}起草对 {out['number']} 的更正：{reason.strip()}"
    return insert_draft(tx, actor, case, values, text, of_release=release_id, reason=reason.strip())


def withdraw(tx: Tx, actor: Actor, release_id: int, reason: str) -> int:
    """Withdraw a release by a new one that names it and says why; returns the new one."""
    require(actor, "withdraw")
    need(reason=(reason, "撤回原因"))
    out, row, case = _current(tx, release_id, S.WITHDRAWN)
    content = {
        **out["content"],
        "title": f"关于撤回{out['number']}的声明",
        "verdict": Verdict.PENDING.value,
        "facts": f"本局于{clock_text(out['released_at'])}发布的{out['number']}现予撤回。",
        "measures": "",
        "results": f"撤回原因：{reason.strip()}",
        "valid_until": "",
        "evidence": [],
    }
    channels = [
        r["channel"]
        for r in rows(
            tx.conn,
            select(t.release_channels)
            .where(t.release_channels.c.release_id == release_id)
            .order_by(t.release_channels.c.id),
        )
    ]
    new = _write(
        tx,
        actor,
        case,
        row,
        ReleaseKind.WITHDRAWAL,
        content,
        channels or [PORTAL],
        signer=actor.name,
        of_release=release_id,
        reason=reason.strip(),
    )
    _retire(tx, release_id, S.WITHDRAWN)
    fresh = load(tx.conn, t.clarifications, row["id"], "澄清稿")
    add_step(tx, actor, fresh, "withdraw", "done", reason)
    clocks.cancel(tx, "step", row["id"])
    made = load(tx.conn, t.releases, new, "发布")
    record(
        tx,
        actor,
        Act(
            "withdraw",
            "withdrawn",
            "release",
            new,
            f"{actor.name}撤回 {out['number']}（{made['number']}）：{reason.strip()}",
            case_id=case["id"],
            before={"status": row["status"]},
            after={"status": S.WITHDRAWN.value, "of_release": release_id},
            data={"release": new, "number": made["number"], "of_release": release_id},
        ),
    )
    return new


def _current(tx: Tx, release_id: int, to: ClarificationStatus) -> tuple[Row, Row, Row]:
    """A release that is still in force (or expired), with its clarification and case."""
    out = load(tx.conn, t.releases, release_id, "发布")
    if out["kind"] == ReleaseKind.WITHDRAWAL:
        raise IllegalTransition("撤回声明不能再更正或撤回；请另行起草澄清稿")
    row = load(tx.conn, t.clarifications, out["clarification_id"], "澄清稿")
    _move(row, to)
    return out, row, load_case(tx.conn, out["case_id"])


def expire_due(tx: Tx) -> int:
    """Releases past their validity are expired, by the machine; returns how many."""
    c = t.clarifications.c
    due = rows(
        tx.conn,
        select(t.clarifications).where(c.status == S.RELEASED, c.valid_until <= tx.now),
    )
    for row in due:
        status = _move(row, S.EXPIRED)
        new = change(tx, t.clarifications, row, status=status, updated_at=tx.now)
        add_step(tx, MACHINE, new, "expire", "done")
        text = f"“{row['title']}”有效期已过，请核对是否需要更新"
        record(
            tx,
            MACHINE,
            Act(
                "expire_release",
                "expired",
                "clarification",
                row["id"],
                text,
                case_id=row["case_id"],
                before={"status": row["status"]},
                after={"status": status},
                data={"clarification": row["id"]},
            ),
        )
    return len(due)
