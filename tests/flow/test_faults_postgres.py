"""PostgreSQL is frozen, slow, stuck, full, gone, the wrong one: a sentence, bounded waits, no loss.

What goes on meanwhile, and what it is compared with, is in ``disturbed``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psycopg
import pytest
from sqlalchemy import func, select

from dashboard.context import Desk
from dashboard.watch import Watch
from pipeline.errors import StoreBusy, StoreRefused
from pipeline.store import postgres
from pipeline.store import tables as t
from pipeline.store.sql import Store, postgres_url, verify_audit
from pipeline.store.trouble import AWAY, STUCK, UNSURE
from scripts.engines import Engine
from tests.disks import full, hanging
from tests.engines import OwnEngine, free_port
from tests.flow.disturbed import DUTY, Night, beats_on, calm_night, database, product, told
from tests.slow_line import slow_line
from tests.waiting import wait_for

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.timeout(300)]

BOUND_S = postgres.SILENT_S + postgres.ANSWER_S + 1.0  # nobody waits longer for a silent server
SAID_S = 10.0  # so soon the board says that it is away
BACK_S = 30.0  # and so soon all works again


@pytest.fixture(scope="module")
def server(own_engine: OwnEngine) -> Engine:
    return own_engine("pg", disk="160m")


@pytest.fixture
def address(server: Engine) -> Iterator[str]:
    with database(server) as url:
        yield url


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return calm_night(tmp_path_factory.mktemp("calm"))


# ---- frozen -------------------------------------------------------------------------------------


def test_a_frozen_server_is_said_waited_for_and_nothing_is_missing_or_doubled(
    server: Engine,
    address: str,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = set(threading.enumerate())
    with closing(product(tmp_path, address)) as app:
        desk, work = Desk(app), Night(app)
        figures = []

        def disturb() -> None:
            for frozen_s in (12.0, 1.5):
                time.sleep(1.0)
                assert not desk.watch.away(desk.now(), "store")
                server.freeze()
                began = time.monotonic()
                try:
                    if frozen_s > SAID_S:
                        said = wait_for(
                            lambda: "store" in desk.watch.away(desk.now(), "store"), "said", SAID_S
                        )
                        figures.append(f"said after {said:.1f} s")
                        wait_for(lambda: bool(work.refusals), "an act refused", SAID_S)
                    time.sleep(max(0.0, began + frozen_s - time.monotonic()))
                finally:
                    server.thaw()
                since = datetime.now(UTC)
                back = wait_for(lambda since=since: beats_on(app, since), "parts work", BACK_S)
                wait_for(lambda: not desk.watch.away(desk.now(), "store"), "taken back", 5.0)
                figures.append(f"frozen {frozen_s} s, all at work {back:.1f} s after")

        work.play(disturb)
        found = told(app)
    with capsys.disabled():
        print(f"\n{'; '.join(figures)}; the longest refused act took {work.longest_s:.1f} s")
    assert work.refusals == {AWAY}
    assert work.longest_s < 2 * BOUND_S, "reading and acting, each bounded"
    assert found == undisturbed
    wait_for(lambda: set(threading.enumerate()) <= before, "no thread is left", 5.0)


# ---- slow ---------------------------------------------------------------------------------------


def test_a_server_that_answers_after_two_seconds_is_slow_and_not_away(
    server: Engine, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with slow_line(server.port) as line:
        near = address.replace(f":{server.port}/", f":{line.port}/")
        with closing(Store(postgres_url(near))) as store:
            store.create()
            line.delay_s = 2.0
            took: dict[str, float] = {}

            def timed(name: str, work: Callable[[], None]) -> None:
                began = time.monotonic()
                work()
                took[name] = time.monotonic() - began

            def act() -> None:
                with store.begin(datetime.now(UTC)) as tx:
                    tx.audit(DUTY, "claim_alert", "alert", 1)

            def read() -> None:
                with store.read() as conn:
                    conn.execute(select(func.count()).select_from(t.audit)).scalar_one()

            threads = [
                threading.Thread(target=timed, args=args)
                for args in (("an act", act), ("a read that needs a new connection", read))
            ]
            watch, seen = Watch({"store": store.ping}), []
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                seen += watch.away(datetime.now(UTC)).values()
                time.sleep(0.2)
            line.delay_s = 0.0
            with store.read() as conn:
                assert verify_audit(conn).lines == 1
    with capsys.disabled():
        print("\n" + ", ".join(f"{name} {s:.0f} s" for name, s in sorted(took.items())))
    assert len(took) == 2
    assert seen and all(away.is_slow for away in seen), "slow is said, and nothing is refused"


# ---- stuck -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_such_a_disk(own_engine: OwnEngine) -> Engine:
    return own_engine("pg", disk="200m", hangs=True)


@pytest.fixture
def stuck(on_such_a_disk: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A server whose disk can hang; nobody waits for it as long as he would at a bureau."""
    monkeypatch.setattr(postgres, "SILENT_S", 1.0)
    monkeypatch.setattr(postgres, "LONG_S", 2.0)
    monkeypatch.setattr(postgres, "PROOF_S", 2.0)
    return on_such_a_disk


def test_a_disk_that_hangs_is_said_ends_the_waiting_and_nothing_is_missing_or_doubled(
    stuck: Engine,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = set(threading.enumerate())
    with database(stuck) as address, closing(product(tmp_path, address)) as app:
        desk, work = Desk(app), Night(app)
        figures = []

        def away() -> dict[str, Any]:
            return desk.watch.away(desk.now(), "store")

        def disturb() -> None:
            time.sleep(1.0)
            assert not away()
            with hanging(stuck.base):
                said = wait_for(away, "said", SAID_S)
                refused = wait_for(lambda: bool(work.refusals & {STUCK, UNSURE}), "refused")
                figures.append(f"said after {said:.1f} s, an act refused {refused:.1f} s later")
                wait_for(lambda: STUCK in work.refusals, "the next act is not even begun")
                with app.store.read() as conn:
                    assert verify_audit(conn).ok, "what there is can be read"
                time.sleep(postgres.LONG_S + 2 * postgres.PROOF_S)
                assert away()["store"].is_slow, "it is there, so no page is closed"
            since = datetime.now(UTC)
            back = wait_for(lambda: beats_on(app, since), "parts work", BACK_S)
            wait_for(lambda: not away(), "taken back", BACK_S)
            figures.append(f"all at work {back:.1f} s after")

        work.play(disturb)
        found = told(app)
        assert not app.bus.dead()
    with capsys.disabled():
        print(f"\n{'; '.join(figures)}; the longest refused act took {work.longest_s:.1f} s")
    assert work.refusals <= {AWAY, STUCK, UNSURE}
    assert work.longest_s < 15.0, "reading and acting, each bounded"
    assert found == undisturbed
    wait_for(lambda: set(threading.enumerate()) <= before, "no thread is left", BACK_S)


def test_an_act_that_was_cut_off_may_be_there_and_is_not_done_twice(stuck: Engine) -> None:
    def act() -> None:
        with store.begin(datetime.now(UTC)) as tx:
            tx.audit(DUTY, "claim_alert", "alert", 1)

    with database(stuck) as address, closing(Store(postgres_url(address))) as store:
        store.create()
        act()
        with hanging(stuck.base), pytest.raises(StoreBusy, match="可能已经保存"):
            act()
        with pytest.raises(StoreBusy, match="what was cut off before is settled now"):
            act()  # whoever tries again looks first
        with store.read() as conn:
            assert verify_audit(conn).lines == 2
        act()


def test_a_long_statement_is_waited_for(stuck: Engine) -> None:
    with database(stuck) as address, closing(Store(postgres_url(address))) as store:
        long_s = postgres.LONG_S + postgres.SILENT_S + postgres.PROOF_S + 1.0
        with store.begin(datetime.now(UTC)) as tx:
            tx.conn.exec_driver_sql(f"SELECT pg_sleep({long_s})")


# ---- full ---------------------------------------------------------------------------------------


def test_a_full_disk_is_said_and_waited_for(
    server: Engine,
    address: str,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with closing(product(tmp_path, address)) as app:
        work = Night(app)
        figures = []
        said: dict[str, tuple[bool, set[str]]] = {}

        def disturb() -> None:
            for name, use_up in (("tables", grow_tables), ("log", grow_log)):
                time.sleep(1.0)
                work.refusals.clear()
                with full(server.base):
                    use_up(address)
                    began = time.monotonic()
                    wait_for(lambda: bool(work.refusals), "an act refused", BACK_S)
                    figures.append(
                        f"no room for {name}: refused after {time.monotonic() - began:.1f} s"
                        f" ({'; '.join(work.refusals)})"
                    )
                    time.sleep(2.0)
                    is_there = server.pid() is not None
                server.start(keep=True)
                since = datetime.now(UTC)
                back = wait_for(lambda since=since: beats_on(app, since), "parts work", 30.0)
                said[name] = (is_there, set(work.refusals))
                figures.append(f"all at work {back:.1f} s after there was")

        work.play(disturb)
        found = told(app)
    with capsys.disabled():
        print("\n" + "\n".join(figures))
    is_there, refused = said["tables"]
    assert is_there and refused == {"磁盘已满：请清理磁盘空间，系统会自动重试"}
    is_there, refused = said["log"]
    assert not is_there, "PostgreSQL ends itself rather than lose what it promised"
    assert refused == {AWAY}
    assert found == undisturbed


def grow_tables(address: str) -> None:
    """Until no table has room."""
    with psycopg.connect(address, autocommit=True) as conn, pytest.raises(psycopg.errors.DiskFull):
        while True:
            conn.execute("CREATE TABLE IF NOT EXISTS filler (text text)")
            rows = "SELECT repeat(md5(n::text), 64) FROM generate_series(1, 500) n"
            conn.execute(f"INSERT INTO filler {rows}".encode())


def grow_log(address: str) -> None:
    """Until the log of changes has no room; that ends the server."""
    with psycopg.connect(address, autocommit=True) as conn, pytest.raises(psycopg.Error):
        while True:
            conn.execute("SELECT pg_logical_emit_message(true, 'x', 'y'), pg_switch_wal()")


# ---- gone, or the wrong one ---------------------------------------------------------------------


def test_what_is_wrong_with_the_address_is_one_line_and_no_waiting(
    server: Engine, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {
        "账号或密码不对": address.replace(":engines@", ":not-the-word@"),
        "没有这个数据库": address + "_none",
    }
    for words, url in wrong.items():
        with closing(Store(postgres_url(url))) as store:
            with pytest.raises(StoreRefused, match=words) as caught:
                store.create()
            assert "not-the-word" not in str(caught.value) and "\n" not in str(caught.value)
    monkeypatch.setattr(postgres, "OLDEST", 99)
    store = Store(postgres_url(address))
    with closing(store), pytest.raises(StoreRefused, match="版本过旧，请升级到 99 或以上"):
        store.create()


def written(home: Path, url: str, **more: Any) -> list[str]:
    """A folder whose product uses that database; its --config."""
    values = {
        "profile": "distributed", "kafka_servers": ["127.0.0.1:9"],
        "elastic_urls": ["http://127.0.0.1:9"], "database_url": url, **more,
    }  # fmt: skip
    home.mkdir()
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
    (home / "tingfeng.toml").write_text(lines, "utf-8")
    return ["--config", str(home)]


@pytest.mark.parametrize("command", [["run", "--port", "{port}"], ["part", "desk"]])
def test_a_start_with_a_wrong_password_fails_at_once(
    address: str, tmp_path: Path, command: list[str]
) -> None:
    config = written(tmp_path / "home", address.replace(":engines@", ":not-the-word@"))
    words = [word.format(port=free_port(1)) for word in command]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words, *config],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and "账号或密码不对" in done.stderr
    assert "not-the-word" not in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_board_that_starts_without_its_database_waits_and_says_so(
    own_engine: OwnEngine, tmp_path: Path
) -> None:
    late = own_engine("pg")
    port = free_port(1)
    late.stop()
    config = written(tmp_path / "home", late.address, port=port)
    log = tmp_path / "board.log"

    def page() -> str:
        try:
            return urlopen(f"http://127.0.0.1:{port}/", timeout=5).read().decode()
        except HTTPError as refused:
            return refused.read().decode()
        except OSError:  # one server left the address, the next is not there yet
            return ""

    with log.open("wb") as out:
        board = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "part", "board", "--port", str(port), *config],
            stderr=out,
        )
    try:
        wait_for(lambda: "数据库" in page() and "起无应答" in page(), "the page says so", 30.0)
        late.start(keep=True)
        wait_for(lambda: 'action="/login"' in page(), "the board opens", 30.0)
    finally:
        board.terminate()
        board.wait(15)
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    waits = [line for line in lines if line["event"] == "waiting for a server"]
    assert 1 <= len(waits) <= 3 and all("since" in line for line in waits)
    assert (tmp_path / "home" / "beats" / "board").exists(), "its container is not ill"
