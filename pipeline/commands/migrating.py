"""``tingfeng migrate embedded-to-distributed``: one machine's data to the three servers.

The old folder is only read. Everything people did goes over in one transaction of the new
database, so that it is there whole or not at all; posts are put into the index one page after
another and may be put again. A run after a failure goes on where it makes sense and checks all of
it once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select

from pipeline import engines
from pipeline.bus.sqlite import SqliteBus
from pipeline.clock import WallClock
from pipeline.errors import SettingsError
from pipeline.index.base import Index, Query
from pipeline.index.sqlite import SqliteIndex
from pipeline.settings import Settings
from pipeline.store import tables as t
from pipeline.store.seen import Seen
from pipeline.store.sql import ChainReport, Store, continue_counters, sqlite_url, verify_audit
from pipeline.supervisor import RunLock

PAGE = 500
GROUPS = {"annotate": "posts.raw", "index": "posts.annotated", "detect": "posts.annotated"}


def embedded_to_distributed(old: Settings, new: Settings) -> Iterator[dict[str, Any]]:
    """Rows ``what, moved, there, ok``. ``old``: the embedded folder; ``new``: the servers.

    Raises: SettingsError when the old product runs or has unfinished messages, or the new database
    holds other data; EngineDown, StoreBusy.
    """
    if old.profile != "embedded" or new.profile != "distributed":
        raise SettingsError("migrate reads an embedded folder and writes to a distributed profile")
    if not old.desk_db.exists():
        raise SettingsError(f"there is no data in {old.home}; name the embedded folder with --from")
    if RunLock.is_held(old.home):
        raise SettingsError(f"Tingfeng runs in {old.home}; stop it first")
    _nothing_waits(old)
    with (
        closing(Store(sqlite_url(old.desk_db))) as source,
        closing(engines.open_store(new)) as target,
    ):
        source.create()
        target.create()
        yield from _desk(source, target)
    with (
        closing(SqliteIndex(old.posts_db)) as here,
        closing(engines.open_index(new)) as there,
    ):
        yield from _posts(here, there)
    with (
        closing(Seen(old.posts_db)) as remembered,
        closing(engines.open_seen(new)) as memory,
    ):
        moved = 0
        rows = remembered.states()
        while part := list(islice(rows, PAGE)):
            memory.restore(part)
            moved += len(part)
        yield _row("posts that passed the door", moved, moved)


def _nothing_waits(old: Settings) -> None:
    with closing(SqliteBus(old.posts_db, clock=WallClock())) as bus:
        waiting = {group: bus.lag(group, [topic]) for group, topic in GROUPS.items()}
    if any(waiting.values()):
        named = ", ".join(f"{group} {n}" for group, n in waiting.items() if n)
        raise SettingsError(
            f"messages wait to be worked off in {old.home} ({named}); "
            "run `tingfeng replay`, or start Tingfeng there until nothing waits"
        )


def _desk(source: Store, target: Store) -> Iterator[dict[str, Any]]:
    """Every table, parents first; counters go on after the last number."""
    with source.read() as conn:
        chain = verify_audit(conn)
        if not chain.ok:
            raise SettingsError(
                f"the audit chain of the old folder is broken at line {chain.bad_seq}; "
                "restore a backup before moving"
            )
        with target.begin(WallClock().now()) as tx:
            if _is_empty(tx.conn):
                for table in t.metadata.sorted_tables:
                    _copy(conn, tx.conn, table)
                continue_counters(tx.conn)
            elif _head(tx.conn) != chain.head:
                raise SettingsError(
                    "the new database holds other data; name an empty one in database_url"
                )
            for table in t.metadata.sorted_tables:
                yield _row(table.name, _count(conn, table), _count(tx.conn, table))
    with target.read() as conn:
        yield _chain_row(chain, verify_audit(conn))


def _is_empty(conn: Connection) -> bool:
    return all(_count(conn, table) == 0 for table in (t.audit, t.events, t.users, t.cases))


def _head(conn: Connection) -> str:
    return verify_audit(conn).head


def _copy(here: Connection, there: Connection, table: Table) -> None:
    rows = here.execute(select(table)).mappings()
    while part := [dict(row) for row in rows.fetchmany(PAGE)]:
        there.execute(insert(table), part)


def _posts(here: SqliteIndex, there: Index) -> Iterator[dict[str, Any]]:
    """Posts with other wordings, counts over time and first fetch."""
    moved = 0
    hits = here.scan(Query())
    while part := list(islice(hits, PAGE)):
        kept = here.kept([hit.item.post.id for hit in part])
        there.restore(kept)
        moved += len(part)
    there.refresh()
    yield _row("posts", moved, there.count(Query()))


def _count(conn: Connection, table: Table) -> int:
    return int(conn.execute(select(func.count()).select_from(table)).scalar_one())


def _row(what: str, moved: int, there: int) -> dict[str, Any]:
    return {"what": what, "moved": moved, "there": there, "ok": moved == there}


def _chain_row(before: ChainReport, after: ChainReport) -> dict[str, Any]:
    same = after.ok and (before.lines, before.head) == (after.lines, after.head)
    return {"what": "audit chain", "moved": before.lines, "there": after.lines, "ok": same}
