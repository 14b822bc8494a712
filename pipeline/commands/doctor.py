"""``tingfeng doctor``: what is wrong here, and what to do about it."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import TingfengError
from pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from pipeline.bus.base import Bus
    from pipeline.store.sql import Store

ENOUGH_DISK = 2 * 1024**3
ENOUGH_MEMORY = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One examined thing. ``text`` says what to do when ``ok`` is False."""

    subject: str
    ok: bool
    text: str

    @property
    def mark(self) -> str:
        return "ok  " if self.ok else "FAIL"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(config: Path) -> list[Finding]:
    """Look at everything the product needs; never raises."""
    try:
        settings = load_settings(config)
    except TingfengError as error:
        return [Finding("settings", False, str(error))]
    findings = [Finding("settings", True, f"read from {config}")]
    checks: tuple[tuple[str, Callable[[Settings], str | None]], ...] = (
        ("folder", _folder),
        ("disk", _disk),
        ("memory", _memory),
        ("clock", _clock),
        ("rules", _rules),
        ("sources", _sources),
        ("model", _model),
        ("servers", _servers),
        ("claims", _claims),
        ("fonts", _fonts),
        ("databases", _databases),
        ("port", _port),
    )
    for subject, check in checks:
        try:
            problem = check(settings)
        except TingfengError as error:
            problem = str(error)
        except Exception as error:  # a doctor reports, whatever it meets
            problem = f"{type(error).__name__}: {error}"
        findings.append(Finding(subject, problem is None, problem or "fine"))
    return findings


def _folder(s: Settings) -> str | None:
    probe = s.home / ".probe"
    try:
        s.home.mkdir(parents=True, exist_ok=True)
        probe.write_text("x")
        probe.unlink()
    except OSError as error:
        return (
            f"cannot write in {s.home} ({error.strerror}); fix its owner or choose another folder"
        )
    return None


def _disk(s: Settings) -> str | None:
    free = shutil.disk_usage(s.home if s.home.exists() else Path("/")).free
    if free >= ENOUGH_DISK:
        return None
    return f"{free / 1024**3:.1f} GB free at {s.home}; free some space, 2 GB or more are needed"


def _memory(_s: Settings) -> str | None:
    import psutil

    have = psutil.virtual_memory().available
    if have >= ENOUGH_MEMORY:
        return None
    return f"{have / 1024**3:.1f} GB of memory available; the product wants 1.5 GB for itself"


def _clock(s: Settings) -> str | None:
    from pipeline.app import make_clock

    make_clock(s).now()  # a drill's clock file must be readable
    db = s.posts_db
    if db.exists() and db.stat().st_mtime > time.time() + 300:
        return "the clock runs behind the newest data; set it (timedatectl set-ntp true)"
    return None


def _rules(s: Settings) -> str | None:
    from pipeline.app import load_rule_files, rule_file
    from pipeline.receivers import load_receivers

    load_rule_files(s)
    load_receivers(rule_file(s, "channels.toml"), s.receivers, home=s.home)
    return None


def _sources(s: Settings) -> str | None:
    from crawlers.sources import read_sources

    file = s.home / "sources.toml"
    if not file.exists():
        return None  # the drill plays
    if not any(source.enabled for source in read_sources(file)):
        return f"no source is enabled in {file}; set enabled = true, or remove it for the drill"
    return None if s.contact else "contact: give an address for the crawler's user agent"


def _desk(s: Settings) -> Store | None:
    """What people did; None before the first start."""
    from sqlalchemy import inspect

    from pipeline.engines import store_url
    from pipeline.store.sql import Store

    if s.profile == "embedded" and not s.desk_db.exists():
        return None
    store = Store(store_url(s), 5.0)
    try:
        with store.read() as conn:
            if inspect(conn).has_table("users"):
                return store
    except BaseException:
        store.close()
        raise
    store.close()
    return None


def _model(s: Settings) -> str | None:
    from nlp import weights
    from nlp.annotator import Annotator
    from nlp.errors import ModelMissing, ModelUnreadable
    from pipeline.desk import models

    Annotator.load().annotate(["南宁暴雨"])
    store = _desk(s)
    if store is None:
        return None
    try:
        with store.read() as conn:
            chosen = models.in_use(conn)
        weights.load(models.model_path(s.models_dir, chosen))
    except (ModelMissing, ModelUnreadable) as error:
        return f"{error}. The shipped model judges meanwhile; restore it or: tingfeng model back"
    finally:
        store.close()
    return None


def _claims(s: Settings) -> str | None:
    from pipeline import claim_thresholds
    from pipeline.app import make_clock
    from pipeline.desk.claims import active_ids

    kept = claim_thresholds.load(s)
    store = _desk(s)
    if store is None:
        return None
    try:
        with store.read() as conn:
            active = len(active_ids(conn, make_clock(s).now()))
    finally:
        store.close()
    if active < 2 * kept.claims:
        return None
    return (
        f"{active} claims are compared with posts, the thresholds were set on {kept.claims}; more"
        " claims mean more chance likeness: run tingfeng claims calibrate"
    )


def _fonts(_s: Settings) -> str | None:
    from pipeline.desk.review_export import chinese_font

    if chinese_font():
        return None
    return "no Chinese font for pictures; install one (Debian: apt-get install fonts-noto-cjk)"


def _servers(s: Settings) -> str | None:
    """Each server in turn, so that the first line names the one to look at."""
    if s.profile == "embedded":
        return None
    from pipeline import engines
    from pipeline.clock import WallClock

    servers: dict[str, Callable[[], None]] = {
        "kafka_servers": lambda: _ask_bus(engines.open_bus(s, WallClock())),
        "elastic_urls": lambda: engines.open_index(s).close(),
        "database_url": lambda: _ask(engines.open_store(s)),
    }
    problems: list[str] = []
    for name, is_up in servers.items():
        try:
            is_up()
        except TingfengError as error:
            problems.append(f"{name}: {error}")
    return "; ".join(problems) or None


def _ask_bus(bus: Bus) -> None:
    """Of no topic, so that none is made before the settings are right."""
    try:
        bus.lag("detect", ())
    finally:
        bus.close()


def _ask(store: Store) -> None:
    try:
        with store.read() as conn:
            conn.exec_driver_sql("SELECT 1")
    finally:
        store.close()


def _databases(s: Settings) -> str | None:
    if s.profile != "embedded":
        return None
    for path in (s.posts_db, s.desk_db):
        if not path.exists():
            continue
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
                answer = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError as error:
            return f"{path} cannot be read ({error}); look at its rights and who holds it"
        except sqlite3.DatabaseError as error:
            answer = str(error)
        if answer != "ok":
            what = "import the posts again" if path == s.posts_db else "restore its backup"
            return f"{path} is damaged ({answer}); stop Tingfeng, move it away and {what}"
    return None


def _port(s: Settings) -> str | None:
    from pipeline.supervisor import RunLock

    if RunLock.is_held(s.home):
        return None  # our own product holds it
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((s.host, s.port))
        except OSError as error:
            return f"port {s.port} on {s.host} is taken ({error.strerror}); give another --port"
    return None
