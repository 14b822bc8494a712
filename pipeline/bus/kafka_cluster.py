"""The brokers: connections, topics and offsets, with every failure as one sentence.

Topics are made at first use as ``pipeline/bus/topics.py`` says. None is compacted: every message
is a fact of its own, not the latest state of its key. Brokers stamp the messages
(``LogAppendTime``), because a producer's wrong or played clock must neither end a message early
nor make the broker refuse it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

from kafka import KafkaAdminClient, TopicPartition  # type: ignore[import-untyped]
from kafka import errors as kafka_errors
from kafka.admin import NewTopic, OffsetSpec  # type: ignore[import-untyped]
from kafka.net.compat import KafkaNetClient  # type: ignore[import-untyped]

from pipeline.bus.kafka_security import Security, watch
from pipeline.bus.topics import Topic
from pipeline.errors import EngineDown

OLDEST = (3, 0)  # what kafka-python's group protocol and our offset calls were tested down to
MAX_RECORD = 1_048_588  # bytes of one batch that a broker takes; its usual limit, said outright
_TIME_IS_UP = (kafka_errors.KafkaTimeoutError, kafka_errors.RequestTimedOutError)
_PASSING = (
    kafka_errors.CoordinatorNotAvailableError,
    kafka_errors.CoordinatorLoadInProgressError,
    kafka_errors.NotCoordinatorError,
    kafka_errors.NotLeaderForPartitionError,
    kafka_errors.UnknownTopicOrPartitionError,  # just made, not yet known to every broker
    kafka_errors.KafkaConnectionError,
    kafka_errors.InvalidReplicationFactorError,  # a broker that stood still is not yet back
)

C = TypeVar("C")
R = TypeVar("R")


class Cluster:
    """Some brokers. Thread-safe; connects at first use.

    ``servers``: ``host:port`` of one or more. ``prefix``: stands before every topic and group,
    so that several bureaus can share a cluster. ``answer_s``: how long an answer may take.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        topics: Mapping[str, Topic],
        replication: int,
        prefix: str,
        answer_s: float,
        security: Security,
    ) -> None:
        self.answer_s = answer_s
        self._servers = tuple(servers)
        self._topics = topics
        self._replication = replication
        self._prefix = prefix
        self._security = security
        self._context = security.context()
        self._refusal = ""  # of the last attempt to connect
        self._parts: dict[str, tuple[TopicPartition, ...]] = {}
        self._admin: KafkaAdminClient | None = None
        self._lock = threading.RLock()
        # the package logs every attempt of every thread; our callers log one sentence
        logging.getLogger("kafka").setLevel(logging.CRITICAL)

    def name(self, topic: str) -> str:
        """The topic's (or group's) name on the brokers."""
        return self._prefix + topic

    def topic(self, name: str) -> str:
        """The topic behind a name on the brokers."""
        return name.removeprefix(self._prefix)

    def connect(self, make: Callable[..., C], **options: Any) -> C:
        """A client of the kafka package. Raises: EngineDown within ``answer_s``."""
        inner: list[KafkaNetClient] = []

        wait_ms = int(self.answer_s * 1000)

        def remembered(**config: Any) -> KafkaNetClient:
            config["socket_connection_setup_timeout_ms"] = wait_ms
            config["socket_connection_setup_timeout_max_ms"] = wait_ms
            inner.append(KafkaNetClient(**config))
            watch(inner[-1]._manager, self._context, self.answer_s, self._told)
            return inner[-1]

        self._refusal = ""
        with self.errors():
            try:
                client = make(
                    bootstrap_servers=list(self._servers),
                    bootstrap_timeout_ms=wait_ms,
                    request_timeout_ms=wait_ms,
                    reconnect_backoff_max_ms=1000,  # 30 s by default: that long after a restart
                    kafka_client=remembered,
                    **self._security.options(),
                    **options,
                )
            except BaseException:
                for half_made in inner:  # its thread would stay for ever
                    half_made.close()
                raise
        version = inner[0]._manager.broker_version
        if version < OLDEST:
            with suppress(kafka_errors.KafkaError):
                client.close()  # type: ignore[attr-defined]
            raise EngineDown(
                f"Kafka at {self._where} is version {_dotted(version)}; Tingfeng needs"
                f" {_dotted(OLDEST)} or newer: update the brokers"
            )
        return client

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Every failure of the kafka package as EngineDown with one clear sentence."""
        try:
            yield
        except kafka_errors.KafkaError as error:
            raise EngineDown(self._sentence(error)) from error

    def partitions(self, topic: str) -> tuple[TopicPartition, ...]:
        """The topic's partitions; makes it at first use. Raises: ValueError, EngineDown."""
        if topic not in self._topics:
            raise ValueError(f"no topic {topic!r}; topics are named in pipeline/bus/topics.py")
        if topic not in self._parts:
            with self._lock:
                if not self._exists(topic):  # an account may use topics and not make any
                    self._make(self._topics[topic])
                self._parts[topic] = self._look_up(topic)
        return self._parts[topic]

    def check(self, topics: Iterable[str]) -> None:
        """Raises: EngineDown when a topic is gone or no broker answers."""
        for topic in topics:
            self._look_up(topic)

    def starts(self, parts: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The oldest kept offset of each partition."""
        return self._offsets(parts, OffsetSpec.EARLIEST)

    def ends(self, parts: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The next offset of each partition."""
        return self._offsets(parts, OffsetSpec.LATEST)

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """Kept messages of these topics that the group has not committed."""
        parts = [part for topic in topics for part in self.partitions(topic)]
        name = self.name(group)
        done = self._ask(lambda admin: admin.list_group_offsets({name: parts}))[name]
        committed = {part: place.offset for part, place in done.items() if place.offset >= 0}
        return behind(self.starts(parts), self.ends(parts), committed)

    def forget_before(self, part: TopicPartition, offset: int) -> None:
        """Delete what stands before an offset."""
        self._ask(lambda admin: admin.delete_records({part: offset}))

    def forget_everything(self) -> None:
        """Delete our topics."""
        ours = {self.name(topic) for topic in self._topics}
        self._ask(lambda admin: admin.delete_topics(sorted(ours & set(admin.list_topics()))))
        self._parts.clear()

    def close(self) -> None:
        with self._lock:
            if self._admin is not None:
                self._admin.close()
            self._admin = None

    def _ask(self, question: Callable[[KafkaAdminClient], R]) -> R:
        """Ask the admin client; what passes by itself is asked again within ``answer_s``."""
        until = time.monotonic() + self.answer_s
        with self.errors():
            while True:
                admin = self._connected_admin()
                try:
                    return question(admin)
                except kafka_errors.UnknownBrokerIdError:
                    # for ever it asks the controller that it once knew, also when that is gone
                    self._discard(admin)
                    if time.monotonic() > until:
                        raise
                except _PASSING:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)

    def _discard(self, admin: KafkaAdminClient) -> None:
        with self._lock:
            if self._admin is admin:
                self._admin = None
        admin.close()

    def _connected_admin(self) -> KafkaAdminClient:
        with self._lock:
            if self._admin is None:
                self._admin = self.connect(KafkaAdminClient)
            return self._admin

    def _offsets(self, parts: Sequence[TopicPartition], spec: int) -> dict[TopicPartition, int]:
        wanted = dict.fromkeys(parts, spec)
        found = self._ask(lambda admin: admin.list_partition_offsets(wanted))
        return {part: place.offset for part, place in found.items()}

    def _exists(self, topic: str) -> bool:
        name = self.name(topic)
        return self._ask(lambda admin: not admin.describe_topics([name])[0]["error_code"])

    def _make(self, topic: Topic) -> None:
        new = NewTopic(
            self.name(topic.name),
            topic.partitions,
            self._replication,
            topic_configs=topic_config(topic, self._replication),
        )

        def create(admin: KafkaAdminClient) -> None:
            with suppress(kafka_errors.TopicAlreadyExistsError):
                admin.create_topics([new])

        self._ask(create)

    def _look_up(self, topic: str) -> tuple[TopicPartition, ...]:
        name = self.name(topic)

        def known(admin: KafkaAdminClient) -> list[Any]:
            (found,) = admin.describe_topics([name])
            leaderless = any(p["leader_id"] < 0 for p in found["partitions"])
            if found["error_code"] or leaderless:
                error = kafka_errors.for_code(found["error_code"] or 5)
                raise error(name)
            return list(found["partitions"])

        numbers = sorted(part["partition_index"] for part in self._ask(known))
        return tuple(TopicPartition(name, number) for number in numbers)

    def _told(self, outcome: Exception | None) -> None:
        """Of every attempt to connect. The last one may only have had too little time."""
        if not isinstance(outcome, _TIME_IS_UP):
            self._refusal = self._security.refusal(outcome)

    @property
    def _where(self) -> str:
        return ", ".join(self._servers)

    def _sentence(self, error: kafka_errors.KafkaError) -> str:
        where, kind, text = self._where, type(error).__name__, str(error)
        # the producer tells it as an error of no kind, with the broker's word in its text
        if isinstance(error, kafka_errors.AuthorizationError) or "AuthorizationFailed" in text:
            return f"Kafka at {where} refuses this account ({kind}); give it rights on our topics"
        if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
            return (
                f"Kafka at {where} has lost one of our topics; restore it, or restart Tingfeng to"
                " make an empty one"
            )
        if isinstance(error, kafka_errors.InvalidReplicationFactorError):
            return (
                f"Kafka at {where} has fewer brokers than kafka_replication ="
                f" {self._replication}; start the others or lower the setting"
            )
        if isinstance(error, kafka_errors.KafkaStorageError):
            return f"Kafka at {where} cannot write; is its disk full?"
        if self._refusal:
            return f"Kafka at {where} {self._refusal}"
        return (
            f"Kafka at {where} does not answer ({kind}); check that it runs (a full disk ends a"
            " broker) and that kafka_servers names it"
        )


def topic_config(topic: Topic, replication: int) -> dict[str, str]:
    """What a topic is made with. A message may stay one seventh longer than ``keep``."""
    keep, week = topic.keep, timedelta(days=7)
    hour, day = timedelta(hours=1), timedelta(days=1)
    segment = week if keep is None else min(max(keep / 7, hour), day)
    return {
        "cleanup.policy": "delete",
        "retention.ms": "-1" if keep is None else _ms(keep),
        "segment.ms": _ms(segment),
        "min.insync.replicas": str(max(1, replication - 1)),
        "max.message.bytes": str(MAX_RECORD),
        "message.timestamp.type": "LogAppendTime",
    }


def behind(
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    committed: Mapping[TopicPartition, int],
) -> int:
    """Kept messages after the committed ones; what retention took does not count."""
    return sum(
        max(0, end - max(committed.get(part, 0), starts.get(part, 0))) for part, end in ends.items()
    )


def _ms(span: timedelta) -> str:
    return str(int(span.total_seconds() * 1000))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
