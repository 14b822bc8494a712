"""Processes by number and start time, ports, locks: what every server here needs."""

# ruff: noqa: S603 - every command is built from constants and this package's own paths

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class EngineError(RuntimeError):
    """A server is missing, does not start or does not stop; the text says what to do."""


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or a zombie."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # reap it, if it was our child
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def until(test: Callable[[], bool], limit: float) -> bool:
    end = time.monotonic() + limit
    while not test():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def is_open(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex((host, port)) == 0


def run(command: list[str], what: str, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise EngineError(f"{what} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return str(done.stdout)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time: several test runs may start the same servers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
