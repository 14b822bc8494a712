"""One member of a consumer group.

Bytes only: a deserializer that raises would make the kafka package spin for ever. Commits are
made by hand, after the effect, and never for a partition that was taken away meanwhile.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Sequence
from typing import Any

from kafka import (  # type: ignore[import-untyped]
    ConsumerRebalanceListener,
    KafkaConsumer,
    OffsetAndMetadata,
    TopicPartition,
)
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.cooperative_sticky import (  # type: ignore[import-untyped]
    CooperativeStickyAssignor,
)

from pipeline.bus.base import Message
from pipeline.bus.kafka_cluster import Cluster, behind
from pipeline.bus.kafka_reader import to_message
from pipeline.errors import EngineDown, LostLease

_BYTES = 4 << 20
"""What is fetched ahead, all partitions together: about what a worker takes at once. Larger
helpings let partitions drift apart."""
_LEAST_BYTES = 1 << 20  # of a partition: the largest message there may be
_JOIN_S = 0.5  # and while it joins: shorter polls can cut the second round of joining for ever
_ROUND_S = 0.1  # the least time a poll takes when nothing comes: a broker's answer
_ALIVE_S = 2.0  # how often a member to whom nothing comes asks whether the brokers are there
_LEAVE_MS = 2000

_EXPELLED = (
    kafka_errors.CommitFailedError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.FencedInstanceIdError,
)


class Member(ConsumerRebalanceListener):  # type: ignore[misc]
    """A Consumer. Belongs to one thread; heartbeats are sent by a thread of its own.

    ``lease_s``: a member silent for so long loses its partitions. ``slow_s``: so does one that
    does not poll for so long.
    """

    def __init__(
        self, cluster: Cluster, group: str, topics: Sequence[str], *, lease_s: float, slow_s: float
    ) -> None:
        self._cluster = cluster
        self._group = group
        self._topics = tuple(topics)
        partitions = sum(len(cluster.partitions(topic)) for topic in topics)
        self._polled: set[TopicPartition] = set()  # since they became ours
        self._done: dict[TopicPartition, int] = {}
        self._rewind = False
        self._contact = time.monotonic()
        self._client = cluster.connect(
            KafkaConsumer,
            group_id=cluster.name(group),
            enable_auto_commit=False,  # on close it would commit what was only polled
            auto_offset_reset="earliest",
            partition_assignment_strategy=[CooperativeStickyAssignor],
            session_timeout_ms=int(lease_s * 1000),
            heartbeat_interval_ms=int(min(500, lease_s * 250)),
            max_poll_interval_ms=int(slow_s * 1000),
            max_partition_fetch_bytes=max(_LEAST_BYTES, _BYTES // partitions),
            metadata_max_age_ms=30_000,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        _keep_finished_joins(self._client._coordinator)
        self._client.subscribe([cluster.name(topic) for topic in topics], listener=self)

    def poll(self, limit: int = 500, timeout_s: float = 1.0) -> list[Message]:
        """Up to ``limit`` messages, those of several partitions merged by time."""
        least_s = _ROUND_S if self._has_joined() else _JOIN_S
        until = time.monotonic() + max(timeout_s, least_s)
        with self._cluster.errors():
            while (left := until - time.monotonic()) > 0:
                if self._rewind:
                    self._seek_back()
                wait_ms = int(min(left, 1.0) * 1000) + 1
                helping = self._client.poll(timeout_ms=wait_ms, max_records=limit)
                if helping:
                    self._contact = time.monotonic()
                    self._polled |= helping.keys()
                    pages = [
                        [to_message(record, self._cluster.topic(part.topic)) for record in page]
                        for part, page in helping.items()
                    ]
                    return list(heapq.merge(*pages, key=lambda message: message.at))
        if time.monotonic() - self._contact > _ALIVE_S:
            self._cluster.check(self._topics)  # silence may also mean that nobody is there
            self._contact = time.monotonic()
        return []

    def commit(self, messages: Iterable[Message]) -> None:
        """All of these are done.

        Raises: LostLease when a partition was taken away meanwhile; then nothing is committed.
        """
        upto: dict[TopicPartition, int] = {}
        for message in messages:
            part = TopicPartition(self._cluster.name(message.topic), message.partition)
            upto[part] = max(upto.get(part, 0), message.offset + 1)
        lost = sorted(
            f"{self._cluster.topic(p.topic)}/{p.partition}" for p in upto.keys() - self._polled
        )
        if lost:
            raise self._lost(f"another member took over {', '.join(lost)}")
        news = {part: after for part, after in upto.items() if after > self._done.get(part, -1)}
        if not news:
            return
        offsets = {part: OffsetAndMetadata(after, "", -1) for part, after in news.items()}
        with self._cluster.errors():
            try:
                self._client.commit(offsets, timeout_ms=self._cluster.answer_s * 1000)
            except _EXPELLED as error:
                raise self._lost(
                    f"the group went on without it ({type(error).__name__})"
                ) from error
        self._done.update(news)

    def rewind(self) -> None:
        """The next poll starts again after the last commit."""
        self._rewind = True

    def lag(self) -> int:
        """Before this member has got its share: what waits for the whole group."""
        parts = sorted(self._client.assignment())
        if not parts and not self._has_joined():
            return self._cluster.lag(self._group, self._topics)
        starts, ends = self._cluster.starts(parts), self._cluster.ends(parts)
        return behind(starts, ends, {part: self._committed(part) for part in parts})

    def close(self) -> None:
        """Leave the group, so that the others need not wait for the lease. Commits nothing."""
        try:
            self._client.close(autocommit=False, timeout_ms=_LEAVE_MS)
        except kafka_errors.KafkaError as error:
            raise EngineDown(f"{self._group}: left without telling the brokers") from error

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._forget(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._forget(revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._forget(lost)

    def _forget(self, parts: Iterable[TopicPartition]) -> None:
        for part in parts:
            self._polled.discard(part)
            self._done.pop(part, None)

    def _has_joined(self) -> bool:
        return str(self._client.group_metadata().state).upper().endswith("STABLE")

    def _lost(self, why: str) -> LostLease:
        self.rewind()
        return LostLease(f"{self._group}: too slow, {why}; the messages are handled again")

    def _committed(self, part: TopicPartition) -> int:
        if part not in self._done:
            with self._cluster.errors():
                wait_ms = self._cluster.answer_s * 1000
                self._done[part] = self._client.committed(part, timeout_ms=wait_ms) or 0
        return self._done[part]

    def _seek_back(self) -> None:
        for part in self._client.assignment():
            self._done.pop(part, None)
            after = self._committed(part)
            if after:
                self._client.seek(part, after)
            else:
                self._client.seek_to_beginning(part)
        self._rewind = False


def _keep_finished_joins(coordinator: Any) -> None:
    """Let a join that ended between two polls count.

    kafka-python 3.0.12 forgets its result and joins anew at the next poll. That starts another
    rebalance for everybody, and members whose polls are short may never settle. So the result
    is kept until it was taken, as long as it belongs to the member's present generation.
    """
    attempt, complete = coordinator._do_join_and_sync_async, coordinator._on_join_complete_async
    kept: list[tuple[object, bytes]] = []

    async def join() -> bytes:
        if kept and kept[0][0] == _generation(coordinator):
            return kept.pop()[1]
        kept.clear()
        assignment: bytes = await attempt()
        kept[:] = [(_generation(coordinator), assignment)]
        return assignment

    async def take(*arguments: Any) -> None:
        kept.clear()
        await complete(*arguments)

    coordinator._do_join_and_sync_async = join
    coordinator._on_join_complete_async = take


def _generation(coordinator: Any) -> tuple[int, str]:
    now = coordinator._generation
    return now.generation_id, now.member_id
