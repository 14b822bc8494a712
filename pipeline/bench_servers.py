"""Servers for a bench alone, and how much processor time every process takes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from pipeline.errors import SettingsError
from pipeline.settings import Settings, load_settings

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "engines.py"
PORTS = {"kafka": 29092, "es": 29200, "pg": 25432}
HEAP = {"kafka": "256m", "es": "768m"}
_NAMES = {"kafka": "kafka_servers", "es": "elastic_urls", "pg": "database_url"}


@contextmanager
def own_servers(home: Path) -> Iterator[Settings]:
    """Settings of three new servers that end with the block. Their data are below ``home``.

    They compile for speed, as in service; the servers of the tests compile to start quickly.
    Raises: SettingsError without a checkout, java, mvn or PostgreSQL, or when a port is taken.
    """
    if not SCRIPT.exists():
        raise SettingsError(
            "bench engines starts its servers by scripts/engines.py of a checkout; or name a folder"
            " whose tingfeng.toml names the three servers: --config DIR"
        )
    for engine, port in PORTS.items():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise SettingsError(f"port {port}, where {engine} would listen, is taken; free it")
    base = home.resolve() / "engines"
    try:
        for engine in PORTS:
            _run("start", engine, base, *(("--heap", HEAP[engine]) if engine in HEAP else ()))
        found = {
            name: _run("settings", engine, base, "--only", name) for engine, name in _NAMES.items()
        }
        yield load_settings(
            home,
            profile="distributed",
            kafka_servers=found["kafka_servers"].split(","),
            elastic_urls=found["elastic_urls"].split(","),
            database_url=found["database_url"],
        )
    finally:
        for engine in PORTS:
            with suppress(SettingsError):
                _run("stop", engine, base)


def _run(command: str, engine: str, base: Path, *more: str) -> str:
    given = [sys.executable, str(SCRIPT), command, engine, "--base", str(base)]
    done = subprocess.run(  # noqa: S603  our own interpreter and script
        [*given, "--port", str(PORTS[engine]), *more],
        env={**os.environ, "ENGINES_SPEED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SettingsError(f"{engine} does not {command}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def server_pids(settings: Settings) -> dict[str, int]:
    """The processes behind the settings' addresses, as far as they run here and may be seen."""
    addresses = {
        "kafka": f"//{settings.kafka_servers[0]}" if settings.kafka_servers else "",
        "elasticsearch": settings.elastic_urls[0] if settings.elastic_urls else "",
        "postgresql": settings.database_url.get_secret_value(),
    }
    ports = {urlsplit(address).port: name for name, address in addresses.items() if address}
    found: dict[str, int] = {}
    with suppress(psutil.Error):
        for line in psutil.net_connections("tcp"):
            if line.status == psutil.CONN_LISTEN and line.pid and line.laddr.port in ports:
                found[ports[line.laddr.port]] = line.pid
    return found


class Meter:
    """Processor time of processes with their children, beside this process's own by the block:
    what is measured so is disturbed less by neighbours than time by the clock."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._began = {name: _seconds(pid) for name, pid in self._pids.items()}
        self._own: dict[str, float] = {}

    @contextmanager
    def own(self, name: str) -> Iterator[None]:
        """Count what this process does meanwhile under a name."""
        began = time.process_time()
        try:
            yield
        finally:
            self._own[name] = self._own.get(name, 0.0) + time.process_time() - began

    def microseconds(self, n: int) -> dict[str, float]:
        """Per post, of ``n``: each process, and ``all`` of them."""
        spent = dict(self._own)
        for name, pid in self._pids.items():
            spent[name] = _seconds(pid) - self._began[name]
        spent["all"] = sum(spent.values())
        return {name: round(1e6 * seconds / n, 1) for name, seconds in spent.items()}


def _seconds(pid: int) -> float:
    total = 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        spent = process.cpu_times()
        total = spent.user + spent.system + spent.children_user + spent.children_system
        for child in process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                total += times.user + times.system
    return total
