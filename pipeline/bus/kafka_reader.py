"""Reading kept messages outside any group: for replay, and for the dead letters.

The partitions of a topic are merged by the time of publishing, so that a replay meets messages
in nearly the order in which they came: exactly so within a partition.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped]

from pipeline.bus.base import Message
from pipeline.bus.kafka_cluster import Cluster
from pipeline.errors import EngineDown
from pipeline.posts_db import from_us

AT = "at"  # header: when the publisher's clock said the message was published, microseconds
_AHEAD = 2_000  # records held per partition while another one is fetched


def to_message(record: Any, topic: str) -> Message:
    """A record of the kafka package as our Message."""
    return Message(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        key=(record.key or b"").decode("utf-8", "replace"),
        value=record.value or b"",
        at=published_at(record),
    )


def published_at(record: Any) -> datetime:
    """By the publisher's clock (which a drill plays); a foreign publisher's by the broker's."""
    for name, value in record.headers:
        if name == AT and value.isdigit():
            with suppress(OverflowError):
                return from_us(int(value))
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)


def kept_records(
    cluster: Cluster,
    topic: str,
    *,
    from_ms: int | None = None,
    start: Mapping[int, int] = MappingProxyType({}),
) -> Iterator[tuple[datetime, Any]]:
    """(time, record) of what a topic holds now, merged.

    ``from_ms``: broker time to start at; ``start``: partition -> first offset.

    Raises: EngineDown.
    """
    parts = cluster.partitions(topic)
    starts, ends = cluster.starts(parts), cluster.ends(parts)
    client = cluster.connect(
        KafkaConsumer,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        metrics_enabled=False,
    )
    try:
        with cluster.errors():
            client.assign(list(parts))
            if from_ms is not None:
                wanted = dict.fromkeys(parts, from_ms)
                found = client.offsets_for_times(wanted, timeout_ms=cluster.answer_s * 1000)
                starts = {p: found[p].offset if found.get(p) else ends[p] for p in parts}
            starts = {p: max(starts[p], start.get(p.partition, 0)) for p in parts}
            for part in parts:
                client.seek(part, starts[part])
            todo = {part: ends[part] for part in parts if starts[part] < ends[part]}
            yield from _merged(client, todo, cluster)
    finally:
        client.close(timeout_ms=2000)


def _merged(
    client: KafkaConsumer, todo: Mapping[TopicPartition, int], cluster: Cluster
) -> Iterator[tuple[datetime, Any]]:
    held: dict[TopicPartition, deque[tuple[datetime, Any]]] = {part: deque() for part in todo}
    unread = set(todo)
    while unread or any(held.values()):
        while any(not held[part] for part in unread):
            unread -= _fetch(client, todo, held, unread, cluster)
        part = min((p for p in held if held[p]), key=lambda p: held[p][0][0], default=None)
        if part is not None:
            yield held[part].popleft()


def _fetch(
    client: KafkaConsumer,
    todo: Mapping[TopicPartition, int],
    held: Mapping[TopicPartition, deque[tuple[datetime, Any]]],
    unread: set[TopicPartition],
    cluster: Cluster,
) -> set[TopicPartition]:
    """One more helping for the partitions that have none; returns those that are at their end."""
    full = [p for p in held if p not in unread or len(held[p]) >= _AHEAD]
    client.pause(*full)
    client.resume(*(p for p in held if p not in full))
    until = time.monotonic() + cluster.answer_s
    ended: set[TopicPartition] = set()
    while not ended:
        helping = client.poll(timeout_ms=200, max_records=1000)
        for part, got in helping.items():
            held[part].extend((published_at(r), r) for r in got if r.offset < todo[part])
        # the position also passes marks that are no records
        ended = {p for p in unread if (client.position(p, timeout_ms=200) or 0) >= todo[p]}
        if helping:
            break
        if time.monotonic() > until:
            raise EngineDown("Kafka stopped answering in the middle of a replay; start it again")
    return ended
