"""PostgreSQL, from the Debian package."""

# ruff: noqa: S603 - every command is built from constants and this package's own paths

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from scripts.servers.engine import IS_ROOT, STOP_S, Engine
from scripts.servers.processes import EngineError, is_open, until


class Postgres(Engine):
    """One server. ``fsync`` is off: it survives its own crash, not the machine's."""

    name, default_port = "pg", 55432
    stop_signal = signal.SIGINT  # "fast": does not wait for clients to leave
    password = "engines"  # noqa: S105 - loopback, test data

    @classmethod
    def lacks(cls) -> str:
        return "" if _pg_bin() else "no PostgreSQL server: apt-get install postgresql"

    @property
    def address(self) -> str:
        return f"postgresql://app:{self.password}@{self.host}:{self.port}/postgres"

    def fetch(self) -> Path:
        found = _pg_bin()
        if found is None:
            raise EngineError(self.lacks())
        return found

    def _command(self, program: str, *arguments: str) -> None:
        # the server refuses to run as root, and its account cannot enter every folder
        account = ["runuser", "-u", "postgres", "--"] if IS_ROOT else []
        command = [*account, str(self.fetch() / program), *arguments]
        # no pipes: the server would inherit them and keep the reader waiting
        null = subprocess.DEVNULL
        done = subprocess.run(command, cwd="/", stdin=null, stdout=null, stderr=null, check=False)
        if done.returncode:
            raise EngineError(f"{program} failed; read {self.log()}")

    def _prepare(self) -> None:
        folder = self.folder()
        folder.mkdir(parents=True, mode=0o700)
        word = folder / "word"
        word.write_text(self.password)
        if IS_ROOT:
            shutil.chown(folder, "postgres", "postgres")
            shutil.chown(word, "postgres", "postgres")
        data = ["-D", str(folder / "data"), "-U", "app", f"--pwfile={word}", "-A", "scram-sha-256"]
        self._command("initdb", *data, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        with (folder / "data/pg_hba.conf").open("a") as rights:
            rights.write("host all all samenet scram-sha-256\n")

    def _launch(self, node: int) -> int:
        folder = self.folder()
        options = f"-p {self.port} -c listen_addresses={self.host} -c unix_socket_directories=''"
        tuning = " -c fsync=off -c shared_buffers=64MB -c max_connections=100"
        data, log = str(folder / "data"), str(self.log())
        start = ["pg_ctl", "-D", data, "-w", "-l", log, "-o", options + tuning, "start"]

        def starts() -> bool:
            with suppress(EngineError):
                self._command(*start)
                return True
            return False

        # after a crash the old server's children need a moment to leave its memory
        if not until(starts, STOP_S):
            self._command(*start)
        return int((folder / "data/postmaster.pid").read_text().split()[0])

    def _is_ready(self, node: int) -> bool:
        return is_open(self.host, self.port)

    def signal(self, number: signal.Signals, node: int | None = None) -> list[int]:
        """Its children answer the connections: they are frozen and thawed with it."""
        pids = super().signal(number, node)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                with suppress(OSError):  # it has ended meanwhile
                    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                        os.kill(int(child), number)
        return pids


def _pg_bin() -> Path | None:
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((p.parent for p in versions), key=lambda p: float(p.parent.name), default=None)
