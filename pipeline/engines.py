"""Bus, index and store of the profile: SQLite on one machine, or the three servers.

The only place that knows which adapter belongs to which profile. Clients of the servers are
imported here when they are asked for, so that the embedded profile runs without them.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.bus.base import Bus
from pipeline.bus.sqlite import SqliteBus
from pipeline.bus.topics import POSTS_ANNOTATED, POSTS_RAW, TOPICS, Topic
from pipeline.clock import Clock
from pipeline.errors import SettingsError
from pipeline.index.base import Index
from pipeline.index.late import late_index
from pipeline.index.sqlite import SqliteIndex
from pipeline.settings import Settings
from pipeline.store.seen import Seen, SeenPosts
from pipeline.store.sql import Store, postgres_url, sqlite_url


def _topics(raw_partitions: int) -> dict[str, Topic]:
    """Topics as the servers hold them.

    Partitions have no order between them, and detection wants the one that the embedded bus gives:
    ``posts.annotated`` has one, enough for several thousand posts a second (docs/scaling.md).
    """
    one_order = replace(POSTS_ANNOTATED, partitions=1)
    shared = replace(POSTS_RAW, partitions=raw_partitions)
    return TOPICS | {one_order.name: one_order, shared.name: shared}


def open_bus(settings: Settings, clock: Clock) -> Bus:
    """Raises: EngineDown, SettingsError."""
    if settings.profile == "embedded":
        return SqliteBus(
            settings.posts_db,
            clock=clock,
            lease_s=settings.lease_seconds,
            busy_s=settings.busy_seconds,
        )
    try:
        from pipeline.bus.kafka import KafkaBus
        from pipeline.bus.kafka_security import Security
    except ModuleNotFoundError as missing:
        raise _not_installed(missing) from missing
    return KafkaBus(
        settings.kafka_servers,
        clock=clock,
        prefix=f"{settings.prefix}." if settings.prefix else "",
        replication=settings.kafka_replication,
        topics=_topics(settings.kafka_partitions),
        lease_s=settings.lease_seconds,
        security=Security(
            settings.kafka_security,
            user=settings.kafka_user,
            password=settings.kafka_password.get_secret_value(),
            mechanism=settings.kafka_mechanism,
            ca_file=settings.tls_ca_file,
        ),
    )


def open_index(settings: Settings) -> Index:
    """Raises: EngineDown, SettingsError."""
    if settings.profile == "embedded":
        return SqliteIndex(settings.posts_db, busy_s=settings.busy_seconds)
    try:
        from pipeline.index.elastic import ElasticIndex
    except ModuleNotFoundError as missing:
        raise _not_installed(missing) from missing
    return ElasticIndex(
        settings.elastic_urls,
        prefix=settings.prefix or "tingfeng",
        user=settings.elastic_user,
        password=settings.elastic_password.get_secret_value(),
        ca_file=settings.tls_ca_file,
        shards=settings.elastic_shards,
        replicas=settings.elastic_replicas,
    )


def open_index_late(settings: Settings) -> Index:
    """As ``open_index``; a server is asked at the first use, which then raises."""
    if settings.profile == "embedded":
        return open_index(settings)
    return late_index(lambda: open_index(settings))


def open_store(settings: Settings) -> Store:
    """The database, not yet brought to the newest migration. Raises: SettingsError."""
    return Store(store_url(settings), settings.busy_seconds)


def open_seen(settings: Settings) -> SeenPosts:
    """The door's memory. Raises: EngineDown."""
    if settings.profile == "embedded":
        return Seen(settings.posts_db, busy_s=settings.busy_seconds)
    from pipeline.store.seen_sql import SqlSeen

    return SqlSeen(store_url(settings), busy_s=settings.busy_seconds)


def store_url(settings: Settings) -> str:
    """SQLAlchemy's address of the desk's database. It may hold a password: never log it."""
    if settings.profile == "embedded":
        return sqlite_url(settings.desk_db)
    try:
        import psycopg  # noqa: F401
    except ModuleNotFoundError as missing:
        raise _not_installed(missing) from missing
    return postgres_url(settings.database_url.get_secret_value())


def _not_installed(missing: ModuleNotFoundError) -> SettingsError:
    return SettingsError(
        f"the distributed profile needs {missing.name}; "
        "pip install -r requirements-distributed.lock"
    )
