"""How messages move: the Bus protocol and the envelope.

A bus is a set of topics; a topic is a set of partitions; a partition keeps its messages in
order. Messages with one key share a partition. Everything may arrive twice: a consumer commits
after its effect, so handlers are idempotent by natural key.

Threading: a Bus may be shared between threads for publishing; a Consumer belongs to one thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec


class Record(msgspec.Struct, frozen=True):
    """What is handed to ``publish``: a key and the encoded envelope."""

    key: str
    value: bytes


class Message(msgspec.Struct, frozen=True):
    """What ``poll`` returns. ``value``: the raw bytes; ``at``: when the bus took it (UTC)."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be handled, with what an operator needs to decide.

    ``id``: number for ``tingfeng dead show|retry``. ``handled_at``: when it was retried or
    dismissed, None while it waits.
    """

    id: int
    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    stage: str
    error: str
    tries: int
    at: datetime
    handled_at: datetime | None = None


class Envelope(msgspec.Struct, frozen=True):
    """The outer form of every message.

    ``schema``: name and major version, as ``alert/1``. ``id``: UUID version 7. ``at``: UTC.
    ``cause``: id of the message or act behind it. Readers accept unknown fields and refuse an
    unknown major.
    """

    schema: str
    id: str
    at: datetime
    body: msgspec.Raw
    cause: str = ""


class Consumer(Protocol):
    """One member of a group. It sees each message of its partitions in order."""

    def poll(self, limit: int = 500, timeout_s: float = 1.0) -> list[Message]:
        """Up to ``limit`` messages after the last polled; empty when none came in time.

        Raises: EngineDown when the bus does not answer.
        """

    def commit(self, messages: Iterable[Message]) -> None:
        """All of these, and what came before them in their partitions, are done."""

    def rewind(self) -> None:
        """Forget what was polled and not committed: the next poll returns it again."""

    def lag(self) -> int:
        """Messages not yet committed in the partitions of this member, >= 0."""

    def close(self) -> None:
        """Give the partitions back. Commits nothing."""


class Bus(Protocol):
    """Durable topics with keys, offsets and groups."""

    def publish(self, topic: str, records: Sequence[Record]) -> None:
        """Durable, in this order, when it returns. Raises: EngineDown, BadMessage (too large)."""

    def consumer(self, group: str, topics: Sequence[str]) -> Consumer:
        """Join a group. A new group starts at the oldest kept message."""

    def read(
        self,
        topic: str,
        *,
        since: datetime | None = None,
        start: Mapping[int, int] | None = None,
        limit: int | None = None,
    ) -> Iterable[Message]:
        """Kept messages from the oldest on, outside any group: for replay.

        ``since``: only those published then or later. ``start``: partition -> first offset; a
        partition that is not named begins at its oldest message.
        """

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """Messages of these topics that the group has not committed, >= 0."""

    def bury(self, letter: DeadLetter) -> None:
        """Put a message into the dead letters (``id`` is given by the bus)."""

    def dead(self, *, include_handled: bool = False, limit: int = 1000) -> list[DeadLetter]:
        """Dead letters, newest first."""

    def dead_count(self) -> int:
        """Dead letters that wait for somebody, >= 0."""

    def retry(self, letter_id: int, now: datetime) -> None:
        """Publish a dead letter to its topic again and mark it handled. Raises: NotFound."""

    def prune(self, now: datetime) -> int:
        """Retention: forget messages older than their topic keeps; returns how many."""

    def close(self) -> None: ...


def uuid7(now: datetime | None = None) -> str:
    """A UUID version 7 (RFC 9562): 48 bits of milliseconds, then random bits."""
    millis = int((now.timestamp() if now else time.time()) * 1000) & ((1 << 48) - 1)
    rand = os.urandom(10)
    h = (bytes((0x70 | rand[0] & 0x0F, rand[1], 0x80 | rand[2] & 0x3F)) + rand[3:]).hex()
    return f"{millis >> 16:08x}-{millis & 0xFFFF:04x}-{h[:4]}-{h[4:8]}-{h[8:]}"


_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(Envelope)


def encode(schema: str, body: Any, at: datetime, *, cause: str = "", message_id: str = "") -> bytes:
    """The bytes of one message. ``body``: dataclass, dict or list that JSON can say."""
    raw = msgspec.Raw(_encoder.encode(body))
    return _encoder.encode(
        Envelope(
            schema=schema, id=message_id or uuid7(at), at=at.astimezone(UTC), body=raw, cause=cause
        )
    )


def decode_envelope(value: bytes) -> Envelope:
    """The envelope of some bytes. Raises: BadMessage."""
    from pipeline.errors import BadMessage

    try:
        return _envelope.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadMessage(f"not an envelope: {error}") from error
