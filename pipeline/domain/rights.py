"""Roles and rights (岗位与权限). Checked inside every desk function, never only on a screen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import NotAllowed


class Role(StrEnum):
    """岗位."""

    DUTY = "duty"
    LEADER = "leader"
    OFFICE = "office"
    CHECKER = "checker"
    SECRECY = "secrecy"
    SIGNER = "signer"
    ADMIN = "admin"
    SECURITY = "security"
    AUDITOR = "auditor"

    @property
    def label(self) -> str:
        return {
            "duty": "值班员",
            "leader": "带班领导",
            "office": "科室",
            "checker": "业务核稿",
            "secrecy": "保密审查",
            "signer": "签发",
            "admin": "系统管理员",
            "security": "安全管理员",
            "auditor": "审计员",
        }[self.value]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person in a role, from some address; or the machine itself.

    ``office``: the actor's own office (科室), empty for the desk. ``origin``: network address.
    """

    user_id: int
    name: str
    role: Role | None
    office: str = ""
    origin: str = ""

    @property
    def is_machine(self) -> bool:
        return self.role is None


MACHINE = Actor(user_id=0, name="系统", role=None)

_DESK = frozenset({Role.DUTY, Role.LEADER})
_WORKERS = frozenset({Role.DUTY, Role.LEADER, Role.OFFICE, Role.CHECKER, Role.SECRECY, Role.SIGNER})

RIGHTS: dict[str, frozenset[Role]] = {
    # looking
    "see_board": _WORKERS,
    "see_case": _WORKERS,
    # alerts
    "claim_alert": _DESK,
    "shelve_alert": _DESK,
    "close_alert": _DESK,
    "silence_short": _DESK,
    "silence_long": frozenset({Role.LEADER}),
    # cases
    "open_case": _DESK,
    "assess_case": _DESK,
    "assess_major": frozenset({Role.LEADER}),
    "dismiss_case": _DESK,
    "merge_case": _DESK,
    "advance_case": _DESK,
    "close_case": _DESK,
    "reopen_case": _DESK,
    "assign": _DESK,
    "reassign": _DESK,
    "accept_reply": _DESK,
    "receive_assignment": frozenset({Role.OFFICE}),
    "hand_back": frozenset({Role.OFFICE}),
    "reply_assignment": frozenset({Role.OFFICE}),
    # clarifications
    "draft": frozenset({Role.DUTY, Role.LEADER, Role.OFFICE}),
    "check": frozenset({Role.CHECKER}),
    "secrecy": frozenset({Role.SECRECY}),
    "sign": frozenset({Role.SIGNER}),
    "release": frozenset({Role.DUTY, Role.LEADER, Role.SIGNER}),
    "correct": _DESK,
    "withdraw": frozenset({Role.LEADER, Role.SIGNER}),
    # help calls
    "pass_help": _DESK,
    "open_vault": _DESK,
    "hold_evidence": _DESK,
    "destroy_contacts": frozenset({Role.LEADER}),
    # reports and reviews
    "write_report": _DESK,
    "sign_report": frozenset({Role.LEADER}),
    "write_review": _DESK,
    "hand_over": _DESK,
    "correct_label": frozenset({Role.DUTY, Role.LEADER, Role.OFFICE, Role.CHECKER}),
    "settle_label": frozenset({Role.LEADER}),
    "edit_claims": frozenset({Role.DUTY, Role.LEADER, Role.CHECKER}),
    # three administrators, three people; none of them works on cases
    "manage_settings": frozenset({Role.ADMIN}),
    "use_model": frozenset({Role.LEADER, Role.ADMIN}),
    "manage_sources": frozenset({Role.ADMIN}),
    "retry_dead": frozenset({Role.ADMIN}),
    "manage_users": frozenset({Role.SECURITY}),
    "read_audit": frozenset({Role.AUDITOR}),
}


def may(actor: Actor, act: str) -> bool:
    """True when the actor's role has the right. The machine has none of them."""
    return actor.role is not None and actor.role in RIGHTS[act]


def require(actor: Actor, act: str) -> None:
    """Raises: NotAllowed when the actor's role has no right to the act."""
    if not may(actor, act):
        have = "、".join(sorted(r.label for r in RIGHTS[act]))
        who = actor.role.label if actor.role else "系统"
        raise NotAllowed(f"{who}无权进行此操作；请联系：{have}")
