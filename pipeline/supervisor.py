"""One supervised group of processes: start, watch, restart, stop.

A part that dies is started again, sooner at first and more slowly when it keeps dying; the
others never notice. Each part's standard input is a pipe held by the supervisor: if the
supervisor itself is killed, the pipes close and the parts end.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import structlog

from pipeline.errors import SettingsError

log = structlog.get_logger("supervisor")

GRACE_S = 8.0
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
STEADY_S = 60.0


class RunLock:
    """One product per folder: an advisory lock that the kernel drops with its holder.

    Raises: SettingsError when another product runs on the same folder.
    """

    def __init__(self, home: Path) -> None:
        try:
            home.mkdir(parents=True, exist_ok=True)
            self._file = (home / "run.lock").open("a+")
        except OSError as error:
            raise SettingsError(
                f"cannot write in {home} ({error.strerror}); fix its owner or choose another"
                " --config folder"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise SettingsError(
                f"another Tingfeng runs on {home}; stop it or choose another --config folder"
            ) from error

    @staticmethod
    def is_held(home: Path) -> bool:
        """True while a product runs on this folder."""
        file = home / "run.lock"
        if not file.exists():
            return False
        with file.open("r") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def release(self) -> None:
        self._file.close()


@dataclass(slots=True)
class _Child:
    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    delay_s: float = FIRST_DELAY_S
    restart_at: float = 0.0
    restarts: int = 0
    log_file: IO[bytes] | None = field(default=None)


class Supervisor:
    """Runs parts until ``stop`` is set.

    ``commands``: part -> command line. ``log_dir``: each part's output goes to ``<part>.log``.
    """

    def __init__(
        self,
        commands: dict[str, Sequence[str]],
        log_dir: Path,
        *,
        on_restart: Callable[[str, int], None] | None = None,
    ) -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        self.log_dir = log_dir
        self.children = [_Child(name, command) for name, command in commands.items()]
        self.on_restart = on_restart

    def start(self) -> None:
        """Start every part."""
        for child in self.children:
            self._start(child)

    def run(self, stop: threading.Event, tick: Callable[[], None] | None = None) -> None:
        """Watch the parts until ``stop``; then end them all. ``tick`` runs about once a second."""
        ticked, trouble = 0.0, ""
        try:
            while not stop.wait(0.2):
                # a full disk or a lack of processes must not end the others: say it once, go on
                try:
                    for child in self.children:
                        self._watch(child)
                    if tick is not None and time.monotonic() - ticked >= 1.0:
                        ticked = time.monotonic()
                        tick()
                except OSError as error:
                    if trouble != str(error):
                        trouble = str(error)
                        log.warning("a round failed; trying again", error=trouble)
                else:
                    trouble = ""
        finally:
            self.stop()

    def log_path(self, name: str) -> Path:
        """Where a part's output goes."""
        return self.log_dir / f"{name}.log"

    def last_words(self, name: str) -> str:
        """The last line a part wrote, cut to one screen line; empty when it wrote none."""
        try:
            with self.log_path(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
                lines = file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1][:300] if lines else ""

    def pids(self) -> dict[str, int]:
        """Running parts by name."""
        return {c.name: c.process.pid for c in self.children if c.process is not None}

    def _start(self, child: _Child) -> None:
        if child.log_file is None:
            child.log_file = self.log_path(child.name).open("ab", buffering=0)
        child.process = subprocess.Popen(  # noqa: S603  our own interpreter and module
            child.command,
            stdin=subprocess.PIPE,
            stdout=child.log_file,
            stderr=child.log_file,
            env={**os.environ, "TINGFENG_SUPERVISED": "1", "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C reaches the supervisor only; it ends the others
        )
        child.started = time.monotonic()

    def _watch(self, child: _Child) -> None:
        if child.process is not None:
            code = child.process.poll()
            if code is None:
                return
            if time.monotonic() - child.started > STEADY_S:
                child.delay_s = FIRST_DELAY_S
            child.process = None
            child.restart_at = time.monotonic() + child.delay_s
            child.delay_s = min(LONGEST_DELAY_S, child.delay_s * 2)
            child.restarts += 1
            log.warning("part ended; starting it again", part=child.name, code=code)
            if self.on_restart is not None:
                self.on_restart(child.name, code)
        elif time.monotonic() >= child.restart_at:
            self._start(child)

    def stop(self) -> None:
        """End every part: ask, wait a little, then insist."""
        running = [c for c in self.children if c.process is not None]
        for child in running:
            assert child.process is not None
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for child in running:
            assert child.process is not None
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("part did not end in time; killed", part=child.name)
                child.process.kill()
                child.process.wait()
            if child.process.stdin is not None:
                child.process.stdin.close()
            child.process = None
        for child in self.children:
            if child.log_file is not None:
                child.log_file.close()
                child.log_file = None


def part_command(name: str, config: Path, *extra: str) -> list[str]:
    """The command line that runs one part."""
    return [sys.executable, "-m", "pipeline.cli", "part", name, "--config", str(config), *extra]
