"""What can break on a machine at night, each fault made for real.

Whatever breaks: one clear line that says what to do, nothing lost, and the work goes on by itself
when the cause is gone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import insert, select

from pipeline import clock as clock_module
from pipeline.app import build, load_rule_files, rule_file
from pipeline.bus.base import Record
from pipeline.clock import DrillClock, WallClock
from pipeline.commands.doctor import examine
from pipeline.commands.running import Drill
from pipeline.domain.post import FetchedPost
from pipeline.errors import EngineDown, SettingsError, StoreBusy
from pipeline.notify import Notifier
from pipeline.receivers import load_receivers
from pipeline.settings import Settings, load_settings
from pipeline.store import tables as t
from pipeline.store.sql import Store, sqlite_url
from pipeline.supervisor import RunLock
from pipeline.worker import Worker
from tests.disks import full, mount, unmount

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def tingfeng(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        capture_output=True, text=True, timeout=120, check=False, **more,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 1 and one line with these words; never a traceback."""
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]


def posts(n: int, start: int = 0) -> list[FetchedPost]:
    return [
        FetchedPost(
            source="test", text=f"白沙大道积水，第 {i} 条", native_id=str(i),
            published_at=NOW, fetched_at=NOW,
        )
        for i in range(start, start + n)
    ]  # fmt: skip


# ---- disk and database ------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 6 MB; skipped loudly where none can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount(folder, "6m")
    try:
        yield folder
    finally:
        unmount(folder)


def test_full_disk_says_so_and_goes_on(small_disk: Path) -> None:
    app = build(Settings(home=small_disk))
    ingest = app.ingest()
    assert ingest.accept(posts(20)).accepted == 20
    with full(small_disk):
        with pytest.raises(EngineDown, match="the disk is full; free some space"):
            for round_ in range(50):
                ingest.accept(posts(100, 1000 + 100 * round_))
        published = len(list(app.bus.read("posts.raw")))
        with pytest.raises(StoreBusy, match="磁盘已满"):
            for _ in range(200):
                row = {"key": os.urandom(16).hex(), "value": "x" * 9000}
                with app.store.begin(NOW) as tx:
                    tx.conn.execute(insert(t.meta), row)
    assert len(list(app.bus.read("posts.raw"))) == published >= 20
    again = ingest.accept(posts(5000, 1000)[: published - 20 + 200])
    assert again.accepted == 200 and again.dead == 0  # what had passed is known, nothing is lost
    with app.store.begin(NOW) as tx:
        tx.conn.execute(insert(t.meta), {"key": "after", "value": "x"})
    app.close()


def test_locked_posts_db_is_waited_for_and_tried_again(tmp_path: Path) -> None:
    app = build(Settings(home=tmp_path, busy_seconds=0.1))
    handled: list[str] = []
    notes: list[str] = []
    worker = Worker(
        app.bus, "g", ["posts.raw"], lambda ms: handled.extend(m.key for m in ms),
        stage="test", clock=app.clock, first_wait_s=0.05,
        on_beat=lambda _lag, note: notes.append(note),
    )  # fmt: skip
    stop = threading.Event()
    app.bus.publish("posts.raw", [Record("a", b"1")])
    thread = threading.Thread(target=worker.run, args=(stop,), kwargs={"poll_s": 0.05})
    with closing(sqlite3.connect(tmp_path / "posts.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(EngineDown, match="another process holds the file"):
            app.bus.publish("posts.raw", [Record("b", b"2")])
        thread.start()
        until(lambda: any("another process holds the file" in n for n in notes))
        other.execute("ROLLBACK")
    app.bus.publish("posts.raw", [Record("b", b"2")])
    until(lambda: handled == ["a", "b"])
    stop.set()
    thread.join()
    app.close()


def test_locked_desk_db_says_so(tmp_path: Path) -> None:
    store = Store(sqlite_url(tmp_path / "desk.db"), busy_s=0.1)
    store.create()
    with closing(sqlite3.connect(tmp_path / "desk.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with (
            pytest.raises(StoreBusy, match=r"desk.db: 数据库暂时不可用，请稍后重试"),
            store.begin(NOW),
        ):
            pass
        other.execute("ROLLBACK")
    with store.begin(NOW) as tx:
        tx.conn.execute(insert(t.meta), {"key": "k", "value": "v"})
    store.close()


@pytest.mark.parametrize("name", ["posts.db", "desk.db"])
def test_damaged_database(tmp_path: Path, name: str) -> None:
    app = build(Settings(home=tmp_path))
    app.bus.publish("posts.raw", [Record("a", b"1")])
    app.close()
    for log in tmp_path.glob("*.db-*"):
        log.unlink()
    with (tmp_path / name).open("r+b") as file:
        file.write(b"\xff" * 100)
    found = {f.subject: f for f in examine(tmp_path)}["databases"]
    assert not found.ok and name in found.text and "is damaged" in found.text
    assert "move it away" in found.text
    refused(tingfeng("export", "events", "--config", str(tmp_path)), name, "damaged", "stop")


def test_folder_that_cannot_be_written(small_disk: Path) -> None:
    build(Settings(home=small_disk)).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(tingfeng("run", "--config", str(small_disk)), "cannot write in", "owner")
    found = {f.subject: f for f in examine(small_disk)}["folder"]
    assert not found.ok and "choose another folder" in found.text


# ---- settings ---------------------------------------------------------------------------------

WRONG = [
    ("tingfeng.toml", "port = 99999", "port"),
    ("tingfeng.toml", 'home_adcode = "45"', "home_adcode"),
    ("tingfeng.toml", 'profile = "distributed"', "distributed profile"),
    ("tingfeng.toml", "no_such_key = 1", "no_such_key"),
    ("tingfeng.toml", 'busy_seconds = "soon"', "busy_seconds"),
    ("tingfeng.toml", "port = = 1", "not valid TOML"),
    ("rules.toml", "[burst", "rules.toml"),
    ("levels.toml", "x = 1", "levels.toml"),
    ("routes.toml", "x = 1", "routes.toml"),
    ("deadlines.toml", "[[clock]]", "deadlines.toml"),
    ("channels.toml", "[[receiver]]\nname='x'\nhears=['*']\nkind='pigeon'", "kind must be"),
    ("clock.json", '{"wall0": 1', "clock.json is damaged"),
]


@pytest.mark.parametrize(("name", "text", "says"), WRONG)
def test_wrong_files_are_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(SettingsError, match=name.replace(".", r"\.")) as caught:
        settings = load_settings(tmp_path)
        load_rule_files(settings)
        load_receivers(rule_file(settings, "channels.toml"), home=tmp_path)
        build(settings)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert any(not f.ok and says in f.text for f in examine(tmp_path))


@pytest.mark.parametrize("number", [1, 5, 10, 11])
def test_wrong_files_stop_the_start_in_one_line(tmp_path: Path, number: int) -> None:
    name, text, says = WRONG[number]
    (tmp_path / name).write_text(text, "utf-8")
    Drill("rainstorm_night", 60.0, 1).save(tmp_path)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    refused(tingfeng("run", "--config", str(tmp_path), "--port", port), says)


def test_wrong_environment_is_named(tmp_path: Path) -> None:
    env = {**os.environ, "TINGFENG_RECEIVERS": "[not json"}
    refused(tingfeng("export", "events", "--config", str(tmp_path), env=env), "receivers", "JSON")


def test_port_taken_and_folder_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        refused(tingfeng("run", "--config", str(tmp_path), "--port", port), port, "is taken")
    lock = RunLock(tmp_path)
    refused(tingfeng("run", "--config", str(tmp_path)), "another Tingfeng runs on")
    assert RunLock.is_held(tmp_path)
    lock.release()
    assert not RunLock.is_held(tmp_path)


def test_missing_and_damaged_model(tmp_path: Path) -> None:
    missing, damaged = tmp_path / "no.npz", tmp_path / "bad.npz"
    damaged.write_bytes(b"PK\x03\x04 not a model")
    for model in (missing, damaged):
        done = tingfeng("annotate", "--model", str(model), input='{"id":"1","text":"暴雨"}\n')
        refused(done, model.name, "train")
        assert done.stdout == ""  # never a guess


# ---- time -------------------------------------------------------------------------------------


def test_clock_going_back_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = WallClock()
    first = clock.now()

    class Back(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return first - timedelta(hours=1)

    monkeypatch.setattr(clock_module, "datetime", Back)
    assert clock.now() == first


def test_drill_clock_goes_on_from_where_it_stood(tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    DrillClock(time.time() - 60, NOW, 60.0, NOW + timedelta(hours=6)).save(file)
    resumed = DrillClock.resume(file, 60.0)
    assert timedelta(minutes=59) < resumed.drill0 - NOW < timedelta(minutes=62)


# ---- telling, pictures, dead letters ----------------------------------------------------------


def test_unreachable_receiver_is_red_and_tried_again(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    file = tmp_path / "channels.toml"
    file.write_text(
        f"[[receiver]]\nname='邮箱'\nkind='apprise'\nhears=['*']\n"
        f"address='mailto://127.0.0.1:{port}?from=desk@example.cn&to=office@example.cn'\n",
        "utf-8",
    )
    store = Store(sqlite_url(tmp_path / "desk.db"))
    store.create()
    with store.begin(NOW) as tx:
        tx.conn.execute(
            insert(t.deliveries),
            {"dedup_key": "k", "reason": "chase", "receiver": "值班台", "channel": "", "title": "t",
             "body": "b", "state": "waiting", "not_before": NOW, "created_at": NOW},
        )  # fmt: skip
    notifier = Notifier(store, load_receivers(file, home=tmp_path))
    assert notifier.send_due(NOW) == 0
    with store.read() as conn:
        row = conn.execute(select(t.deliveries)).mappings().one()
    assert row["state"] == "failed" and row["error_class"] == "network"
    assert "将自动重试" in row["last_error"] and row["not_before"] > NOW
    store.close()


def test_no_chinese_font_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pipeline.desk import review_export

    monkeypatch.setattr(
        review_export.font_manager.fontManager, "ttflist",
        [f for f in review_export.font_manager.fontManager.ttflist if f.name == "DejaVu Sans"],
    )  # fmt: skip
    review_export.chinese_font.cache_clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a missing glyph is a box where a word should be
            assert review_export.spread_picture([], []).startswith(b"\x89PNG")
        found = {f.subject: f for f in examine(tmp_path)}["fonts"]
    finally:
        review_export.chinese_font.cache_clear()
    assert not found.ok and "fonts-noto-cjk" in found.text


def test_dead_letter_is_listed_shown_and_retried(tmp_path: Path) -> None:
    app = build(Settings(home=tmp_path))
    app.bus.publish("posts.raw", [Record("a", b"no post at all")])
    from pipeline.bus.codec import decode_post

    def handle(messages: list[Any]) -> None:
        for message in messages:
            decode_post(message.value)

    Worker(app.bus, "annotate", ["posts.raw"], handle, stage="annotate", clock=app.clock).run_once()
    app.close()
    where = ("--config", str(tmp_path))
    listed = json.loads(tingfeng("dead", "list", "--json", *where).stdout)
    assert listed["stage"] == "annotate" and listed["error"]
    number = str(listed["id"])
    assert tingfeng("dead", "show", number, *where).stdout == "no post at all\n"
    assert "sent again" in tingfeng("dead", "retry", number, *where).stdout
    assert tingfeng("dead", "list", "--json", *where).stdout == ""
    refused(tingfeng("dead", "show", "999", *where), "no dead letter 999")


# ---- stopping and starting again --------------------------------------------------------------


@pytest.mark.slow
def test_ctrl_c_stops_all_and_the_next_start_goes_on(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = one_run(home)
    second = one_run(home)
    assert second["users"] == first["users"] and second["posts"] >= first["posts"] > 0
    assert second["seen"] > first["seen"]


def one_run(home: Path) -> dict[str, Any]:
    """Start the drill, wait for posts, Ctrl-C; what the folder holds afterwards."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "run", "--config", str(home), "--port", port],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: count(home, "posts.db", "SELECT count(*) FROM seen_posts") > 0, 90)
        parent = psutil.Process(process.pid)
        until(lambda: len(parent.children()) == 7)  # site, crawl, four machine parts, board
        children = parent.children()
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert time.monotonic() - began < 10 and "goes on from here" in said
    assert not [child for child in children if child.is_running()]
    return {
        "users": count(home, "desk.db", "SELECT count(*) FROM users"),
        "posts": count(home, "posts.db", "SELECT count(*) FROM seen_posts"),
        "seen": json.loads((home / "clock.json").read_text())["seen"],
    }


def count(home: Path, name: str, query: str) -> int:
    try:
        with closing(sqlite3.connect(f"file:{home / name}?mode=ro", uri=True)) as db:
            return int(db.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # not made yet


def until(there: Any, limit_s: float = 30) -> None:
    end = time.monotonic() + limit_s
    while not there():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
