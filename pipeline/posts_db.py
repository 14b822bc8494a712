"""How ``posts.db`` is opened: the one file of everything machines say.

Bus, index and the list of seen posts share it, each with tables of its own. All of them go
through ``PostsDb``, so that every connection has the same settings, every write takes its place
at the beginning (``BEGIN IMMEDIATE``: a transaction that reads first and writes later fails with
"database is locked" whatever the timeout, measured) and every failure of the engine becomes an
``EngineDown`` whose text says what to do.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.errors import EngineDown

BUSY_S = 30.0
_OPEN_TRIES = 50

_PRAGMAS = (
    "page_size=8192",  # a document is 2-3 kB: with 4096 a third of the file is waste (measured)
    "synchronous=NORMAL",  # a killed process loses nothing; a power cut the last moments only
    "journal_size_limit=67108864",
    "cache_size=-32768",
    "mmap_size=1073741824",
    "temp_store=MEMORY",
    "wal_autocheckpoint=4000",
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(at: datetime) -> int:
    """Microseconds since 1970, exact. ``at``: aware."""
    return (at - _EPOCH) // _MICROSECOND


def from_us(value: int) -> datetime:
    """The moment of ``to_us``, in UTC."""
    return _EPOCH + value * _MICROSECOND


class PostsDb:
    """A small pool of connections to one SQLite file.

    Any number of threads and processes may use the file. ``schema``: statements that make what
    is not there yet; run once, in one transaction.
    """

    def __init__(self, path: Path, schema: str, *, busy_s: float = BUSY_S) -> None:
        self.path = path
        self._busy_s = busy_s
        self._idle: deque[sqlite3.Connection] = deque()
        self._writing = threading.Lock()  # threads queue here, not in SQLite's sleeping loop
        self._closed = False
        with self._engine_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            conn = self._open()
            try:
                self._create(conn, schema)
            finally:
                self._idle.append(conn)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for short reads. One snapshot per statement."""
        with self._engine_errors():
            conn = self._take()
            try:
                yield conn
            finally:
                self._give_back(conn)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection whose reads all see one moment. Keep it short: it holds back the WAL."""
        with self.read() as conn:
            conn.execute("BEGIN")
            try:
                yield conn
            finally:
                conn.rollback()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: all of it or nothing. Raises: EngineDown."""
        with self._engine_errors(), self._writing:
            conn = self._take()
            try:
                conn.execute("BEGIN IMMEDIATE")
                yield conn
                conn.execute("COMMIT")
            finally:
                if conn.in_transaction:
                    conn.rollback()
                self._give_back(conn)

    def close(self) -> None:
        """Close every idle connection; one in use closes when it is given back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> sqlite3.Connection:
        if self._closed:
            raise EngineDown(f"{self.path.name} was closed; open it again")
        try:
            return self._idle.pop()
        except IndexError:
            return self._open()

    def _give_back(self, conn: sqlite3.Connection) -> None:
        if self._closed:
            conn.close()
        else:
            self._idle.append(conn)

    def _open(self) -> sqlite3.Connection:
        conn = sqlite3.connect(
            self.path, timeout=self._busy_s, isolation_level=None, check_same_thread=False
        )
        for pragma in _PRAGMAS:
            conn.execute(f"PRAGMA {pragma}")
        conn.execute(f"PRAGMA busy_timeout={int(self._busy_s * 1000)}")
        for attempt in range(_OPEN_TRIES):
            # Switching a new file to WAL ignores the busy timeout when two processes race.
            try:
                conn.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError:
                if attempt == _OPEN_TRIES - 1:
                    conn.close()
                    raise
                time.sleep(0.02)
        return conn

    def _create(self, conn: sqlite3.Connection, schema: str) -> None:
        conn.execute("BEGIN IMMEDIATE")
        try:
            for statement in schema.split(";\n"):
                if statement.strip():
                    conn.execute(statement)
            conn.execute("COMMIT")
        finally:
            if conn.in_transaction:
                conn.rollback()

    @contextmanager
    def _engine_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
                raise  # our own mistake, not the engine's
            raise EngineDown(f"{self.path}: {_advice(str(error))}") from error
        except OSError as error:
            raise EngineDown(f"{self.path}: {error.strerror or error}") from error


def _advice(error: str) -> str:
    """What SQLite said, and what to do about it."""
    if "full" in error:
        return "the disk is full; free some space, the work goes on by itself"
    if "locked" in error or "busy" in error:
        return "another process holds the file; the work is tried again by itself"
    if "readonly" in error or "unable to open" in error:
        return f"cannot be written ({error}); check the owner and rights of the folder"
    if "malformed" in error or "not a database" in error:
        return f"is damaged ({error}); stop Tingfeng, move the file away and import again"
    return f"the engine failed ({error}); run: tingfeng doctor"
