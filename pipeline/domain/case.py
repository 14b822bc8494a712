"""Case (舆情处置单), assignment (分办), help call (求助): states and legal moves.

The tables below are the whole truth about who may go where; the desk asks ``move`` and nothing
else. Values are stored, labels are shown.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from pipeline.errors import IllegalTransition


class CaseStatus(StrEnum):
    """处置单状态."""

    TRIAGE = "triage"
    ASSESSED = "assessed"
    HANDLING = "handling"
    RESPONDED = "responded"
    WATCHING = "watching"
    CLOSED = "closed"
    ARCHIVED = "archived"
    DISMISSED = "dismissed"
    MERGED = "merged"

    @property
    def label(self) -> str:
        return _CASE_LABELS[self.value]


_CASE_LABELS = {
    "triage": "待研判",
    "assessed": "已研判",
    "handling": "处置中",
    "responded": "已回应",
    "watching": "观察",
    "closed": "办结",
    "archived": "归档",
    "dismissed": "不予处置",
    "merged": "并入",
}

CASE_MOVES: dict[CaseStatus, frozenset[CaseStatus]] = {
    CaseStatus.TRIAGE: frozenset({CaseStatus.ASSESSED, CaseStatus.DISMISSED, CaseStatus.MERGED}),
    CaseStatus.ASSESSED: frozenset(
        {CaseStatus.ASSESSED, CaseStatus.HANDLING, CaseStatus.DISMISSED, CaseStatus.MERGED}
    ),
    CaseStatus.HANDLING: frozenset({CaseStatus.RESPONDED, CaseStatus.DISMISSED, CaseStatus.MERGED}),
    CaseStatus.RESPONDED: frozenset({CaseStatus.WATCHING, CaseStatus.HANDLING}),
    CaseStatus.WATCHING: frozenset({CaseStatus.CLOSED, CaseStatus.HANDLING}),
    CaseStatus.CLOSED: frozenset({CaseStatus.ARCHIVED, CaseStatus.HANDLING}),
    CaseStatus.ARCHIVED: frozenset({CaseStatus.HANDLING}),
    CaseStatus.DISMISSED: frozenset({CaseStatus.TRIAGE}),
    CaseStatus.MERGED: frozenset(),
}

OPEN_CASE = frozenset(
    {
        CaseStatus.TRIAGE,
        CaseStatus.ASSESSED,
        CaseStatus.HANDLING,
        CaseStatus.RESPONDED,
        CaseStatus.WATCHING,
    }
)

DISMISS_REASONS: dict[str, str] = {
    "not_ours": "不属本单位职责，已转有关单位",
    "no_matter": "无实质内容（玩梗、广告、误判）",
    "duplicate": "与已办事项重复",
    "true_and_answered": "情况属实且已有权威发布",
    "below_threshold": "影响轻微，继续关注即可",
}


class CaseClass(StrEnum):
    """处置单类别: decides which clock runs."""

    OPINION = "opinion"
    POLICY = "policy"
    REQUEST = "request"
    MEDIA = "media"

    @property
    def label(self) -> str:
        return {
            "opinion": "舆情",
            "policy": "政策解读",
            "request": "依申请公开",
            "media": "媒体问询",
        }[self.value]


class AssignmentState(StrEnum):
    """分办状态. Signing for receipt is not reading and not doing."""

    SENT = "sent"
    RECEIVED = "received"
    REPLIED = "replied"
    ACCEPTED = "accepted"
    RETURNED = "returned"
    HANDED_BACK = "handed_back"
    REASSIGNED = "reassigned"

    @property
    def label(self) -> str:
        return {
            "sent": "待签收",
            "received": "已签收",
            "replied": "已反馈",
            "accepted": "审定通过",
            "returned": "退回补充",
            "handed_back": "退办",
            "reassigned": "改派",
        }[self.value]


ASSIGNMENT_MOVES: dict[AssignmentState, frozenset[AssignmentState]] = {
    AssignmentState.SENT: frozenset(
        {AssignmentState.RECEIVED, AssignmentState.HANDED_BACK, AssignmentState.REASSIGNED}
    ),
    AssignmentState.RECEIVED: frozenset(
        {AssignmentState.REPLIED, AssignmentState.HANDED_BACK, AssignmentState.REASSIGNED}
    ),
    AssignmentState.REPLIED: frozenset({AssignmentState.ACCEPTED, AssignmentState.RETURNED}),
    AssignmentState.RETURNED: frozenset({AssignmentState.REPLIED, AssignmentState.REASSIGNED}),
    AssignmentState.HANDED_BACK: frozenset(
        # ACCEPTED: the desk agrees that nothing more is to be done
        {AssignmentState.REASSIGNED, AssignmentState.ACCEPTED}
    ),
    AssignmentState.ACCEPTED: frozenset(),
    AssignmentState.REASSIGNED: frozenset(),
}


OPEN_ASSIGNMENT = frozenset(
    {
        AssignmentState.SENT,
        AssignmentState.RECEIVED,
        AssignmentState.REPLIED,
        AssignmentState.RETURNED,
        AssignmentState.HANDED_BACK,
    }
)
"""Somebody still owes something: the office, or the desk its decision."""

PARTS: dict[str, str] = {"lead": "牵头", "helper": "协办"}


class HelpState(StrEnum):
    """求助状态: a help call is not opinion; its clock runs in minutes."""

    NEW = "new"
    PASSED = "passed"
    ANSWERED = "answered"
    CLOSED = "closed"

    @property
    def label(self) -> str:
        return {"new": "新", "passed": "已转", "answered": "已回音", "closed": "已结"}[self.value]


HELP_MOVES: dict[HelpState, frozenset[HelpState]] = {
    HelpState.NEW: frozenset({HelpState.PASSED, HelpState.CLOSED}),
    HelpState.PASSED: frozenset({HelpState.ANSWERED, HelpState.PASSED, HelpState.CLOSED}),
    HelpState.ANSWERED: frozenset({HelpState.CLOSED, HelpState.PASSED}),
    HelpState.CLOSED: frozenset({HelpState.NEW}),
}

REPORT_STAGES: tuple[str, ...] = ("初报", "续报", "终报")

HELP_RECEIVERS: tuple[str, ...] = ("119", "110", "120", "应急管理局", "防汛办", "12345")

S = TypeVar("S", bound=StrEnum)


def move(moves: dict[S, frozenset[S]], now: S, to: S) -> S:
    """``to``, when the table has the move. Raises: IllegalTransition naming both states."""
    if to not in moves[now]:
        here, there = getattr(now, "label", now), getattr(to, "label", to)
        options = "、".join(sorted(getattr(s, "label", s) for s in moves[now])) or "无"
        raise IllegalTransition(f"当前为“{here}”，不能改为“{there}”；此时可以：{options}")
    return to


def case_number(short: str, year: int, n: int) -> str:
    """As 南气舆〔2026〕0012号."""
    return f"{short}舆〔{year}〕{n:04d}号"
