"""The bus of the distributed profile: Apache Kafka by way of kafka-python.

One publisher and one admin connection per bus, made at first use; every consumer and every
replay has its own. What fails says so within two ``answer_s`` as EngineDown and may simply be
called again. See docs/reliability.md for what was measured when brokers freeze and die.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from weakref import WeakSet

from pipeline.bus.base import DeadLetter, Message, Record
from pipeline.bus.codec import MAX_BYTES
from pipeline.bus.kafka_cluster import Cluster
from pipeline.bus.kafka_dead import DeadLetters
from pipeline.bus.kafka_member import Member
from pipeline.bus.kafka_publisher import WINDOW_BYTES, Publisher, Row
from pipeline.bus.kafka_reader import AT, kept_records, to_message
from pipeline.bus.kafka_security import Security
from pipeline.bus.topics import TOPICS, Topic
from pipeline.clock import Clock, WallClock
from pipeline.errors import BadMessage, EngineDown
from pipeline.posts_db import to_us

MAX_KEY = 10_000
_CLOCK_SKEW = timedelta(minutes=2)  # between our machines and the brokers


class KafkaBus:
    """The Bus of the distributed profile. Thread-safe.

    ``servers``: ``host:port`` of some brokers. ``clock`` says when a message was published;
    the brokers' own clock decides how long it is kept. ``prefix``: stands before the names of
    topics and groups. ``lease_s``: a member silent for so long loses its partitions, as does one
    that does not poll for ``slow_s``. ``answer_s``: how long a broker may take to answer.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        clock: Clock | None = None,
        topics: Mapping[str, Topic] = TOPICS,
        replication: int = 1,
        prefix: str = "",
        lease_s: float = 10.0,
        slow_s: float = 300.0,
        answer_s: float = 10.0,
        window_bytes: int = WINDOW_BYTES,
        security: Security = Security(),  # noqa: B008 - it is frozen
    ) -> None:
        self._clock = clock or WallClock()
        self._lease_s, self._slow_s = lease_s, slow_s
        self._cluster = Cluster(
            servers,
            topics=topics,
            replication=replication,
            prefix=prefix,
            answer_s=answer_s,
            security=security,
        )
        self._publisher = Publisher(self._cluster, window_bytes=window_bytes)
        self._dead = DeadLetters(self._cluster, self._publisher)
        self._members: WeakSet[Member] = WeakSet()

    def publish(self, topic: str, records: Sequence[Record]) -> None:
        """On all copies, in this order per key, when it returns.

        Raises: EngineDown, and then some may be there already: publish all of them again;
        BadMessage when a value is larger than 900,000 bytes or a key than 10,000: none is sent.
        """
        stamp = [(AT, b"%d" % to_us(self._clock.now()))]
        rows = [Row(r.key.encode("utf-8", "replace"), r.value, stamp) for r in records]
        for row in rows:
            if len(row.value) > MAX_BYTES:
                raise BadMessage(f"{topic}: a message of {len(row.value)} bytes is too large")
            if len(row.key) > MAX_KEY:
                raise BadMessage(f"{topic}: a key of {len(row.key)} bytes is too large")
        if rows:
            self._publisher.send(topic, rows)

    def consumer(self, group: str, topics: Sequence[str]) -> Member:
        """Join a group; a new group starts at the oldest kept message.

        The member gets its share while it polls, when those who have it poll or are dead.
        """
        member = Member(self._cluster, group, topics, lease_s=self._lease_s, slow_s=self._slow_s)
        self._members.add(member)
        return member

    def read(
        self,
        topic: str,
        *,
        since: datetime | None = None,
        start: Mapping[int, int] | None = None,
        limit: int | None = None,
    ) -> Iterator[Message]:
        """What the topic holds at the time of the call, merged by the time of publishing."""
        if limit is not None and limit <= 0:
            return
        from_ms = None
        if since is not None and isinstance(self._clock, WallClock):
            # a drill's clock says nothing about the brokers' time
            from_ms = max(0, int((since - _CLOCK_SKEW).timestamp() * 1000))
        left = limit
        for at, record in kept_records(self._cluster, topic, from_ms=from_ms, start=start or {}):
            if since is not None and at < since:
                continue
            yield to_message(record, topic)
            if left is not None:
                left -= 1
                if left == 0:
                    return

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """Kept messages of these topics that the group has not committed."""
        return self._cluster.lag(group, topics)

    def bury(self, letter: DeadLetter) -> None:
        """Keep a refused message. The same one again counts as another try, not as a second."""
        self._dead.bury(letter)

    def dead(self, *, include_handled: bool = False, limit: int = 1000) -> list[DeadLetter]:
        """Dead letters, newest first."""
        return self._dead.all(include_handled=include_handled, limit=limit)

    def dead_count(self) -> int:
        """Dead letters that wait for somebody. After the first time one question to a broker."""
        return self._dead.count()

    def retry(self, letter_id: int, now: datetime) -> None:
        """Publish a dead letter again, then mark it handled.

        After a failure between the two it still waits; a second retry only repeats the message.

        Raises: NotFound when there is no such waiting letter.
        """
        letter = self._dead.waiting(letter_id)
        self.publish(letter.topic, [Record(letter.key, letter.value)])
        self._dead.mark_handled(letter, now)

    def prune(self, now: datetime) -> int:
        """Forgets handled dead letters. Returns 0: of all else the brokers do the retention."""
        self._dead.forget(now)
        return 0

    def forget_everything(self) -> None:
        """Delete every topic of ours, for a bench that had names of its own."""
        self._cluster.forget_everything()

    def close(self) -> None:
        """End every connection and thread, also of consumers that were not closed."""
        for member in list(self._members):
            with suppress(EngineDown):
                member.close()
        self._publisher.close()
        self._cluster.close()
