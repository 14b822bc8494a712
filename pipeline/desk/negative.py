"""The negative list (负面清单) applied to a clarification."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from pipeline.desk.clocks import DEFAULTS
from pipeline.desk.evidence import evidence_rows
from pipeline.desk.guard import load
from pipeline.desk.steps import FIELD_LABELS
from pipeline.domain.negative import Finding, NegativeRule, check
from pipeline.errors import SettingsError
from pipeline.store import tables as t

CHECKED = ("title", "claim", "facts", "measures", "results")


def load_negative_list(path: Path) -> tuple[NegativeRule, ...]:
    """Read a list. Raises: SettingsError naming the file and the rule."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return tuple(NegativeRule.from_json(row) for row in table["rule"])
    except (OSError, KeyError, ValueError) as error:
        raise SettingsError(
            f"{path.name}: {error}; compare it with the shipped negative_list.toml"
        ) from error


@cache
def shipped_rules() -> tuple[NegativeRule, ...]:
    """The list as shipped."""
    return load_negative_list(DEFAULTS / "negative_list.toml")


def negative_findings(
    conn: Connection, clarification_id: int, *, rules: Sequence[NegativeRule] | None = None
) -> list[Finding]:
    """What the reviewer has to answer, in the order of the list; also in cited evidence.

    Raises: NotFound.
    """
    row = load(conn, t.clarifications, clarification_id, "澄清稿")
    texts = {FIELD_LABELS[key]: row[key] for key in CHECKED}
    for item in evidence_rows(conn, row["evidence"]):
        if item["kind"] != "post":
            texts[f"依据“{item['title']}”"] = f"{item['title']}\n{item['text']}"
    return check(texts, shipped_rules() if rules is None else rules)


def answers_to_json(
    findings: Sequence[Finding], answers: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Findings with their answers, as a step keeps them."""
    return [{**f.to_json(), "answer": answers.get(f.id, "").strip()} for f in findings]
