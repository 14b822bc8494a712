"""Drafts of a clarification: start from a template, save with a version, know what is missing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from pipeline.clock import BEIJING
from pipeline.desk.casefile import begin_handling, load_case
from pipeline.desk.clocks import DEFAULTS
from pipeline.desk.guard import Act, Row, add, change, load, office_on_case, record, rows
from pipeline.desk.steps import FIELD_LABELS, add_step, content_of, history
from pipeline.domain.post import mask
from pipeline.domain.release import PORTAL, ClarificationStatus, Verdict
from pipeline.domain.rights import Actor, require
from pipeline.domain.warning import signal_name
from pipeline.errors import IllegalTransition, MissingFields, NotFound, SettingsError, Stale
from pipeline.store import tables as t
from pipeline.store.sql import Tx

SHOWN = ("title", "claim", "verdict", "facts", "measures", "results", "disclosure")
DISCLOSURES = ("主动公开", "依申请公开", "不予公开")
CHANNELS: dict[str, str] = {
    PORTAL: "门户网站",
    "weibo": "官方微博",
    "wechat": "微信公众号",
    "douyin": "短视频号",
    "sms": "预警短信",
    "media": "新闻媒体",
    "press": "新闻发布会",
}
_BLANK = re.compile(r"【[^】]*】")
_OPEN_VERDICTS = (Verdict.PENDING, Verdict.UNCHECKABLE)


@dataclass(frozen=True, slots=True)
class Template:
    """A starting text by matter. ``kinds``, ``words``: when it is proposed first."""

    id: str
    name: str
    kinds: tuple[str, ...]
    words: tuple[str, ...]
    verdict: str
    valid_hours: int
    title: str
    facts: str
    measures: str
    results: str


def load_templates(path: Path) -> tuple[Template, ...]:
    """Read ``templates.toml``. Raises: SettingsError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return tuple(
            Template(**{**row, "kinds": tuple(row["kinds"]), "words": tuple(row["words"])})
            for row in table["template"]
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{path.name}: {error}; compare it with the shipped file") from error


@cache
def shipped_templates() -> tuple[Template, ...]:
    """The templates as shipped."""
    return load_templates(DEFAULTS / "templates.toml")


def propose_template(templates: Sequence[Template], kind: str, text: str) -> Template:
    """The template with most of its words in the matter, of the event's kind when there is one."""

    def fit(template: Template) -> tuple[int, bool]:
        return sum(w in text for w in template.words), kind in template.kinds

    best = max(templates, key=fit)
    return best if fit(best)[0] else templates[-1]


def start_draft(
    tx: Tx,
    actor: Actor,
    case_id: int,
    *,
    template: str | None = None,
    templates: Sequence[Template] | None = None,
) -> int:
    """A draft for the case, filled from a template; puts an assessed case in hand.

    Raises: NotFound for an unknown template, IllegalTransition before the assessment.
    """
    require(actor, "draft")
    case = load_case(tx.conn, case_id)
    office_on_case(tx.conn, actor, case)
    case = begin_handling(tx, case)
    known = shipped_templates() if templates is None else templates
    event = _event(tx.conn, case)
    claim = _claim_text(tx.conn, case, event)
    if template is None:
        chosen = propose_template(known, event.get("kind", ""), f"{claim}{case['title']}")
        if case["case_class"] == "policy":
            chosen = next((x for x in known if x.id == "policy"), chosen)
    else:
        by_id = {x.id: x for x in known}
        if template not in by_id:
            names = "、".join(by_id)
            raise NotFound(f"没有模板“{template}”；可用：{names}")
        chosen = by_id[template]
    values = _fill(tx.conn, chosen, case, event, claim)
    return insert_draft(
        tx,
        actor,
        case,
        {
            **values,
            "claim": claim,
            "verdict": chosen.verdict,
            "channels": [PORTAL],
            "valid_until": tx.now + timedelta(hours=chosen.valid_hours),
        },
        f"{actor.name}起草澄清稿（{chosen.name}）",
    )


def insert_draft(
    tx: Tx,
    actor: Actor,
    case: Row,
    values: Mapping[str, Any],
    text: str,
    *,
    of_release: int | None = None,
    reason: str = "",
) -> int:
    """Write the row, its first step and the record. ``of_release``: the release it corrects."""
    number = add(
        tx,
        t.clarifications,
        case_id=case["id"],
        **{"evidence": [], **values},
        status=ClarificationStatus.DRAFT.value,
        author=actor.name,
        author_id=actor.user_id,
        created_at=tx.now,
        updated_at=tx.now,
    )
    row = load(tx.conn, t.clarifications, number, "澄清稿")
    findings = [] if of_release is None else [{"of_release": of_release}]
    add_step(tx, actor, row, "start", "done", reason, findings)
    after = {"status": "draft", "of_release": of_release}
    act = Act(
        "start_draft" if of_release is None else "correct",
        "drafted" if of_release is None else "correction_drafted",
        "clarification",
        number,
        text,
        case_id=case["id"],
        after=after,
        data={"clarification": number, "of_release": of_release},
    )
    record(tx, actor, act)
    return number


def _event(conn: Connection, case: Row) -> Row:
    found = rows(conn, select(t.events).where(t.events.c.id == case["event_id"]))
    return found[0] if found else {}


def _claim_text(conn: Connection, case: Row, event: Row) -> str:
    if event.get("claim_id"):
        known = rows(conn, select(t.claims).where(t.claims.c.id == event["claim_id"]))
        if known:
            return str(known[0]["claim"])
    said = mask(str(event.get("title") or case["title"]))[0]
    return said.removeprefix("网传：").strip("“”")


def _fill(
    conn: Connection, template: Template, case: Row, event: Row, claim: str
) -> dict[str, str]:
    first = event.get("first_at") or case["opened_at"]
    b = first.astimezone(BEIJING)
    values = {
        "claim": claim,
        "short_claim": claim if len(claim) <= 24 else claim[:23] + "…",
        "title": case["title"],
        "place": event.get("place_name") or "【地点】",
        "first_at": f"{b.month}月{b.day}日{b.hour}时{b.minute:02d}分",
        "warnings": _warnings_text(conn, event),
    }

    def fill(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda m: values.get(m.group(1), m.group(0)), text).strip()

    return {key: fill(getattr(template, key)) for key in ("title", "facts", "measures", "results")}


def _warnings_text(conn: Connection, event: Row) -> str:
    w = t.warnings.c
    city = (event.get("adcode") or "")[:4]
    query = select(t.warnings).where(w.lifted_at.is_(None)).order_by(w.issued_at.desc()).limit(20)
    said = [
        f"{row['station'] or '气象台'}{row['issued_at'].astimezone(BEIJING):%d日%H时%M分}"
        f"发布{signal_name(row['type_name'], row['colour'])}信号"
        for row in rows(conn, query)
        if not city or row["adcode"][:4] == city
    ][:3]
    return "；".join(said) + "。" if said else ""


# ---- saving -------------------------------------------------------------------------------


def load_draft(tx: Tx, actor: Actor, clarification_id: int) -> Row:
    """A clarification that may be written by this actor now.

    Raises: NotAllowed, NotFound, IllegalTransition when it is no draft.
    """
    require(actor, "draft")
    row = load(tx.conn, t.clarifications, clarification_id, "澄清稿")
    office_on_case(tx.conn, actor, load_case(tx.conn, row["case_id"]))
    if row["status"] != ClarificationStatus.DRAFT:
        label = ClarificationStatus(row["status"]).label
        raise IllegalTransition(f"稿件当前为“{label}”，不能修改；需要修改请由审签人退回")
    return row


def save_draft(tx: Tx, actor: Actor, clarification_id: int, version: int, **fields: Any) -> int:
    """Save written fields over ``version``; returns the new version.

    Raises: Stale naming who saved a newer version and when; MissingFields for a wrong value.
    """
    row = load_draft(tx, actor, clarification_id)
    if row["version"] != version:
        last = next((s for s in reversed(history(tx.conn, row["id"]))), None)
        who = f"{last['actor']}于{last['at'].astimezone(BEIJING):%H:%M}" if last else "他人"
        raise Stale(f"{who}已保存第 {row['version']} 版；你的文字还在，请对照后再保存")
    clean = _checked(tx.conn, row, fields)
    new = change(
        tx,
        t.clarifications,
        row,
        **clean,
        needs_review="",  # whoever saves has looked again
        updated_at=tx.now,
        editing_by=actor.name,
        editing_at=tx.now,
    )
    add_step(tx, actor, new, "save", "done")
    before, after = content_of(row), content_of(new)
    changed = [k for k in FIELD_LABELS if before[k] != after[k]]
    names = "、".join(FIELD_LABELS[k] for k in changed) or "无改动"
    record(
        tx,
        actor,
        Act(
            "save_draft",
            "draft_saved",
            "clarification",
            row["id"],
            f"{actor.name}保存澄清稿（{names}）",
            case_id=row["case_id"],
            before={k: before[k] for k in changed},
            after={k: after[k] for k in changed},
            data={"clarification": row["id"], "version": new["version"]},
            quiet=True,
        ),
    )
    return int(new["version"])


def _checked(conn: Connection, row: Row, fields: Mapping[str, Any]) -> dict[str, Any]:
    wrong: dict[str, str] = {}
    clean: dict[str, Any] = {}
    for key, value in fields.items():
        if key not in FIELD_LABELS:
            wrong[key] = f"有效的字段（没有“{key}”）"
            continue
        clean[key] = value.strip() if isinstance(value, str) else value
    if "verdict" in clean and clean["verdict"] not in set(Verdict):
        wrong["verdict"] = FIELD_LABELS["verdict"]
    if "disclosure" in clean and clean["disclosure"] not in DISCLOSURES:
        wrong["disclosure"] = FIELD_LABELS["disclosure"]
    if "channels" in clean:
        clean["channels"] = list(dict.fromkeys(clean["channels"]))
        if any(not str(c).strip() for c in clean["channels"]):
            wrong["channels"] = FIELD_LABELS["channels"]
    if "evidence" in clean:
        clean["evidence"] = [int(i) for i in dict.fromkeys(clean["evidence"])]
        e = t.evidence.c
        query = select(e.id).where(e.id.in_(clean["evidence"]), e.case_id == row["case_id"])
        if len(conn.execute(query).all()) != len(clean["evidence"]):
            wrong["evidence"] = "本单内的依据（先留存再引用）"
    until = clean.get("valid_until")
    if until is not None and (not isinstance(until, datetime) or until.tzinfo is None):
        wrong["valid_until"] = FIELD_LABELS["valid_until"]
    if wrong:
        raise MissingFields(wrong)
    return clean


def missing_fields(row: Mapping[str, Any]) -> dict[str, str]:
    """What a draft still needs before it can be submitted: field -> Chinese label.

    The result part may wait while the verdict is open; evidence too, for then there is none.
    """
    missing: dict[str, str] = {}
    is_open = row["verdict"] in _OPEN_VERDICTS
    for key in ("title", "claim", "verdict", "facts", "measures", "results"):
        text = str(row[key] or "")
        if not text.strip() and not (key == "results" and is_open):
            missing[key] = FIELD_LABELS[key]
        elif blank := _BLANK.search(text):
            missing[key] = f"{FIELD_LABELS[key]}中的{blank.group(0)}"
    if not row["evidence"] and not is_open:
        missing["evidence"] = FIELD_LABELS["evidence"]
    if not row["channels"]:
        missing["channels"] = FIELD_LABELS["channels"]
    if row["disclosure"] != "主动公开":
        missing["disclosure"] = "公开属性“主动公开”（其他属性不能对外发布）"
    if row["valid_until"] is None:
        missing["valid_until"] = FIELD_LABELS["valid_until"]
    return missing
