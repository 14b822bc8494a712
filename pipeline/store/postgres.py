"""Connections to PostgreSQL that notice when nobody answers any more.

A server whose machine is frozen keeps its connections open: the kernel goes on acknowledging what
is sent, so neither keepalives nor the server's own time limits ever end the waiting. So who waits
here for longer than ``SILENT_S`` without a byte rings at the server's door: a new connection that
asks one question. A server that is busy with a long statement, or lets us wait for a lock, answers
it, and the waiting goes on; one that says nothing within ``ANSWER_S`` is taken for away, the
connection is given up and the pool makes new ones.

Nor does a server whose disk hangs ever finish, while its door still answers. So who has waited for
``LONG_S`` asks for a proof by a new connection: a mark in the server's log, safely written. That is
done at once beside any long statement of ours, which is waited for then; when it is not done within
``PROOF_S`` the server is taken for stuck: connections that wait for it are given up, and nobody
begins to write before it gives a proof.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Generator
from contextlib import closing
from time import monotonic, sleep
from typing import Any, NoReturn, TypeVar

import psycopg
from sqlalchemy import Engine, create_engine, event

from pipeline.errors import StoreRefused
from pipeline.store.door import to_json
from pipeline.store.trouble import LATE

OLDEST = 13  # major version
SILENT_S = 3.0
ANSWER_S = 3.0
_PAUSE_S, _SOON_S = 0.2, 1.0
AGAIN_S = 0.5  # nobody rings again so soon at a door that stayed shut
LONG_S = 20.0
PROOF_S = 10.0
CONNECT_S = 20  # a login has four answers: they may take a few seconds each
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
# true: something was written; false: the proof of somebody else is not done yet. So at most one
# waits for a disk that hangs, and the server is left no queue and no line to write.
PROOF = (
    "SELECT CASE WHEN pg_try_advisory_xact_lock(29799)"
    " THEN pg_logical_emit_message(true, 'tingfeng', '') END IS NOT NULL"
)

T = TypeVar("T")
_shut: dict[tuple[str, int], float] = {}  # (host, port) -> when it stayed shut, monotonic seconds
_stuck: set[tuple[str, int]] = set()  # (host, port) of those whose last proof was not done


def postgres_engine(url: str, busy_s: float) -> Engine:
    """An engine whose waiting is bounded, whatever happens to the server.

    ``busy_s``: how long a statement waits for another one's lock.
    """
    engine = create_engine(
        url,
        json_serializer=to_json,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=20,
        pool_timeout=10,
        connect_args={
            "connect_timeout": CONNECT_S,
            # a host or a line that is gone acknowledges nothing
            "tcp_user_timeout": 15_000,
            "keepalives_idle": 5,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "options": f"-c lock_timeout={int(busy_s * 1000)} -c timezone=UTC"
            # nor must the server keep the locks of a host that is gone
            " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3"
            " -c tcp_user_timeout=10000",
        },
    )

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, cargs: Any, cparams: Any) -> Watched:
        host = cparams.get("host") or ""
        if host and "," not in host and is_silent(host, int(cparams.get("port") or 5432)):
            raise psycopg.OperationalError(_NOBODY)
        conn = Watched.connect(*cargs, **cparams)
        major = conn.info.server_version // 10_000
        if major < OLDEST:
            conn.close()
            raise StoreRefused(
                f"PostgreSQL {major} 版本过旧，请升级到 {OLDEST} 或以上",
                detail=f"PostgreSQL {major} is too old; {OLDEST} or newer is needed",
            )
        return conn

    return engine


class GivenUp(psycopg.OperationalError, TimeoutError):
    """We hung up: what the server makes of the last statement, or made of it, we do not know."""


class _Looked(psycopg.Connection[Any]):
    """A connection that looks at how its waiting goes: ``_waiting`` gives what to do each time
    psycopg comes back, a tenth of a second after the last at most, with what is ready or nothing.
    """

    def _waiting(self) -> Callable[[Any], None]:
        raise NotImplementedError

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        return super().wait(self._driven(gen, self._waiting()), *args, **kwargs)

    @staticmethod
    def _driven(gen: Generator[Any, Any, T], look: Callable[[Any], None]) -> Generator[Any, Any, T]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                look(ready)
                wanted = gen.send(ready)
        except StopIteration as end:
            found: T = end.value
            return found


class Watched(_Looked):
    """A connection whose waiting ends when the server is silent, or does not finish its work.

    It is closed then, and who waited gets GivenUp.
    """

    def _waiting(self) -> Callable[[Any], None]:
        rung = asked = monotonic()

        def look(ready: Any) -> None:
            nonlocal rung, asked
            if ready:
                rung = asked = monotonic()
            elif monotonic() - rung > SILENT_S:
                if is_silent(*_door(self)):
                    _give_up(self, _NOBODY)
                is_due = monotonic() - asked > LONG_S
                if not (finishes(self, PROOF_S) if is_due else may_write(self)):
                    _give_up(self, LATE)
                rung = monotonic()
                asked = rung if is_due else asked

        return look


class _Proof(_Looked):
    """A connection on which no answer may take longer than ``PROOF_S``."""

    def _waiting(self) -> Callable[[Any], None]:
        until = monotonic() + PROOF_S

        def look(ready: Any) -> None:
            if not ready and monotonic() > until:
                _give_up(self, LATE)

        return look


def _give_up(conn: psycopg.Connection[Any], why: str) -> NoReturn:
    conn.pgconn.finish()
    raise GivenUp(why)


def _door(conn: psycopg.Connection[Any]) -> tuple[str, int]:
    return conn.info.hostaddr or conn.info.host, conn.info.port


def finishes(conn: psycopg.Connection[Any], patience_s: float) -> bool:
    """False when ``conn``'s server does not do the least thing that must be written.

    ``patience_s``: how long the proof of somebody else may be under way. True also when nobody
    can say, as when the server takes no more connections.
    """
    until = monotonic() + patience_s
    try:
        with closing(
            _Proof.connect(
                conn.info.dsn,
                password=conn.info.password,
                connect_timeout=CONNECT_S,
                autocommit=True,
            )
        ) as proof:
            while not proof.execute(PROOF).fetchone()[0]:  # type: ignore[index]
                if monotonic() > until:
                    raise GivenUp(LATE)
                sleep(_PAUSE_S)
    except (GivenUp, psycopg.errors.ConnectionTimeout):
        _stuck.add(_door(conn))
        return False
    except psycopg.Error:
        return True
    _stuck.discard(_door(conn))
    return True


def may_write(conn: psycopg.Connection[Any]) -> bool:
    """False, soon, when the server did not finish its work before and still does not.

    Whoever then waited for the lock of one that is stuck would only leave one more stuck behind.
    """
    return _door(conn) not in _stuck or finishes(conn, _SOON_S)


_NOBODY = "the server does not answer"


def is_silent(host: str, port: int) -> bool:
    """True when a server says nothing within ``ANSWER_S``.

    The question is whether a connection may be encrypted: it needs no account, costs the server
    one process for a moment and is answered in every state of it, with a byte or by hanging up.
    """
    if monotonic() - _shut.get((host, port), float("-inf")) < AGAIN_S:
        return True
    try:
        with closing(_dial(host, port)) as line:
            line.sendall(SSL_REQUEST)
            line.recv(1)
    except ConnectionError:
        return False  # nobody listens: the connection that waits ends by itself
    except OSError:  # no answer in time; no way to that host
        _shut[host, port] = monotonic()
        return True
    return False


def _dial(host: str, port: int) -> socket.socket:
    if not host.startswith(("/", "@")):
        return socket.create_connection((host, port), timeout=ANSWER_S)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(ANSWER_S)
    path = f"{host}/.s.PGSQL.{port}"
    line.connect("\0" + path[1:] if host.startswith("@") else path)
    return line
