"""What every store promises, on SQLite and on PostgreSQL, with several processes at it."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import func, insert, inspect, select

from pipeline.bus.topics import DESK_FACTS
from pipeline.domain.post import Counts
from pipeline.domain.rights import Actor, Role
from pipeline.errors import StoreBusy, UnstorableText
from pipeline.store import tables as t
from pipeline.store.bulk import insert_many, update_many
from pipeline.store.seen import Seen
from pipeline.store.sql import Store, postgres_url, sqlite_url, verify_audit
from tests.engines import unique
from tests.fakes import NIGHT
from tests.fakes import post as a_post

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
DUTY = Actor(1, "李值班", Role.DUTY)
WRITERS, LINES = 8, 25

ENGINES = ("sqlite", pytest.param("postgres", marks=pytest.mark.engines))
MakeUrl = Callable[[], str]


@pytest.fixture(params=ENGINES)
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeUrl]:
    """Addresses of databases that are empty, dropped at the end."""
    if request.param == "sqlite":
        yield lambda: sqlite_url(tmp_path / f"{uuid.uuid4().hex}.db")
    else:
        with databases(request.getfixturevalue("pg_url")) as make:
            yield make


@contextmanager
def databases(server: str) -> Iterator[MakeUrl]:
    """Makes databases of a PostgreSQL, dropped at the end."""
    import psycopg

    made: list[str] = []

    def make() -> str:
        name = unique()
        with psycopg.connect(server, autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{name}"')
        made.append(name)
        return postgres_url(f"{server.rpartition('/')[0]}/{name}")

    yield make
    with psycopg.connect(server, autocommit=True) as conn:
        for name in made:
            conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def store(make_url: MakeUrl) -> Iterator[Store]:
    made = Store(make_url(), busy_s=20.0)
    made.create()
    yield made
    made.close()


@pytest.fixture
def pg_store(pg_url: str) -> Iterator[Store]:
    with databases(pg_url) as make:
        made = Store(make(), busy_s=20.0)
        made.create()
        yield made
        made.close()


def write_lines(url: str, who: int) -> None:
    """One process: acts of one officer, each with its audit line and its message."""
    store = Store(url, busy_s=60.0)
    actor = Actor(who, f"值班{who}", Role.DUTY)
    for n in range(LINES):
        with store.begin(NOW + timedelta(seconds=n)) as tx:
            tx.audit(actor, "claim_alert", "alert", f"{who}-{n}", None, {"n": n})
            tx.emit(DESK_FACTS, str(who), {"fact": "claimed", "n": n})
    store.close()


def test_eight_writers_make_one_chain(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=write_lines, args=(store.url, who)) for who in range(1, WRITERS + 1)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    with store.read() as conn:
        report = verify_audit(conn)
        per_person = dict(
            conn.execute(select(t.audit.c.actor_id, func.count()).group_by(t.audit.c.actor_id))
            .tuples()
            .all()
        )
        messages = conn.execute(select(func.count()).select_from(t.outbox)).scalar_one()
    assert report.ok and report.lines == WRITERS * LINES
    assert per_person == dict.fromkeys(range(1, WRITERS + 1), LINES)
    assert messages == WRITERS * LINES


def test_a_changed_line_is_found(store: Store) -> None:
    for n in range(5):
        with store.begin(NOW) as tx:
            tx.audit(DUTY, "claim_alert", "alert", n)
    with store.begin(NOW) as tx:
        tx.conn.execute(t.audit.update().where(t.audit.c.seq == 3).values(actor="别人"))
    with store.read() as conn:
        report = verify_audit(conn)
    assert (report.ok, report.bad_seq) == (False, 3)


def test_a_failed_unit_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.begin(NOW) as tx:
        tx.audit(DUTY, "claim_alert", "alert", 1)
        tx.emit(DESK_FACTS, "1", {"fact": "claimed"})
        raise RuntimeError
    with store.read() as conn:
        assert conn.execute(select(func.count()).select_from(t.audit)).scalar_one() == 0
        assert conn.execute(select(func.count()).select_from(t.outbox)).scalar_one() == 0


def test_a_reader_sees_one_moment_while_others_write(store: Store) -> None:
    with store.begin(NOW) as tx:
        tx.audit(DUTY, "a", "alert", 1)
    with store.read() as conn:
        before = conn.execute(select(func.count()).select_from(t.audit)).scalar_one()
        with store.begin(NOW) as tx:
            tx.audit(DUTY, "b", "alert", 2)
        assert conn.execute(select(func.count()).select_from(t.audit)).scalar_one() == before == 1


def test_a_writer_waits_for_another_and_then_says_so(make_url: MakeUrl) -> None:
    url = make_url()
    store = Store(url)
    store.create()
    hasty = Store(url, busy_s=0.2)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.begin(NOW):
            held.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    with pytest.raises(StoreBusy), hasty.begin(NOW):
        pass
    with hasty.read() as conn:
        assert conn.execute(select(func.count()).select_from(t.audit)).scalar_one() == 0
    done.set()
    holder.join()
    with hasty.begin(NOW) as tx:
        tx.audit(DUTY, "a", "alert", 1)
    hasty.close()
    store.close()


def test_times_come_back_aware_and_in_utc(store: Store) -> None:
    beijing = NOW.astimezone(timezone(timedelta(hours=8)))
    with store.begin(NOW) as tx:
        tx.conn.execute(insert(t.heartbeats), {"part": "x", "at": beijing, "lag": 0, "note": ""})
    with store.read() as conn:
        at = conn.execute(select(t.heartbeats.c.at)).scalar_one()
    assert at == NOW and at.utcoffset() == timedelta(0)
    with pytest.raises(Exception, match=r"aware|naive"), store.begin(NOW) as tx:
        tx.conn.execute(
            insert(t.heartbeats),
            {"part": "y", "at": datetime(2026, 1, 1), "lag": 0, "note": ""},  # noqa: DTZ001
        )


NUL, HALF = "白沙大道\x00积水", "白沙大道\ud83d积水"
WHOLE = "白沙大道\u0001😀\\u0000积水"  # a control, a pair, and six plain characters


@pytest.mark.parametrize("odd", [NUL, HALF], ids=["nul", "half a character"])
@pytest.mark.parametrize("place", ["a text", "a JSON column", "a question", "one row of many"])
def test_text_that_cannot_be_kept_is_refused_before_anything_is(
    store: Store, odd: str, place: str
) -> None:
    rows = [
        {"part": part, "at": NOW, "lag": 0, "note": note, "figures": {}}
        for part, note in (("x", "well"), ("y", odd))
    ]
    with pytest.raises(UnstorableText, match="无法保存的字符") as caught, store.begin(NOW) as tx:
        tx.audit(DUTY, "claim_alert", "alert", 1)
        if place == "a text":
            tx.audit(DUTY, odd, "alert", 1)
        elif place == "a JSON column":
            tx.audit(DUTY, "claim_alert", "alert", 1, None, {"deep": [{"in": odd}]})
        elif place == "a question":
            tx.conn.execute(select(t.users).where(t.users.c.name == odd)).all()
        else:
            tx.conn.execute(insert(t.heartbeats), rows)
    assert caught.value.english.startswith("a text holds NUL") and caught.value.__cause__ is None
    with store.read() as conn:
        assert conn.execute(select(func.count()).select_from(t.audit)).scalar_one() == 0
        assert conn.execute(select(func.count()).select_from(t.heartbeats)).scalar_one() == 0


def test_all_other_text_comes_back_as_it_was(store: Store) -> None:
    with store.begin(NOW) as tx:
        tx.audit(DUTY, "claim_alert", "alert", WHOLE, {"was": WHOLE}, {WHOLE: [WHOLE]})
    with store.read() as conn:
        line = conn.execute(select(t.audit)).one()
        assert verify_audit(conn).ok
    assert (line.object_id, line.before, line.after) == (WHOLE, {"was": WHOLE}, {WHOLE: [WHOLE]})


@pytest.mark.engines
def test_a_text_that_is_too_long_for_its_column_is_a_sentence(pg_store: Store) -> None:
    with pytest.raises(UnstorableText, match="内容太长"), pg_store.begin(NOW) as tx:
        tx.audit(DUTY, "x" * 49, "alert", 1)


@pytest.mark.engines
def test_what_goes_past_the_door_in_bulk_is_refused_by_the_server_alike(pg_store: Store) -> None:
    row = {"part": "x", "at": NOW, "lag": 0, "note": "well", "figures": {}}
    with pg_store.begin(NOW) as tx:
        insert_many(tx.conn, t.heartbeats, [row])
    with pytest.raises(UnstorableText, match="无法保存"), pg_store.begin(NOW) as tx:
        insert_many(tx.conn, t.heartbeats, [{**row, "part": "y", "note": NUL}])
    with pytest.raises(UnstorableText, match="无法保存"), pg_store.begin(NOW) as tx:
        update_many(tx.conn, t.heartbeats, ["part"], [{"part": "x", "note": NUL}])


@pytest.mark.engines
def test_too_many_at_once_is_a_sentence(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Store(postgres_url(pg_url))) as store, ExitStack() as held:
        monkeypatch.setattr(store.engine.pool, "_timeout", 0.1)
        for _ in range(25):
            held.enter_context(store.read())
        with pytest.raises(StoreBusy, match="too many wait for a connection"), store.read():
            pass


@pytest.mark.engines
def test_a_writer_that_falls_silent_does_not_keep_the_others_out(
    pg_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen process, or a host that is gone, would hold everybody's lock."""
    monkeypatch.setattr("pipeline.store.sql.LONGEST_THOUGHT_S", 1)
    other_is_done = threading.Event()

    def other() -> None:
        with pg_store.begin(NOW) as tx:
            tx.audit(DUTY, "claim_alert", "alert", 2)
        other_is_done.set()

    with pytest.raises(StoreBusy), pg_store.begin(NOW) as tx:
        tx.audit(DUTY, "claim_alert", "alert", 1)
        threading.Thread(target=other).start()
        assert other_is_done.wait(20)
        tx.audit(DUTY, "claim_alert", "alert", 3)
    with pg_store.read() as conn:
        assert conn.execute(select(t.audit.c.object_id)).scalars().all() == ["2"]


def test_migrations_give_the_tables_of_the_code(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, t.metadata) == []


def test_a_database_of_an_older_release_is_brought_up(make_url: MakeUrl) -> None:
    """Made as release 0001 left it, with a row; then the newest code opens it, twice."""
    from alembic import command
    from alembic.config import Config

    from pipeline.store.sql import MIGRATIONS

    url = make_url()
    store = Store(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = store.engine
    command.upgrade(config, "0001")
    assert "event_traits" not in inspect(store.engine).get_table_names()
    with store.begin(NOW) as tx:
        tx.audit(DUTY, "claim_alert", "alert", 1)
    store.create()
    store.create()
    assert set(t.metadata.tables) <= set(inspect(store.engine).get_table_names())
    with store.read() as conn:
        assert verify_audit(conn).lines == 1
    store.close()


def make_seen(make_url: MakeUrl):  # type: ignore[no-untyped-def]
    url = make_url()
    if url.startswith("sqlite"):
        return Seen(Path(url.removeprefix("sqlite:///")))
    from pipeline.store.seen_sql import SqlSeen

    return SqlSeen(url)


def test_the_door_remembers_posts_alike(make_url: MakeUrl) -> None:
    seen = make_seen(make_url)
    first = a_post(1)
    later = {"fetched_at": first.fetched_at + timedelta(hours=1)}
    liked = a_post(1, counts=Counts(likes=3), **later)
    edited = a_post(1, text="改过的话", **later)
    older = a_post(1, text="旧的话", fetched_at=first.fetched_at - timedelta(hours=1))
    assert seen.classify([first, first, a_post(2)]) == ["new", "unchanged", "new"]
    seen.remember([first], NIGHT)
    assert seen.classify([first, liked, older]) == ["unchanged", "counts", "unchanged"]
    seen.remember([edited], NIGHT)
    seen.remember([older], NIGHT)
    assert seen.classify([edited]) == ["unchanged"], "an older state never wins"
    seen.remember([a_post(n) for n in range(700)], NIGHT + timedelta(days=2))
    assert set(seen.classify([a_post(n) for n in range(2, 700)])) == {"unchanged"}
    assert seen.forget_before(NIGHT + timedelta(days=1)) == 1, "its newer state was noted first"
    assert seen.forget_before(NIGHT + timedelta(days=3)) == 699
    assert seen.classify([first]) == ["new"]
    seen.close()


def test_an_old_file_is_not_touched_by_sqlite_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "desk.db"
    path.write_bytes(b"not a database at all, but longer than a header" * 40)
    with pytest.raises(StoreBusy, match="damaged"):
        Store(sqlite_url(path)).create()
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(path).execute("SELECT 1 FROM sqlite_master")
