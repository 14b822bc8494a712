"""The unit of work: rows, audit lines and outgoing messages commit together or not at all.

    with store.begin(now) as tx:
        tx.conn.execute(...)
        tx.audit(actor, "claim_alert", "alert", fingerprint, before, after)
        tx.emit(DESK_FACTS, key=str(case_id), body={...})

So there is no moment where a case exists and its message or its audit line does not.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, select
from sqlalchemy import text as sql

from pipeline.bus.base import encode, uuid7
from pipeline.bus.topics import Topic
from pipeline.domain.rights import Actor
from pipeline.errors import StoreBusy
from pipeline.store import tables as t
from pipeline.store.door import guard, to_json
from pipeline.store.trouble import (
    AWAY,
    LATE,
    STUCK,
    UNSURE,
    engine_errors,
    name_of,
    was_cut_off,
)

GENESIS = "0" * 64
BUSY_S = 30.0
WRITERS = 0x7466  # "tf": the advisory lock that makes PostgreSQL's writers queue
LONGEST_THOUGHT_S = 60  # a writer silent for longer between two statements is frozen: others go on
_TAKE_PLACE = sql(
    "SELECT set_config('idle_in_transaction_session_timeout', :idle, true),"
    " pg_advisory_xact_lock(:lock)"
)
_IS_FREE = sql("SELECT pg_try_advisory_xact_lock_shared(:lock)")
MIGRATIONS = Path(__file__).parent / "migrations"


def sqlite_url(path: Path) -> str:
    """SQLAlchemy address of a desk.db."""
    return f"sqlite:///{path}"


def postgres_url(url: str) -> str:
    """A PostgreSQL address with the driver we use."""
    return "postgresql+psycopg://" + url.partition("://")[2]


def make_engine(url: str, busy_s: float = BUSY_S) -> Engine:
    """An engine that keeps no text it could not give back (``pipeline.store.door``).

    ``busy_s``: how long a writer waits for another process before StoreBusy.
    """
    if url.startswith("sqlite"):
        engine = _sqlite_engine(url, busy_s)
    else:
        from pipeline.store.postgres import postgres_engine

        engine = postgres_engine(url, busy_s)
    guard(engine)
    return engine


def _sqlite_engine(url: str, busy_s: float) -> Engine:
    """An engine whose transactions say IMMEDIATE when they mean to write.

    A deferred transaction that reads first and writes later fails with "database is locked"
    whatever the busy timeout (measured); so writers take their place at the beginning.
    """
    engine = create_engine(
        url,
        json_serializer=to_json,
        connect_args={"timeout": busy_s, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _pragmas(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={int(busy_s * 1000)}",
            "journal_size_limit=67108864",
            "temp_store=MEMORY",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        immediate = conn.get_execution_options().get("immediate", False)
        conn.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


@dataclass(frozen=True, slots=True)
class Tx:
    """One unit of work. ``now``: when it happens (UTC)."""

    conn: Connection
    now: datetime

    def audit(
        self,
        actor: Actor,
        act: str,
        obj: str,
        object_id: str | int,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        """One audit line: who did what to which object, chained to the line before."""
        last = self.conn.execute(
            select(t.audit.c.seq, t.audit.c.hash).order_by(t.audit.c.seq.desc()).limit(1)
        ).first()
        row: dict[str, Any] = {
            "seq": (last.seq if last else 0) + 1,
            "at": self.now.astimezone(UTC),
            "actor_id": actor.user_id,
            "actor": actor.name,
            "role": actor.role.value if actor.role else "machine",
            "act": act,
            "object": obj,
            "object_id": str(object_id),
            "before": _plain(before),
            "after": _plain(after),
            "origin": actor.origin,
            "prev_hash": last.hash if last else GENESIS,
        }
        to_json([act, row["object_id"], row["before"], row["after"]])  # odd text has no hash
        row["hash"] = audit_hash(row)
        self.conn.execute(insert(t.audit), row)

    def emit(self, topic: Topic, key: str, body: Any, cause: str = "") -> str:
        """Put a message into the outbox; the relay moves it to the bus. Returns its id."""
        message_id = uuid7(self.now)
        value = encode(topic.schema, body, self.now, cause=cause, message_id=message_id)
        self.conn.execute(
            insert(t.outbox),
            {
                "message_id": message_id,
                "topic": topic.name,
                "key": key,
                "value": value,
                "created_at": self.now,
            },
        )
        return message_id


class Store:
    """The database of what people did, and of events. Safe to share between threads."""

    def __init__(self, url: str, busy_s: float = BUSY_S) -> None:
        self.url = url
        self.engine = make_engine(url, busy_s)
        postgres = self.engine.dialect.name == "postgresql"
        self._doubt = threading.local()  # whether this thread was cut off, and nothing is settled
        self._reading = (
            {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if postgres else {}
        )

    def create(self) -> None:
        """Bring the database to the newest migration; an empty one is made. Raises: StoreBusy."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["engine"] = self.engine
        with engine_errors(self.url):
            command.upgrade(config, "head")

    @contextmanager
    def begin(self, now: datetime) -> Iterator[Tx]:
        """A writing transaction. Raises: StoreBusy when the database does not let us in.

        One writer at a time, on PostgreSQL too: numbers without gaps, one open case per event and
        an audit chain without forks rest on it, and no act waits long on another.
        """
        is_ours = False
        try:
            with (
                engine_errors(self.url),
                self.engine.connect().execution_options(immediate=True) as conn,
                conn.begin(),
            ):
                if conn.dialect.name == "postgresql":
                    self._take_place(conn)
                is_ours = True
                yield Tx(conn, now)
        except StoreBusy as error:
            if is_ours and was_cut_off(error):
                self._doubt.lasts = True
                if error.words == STUCK:
                    raise StoreBusy(UNSURE, name=name_of(self.url), detail=LATE) from error
            raise

    def _take_place(self, conn: Connection) -> None:
        """Raises: StoreBusy, so that he looks again, for who was cut off and may have looked before
        the server made good what it still had of him."""
        from pipeline.store.postgres import may_write

        if not may_write(cast(Any, conn.connection.driver_connection)):
            raise StoreBusy(STUCK, name=name_of(self.url), detail=LATE)
        conn.execute(_TAKE_PLACE, {"lock": WRITERS, "idle": f"{LONGEST_THOUGHT_S}s"})
        if getattr(self._doubt, "lasts", False):
            self._doubt.lasts = False
            raise StoreBusy(AWAY, detail="what was cut off before is settled now; it is redone")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A short reading transaction: one consistent picture. Raises: StoreBusy."""
        if getattr(self._doubt, "lasts", False):
            self._settle()
        with (
            engine_errors(self.url),
            self.engine.connect().execution_options(**self._reading) as conn,
            conn.begin(),
        ):
            yield conn

    def _settle(self) -> None:
        """When nobody writes, nothing of what was cut off is still to come: it will be seen."""
        with (
            engine_errors(self.url),
            self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn,
        ):
            self._doubt.lasts = not conn.execute(_IS_FREE, {"lock": WRITERS}).scalar_one()

    def ping(self) -> None:
        """Ask whether the database is there. Raises: StoreBusy, within seconds.

        While it answers and does not finish its work, as when its disk hangs, it is there and slow:
        this comes back when it has finished something.
        """
        while not self._finishes():
            time.sleep(1.0)

    def _finishes(self) -> bool:
        if self.engine.dialect.name != "postgresql":
            with self.read() as conn:
                conn.exec_driver_sql("SELECT 1")
            return True
        from pipeline.store.postgres import PROOF_S, finishes, is_silent

        host, port = self.engine.url.host, self.engine.url.port
        if host and is_silent(host, port or 5432):
            raise StoreBusy(AWAY, name=name_of(self.url), detail="the server does not answer")
        with self.read() as conn:
            conn.exec_driver_sql("SELECT 1")
            return finishes(cast(Any, conn.connection.driver_connection), PROOF_S)

    def close(self) -> None:
        self.engine.dispose()


def continue_counters(conn: Connection) -> None:
    """Let numbers go on after the last row: PostgreSQL's counters do not see rows that were
    written with their number. Nothing to do on SQLite."""
    if conn.dialect.name != "postgresql":
        return
    for table in t.metadata.sorted_tables:
        key = list(table.primary_key.columns)
        if len(key) == 1 and key[0].autoincrement is True:
            last = conn.execute(select(func.max(key[0]))).scalar()
            if last is not None:
                conn.execute(
                    sql("SELECT setval(pg_get_serial_sequence(:table, :column), :last)"),
                    {"table": table.name, "column": key[0].name, "last": last},
                )


def _plain(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """What JSON can hold: times become ISO strings, so that the hash is the same when read."""
    if value is None:
        return None
    plain: dict[str, Any] = json.loads(json.dumps(value, default=_say, ensure_ascii=False))
    return plain


def _say(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def audit_hash(row: dict[str, Any]) -> str:
    """SHA-256 over a line's fields and the hash of the line before it."""
    fields = [
        row["seq"],
        row["at"].astimezone(UTC).isoformat(),
        row["actor_id"],
        row["actor"],
        row["role"],
        row["act"],
        row["object"],
        row["object_id"],
        row["before"],
        row["after"],
        row["origin"],
        row["prev_hash"],
    ]
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What ``verify_audit`` found. ``bad_seq``: first line that does not fit, 0 when all do."""

    lines: int
    head: str
    bad_seq: int
    problem: str

    @property
    def ok(self) -> bool:
        return self.bad_seq == 0


def verify_audit(conn: Connection) -> ChainReport:
    """Walk the chain: no gap, no fork, no changed line."""
    prev, expected = GENESIS, 1
    for row in conn.execute(select(t.audit).order_by(t.audit.c.seq)).mappings():
        line = dict(row)
        if line["seq"] != expected:
            return ChainReport(expected - 1, prev, expected, f"第 {expected} 行缺失")
        if line["prev_hash"] != prev:
            return ChainReport(expected - 1, prev, expected, f"第 {expected} 行与上一行不衔接")
        if audit_hash(line) != line["hash"]:
            return ChainReport(expected - 1, prev, expected, f"第 {expected} 行内容被改动")
        prev, expected = line["hash"], expected + 1
    total = conn.execute(select(func.count()).select_from(t.audit)).scalar_one()
    return ChainReport(int(total), prev, 0, "")
