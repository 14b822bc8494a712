"""Clarifications (澄清稿): draft, check, confidentiality review, signature.

Every step keeps the text as it stood. The author never checks, reviews or signs the own draft,
and everybody who saved a version is an author; confidentiality reviewer and signer are two
people. In an emergency (重大 and above) the signature comes first and both checks follow within
two hours, as clocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.desk import clocks
from pipeline.desk.casefile import load_case
from pipeline.desk.drafts import load_draft, missing_fields, save_draft, start_draft
from pipeline.desk.evidence import add_evidence, suggest_evidence
from pipeline.desk.guard import Act, Row, change, load, need, record
from pipeline.desk.negative import answers_to_json, negative_findings, shipped_rules
from pipeline.desk.steps import (
    add_step,
    authors,
    corrects,
    diff,
    history,
    last_passed,
    steps_since_submit,
)
from pipeline.domain.case import OPEN_CASE, move
from pipeline.domain.deadlines import choose
from pipeline.domain.event import Level
from pipeline.domain.negative import NegativeRule, unanswered
from pipeline.domain.release import CLARIFICATION_MOVES, ClarificationStatus, Step
from pipeline.domain.rights import Actor, may, require
from pipeline.errors import DeskError, IllegalTransition, MissingFields, NotAllowed
from pipeline.store import tables as t
from pipeline.store.sql import Tx

S = ClarificationStatus


def _move(row: Row, to: ClarificationStatus) -> str:
    return move(CLARIFICATION_MOVES, S(row["status"]), to).value


def _act(row: Row, name: str, fact: str, text: str, **after: Any) -> Act:
    return Act(
        name,
        fact,
        "clarification",
        row["id"],
        text,
        case_id=row["case_id"],
        before={"status": row["status"]},
        after=after,
        data={"clarification": row["id"], **after},
    )


def submit(tx: Tx, actor: Actor, clarification_id: int, *, emergency: bool = False) -> None:
    """Hand the draft in: to the check, or straight to the signer in an emergency.

    Raises: MissingFields naming what the form lacks; NotAllowed for an emergency below 重大.
    """
    row = load_draft(tx, actor, clarification_id)
    case = load_case(tx.conn, row["case_id"])
    if case["status"] not in OPEN_CASE and corrects(tx.conn, row["id"]) is None:
        raise IllegalTransition(f"{case['number']} 已不在办理中，请先重开处置单")
    if emergency and case["level"] < Level.MAJOR:
        raise NotAllowed("只有重大、特别重大舆情可以走应急签发；请按“业务核稿—保密审查—签发”办理")
    missing = missing_fields(row)
    if missing:
        raise MissingFields(missing)
    status = _move(row, S.SIGN if emergency else S.CHECK)
    new = change(
        tx,
        t.clarifications,
        row,
        status=status,
        emergency=emergency,
        updated_at=tx.now,
        editing_by="",
        editing_at=None,
    )
    add_step(tx, actor, new, "submit", "done")
    path = "应急签发" if emergency else "业务核稿"
    text = f"{actor.name}提交澄清稿“{row['title']}”，进入{path}"
    record(tx, actor, _act(row, "submit", "draft_submitted", text, status=status))


def pass_check(tx: Tx, actor: Actor, clarification_id: int, comment: str = "") -> None:
    """业务核稿通过."""
    require(actor, "check")
    row = load_clarification(tx, clarification_id)
    _another_than_author(tx, actor, row)
    _pass(tx, actor, row, Step.CHECK, S.CHECK, S.SECRECY, comment, [])


def pass_secrecy(
    tx: Tx,
    actor: Actor,
    clarification_id: int,
    comment: str = "",
    answers: Mapping[str, str] | None = None,
    *,
    negative: Sequence[NegativeRule] | None = None,
) -> None:
    """保密审查通过. ``answers``: finding id -> answer, one for every hit of the negative list.

    Raises: MissingFields whose keys are the findings without an answer.
    """
    require(actor, "secrecy")
    row = load_clarification(tx, clarification_id)
    _another_than_author(tx, actor, row)
    signed = last_passed(tx.conn, row["id"], Step.SIGN)
    if signed and signed["actor_id"] == actor.user_id:
        raise NotAllowed("保密审查人与签发人须为两人")
    found = negative_findings(
        tx.conn, row["id"], rules=shipped_rules() if negative is None else negative
    )
    open_ = unanswered(found, answers or {})
    if open_:
        raise MissingFields({f.id: f"对“{f.words}”的答复（{f.title}）" for f in open_})
    _pass(
        tx,
        actor,
        row,
        Step.SECRECY,
        S.SECRECY,
        S.SIGN,
        comment,
        answers_to_json(found, answers or {}),
    )


def _pass(
    tx: Tx,
    actor: Actor,
    row: Row,
    step: Step,
    at: ClarificationStatus,
    to: ClarificationStatus,
    comment: str,
    findings: list[dict[str, Any]],
) -> None:
    """One of the two checks, in its turn or after an emergency signature."""
    if row["emergency"]:
        after = (S.SIGNED, S.RELEASED, S.CORRECTED, S.WITHDRAWN, S.EXPIRED)
        if row["status"] not in after:
            raise IllegalTransition(
                f"应急签发：签发后补办{step.label}；当前为“{S(row['status']).label}”"
            )
        if any(s["step"] == step for s in steps_since_submit(tx.conn, row["id"])):
            raise IllegalTransition(f"{step.label}已补办，无需重复")
        status = row["status"]
        new = change(tx, t.clarifications, row, updated_at=tx.now)
        clocks.meet(tx, "step", row["id"], step.value)
    else:
        if row["status"] != at:
            move(CLARIFICATION_MOVES, S(row["status"]), to)
            raise IllegalTransition(f"当前为“{S(row['status']).label}”，不在{step.label}环节")
        status = _move(row, to)
        new = change(tx, t.clarifications, row, status=status, updated_at=tx.now)
    add_step(tx, actor, new, step, "passed", comment, findings)
    late = "补办" if row["emergency"] else ""
    text = f"{actor.name}{late}{step.label}通过（“{row['title']}”）" + _said(comment)
    fact = {"check": "check_passed", "secrecy": "secrecy_passed"}[step.value]
    act = _act(row, f"pass_{step.value}", fact, text, status=status)
    record(tx, actor, act)


def sign_off(tx: Tx, actor: Actor, clarification_id: int, comment: str = "") -> None:
    """签发. In an emergency it comes first and starts the two-hour clocks of both checks."""
    require(actor, "sign")
    row = load_clarification(tx, clarification_id)
    _another_than_author(tx, actor, row)
    if row["status"] != S.SIGN:
        raise IllegalTransition(f"当前为“{S(row['status']).label}”，不在签发环节")
    reviewed = last_passed(tx.conn, row["id"], Step.SECRECY)
    if reviewed and reviewed["actor_id"] == actor.user_id:
        raise NotAllowed("保密审查人与签发人须为两人，请由另一位签发人签发")
    if not row["emergency"] and not reviewed:
        raise IllegalTransition("未经保密审查，不能签发")
    status = _move(row, S.SIGNED)
    new = change(tx, t.clarifications, row, status=status, updated_at=tx.now)
    add_step(tx, actor, new, Step.SIGN, "passed", comment)
    if row["emergency"]:
        case = load_case(tx.conn, row["case_id"])
        for spec in choose(clocks.specs_of(case), "step", case["level"], case["case_class"]):
            clocks.start_clock(tx, "step", row["id"], spec, case_id=row["case_id"])
    how = "应急签发" if row["emergency"] else "签发"
    text = f"{actor.name}{how}“{row['title']}”" + _said(comment)
    record(tx, actor, _act(row, "sign_off", "signed", text, status=status))


_BACK = {S.CHECK: ("check",), S.SECRECY: ("secrecy",), S.SIGN: ("sign",), S.SIGNED: ("sign",)}


def send_back(tx: Tx, actor: Actor, clarification_id: int, comment: str) -> None:
    """Back to the author, with what is wrong; the whole way starts anew.

    A late check (emergency) of a release that is already out cannot call it back: the draft is
    marked 待复核 so that the desk corrects or withdraws it.
    """
    need(comment=(comment, "退回意见"))
    row = load_clarification(tx, clarification_id)
    status = S(row["status"])
    late = row["emergency"] and status in (S.SIGNED, S.RELEASED)
    right = _right_to_send_back(actor, status, late)
    require(actor, right)
    _another_than_author(tx, actor, row)
    step = right
    if late and status is S.RELEASED:
        if any(s["step"] == step for s in steps_since_submit(tx.conn, row["id"])):
            raise IllegalTransition(f"{Step(step).label}已补办；如需更改请更正或撤回发布")
        new = change(
            tx,
            t.clarifications,
            row,
            needs_review=f"{Step(step).label}未通过：{comment.strip()}",
            updated_at=tx.now,
        )
        clocks.meet(tx, "step", row["id"], step)
        text = f"{actor.name}补办{Step(step).label}未通过，请更正或撤回“{row['title']}”"
        fact = "late_check_failed"
    else:
        new = change(
            tx,
            t.clarifications,
            row,
            status=_move(row, S.DRAFT),
            emergency=False,
            updated_at=tx.now,
        )
        clocks.cancel(tx, "step", row["id"])
        text = f"{actor.name}退回澄清稿“{row['title']}”"
        fact = "sent_back"
    add_step(tx, actor, new, step, "sent_back", comment)
    record(tx, actor, _act(row, "send_back", fact, text + _said(comment), status=new["status"]))


def _right_to_send_back(actor: Actor, status: ClarificationStatus, late: bool) -> str:
    rights = _BACK.get(status, ())
    if late:
        rights = ("check", "secrecy", *(rights if status is S.SIGNED else ()))
    if not rights:
        raise IllegalTransition(f"当前为“{status.label}”，没有可以退回的环节")
    return next((r for r in rights if may(actor, r)), rights[0])


def discard_draft(tx: Tx, actor: Actor, clarification_id: int, reason: str) -> None:
    """Give a draft up; it was never public and stays readable."""
    need(reason=(reason, "作废原因"))
    row = load_draft(tx, actor, clarification_id)
    status = _move(row, S.WITHDRAWN)
    new = change(tx, t.clarifications, row, status=status, updated_at=tx.now)
    add_step(tx, actor, new, "discard", "done", reason)
    text = f"{actor.name}作废澄清稿“{row['title']}”" + _said(reason)
    record(tx, actor, _act(row, "discard_draft", "draft_discarded", text, status=status))


def touch_editing(tx: Tx, actor: Actor, clarification_id: int) -> None:
    """Somebody has the draft open: shown to others. Presence is no act; nothing is recorded."""
    require(actor, "draft")
    tx.conn.execute(
        t.clarifications.update()
        .where(t.clarifications.c.id == clarification_id, t.clarifications.c.status == S.DRAFT)
        .values(editing_by=actor.name, editing_at=tx.now)
    )


def ask_review(tx: Tx, actor: Actor, row: Row, why: str) -> None:
    """Mark a clarification 待复核, as when a cited warning changed. For the sweeper."""
    if row["status"] in (S.WITHDRAWN, S.CORRECTED):
        raise DeskError("此稿已失效，无需复核")
    change(tx, t.clarifications, row, needs_review=why)
    text = f"澄清稿“{row['title']}”待复核：{why}"
    record(tx, actor, _act(row, "ask_review", "review_asked", text, needs_review=why))


def load_clarification(tx: Tx, clarification_id: int) -> Row:
    """Raises: NotFound."""
    return load(tx.conn, t.clarifications, clarification_id, "澄清稿")


def _another_than_author(tx: Tx, actor: Actor, row: Row) -> None:
    if actor.user_id == row["author_id"] or actor.user_id in authors(tx.conn, row["id"]):
        raise NotAllowed("起草、改稿的人不能核稿、审查或签发自己的稿件，请由他人办理")


def _said(comment: str) -> str:
    return f"：{comment.strip()}" if comment.strip() else ""


__all__ = [
    "add_evidence",
    "ask_review",
    "diff",
    "discard_draft",
    "history",
    "missing_fields",
    "negative_findings",
    "pass_check",
    "pass_secrecy",
    "save_draft",
    "send_back",
    "sign_off",
    "start_draft",
    "submit",
    "suggest_evidence",
    "touch_editing",
]
