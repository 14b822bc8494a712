"""What the system administrator does: send a failed notice again, retry a dead letter."""

from __future__ import annotations

from pipeline.bus.base import Bus
from pipeline.desk.guard import Act, change, load, record
from pipeline.domain.rights import Actor, require
from pipeline.errors import IllegalTransition
from pipeline.store import tables as t
from pipeline.store.sql import Tx


def retry_delivery(tx: Tx, actor: Actor, delivery_id: int) -> None:
    """A failed notice waits again and goes out at the next turn. Raises: IllegalTransition."""
    require(actor, "manage_settings")
    row = load(tx.conn, t.deliveries, delivery_id, "通知")
    if row["state"] not in ("failed", "given_up"):
        raise IllegalTransition("这条通知没有失败，无需重发")
    change(tx, t.deliveries, row, state="waiting", not_before=tx.now)
    text = f"{actor.name}重发给{row['receiver']}的通知“{row['title']}”"
    act = Act("retry_delivery", "delivery_retried", "delivery", delivery_id, text)
    record(tx, actor, act)


def retry_dead(tx: Tx, actor: Actor, bus: Bus, letter_id: int) -> None:
    """Publish a dead letter to its topic again. Raises: NotFound.

    Handlers know a message that they have seen, so a crash between the two stores is harmless.
    """
    require(actor, "retry_dead")
    bus.retry(letter_id, tx.now)
    text = f"{actor.name}重投死信 {letter_id}"
    record(tx, actor, Act("retry_dead", "dead_retried", "dead_letter", letter_id, text))
