"""Telling receivers: real HTTP and mail servers on this machine, a real desk.db."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from pipeline.channels import ChannelFailed, failure_of, parts_of
from pipeline.errors import SettingsError
from pipeline.notify import TRIES, Notifier
from pipeline.receivers import Receivers, load_receivers
from pipeline.store import tables as t
from pipeline.store.sql import Store
from tests.stores import open_store

DEFAULTS = Path(__file__).parents[3] / "pipeline" / "defaults"
NOW = datetime(2026, 10, 18, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "desk.db")
    made.create()
    yield made
    made.close()


class Hook:
    """A web server that keeps what it is sent and answers with a chosen code."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.code = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.code == 200:
                    hook.got.append(json.loads(body))
                self.send_response(hook.code)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"json://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    with serving(made.server):
        yield made


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP as a client needs. ``refuse``: answer to RCPT, empty to accept."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailTalk)
        self.mails: list[bytes] = []
        self.refuse = ""


class MailTalk(socketserver.StreamRequestHandler):
    server: MailServer

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self) -> None:
        self.say("220 mail")
        for raw in self.rfile:
            word = raw[:4].upper()
            if word in (b"EHLO", b"HELO", b"MAIL", b"RSET", b"NOOP"):
                self.say("250 ok")
            elif word == b"RCPT":
                self.say(self.server.refuse or "250 ok")
            elif word == b"DATA":
                self.say("354 go on")
                lines = []
                for line in self.rfile:
                    if line == b".\r\n":
                        break
                    lines.append(line)
                self.server.mails.append(b"".join(lines))
                self.say("250 kept")
            elif word == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("502 what")


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield
    server.shutdown()
    server.server_close()


def receivers(folder: Path, *rows: str, extra: tuple[str, ...] = ()) -> Receivers:
    file = folder / "channels.toml"
    file.write_text("\n".join(f"[[receiver]]\n{row}" for row in rows), encoding="utf-8")
    return load_receivers(file, extra, home=folder)


def queue(store: Store, key: str, **more: Any) -> None:
    row = {
        "dedup_key": key,
        "reason": "alert",
        "fingerprint": "",
        "case_id": None,
        "receiver": "气象台",
        "channel": "",
        "title": "【重大·谣言】网传：水库今晚泄洪",
        "body": "为何现在：已被转述 50 次\n地点：大王滩水库",
        "state": "waiting",
        "not_before": NOW,
        "created_at": NOW,
    }
    with store.begin(NOW) as tx:
        tx.conn.execute(insert(t.deliveries), row | more)


def alert(store: Store, fingerprint: str, event: str, **more: Any) -> None:
    row: dict[str, Any] = {
        "fingerprint": fingerprint,
        "rule": "rumour",
        "event_id": event,
        "level": 2,
        "kind": "rumour",
        "title": "",
        "sentence": "",
        "figures": {},
        "lead_office": "气象台",
        "helper_offices": [],
        "copy_offices": [],
        "links": [],
        "warning_texts": [],
        "state": "new",
        "fired_at": NOW,
        "last_at": NOW,
        "recorded_at": NOW,
    }
    with store.begin(NOW) as tx:
        tx.conn.execute(insert(t.alerts), row | more)


def deliveries(store: Store) -> list[Any]:
    with store.read() as conn:
        return list(conn.execute(select(t.deliveries).order_by(t.deliveries.c.id)).all())


def attempts(store: Store) -> list[Any]:
    with store.read() as conn:
        return list(
            conn.execute(select(t.delivery_attempts).order_by(t.delivery_attempts.c.id)).all()
        )


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(x) for x in (folder / "notices.log").read_text("utf-8").splitlines()]


def test_the_default_is_a_file_that_hears_everything(store: Store, tmp_path: Path) -> None:
    told = load_receivers(DEFAULTS / "channels.toml", home=tmp_path)
    notifier = Notifier(store, told, public_url="https://desk.example.cn/")
    queue(store, "a", fingerprint="f1", receiver="值班台")
    assert notifier.send_due(NOW) == 1
    assert notifier.send_due(NOW) == 0
    (line,) = lines(tmp_path)
    assert line["receiver"] == "值班台"
    assert "已被转述 50 次" in line["body"]
    assert line["link"] == "https://desk.example.cn/overview?sel=alert:f1"
    (row,) = deliveries(store)
    assert (row.state, row.channel, row.attempts) == ("sent", "通知记录", 1)
    assert [a.ok for a in attempts(store)] == [True]


def test_a_webhook_receives_the_notice(store: Store, tmp_path: Path, hook: Hook) -> None:
    told = receivers(
        tmp_path, f'name="网钩"\nkind="apprise"\naddress="{hook.address}"\nhears=["气象台"]'
    )
    notifier = Notifier(store, told)
    queue(store, "a")
    queue(store, "b", receiver="防雷中心", title="只写进记录")
    notifier.send_due(NOW)
    (got,) = hook.got
    assert got["title"] == "【重大·谣言】网传：水库今晚泄洪"
    assert "大王滩水库" in got["message"]
    # what no other channel hears is still written down; what one hears is written down too
    assert {x["receiver"] for x in lines(tmp_path)} == {"气象台", "防雷中心"}
    assert {(d.receiver, d.channel, d.state) for d in deliveries(store)} == {
        ("气象台", "通知记录", "sent"),
        ("气象台", "网钩", "sent"),
        ("防雷中心", "通知记录", "sent"),
    }


def test_mail_arrives_and_a_refusing_server_ends_the_tries(store: Store, tmp_path: Path) -> None:
    server = MailServer()
    port = server.server_address[1]
    row = (
        f'name="邮件"\nkind="apprise"\nhears=["气象台"]\n'
        f'address="mailto://127.0.0.1:{port}?from=desk@example.cn&to=office@example.cn"'
    )
    with serving(server):
        notifier = Notifier(store, receivers(tmp_path, row))
        queue(store, "a")
        notifier.send_due(NOW)
        (raw,) = server.mails
        mail = message_from_bytes(raw, policy=default)
        assert mail["Subject"] == "【重大·谣言】网传：水库今晚泄洪"
        body = mail.get_body(("plain", "html"))
        assert body is not None
        assert "大王滩水库" in body.get_content()
        server.refuse = "550 no such user"
        queue(store, "b")
        notifier.send_due(NOW)
    mailed = [d for d in deliveries(store) if d.channel == "邮件"]
    assert [d.state for d in mailed] == ["sent", "given_up"]
    assert mailed[1].error_class in ("refused", "auth")


def test_an_unreachable_server_is_tried_six_times(store: Store, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = receivers(
        tmp_path, f'name="坏"\nkind="apprise"\naddress="json://127.0.0.1:{port}"\nhears=["气象台"]'
    )
    notifier = Notifier(store, told)
    queue(store, "a")
    now = NOW
    states = []
    for _ in range(40):
        notifier.send_due(now)
        (row,) = [d for d in deliveries(store) if d.channel == "坏"]
        states.append((row.attempts, row.state))
        now += timedelta(seconds=30)
    assert states[0] == (1, "failed")
    assert states[-1] == (TRIES, "given_up")
    assert row.error_class == "network"
    failures = [a for a in attempts(store) if not a.ok]
    assert len(failures) == TRIES
    gaps = [(b.at - a.at).total_seconds() for a, b in pairwise(failures)]
    assert gaps == [30, 60, 120, 240, 480]
    assert str(port) not in row.last_error  # addresses are secrets


@pytest.mark.parametrize(
    ("code", "state", "failure"),
    [(401, "given_up", "auth"), (404, "given_up", "refused"), (503, "failed", "busy")],
)
def test_an_answer_decides_whether_to_try_again(
    store: Store, tmp_path: Path, hook: Hook, code: int, state: str, failure: str
) -> None:
    told = receivers(
        tmp_path, f'name="网钩"\nkind="apprise"\naddress="{hook.address}"\nhears=["气象台"]'
    )
    hook.code = code
    queue(store, "a")
    Notifier(store, told).send_due(NOW)
    (row,) = [d for d in deliveries(store) if d.channel == "网钩"]
    assert (row.state, row.error_class) == (state, failure)
    hook.code = 200
    Notifier(store, told).send_due(NOW + timedelta(minutes=5))
    assert len(hook.got) == (1 if state == "failed" else 0)


def test_alerts_of_one_event_are_one_message(store: Store, tmp_path: Path) -> None:
    notifier = Notifier(store, load_receivers(DEFAULTS / "channels.toml", home=tmp_path))
    soon = NOW + timedelta(seconds=30)
    for n in range(3):
        alert(store, f"f{n}", "E-1", level=n + 1)
        queue(store, f"a{n}", fingerprint=f"f{n}", not_before=soon, body=f"为何现在：第{n}条")
    alert(store, "other", "E-2")
    queue(store, "b", fingerprint="other", not_before=soon)
    assert notifier.send_due(NOW) == 0  # group_wait
    assert notifier.send_due(soon) == 2
    first, second = lines(tmp_path)
    assert first["fingerprint"] == "f2"  # the gravest leads
    assert "第0条" in first["body"]
    assert "第1条" in first["body"]
    assert second["fingerprint"] == "other"
    assert [d.state for d in deliveries(store)] == ["grouped", "grouped", "sent", "sent"]
    # group_interval: the next about the same event waits
    alert(store, "f9", "E-1")
    queue(store, "c", fingerprint="f9", not_before=soon)
    assert notifier.send_due(soon + timedelta(seconds=60)) == 0
    assert notifier.send_due(soon + timedelta(seconds=301)) == 1


def test_help_waits_for_no_group_and_no_digest(store: Store, tmp_path: Path) -> None:
    notifier = Notifier(store, load_receivers(DEFAULTS / "channels.toml", home=tmp_path))
    for n in range(14):
        alert(store, f"f{n}", f"E-{n}", kind="help" if n < 2 else "rumour")
        queue(store, f"a{n}", fingerprint=f"f{n}", title=f"第{n}件")
    assert notifier.send_due(NOW) == 3  # two calls, and a digest of twelve
    said = lines(tmp_path)
    assert [x["title"] for x in said] == ["第0件", "第1件", "【汇总】12 条通知"]
    assert all(f"第{n}件" in said[2]["body"] for n in range(2, 14))


def test_what_was_muted_meanwhile_is_not_said(store: Store, tmp_path: Path) -> None:
    notifier = Notifier(store, load_receivers(DEFAULTS / "channels.toml", home=tmp_path))
    alert(store, "f1", "E-1", state="suppressed")
    alert(store, "f2", "E-2", state="calmed")
    alert(store, "f3", "E-3", state="claimed")
    for n in (1, 2, 3):
        queue(store, f"a{n}", fingerprint=f"f{n}")
    assert notifier.send_due(NOW) == 1
    assert [d.state for d in deliveries(store)] == ["cancelled", "cancelled", "sent"]


def test_an_unclaimed_alert_is_said_again_after_four_hours(store: Store, tmp_path: Path) -> None:
    notifier = Notifier(store, load_receivers(DEFAULTS / "channels.toml", home=tmp_path))
    alert(store, "f1", "E-1")
    queue(store, "a", fingerprint="f1")
    told = [notifier.send_due(NOW + timedelta(hours=h)) for h in range(10)]
    assert told == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert lines(tmp_path)[1]["title"].startswith("再次提醒：【重大")
    with store.begin(NOW) as tx:
        tx.conn.execute(update(t.alerts).values(state="claimed"))
    assert notifier.send_due(NOW + timedelta(hours=30)) == 0


def test_sent_but_not_recorded_is_said_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = load_receivers(DEFAULTS / "channels.toml", home=tmp_path)
    queue(store, "a")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.notify._record", killed)
        with pytest.raises(KeyboardInterrupt):
            Notifier(store, told).send_due(NOW)
    assert deliveries(store)[0].state == "waiting"
    Notifier(store, told).send_due(NOW)
    assert len(lines(tmp_path)) == 2
    assert deliveries(store)[0].state == "sent"


def test_long_notices_are_cut_to_the_channel(store: Store, tmp_path: Path, hook: Hook) -> None:
    told = receivers(
        tmp_path,
        f'name="小"\nkind="apprise"\naddress="{hook.address}"\nhears=["气象台"]\nlimit=300',
    )
    text = "\n".join(f"第{n}行：{'雨' * 40}" for n in range(8))
    queue(store, "a", body=text)
    Notifier(store, told).send_due(NOW)
    assert len(hook.got) > 3
    assert "\n".join(g["message"] for g in hook.got) == text
    assert all(len((g["title"] + g["message"]).encode()) <= 300 for g in hook.got)


def test_parts_keep_every_character() -> None:
    text = "雨" * 500 + "\n" + "a" * 10
    for limit in (50, 100, 301):
        parts = parts_of(text, limit)
        assert "".join(parts).replace("\n", "") == text.replace("\n", "")
        assert all(len(p.encode()) <= limit for p in parts)


@pytest.mark.parametrize(
    ("log", "failure", "permanent"),
    [
        ("Failed to send JSON POST notification: x, error=401.", "auth", True),
        ("Failed to send notification: error=429.", "busy", False),
        ("A Connection error occurred\nSocket Exception: (535, b'no')", "auth", True),
        ("A Connection error occurred\nSocket Exception: (451, b'later')", "busy", False),
        ("A Connection error occurred\nSocket Exception: refused", "network", False),
        ("?", "unknown", False),
    ],
)
def test_failures_have_classes(log: str, failure: str, permanent: bool) -> None:
    error: ChannelFailed = failure_of(log)
    assert (error.failure, error.is_permanent) == (failure, permanent)


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ('name="x"\nkind="fax"\nhears=["*"]', "kind"),
        ('name="x"\nkind="file"', "hears"),
        ('name=""\nkind="file"\nhears=["*"]', "name"),
        ('name="x"\nkind="apprise"\naddress="nothing://secret-token"\nhears=["*"]', "apprise"),
        ('name="x"\nkind="file"\nhears=["*"]\ncolour="red"', "colour"),
    ],
)
def test_a_bad_file_names_the_receiver_and_hides_the_address(
    tmp_path: Path, row: str, word: str
) -> None:
    with pytest.raises(SettingsError) as error:
        receivers(tmp_path, row)
    assert word in str(error.value)
    assert "receiver 1" in str(error.value)
    assert "secret-token" not in str(error.value)


def test_the_setting_receivers_hears_what_the_desk_hears(
    store: Store, tmp_path: Path, hook: Hook
) -> None:
    told = receivers(tmp_path, 'name="记录"\nkind="file"\nhears=["*"]', extra=(hook.address,))
    queue(store, "a", receiver="值班台")
    queue(store, "b", receiver="气象台")
    Notifier(store, told).send_due(NOW)
    assert len(hook.got) == 1
