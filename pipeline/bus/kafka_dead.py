"""Dead letters on Kafka: the topic ``dead`` is a log of what happened to them.

A refused message is one record: its raw bytes as value, all else as headers. Its number is the
offset of the first such record, so it is small, unique and the same after any restart. The same
message refused again is another record with the same key; a handled letter is a record that says
so. The state of all letters is the sum of the log; ``forget`` cuts off the part at its beginning
that says nothing any more.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pipeline.bus.base import DeadLetter
from pipeline.bus.codec import MAX_BYTES
from pipeline.bus.kafka_cluster import Cluster
from pipeline.bus.kafka_publisher import Publisher, Row
from pipeline.bus.kafka_reader import kept_records, published_at
from pipeline.bus.topics import DEAD
from pipeline.errors import NotFound
from pipeline.posts_db import to_us

HANDLED_KEEP = timedelta(days=30)
_ERROR_CHARS = 4_000
_HANDLED = "handled"  # header of a mark: the number of the letter


class DeadLetters:
    """Every call reads the log; letters are few, or a person is already looking. Their number is
    asked for all the time, so ``count`` reads on from where it was.
    """

    def __init__(self, cluster: Cluster, publisher: Publisher) -> None:
        self._cluster = cluster
        self._publisher = publisher
        self._counting = threading.Lock()
        self._counted = 0  # offset up to which ``_waiting`` says who waits
        self._waiting: set[bytes] = set()

    def bury(self, letter: DeadLetter) -> None:
        """Keep a refused message. Of one too large for the topic only the beginning is kept."""
        error, value = letter.error, letter.value
        if len(value) > MAX_BYTES:
            error = f"{error} (the first {MAX_BYTES} of {len(value)} bytes are kept)"
        headers = {
            "topic": letter.topic,
            "partition": str(letter.partition),
            "offset": str(letter.offset),
            "key": letter.key,
            "stage": letter.stage,
            "error": error[-_ERROR_CHARS:],
            "tries": str(letter.tries),
            "at": str(to_us(letter.at)),
        }
        self._write(_digest(letter), value[:MAX_BYTES], headers)

    def all(self, *, include_handled: bool, limit: int) -> list[DeadLetter]:
        """Newest first."""
        letters = self._state().values()
        kept = [x for x in letters if include_handled or x.handled_at is None]
        return sorted(kept, key=lambda letter: letter.id, reverse=True)[:limit]

    def count(self) -> int:
        """How many wait."""
        (part,) = self._cluster.partitions(DEAD.name)
        with self._counting:
            end = self._cluster.ends([part])[part]
            if end < self._counted:  # the topic was made anew
                self._counted, self._waiting = 0, set()
            if end > self._counted:
                for _, record in kept_records(self._cluster, DEAD.name, start={0: self._counted}):
                    names = {name for name, _ in record.headers}
                    if _HANDLED in names:
                        self._waiting.discard(record.key)
                    elif "stage" in names:
                        self._waiting.add(record.key)
                    self._counted = record.offset + 1
            return len(self._waiting)

    def waiting(self, number: int) -> DeadLetter:
        """Raises: NotFound when there is no such letter, or it was handled."""
        letter = self._state().get(number)
        if letter is None or letter.handled_at is not None:
            raise NotFound(f"没有编号为 {number} 的待处理死信")
        return letter

    def mark_handled(self, letter: DeadLetter, now: datetime) -> None:
        headers = {_HANDLED: str(letter.id), "at": str(to_us(now))}
        self._write(_digest(letter), b"", headers)

    def forget(self, now: datetime) -> None:
        """Cut off the log before the oldest letter that waits or was handled in 30 days."""
        letters = self._state()
        if not letters:
            return
        kept = [
            number
            for number, letter in letters.items()
            if letter.handled_at is None or letter.handled_at > now - HANDLED_KEEP
        ]
        (part,) = self._cluster.partitions(DEAD.name)
        first = min(kept, default=max(letters) + 1)
        if first > self._cluster.starts([part])[part]:
            self._cluster.forget_before(part, first)

    def _write(self, key: bytes, value: bytes, headers: dict[str, str]) -> None:
        raw = [(name, text.encode("utf-8", "replace")) for name, text in headers.items()]
        self._publisher.send(DEAD.name, [Row(key, value, raw)])

    def _state(self) -> dict[int, DeadLetter]:
        """Number -> letter, summed up from the log."""
        letters: dict[int, DeadLetter] = {}
        waiting: dict[bytes, int] = {}
        for at, record in kept_records(self._cluster, DEAD.name):
            headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
            if _HANDLED in headers:
                number = int(headers[_HANDLED])
                if number in letters:
                    letters[number] = replace(letters[number], handled_at=at)
                waiting.pop(record.key, None)
            elif "stage" in headers:
                letter = _letter(record, headers)
                known = letters.get(waiting.setdefault(record.key, letter.id))
                if known is not None:
                    tries = known.tries + letter.tries
                    letter = replace(letter, id=known.id, tries=tries)
                letters[letter.id] = letter
        return letters


def _letter(record: Any, headers: dict[str, str]) -> DeadLetter:
    return DeadLetter(
        id=record.offset,
        topic=headers["topic"],
        partition=int(headers["partition"]),
        offset=int(headers["offset"]),
        key=headers["key"],
        value=record.value or b"",
        stage=headers["stage"],
        error=headers["error"],
        tries=int(headers["tries"]),
        at=published_at(record),
    )


def _digest(letter: DeadLetter) -> bytes:
    """The same message refused by the same stage has the same digest."""
    place = f"{letter.topic}\0{letter.partition}\0{letter.offset}\0{letter.stage}\0{letter.key}"
    seed = place.encode("utf-8", "replace") + b"\0" + letter.value[:MAX_BYTES]
    return hashlib.sha256(seed).hexdigest().encode()
