"""Help calls (求助): passed on within minutes; contacts stay in a vault that is opened with a
reason and emptied when the emergency is over (突发事件应对法 84, 85)."""

from __future__ import annotations

import base64
import binascii
import os
from contextlib import suppress
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select

from pipeline.desk import clocks
from pipeline.desk.guard import Act, Row, change, load, need, record, rows
from pipeline.domain.case import HELP_MOVES, HelpState, move
from pipeline.domain.post import mask
from pipeline.domain.rights import Actor, require
from pipeline.errors import DeskError, IllegalTransition, NotFound
from pipeline.store import tables as t
from pipeline.store.sql import Tx


class Vault:
    """Seals contacts with AES-256-GCM. ``key``: 32 bytes, kept outside the database."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, text: str) -> str:
        """Ciphertext as urlsafe base64; sealing twice gives two texts."""
        nonce = os.urandom(12)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), None)
        return base64.urlsafe_b64encode(sealed).decode()

    def open(self, ciphertext: str | bytes) -> str:
        """The text again, from ``seal``'s text or its decoded bytes.

        Raises: DeskError when the key is another one or the bytes were changed.
        """
        for raw in _readings(ciphertext):
            try:
                return self._cipher.decrypt(raw[:12], raw[12:], None).decode()
            except (InvalidTag, ValueError):
                continue
        raise DeskError("无法解开联系方式：密钥不符或数据被改动，请联系系统管理员核对保险箱密钥")


def _readings(ciphertext: str | bytes) -> list[bytes]:
    data = ciphertext.encode() if isinstance(ciphertext, str) else bytes(ciphertext)
    readings = [data]
    with suppress(binascii.Error, ValueError):
        readings.append(base64.urlsafe_b64decode(data))
    return [r for r in readings if len(r) > 12]


def _load(tx: Tx, help_id: int) -> Row:
    return load(tx.conn, t.help_calls, help_id, "求助")


def _move(row: Row, to: HelpState) -> str:
    return move(HELP_MOVES, HelpState(row["state"]), to).value


def _act(row: Row, name: str, fact: str, text: str, **after: Any) -> Act:
    return Act(
        name,
        fact,
        "help",
        row["id"],
        text,
        before={"state": row["state"], "passed_to": row["passed_to"]},
        after=after,
        data={"place": row["place_name"], "adcode": row["adcode"], **after},
    )


def pass_on(tx: Tx, actor: Actor, help_id: int, to: str, note: str = "") -> None:
    """转办: to whom it was passed; again when nobody came."""
    require(actor, "pass_help")
    need(to=(to, "转给谁（如 119、110、应急管理局）"))
    row = _load(tx, help_id)
    state = _move(row, HelpState.PASSED)
    change(
        tx,
        t.help_calls,
        row,
        state=state,
        passed_to=to.strip()[:64],
        passed_at=tx.now,
        passed_by=actor.name,
    )
    clocks.meet(tx, "help", help_id, "pass_on")
    text = f"{actor.name}将求助（{row['place_name'] or '地点不详'}）转{to.strip()}"
    note = mask(note.strip())[0]
    text += f"：{note}" if note else ""
    record(tx, actor, _act(row, "pass_help", "help_passed", text, state=state, to=to.strip()))


def answer(tx: Tx, actor: Actor, help_id: int, text: str) -> None:
    """回音: what the receiver said."""
    require(actor, "pass_help")
    need(text=(text, "回音内容"))
    row = _load(tx, help_id)
    state = _move(row, HelpState.ANSWERED)
    said = mask(text.strip())[0]
    change(tx, t.help_calls, row, state=state, answer=said, answered_at=tx.now)
    line = f"{row['passed_to']}回音（{row['place_name'] or '地点不详'}）：{said}"
    record(tx, actor, _act(row, "answer_help", "help_answered", line, state=state))


def close_help(tx: Tx, actor: Actor, help_id: int, reason: str) -> None:
    """办结: the emergency is over; the vault is emptied soon after unless held."""
    require(actor, "pass_help")
    need(reason=(reason, "办结说明"))
    row = _load(tx, help_id)
    state = _move(row, HelpState.CLOSED)
    said = mask(reason.strip())[0]
    change(tx, t.help_calls, row, state=state, closed_at=tx.now, close_reason=said)
    clocks.cancel(tx, "help", help_id)
    line = f"{actor.name}办结求助（{row['place_name'] or '地点不详'}）：{said}"
    record(tx, actor, _act(row, "close_help", "help_closed", line, state=state))


def reopen_help(tx: Tx, actor: Actor, help_id: int, reason: str = "") -> None:
    """Closed by mistake, or the emergency is back: new again, its clock starts anew."""
    require(actor, "pass_help")
    row = _load(tx, help_id)
    state = _move(row, HelpState.NEW)
    change(tx, t.help_calls, row, state=state, closed_at=None, close_reason="")
    line = f"{actor.name}重开求助（{row['place_name'] or '地点不详'}）"
    line += f"：{mask(reason.strip())[0]}" if reason.strip() else ""
    record(tx, actor, _act(row, "reopen_help", "help_reopened", line, state=state))


# ---- the vault ----------------------------------------------------------------------------


def _sealed(tx: Tx, help_id: int) -> list[Row]:
    v = t.vault.c
    return rows(tx.conn, select(t.vault).where(v.help_call_id == help_id).order_by(v.id))


def open_vault(tx: Tx, actor: Actor, help_id: int, reason: str, vault: Vault) -> str:
    """The contacts of a help call; the look and its reason are one audit line.

    Raises: NotFound when there is none or it was destroyed.
    """
    require(actor, "open_vault")
    need(reason=(reason, "查看联系方式的原因"))
    row = _load(tx, help_id)
    kept = _sealed(tx, help_id)
    alive = [k["ciphertext"] for k in kept if k["ciphertext"] is not None]
    if not alive:
        raise NotFound("联系方式已按规定销毁" if kept else "此求助没有留下联系方式")
    contacts = "\n".join(vault.open(c) for c in alive)
    line = f"{actor.name}查看求助联系方式（第 {help_id} 号）"
    record(tx, actor, _act(row, "open_vault", "vault_opened", line, reason=mask(reason.strip())[0]))
    return contacts


def hold_as_evidence(tx: Tx, actor: Actor, help_id: int, reason: str) -> None:
    """Keep the contacts although the emergency is over, with the written reason."""
    require(actor, "hold_evidence")
    need(reason=(reason, "留作证据的书面理由"))
    row = _load(tx, help_id)
    alive = [k for k in _sealed(tx, help_id) if k["ciphertext"] is not None]
    if not alive:
        raise NotFound("没有可留存的联系方式")
    for item in alive:
        change(tx, t.vault, item, held_reason=f"{actor.name}：{reason.strip()}")
    line = f"{actor.name}将联系方式留作证据（第 {help_id} 号）：{reason.strip()}"
    record(tx, actor, _act(row, "hold_evidence", "contacts_held", line, held=reason.strip()))


def destroy_contacts(tx: Tx, actor: Actor, help_id: int) -> None:
    """Empty the vault of a closed call. A leader may; the machine does it by itself.

    Raises: IllegalTransition while the call is open or the contacts are held as evidence.
    """
    if not actor.is_machine:
        require(actor, "destroy_contacts")
    row = _load(tx, help_id)
    if row["state"] != HelpState.CLOSED:
        raise IllegalTransition("求助尚未办结，不能销毁联系方式")
    alive = [k for k in _sealed(tx, help_id) if k["ciphertext"] is not None]
    if not alive:
        raise NotFound("没有可销毁的联系方式")
    if any(k["held_reason"] for k in alive):
        raise IllegalTransition(f"联系方式已留作证据（{alive[0]['held_reason']}），不能销毁")
    for item in alive:
        change(tx, t.vault, item, ciphertext=None, destroyed_at=tx.now)
    line = f"求助联系方式已销毁（第 {help_id} 号）"
    act = _act(row, "destroy_contacts", "contacts_destroyed", line, destroyed=len(alive))
    record(tx, actor, act)
