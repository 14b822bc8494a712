"""The negative list (负面清单): what a release must not carry, found before it is released.

Pure. The list is data (``negative_list.toml``) after 政府信息公开条例 14-17: 国家秘密 and 三安全
一稳定, 商业秘密 and 个人隐私, 内部事务 and 过程性信息. A hit is a question to the reviewer, never a
verdict: the reviewer answers each one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

CONTEXT = 12
"""Characters shown on each side of a hit."""


@dataclass(frozen=True, slots=True)
class NegativeRule:
    """One line of the list. ``pattern``: regular expression; ``ask``: the question it raises;
    ``basis``: the clause it comes from."""

    id: str
    title: str
    basis: str
    ask: str
    pattern: str

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> NegativeRule:
        """From a table of the file: ``words`` (plain) or ``pattern``.

        Raises: ValueError when the pattern is missing or no regular expression.
        """
        words = [re.escape(w) for w in row.get("words", ())]
        parts = words + ([row["pattern"]] if row.get("pattern") else [])
        if not parts:
            raise ValueError(f"rule {row.get('id')}: give words or a pattern")
        pattern = "|".join(parts)
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"rule {row.get('id')}: {error}") from error
        return cls(row["id"], row["title"], row["basis"], row["ask"], pattern)


@dataclass(frozen=True, slots=True)
class Finding:
    """One hit. ``id`` stays the same while field and words stay: answers are given to it."""

    id: str
    rule: str
    title: str
    basis: str
    ask: str
    field: str
    words: str
    context: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check(texts: Mapping[str, str], rules: Iterable[NegativeRule]) -> list[Finding]:
    """Every hit of every rule in every field; the same words in one field are one finding."""
    found: dict[str, Finding] = {}
    for rule in rules:
        pattern = re.compile(rule.pattern)
        for field, text in texts.items():
            for match in pattern.finditer(text):
                words = match.group(0)
                if not words:
                    continue
                seed = f"{rule.id}\x00{field}\x00{words}"
                name = f"{rule.id}-{hashlib.sha256(seed.encode()).hexdigest()[:8]}"
                start, end = max(0, match.start() - CONTEXT), match.end() + CONTEXT
                found.setdefault(
                    name,
                    Finding(
                        name,
                        rule.id,
                        rule.title,
                        rule.basis,
                        rule.ask,
                        field,
                        words,
                        text[start:end].replace("\n", " "),
                    ),
                )
    return list(found.values())


def unanswered(findings: Sequence[Finding], answers: Mapping[str, str]) -> list[Finding]:
    """Findings without an answer of at least two characters."""
    return [f for f in findings if len(answers.get(f.id, "").strip()) < 2]
