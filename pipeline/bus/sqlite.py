"""The embedded bus: a durable log in ``posts.db`` that many processes share.

A *lane* is one partition of one topic. Every message has an offset in its lane, dense from 0,
and a number ``seq`` over all lanes in the order of publishing; ``poll`` merges the lanes of a
member by ``seq``, so that a single consumer sees exactly the order of publishing.

Members of a group share the lanes (see ``pipeline.bus.leases``). Leases count the machine's
monotonic clock, never the product's: a drill at 60 x must not make leases end 60 times sooner.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from pipeline.bus.base import DeadLetter, Message, Record
from pipeline.bus.codec import MAX_BYTES
from pipeline.bus.leases import Leases
from pipeline.bus.topics import TOPICS, Topic
from pipeline.clock import Clock, WallClock
from pipeline.errors import BadMessage, LostLease, NotFound
from pipeline.posts_db import PostsDb, from_us, to_us

PAGE = 500
HANDLED_KEEP_US = 30 * 86_400 * 1_000_000
_NAP_S, _LONGEST_NAP_S = 0.005, 0.05

SCHEMA = """
CREATE TABLE IF NOT EXISTS bus_lane (
  id INTEGER PRIMARY KEY, topic TEXT NOT NULL, part INTEGER NOT NULL,
  next INTEGER NOT NULL DEFAULT 0, UNIQUE (topic, part));
CREATE TABLE IF NOT EXISTS bus_log (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, lane INTEGER NOT NULL, off INTEGER NOT NULL,
  key TEXT NOT NULL, at INTEGER NOT NULL, value BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS bus_log_lane ON bus_log (lane, off);
CREATE TABLE IF NOT EXISTS bus_done (
  grp TEXT NOT NULL, lane INTEGER NOT NULL, next INTEGER NOT NULL,
  PRIMARY KEY (grp, lane)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bus_member (
  grp TEXT NOT NULL, member TEXT NOT NULL, topics TEXT NOT NULL,
  renewed REAL NOT NULL, lease_s REAL NOT NULL, PRIMARY KEY (grp, member)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bus_owner (
  grp TEXT NOT NULL, lane INTEGER NOT NULL, member TEXT NOT NULL,
  PRIMARY KEY (grp, lane)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bus_dead (
  id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, part INTEGER NOT NULL,
  off INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, stage TEXT NOT NULL,
  error TEXT NOT NULL, tries INTEGER NOT NULL, at INTEGER NOT NULL, handled INTEGER,
  digest BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS bus_dead_waiting ON bus_dead (digest) WHERE handled IS NULL;
"""


class _Rows(Protocol):
    """The part of a connection that readers need."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Any: ...


class SqliteBus:
    """The Bus of the embedded profile. Publishing and the dead letters are thread-safe.

    ``clock`` stamps messages; ``ticks`` (seconds, monotonic, the same for all processes of the
    machine) measures leases. ``lease_s``: a member silent for so long loses its partitions.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        topics: Mapping[str, Topic] = TOPICS,
        lease_s: float = 10.0,
        ticks: Callable[[], float] = time.monotonic,
        busy_s: float = 30.0,
    ) -> None:
        self._topics = topics
        self._clock = clock or WallClock()
        self._lease_s = lease_s
        self._ticks = ticks
        self._db = PostsDb(path, SCHEMA, busy_s=busy_s)
        self._lanes: dict[str, tuple[int, ...]] = {}

    def publish(self, topic: str, records: Sequence[Record]) -> None:
        """Durable, in this order, when it returns; all of them or none.

        Raises: EngineDown; BadMessage when one is larger than 900,000 bytes.
        """
        for record in records:
            if len(record.value) > MAX_BYTES:
                raise BadMessage(f"{topic}: a message of {len(record.value)} bytes is too large")
        if not records:
            return
        lanes = self.lanes(topic)
        with self._db.write() as conn:
            _append(conn, lanes, records, to_us(self._clock.now()))

    def consumer(self, group: str, topics: Sequence[str]) -> SqliteConsumer:
        """Join a group; a new group starts at the oldest kept message."""
        lanes = {topic: self.lanes(topic) for topic in topics}
        leases = Leases(self._db, group, lanes, lease_s=self._lease_s, ticks=self._ticks)
        return SqliteConsumer(self._db, group, lanes, leases)

    def read(
        self,
        topic: str,
        *,
        since: datetime | None = None,
        start: Mapping[int, int] | None = None,
        limit: int | None = None,
    ) -> Iterator[Message]:
        """Kept messages in the order of publishing; pages of 500, no cursor stays open."""
        lanes = {lane: (topic, part) for part, lane in enumerate(self.lanes(topic))}
        earliest = to_us(since) if since is not None else None
        position = {lane: (start or {}).get(part, 0) for lane, (_, part) in lanes.items()}
        left = limit
        while left is None or left > 0:
            with self._db.read() as conn:
                page = _after(conn, lanes, position, PAGE)
            if not page:
                return
            for lane, message in page:
                position[lane] = message.offset + 1
                if earliest is not None and to_us(message.at) < earliest:
                    continue
                yield message
                if left is not None:
                    left -= 1
                    if left == 0:
                        return

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """Messages of these topics that the group has not committed."""
        lanes = [lane for topic in topics for lane in self.lanes(topic)]
        with self._db.read() as conn:
            return _lag(conn, group, lanes)

    def bury(self, letter: DeadLetter) -> None:
        """Keep a refused message. The same one again counts as another try, not as a second."""
        place = f"{letter.topic}\0{letter.partition}\0{letter.offset}\0{letter.stage}\0{letter.key}"
        seed = place.encode("utf-8", "replace") + b"\0" + letter.value
        digest = hashlib.sha256(seed).digest()[:16]
        with self._db.write() as conn:
            conn.execute(
                "INSERT INTO bus_dead (topic, part, off, key, value, stage, error, tries, at,"
                " digest) VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (digest) WHERE handled IS NULL"
                " DO UPDATE SET tries = tries + excluded.tries, error = excluded.error,"
                " at = excluded.at",
                (letter.topic, letter.partition, letter.offset, letter.key, letter.value,
                 letter.stage, letter.error, letter.tries, to_us(letter.at), digest),
            )  # fmt: skip

    def dead(self, *, include_handled: bool = False, limit: int = 1000) -> list[DeadLetter]:
        """Dead letters, newest first."""
        where = "" if include_handled else "WHERE handled IS NULL"
        with self._db.read() as conn:
            rows = conn.execute(
                f"SELECT {_LETTER} FROM bus_dead {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
                (limit,),
            ).fetchall()
        return [_letter(row) for row in rows]

    def dead_count(self) -> int:
        """Dead letters that wait for somebody."""
        with self._db.read() as conn:
            rows = conn.execute("SELECT count(*) FROM bus_dead WHERE handled IS NULL")
            return int(rows.fetchone()[0])

    def retry(self, letter_id: int, now: datetime) -> None:
        """Publish a dead letter again and mark it handled, in one transaction.

        Raises: NotFound when there is no such waiting letter.
        """
        with self._db.write() as conn:
            row = conn.execute(
                f"SELECT {_LETTER} FROM bus_dead WHERE id = ? AND handled IS NULL",  # noqa: S608
                (letter_id,),
            ).fetchone()
            if row is None:
                raise NotFound(f"没有编号为 {letter_id} 的待处理死信")
            letter = _letter(row)
            lanes = self._make_lanes(conn, letter.topic)
            _append(conn, lanes, [Record(letter.key, letter.value)], to_us(self._clock.now()))
            conn.execute("UPDATE bus_dead SET handled = ? WHERE id = ?", (to_us(now), letter_id))

    def prune(self, now: datetime) -> int:
        """Retention: forget messages older than their topic keeps them; returns how many."""
        gone = 0
        for topic in self._topics.values():
            if topic.keep is None:
                continue
            cut = to_us(now - topic.keep)
            for lane in self.lanes(topic.name):
                gone += self._prune_lane(lane, cut)
        with self._db.write() as conn:
            conn.execute("DELETE FROM bus_dead WHERE handled < ?", (to_us(now) - HANDLED_KEEP_US,))
        return gone

    def close(self) -> None:
        self._db.close()

    def lanes(self, topic: str) -> tuple[int, ...]:
        """Lane numbers of a topic, one per partition; made at first use."""
        if topic not in self._lanes:
            if topic not in self._topics:
                raise ValueError(f"no topic {topic!r}; topics are named in pipeline/bus/topics.py")
            with self._db.write() as conn:
                self._lanes[topic] = self._make_lanes(conn, topic)
        return self._lanes[topic]

    def _make_lanes(self, conn: _Rows, topic: str) -> tuple[int, ...]:
        for part in range(self._topics[topic].partitions):
            conn.execute(
                "INSERT OR IGNORE INTO bus_lane (topic, part) VALUES (?, ?)", (topic, part)
            )
        rows = conn.execute("SELECT id FROM bus_lane WHERE topic = ? ORDER BY part", (topic,))
        return tuple(lane for (lane,) in rows.fetchall())

    def _prune_lane(self, lane: int, cut: int) -> int:
        gone = 0
        while True:  # small transactions, so that no other writer waits long
            with self._db.write() as conn:
                rows = conn.execute(
                    "SELECT off, at FROM bus_log WHERE lane = ? ORDER BY off LIMIT ?", (lane, PAGE)
                ).fetchall()
                old = next((i for i, (_, at) in enumerate(rows) if at >= cut), len(rows))
                if old:
                    conn.execute(
                        "DELETE FROM bus_log WHERE lane = ? AND off <= ?", (lane, rows[old - 1][0])
                    )
            gone += old
            if old < PAGE:
                return gone


class SqliteConsumer:
    """One member of a group. Belongs to one thread."""

    def __init__(
        self, db: PostsDb, group: str, topics: Mapping[str, tuple[int, ...]], leases: Leases
    ) -> None:
        self._db = db
        self._group = group
        self._leases = leases
        self._names = {
            lane: (topic, part)
            for topic, lanes in topics.items()
            for part, lane in enumerate(lanes)
        }
        self._lane_of = {name: lane for lane, name in self._names.items()}
        self._position: dict[int, int] = {}  # lane -> next offset to return
        self._in_flight: set[int] = set()

    def poll(self, limit: int = 500, timeout_s: float = 1.0) -> list[Message]:
        """Up to ``limit`` messages of this member's lanes in the order of publishing."""
        until = time.monotonic() + timeout_s
        nap = _NAP_S
        while True:
            self._take_turns()
            page = self._page(limit)
            if page:
                return page
            left = until - time.monotonic()
            if left <= 0:
                return []
            time.sleep(min(nap, left))
            nap = min(nap * 2, _LONGEST_NAP_S)

    def commit(self, messages: Iterable[Message]) -> None:
        """All of these are done. Raises: LostLease when another member took a partition over."""
        upto: dict[int, int] = {}
        for message in messages:
            lane = self._lane_of[message.topic, message.partition]
            upto[lane] = max(upto.get(lane, 0), message.offset + 1)
        if not upto:
            return
        with self._db.write() as conn:
            lost = [lane for lane in upto if not self._leases.is_mine(conn, lane)]
            if lost:
                names = ", ".join("{}/{}".format(*self._names[lane]) for lane in lost)
                self.rewind()
                raise LostLease(
                    f"{self._group}: too slow, another member took over {names};"
                    " the messages are handled again"
                )
            conn.executemany(
                "INSERT INTO bus_done (grp, lane, next) VALUES (?, ?, ?) ON CONFLICT (grp, lane)"
                " DO UPDATE SET next = max(next, excluded.next)",
                [(self._group, lane, after) for lane, after in upto.items()],
            )
            self._leases.renew(conn)
        self._in_flight -= {
            lane for lane, after in upto.items() if self._position.get(lane, after) <= after
        }

    def rewind(self) -> None:
        """The next poll starts again after the last commit."""
        self._position.clear()
        self._in_flight.clear()

    def lag(self) -> int:
        with self._db.read() as conn:
            return _lag(conn, self._group, sorted(self._leases.owned))

    def close(self) -> None:
        """Give the partitions back. Commits nothing."""
        self._leases.leave()

    def _take_turns(self) -> None:
        before = self._leases.owned
        self._leases.balance(busy=self._in_flight)
        for lane in before - self._leases.owned:
            self._position.pop(lane, None)
            self._in_flight.discard(lane)

    def _page(self, limit: int) -> list[Message]:
        mine = self._leases.readable
        if not mine:
            return []
        with self._db.read() as conn:
            for lane in mine - self._position.keys():
                row = conn.execute(
                    "SELECT next FROM bus_done WHERE grp = ? AND lane = ?", (self._group, lane)
                ).fetchone()
                self._position[lane] = row[0] if row else 0
            names = {lane: self._names[lane] for lane in mine}
            page = _after(conn, names, self._position, limit)
        for lane, message in page:
            self._position[lane] = message.offset + 1
            self._in_flight.add(lane)
        return [message for _, message in page]


_LETTER = "id, topic, part, off, key, value, stage, error, tries, at, handled"


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    number, topic, part, off, key, value, stage, error, tries, at, handled = row
    return DeadLetter(
        id=number,
        topic=topic,
        partition=part,
        offset=off,
        key=key,
        value=value,
        stage=stage,
        error=error,
        tries=tries,
        at=from_us(at),
        handled_at=None if handled is None else from_us(handled),
    )


def _append(conn: Any, lanes: tuple[int, ...], records: Sequence[Record], at: int) -> None:
    marks = ",".join("?" * len(lanes))
    heads: dict[int, int] = dict(
        conn.execute(f"SELECT id, next FROM bus_lane WHERE id IN ({marks})", lanes)  # noqa: S608
    )
    rows = []
    for record in records:
        lane = lanes[zlib.crc32(record.key.encode("utf-8", "replace")) % len(lanes)]
        rows.append((lane, heads[lane], record.key, at, record.value))
        heads[lane] += 1
    conn.executemany("INSERT INTO bus_log (lane, off, key, at, value) VALUES (?, ?, ?, ?, ?)", rows)
    conn.executemany(
        "UPDATE bus_lane SET next = ? WHERE id = ?", [(head, lane) for lane, head in heads.items()]
    )


def _after(
    conn: _Rows,
    names: Mapping[int, tuple[str, int]],
    position: Mapping[int, int],
    limit: int,
) -> list[tuple[int, Message]]:
    """The next messages of some lanes, merged by ``seq``. The index holds what is merged."""
    one = "SELECT * FROM (SELECT seq FROM bus_log WHERE lane = ? AND off >= ? ORDER BY off LIMIT ?)"
    merged = " UNION ALL ".join([one] * len(names))
    given: list[int] = []
    for lane in names:
        given += (lane, position[lane], limit)
    rows = conn.execute(
        "SELECT lane, off, key, value, at FROM bus_log WHERE seq IN"  # noqa: S608
        f" (SELECT seq FROM ({merged}) ORDER BY seq LIMIT ?) ORDER BY seq",
        (*given, limit),
    ).fetchall()
    return [
        (lane, Message(*names[lane], off, key, value, from_us(at)))
        for lane, off, key, value, at in rows
    ]


def _lag(conn: _Rows, group: str, lanes: Sequence[int]) -> int:
    behind = 0
    for lane in lanes:
        head, done, oldest = conn.execute(
            "SELECT next, (SELECT next FROM bus_done WHERE grp = ?1 AND lane = ?2),"
            " (SELECT min(off) FROM bus_log WHERE lane = ?2) FROM bus_lane WHERE id = ?2",
            (group, lane),
        ).fetchone()
        first = head if oldest is None else oldest
        behind += max(0, head - max(done or 0, first))
    return behind
