"""Reading kept messages outside any group: for replay, and for the dead letters.

The partitions of a topic are merged by the time of publishing, so that a replay meets messages
in nearly the order in which they came: exactly so within a partition.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Set
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
_HELPING = 10_000  # more records than a partition gives at a time


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
        enable_incremental_fetch_sessions=False,  # the partitions change with every fetch
        metrics_enabled=False,
    )
    try:
        with cluster.errors():
            if from_ms is not None:
                wanted = dict.fromkeys(parts, from_ms)
                found = client.offsets_for_times(wanted, timeout_ms=cluster.answer_s * 1000)
                starts = {p: found[p].offset if found.get(p) else ends[p] for p in parts}
            spans = {p: (max(starts[p], start.get(p.partition, 0)), ends[p]) for p in parts}
            yield from _merged(client, spans, cluster.answer_s)
    finally:
        client.close(timeout_ms=2000)


def _merged(
    client: KafkaConsumer, spans: Mapping[TopicPartition, tuple[int, int]], patience_s: float
) -> Iterator[tuple[datetime, Any]]:
    """``spans``: partition -> first offset and the one after the last."""
    position = {part: first for part, (first, end) in spans.items() if first < end}
    held: dict[TopicPartition, deque[tuple[datetime, Any]]] = {p: deque() for p in position}
    while position or any(held.values()):
        hungry = {part for part in position if not held[part]}
        if hungry:
            _fetch(client, hungry, position, held, patience_s)
            for part in [p for p in position if position[p] >= spans[p][1]]:
                del position[part]
            continue
        part = min((p for p in held if held[p]), key=lambda p: held[p][0][0])
        at, record = held[part].popleft()
        if record.offset < spans[part][1]:
            yield at, record


def _fetch(
    client: KafkaConsumer,
    hungry: Set[TopicPartition],
    position: dict[TopicPartition, int],
    held: Mapping[TopicPartition, deque[tuple[datetime, Any]]],
    patience_s: float,
) -> None:
    """One more helping for some partitions. The others are not even assigned meanwhile: what
    the package holds for a paused partition can keep it from giving out anything else.
    """
    client.assign(sorted(hungry))
    for part in hungry:
        client.seek(part, position[part])
    until = time.monotonic() + patience_s
    while not (helping := client.poll(timeout_ms=200, max_records=_HELPING)):
        for part in hungry:  # the end may be marks that are no records
            reached = client.position(part, timeout_ms=200) or 0
            if reached > position[part]:
                position[part] = reached
                return
        if time.monotonic() > until:
            raise EngineDown("Kafka stopped answering in the middle of a replay; start it again")
    for part, records in helping.items():
        held[part].extend((published_at(record), record) for record in records)
        position[part] = records[-1].offset + 1
