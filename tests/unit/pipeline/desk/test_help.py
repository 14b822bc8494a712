"""Help calls and the vault."""

from __future__ import annotations

import base64

import pytest
from sqlalchemy import insert

from pipeline.desk import help as calls
from pipeline.desk.help import Vault
from pipeline.domain.rights import MACHINE
from pipeline.errors import DeskError, IllegalTransition, MissingFields, NotAllowed, NotFound
from pipeline.store import tables as t
from tests.unit.pipeline.desk.world import BGS, DUTY, LEADER, World

VAULT = Vault(b"k" * 32)
PHONE = "13812345678"


def with_contact(world: World) -> int:
    number = world.help_call()
    sealed = base64.urlsafe_b64decode(VAULT.seal(PHONE))  # as the alert stage keeps it
    row = {"help_call_id": number, "ciphertext": sealed, "created_at": world.now}
    world.tx(lambda tx: tx.conn.execute(insert(t.vault), row))
    return number


def test_the_way_of_a_help_call(world: World) -> None:
    number = world.help_call()
    world.do(calls.pass_on, DUTY, number, "119", "电话已通")
    world.do(calls.answer, DUTY, number, "消防已到场")
    world.do(calls.close_help, DUTY, number, "人员已脱困")
    row = world.one(t.help_calls)
    assert (row["state"], row["passed_to"], row["passed_at"]) == ("closed", "119", world.now)
    world.do(calls.reopen_help, DUTY, number)
    assert world.one(t.help_calls)["state"] == "new"


def test_an_answer_needs_somebody_it_was_passed_to(world: World) -> None:
    number = world.help_call()
    with pytest.raises(IllegalTransition):
        world.do(calls.answer, DUTY, number, "?")
    with pytest.raises(MissingFields, match="转给谁"):
        world.do(calls.pass_on, DUTY, number, "")


def test_the_vault_opens_with_a_reason_and_leaves_a_line(world: World) -> None:
    number = with_contact(world)
    with pytest.raises(MissingFields, match="原因"):
        world.do(calls.open_vault, DUTY, number, " ", VAULT)
    with pytest.raises(NotAllowed):
        world.do(calls.open_vault, BGS, number, "看看", VAULT)
    assert world.chain() == 0
    assert world.do(calls.open_vault, DUTY, number, "联系求助人", VAULT) == PHONE
    line = world.one(t.audit)
    assert (line["act"], line["after"]["reason"]) == ("open_vault", "联系求助人")
    assert all(PHONE.encode() not in o["value"] for o in world.all(t.outbox))


def test_another_key_opens_nothing(world: World) -> None:
    number = with_contact(world)
    with pytest.raises(DeskError, match="密钥不符"):
        world.do(calls.open_vault, DUTY, number, "联系求助人", Vault(b"x" * 32))


def test_sealing_hides_and_opening_restores() -> None:
    sealed = VAULT.seal(PHONE)
    assert PHONE not in sealed and sealed != VAULT.seal(PHONE)
    assert VAULT.open(sealed) == VAULT.open(sealed.encode()) == PHONE
    broken = sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:]
    with pytest.raises(DeskError):
        VAULT.open(broken)


def test_contacts_are_destroyed_after_the_emergency_unless_held(world: World) -> None:
    number = with_contact(world)
    with pytest.raises(IllegalTransition, match="尚未办结"):
        world.do(calls.destroy_contacts, LEADER, number)
    world.do(calls.close_help, DUTY, number, "已脱困")
    with pytest.raises(NotAllowed):
        world.do(calls.destroy_contacts, DUTY, number)
    world.do(calls.hold_as_evidence, DUTY, number, "公安机关调取")
    with pytest.raises(IllegalTransition, match="公安机关调取"):
        world.do(calls.destroy_contacts, MACHINE, number)
    world.tx(lambda tx: tx.conn.execute(t.vault.update().values(held_reason="")))
    world.do(calls.destroy_contacts, MACHINE, number)
    assert world.one(t.vault)["ciphertext"] is None
    with pytest.raises(NotFound, match="销毁"):
        world.do(calls.open_vault, DUTY, number, "再看看", VAULT)
