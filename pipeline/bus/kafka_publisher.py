"""Sending: durable and in order when it returns, bounded in memory and in time.

The kafka package has no bound of its own: towards a broker that has frozen it takes messages
until the memory is full. So what is under way is counted here, and a publisher waits while there
is too much. And after one refused record its idempotent producer refuses everything, for ever:
so after any failure the producer is thrown away and the next call makes a new one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from kafka import KafkaProducer  # type: ignore[import-untyped]
from kafka import errors as kafka_errors

from pipeline.bus.kafka_cluster import Cluster
from pipeline.errors import BadMessage, EngineDown

CHUNK_BYTES, CHUNK_RECORDS = 4_000_000, 5_000
WINDOW_BYTES = 16_000_000

_REFUSED = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidTimestampError,
    kafka_errors.InvalidRecordError,
    kafka_errors.CorruptRecordError,
    kafka_errors.PolicyViolationError,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One record as Kafka has it."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.key) + len(self.value) + sum(len(n) + len(v) for n, v in self.headers) + 100


class Publisher:
    """Thread-safe. ``window_bytes``: what all threads together may have under way."""

    def __init__(self, cluster: Cluster, *, window_bytes: int = WINDOW_BYTES) -> None:
        self._cluster = cluster
        self._window = _Window(window_bytes)
        self._producer: KafkaProducer | None = None
        self._lock = threading.Lock()

    def send(self, topic: str, rows: Sequence[Row]) -> None:
        """All copies of all rows are written, in this order per key, when it returns.

        Raises: EngineDown when that takes longer than two answers may take: then some of the
        rows may be there, send them all again; BadMessage when the broker refuses one.
        """
        deadline = time.monotonic() + 2 * self._cluster.answer_s
        name, parts = self._cluster.name(topic), self._cluster.partitions(topic)
        only = parts[0].partition if len(parts) == 1 else None  # no key need be hashed
        for chunk, size in _chunks(rows):
            with self._window.room(size, deadline):
                self._send(name, only, chunk, deadline)

    def close(self) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            _end(producer)

    def _send(self, name: str, only: int | None, rows: Sequence[Row], deadline: float) -> None:
        with self._cluster.errors():
            producer = self._connected(deadline)
            try:
                futures = [producer.send(name, r.value, r.key, r.headers, only) for r in rows]
                producer.flush(_left(deadline))
                for future in futures:
                    future.get(_left(deadline))
            except kafka_errors.KafkaError as error:
                self._discard(producer)
                reasons = (error, *(f.exception for f in futures if f.failed()))
                for reason in reasons:
                    if isinstance(reason, _REFUSED):
                        kind = type(reason).__name__
                        raise BadMessage(f"{name}: refused by the broker ({kind})") from reason
                raise

    def _connected(self, deadline: float) -> KafkaProducer:
        with self._lock:
            if self._producer is None:
                self._producer = self._cluster.connect(
                    KafkaProducer,
                    enable_idempotence=True,
                    acks="all",
                    compression_type="lz4",
                    linger_ms=20,
                    # below a broker's limit for a batch; while a full one waits, the package
                    # wakes its thread for every record that is added behind it
                    batch_size=900_000,
                    max_block_ms=int(self._cluster.answer_s * 1000),
                    delivery_timeout_ms=int(3 * self._cluster.answer_s * 1000),
                    metrics_enabled=False,
                    allow_auto_create_topics=False,
                )
            return self._producer

    def _discard(self, producer: KafkaProducer) -> None:
        with self._lock:
            if self._producer is producer:
                self._producer = None
        _end(producer)


class _Window:
    """How many bytes are under way; a full window makes its callers wait."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def room(self, size: int, deadline: float) -> Iterator[None]:
        with self._changed:
            fits = self._changed.wait_for(
                lambda: not self._used or self._used + size <= self._limit, _left(deadline)
            )
            if not fits:
                raise EngineDown("Kafka takes messages too slowly; publishing waits for it")
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


def _chunks(rows: Sequence[Row]) -> Iterator[tuple[list[Row], int]]:
    """Parts of the rows with their bytes."""
    chunk: list[Row] = []
    size = 0
    for row in rows:
        more = row.size
        if chunk and (size + more > CHUNK_BYTES or len(chunk) >= CHUNK_RECORDS):
            yield chunk, size
            chunk, size = [], 0
        chunk.append(row)
        size += more
    if chunk:
        yield chunk, size


def _end(producer: KafkaProducer) -> None:
    """Stop the producer's thread; what it still holds was reported as failed, or is sent."""
    producer._sender.force_close()  # close() alone would first wait for what cannot be sent
    with suppress(kafka_errors.KafkaError):
        producer.close(timeout=2)


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
