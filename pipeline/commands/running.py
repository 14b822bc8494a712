"""``tingfeng run`` and ``tingfeng crawl``: the product as one supervised group of processes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from pipeline.clock import BEIJING, DrillClock
from pipeline.errors import SettingsError
from pipeline.settings import Settings
from pipeline.supervisor import RunLock, Supervisor, part_command

log = structlog.get_logger("run")

PARTS = ("crawl", "annotate", "index", "detect", "desk", "board")
DEFAULT_SCENARIO = "rainstorm_night"


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill in this folder: which scenario, how fast, where its replica site listens."""

    scenario: str
    speed: float
    site_port: int

    @classmethod
    def load(cls, home: Path) -> Drill:
        """Raises: SettingsError when the file is missing or damaged."""
        file = home / "drill.json"
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(
                f"{file} is missing or damaged ({type(error).__name__}); start a new drill in"
                " another --config folder, or restore the file"
            ) from error

    def save(self, home: Path) -> None:
        """Write it whole or not at all."""
        new = home / "drill.json.new"
        new.write_text(json.dumps(asdict(self)), encoding="utf-8")
        new.replace(home / "drill.json")


def free_port() -> int:
    """A port on loopback that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def has_sources(settings: Settings) -> bool:
    """True when the folder's sources.toml enables at least one source."""
    from crawlers.sources import read_sources

    file = settings.home / "sources.toml"
    return file.exists() and any(source.enabled for source in read_sources(file))


def prepare_drill(settings: Settings, scenario: str, speed: float) -> tuple[Drill, DrillClock]:
    """The drill of this folder, new or going on from where it stopped.

    Raises: SettingsError when the folder holds real data, or an unknown scenario is named.
    """
    from crawlers.drill.scenario import load_scenario

    home = settings.home
    file = home / "clock.json"
    if not file.exists() and settings.desk_db.exists():
        raise SettingsError(
            f"{home} holds real data; a drill needs a folder of its own (--config DIR)"
        )
    played = Drill.load(home).scenario if file.exists() else ""
    if scenario and played and scenario != played:
        raise SettingsError(
            f"{home} holds the drill {played!r}; give another --config folder for {scenario!r}"
        )
    name = scenario or played or DEFAULT_SCENARIO
    story = load_scenario(name)
    if file.exists():
        clock = DrillClock.resume(file, speed)
    else:
        start = latest_evening(datetime.now(BEIJING), story.start_hour, story.length)
        clock = DrillClock(wall0=time.time(), drill0=start, speed=speed, until=start + story.length)
    drill = Drill(name, speed, free_port())
    home.mkdir(parents=True, exist_ok=True)
    drill.save(home)
    clock.save(file)
    return drill, clock


def latest_evening(now: datetime, hour: int, length: timedelta) -> datetime:
    """The latest ``hour`` o'clock from which the whole scenario lies in the past."""
    start = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    while start + length > now:
        start -= timedelta(days=1)
    return start


def run_product(settings: Settings, *, scenario: str, speed: float) -> None:
    """Run until Ctrl-C or SIGTERM.

    Raises: SettingsError (wrong setting, folder in use, port taken).
    """
    if speed <= 0:
        raise SettingsError("--speed must be greater than 0; 1 is as fast as life")
    stop = threading.Event()
    for signo in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signo, lambda *_: stop.set())
    lock = RunLock(settings.home)
    try:
        _check_port(settings)
        drill: Drill | None = None
        clock: DrillClock | None = None
        if scenario or (settings.home / "clock.json").exists() or not has_sources(settings):
            drill, clock = prepare_drill(settings, scenario, speed)
        users = _set_up(settings)
        parts = (*(("site",) if drill else ()), *PARTS)
        port = ("--port", str(settings.port))
        supervisor = Supervisor(
            {name: part_command(name, settings.home, *port) for name in parts},
            settings.home / "log",
            on_restart=lambda name, code: _say(
                f"{name} ended ({code}), starting it again: {supervisor.last_words(name)}"
            ),
        )
        if clock is not None:  # start-up time is no drill time
            clock = DrillClock.resume(settings.home / "clock.json", speed)
            clock.save(settings.home / "clock.json")
        supervisor.start()
        threading.Thread(
            target=_announce, args=(settings, drill, users, stop), name="announce", daemon=True
        ).start()

        def tick() -> None:
            if clock is not None:
                clock.save(settings.home / "clock.json")

        supervisor.run(stop, tick)
    finally:
        lock.release()
    _say("Tingfeng has stopped; the next start goes on from here.")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _check_port(settings: Settings) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingsError(
                f"port {settings.port} on {settings.host} is taken ({error.strerror}); "
                f"stop what uses it or give another --port"
            ) from error


def _set_up(settings: Settings) -> list[dict[str, str]]:
    """Make the stores in a process of its own, so that the supervisor stays small."""
    done = subprocess.run(  # noqa: S603  our own interpreter and module
        part_command("setup", settings.home), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["unknown"])[-1]
        raise SettingsError(f"cannot prepare {settings.home}: {last.removeprefix('tingfeng: ')}")
    users: list[dict[str, str]] = json.loads(done.stdout.strip().splitlines()[-1])
    return users


def _announce(
    settings: Settings, drill: Drill | None, users: list[dict[str, str]], stop: threading.Event
) -> None:
    """Print the address and the one-time passwords once the board answers."""
    shown = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0") else settings.host  # noqa: S104
    while not stop.wait(0.3):
        with suppress(OSError), socket.create_connection((shown, settings.port), timeout=1):
            break
    if stop.is_set():
        return
    lines = ["", f"  听风 Tingfeng: http://{shown}:{settings.port}"]
    if drill is not None:
        lines.append(f"  演练 drill {drill.scenario}, {drill.speed:g}x; nothing here is real")
    if users:
        lines += ["", "  First users (one-time passwords, changed at the first login):"]
        lines += [
            f"    {u['name']:<10} {u['password']:<16} {u['label']} {u['office']}".rstrip()
            for u in users
        ]
    else:
        lines.append("  Lost a password? tingfeng user reset NAME --config DIR")
    lines += ["", f"  Logs: {settings.home / 'log'}   Stop: Ctrl-C", ""]
    print("\n".join(lines), flush=True)
