"""Clarification (澄清稿), approval steps, release (发布): states, verdicts, legal moves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class ClarificationStatus(StrEnum):
    """澄清稿状态."""

    DRAFT = "draft"
    CHECK = "check"
    SECRECY = "secrecy"
    SIGN = "sign"
    SIGNED = "signed"
    RELEASED = "released"
    CORRECTED = "corrected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"

    @property
    def label(self) -> str:
        return {
            "draft": "草稿",
            "check": "业务核稿",
            "secrecy": "保密审查",
            "sign": "签发",
            "signed": "已签发",
            "released": "已发布",
            "corrected": "已更正",
            "withdrawn": "已撤回",
            "expired": "已过期",
        }[self.value]


CLARIFICATION_MOVES: dict[ClarificationStatus, frozenset[ClarificationStatus]] = {
    ClarificationStatus.DRAFT: frozenset(
        # SIGN from DRAFT is the emergency path (重大, 特别重大): the two checks follow within 2 h
        # WITHDRAWN from DRAFT is a draft given up; it was never public
        {ClarificationStatus.CHECK, ClarificationStatus.SIGN, ClarificationStatus.WITHDRAWN}
    ),
    ClarificationStatus.CHECK: frozenset({ClarificationStatus.SECRECY, ClarificationStatus.DRAFT}),
    ClarificationStatus.SECRECY: frozenset({ClarificationStatus.SIGN, ClarificationStatus.DRAFT}),
    ClarificationStatus.SIGN: frozenset({ClarificationStatus.SIGNED, ClarificationStatus.DRAFT}),
    ClarificationStatus.SIGNED: frozenset(
        {ClarificationStatus.RELEASED, ClarificationStatus.DRAFT}
    ),
    ClarificationStatus.RELEASED: frozenset(
        {
            ClarificationStatus.CORRECTED,
            ClarificationStatus.WITHDRAWN,
            ClarificationStatus.EXPIRED,
        }
    ),
    ClarificationStatus.CORRECTED: frozenset(),
    ClarificationStatus.WITHDRAWN: frozenset(),
    ClarificationStatus.EXPIRED: frozenset(
        {ClarificationStatus.WITHDRAWN, ClarificationStatus.CORRECTED}
    ),
}


class Verdict(StrEnum):
    """结论. 尚待核实 and 无法核实 are verdicts too; criticism is never a rumour."""

    TRUE = "属实"
    PARTLY = "部分属实"
    FALSE = "失实"
    PENDING = "尚待核实"
    UNCHECKABLE = "无法核实"


class ReleaseKind(StrEnum):
    """发布种类: nothing is deleted; corrections and withdrawals name the old release."""

    RELEASE = "release"
    CORRECTION = "correction"
    WITHDRAWAL = "withdrawal"

    @property
    def label(self) -> str:
        return {"release": "发布", "correction": "更正", "withdrawal": "撤回"}[self.value]


class Step(StrEnum):
    """审签环节."""

    CHECK = "check"
    SECRECY = "secrecy"
    SIGN = "sign"

    @property
    def label(self) -> str:
        return {"check": "业务核稿", "secrecy": "保密审查", "sign": "签发"}[self.value]


OPEN_CLARIFICATION = frozenset(
    {
        ClarificationStatus.DRAFT,
        ClarificationStatus.CHECK,
        ClarificationStatus.SECRECY,
        ClarificationStatus.SIGN,
        ClarificationStatus.SIGNED,
    }
)
"""Written and neither out nor given up."""

PORTAL = "portal"
"""The first channel of every release."""


def release_number(short: str, year: int, n: int) -> str:
    """Verification number, as 南气辟〔2026〕0007号."""
    return f"{short}辟〔{year}〕{n:04d}号"


def canonical(content: Mapping[str, Any]) -> bytes:
    """The bytes whose SHA-256 a release carries: JSON with sorted keys, no spaces, UTF-8."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def content_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical form, hexadecimal."""
    return hashlib.sha256(canonical(content)).hexdigest()
