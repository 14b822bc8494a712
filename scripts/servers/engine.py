"""What starting, stopping, killing and freezing a server means."""

from __future__ import annotations

import os
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from scripts.servers.processes import EngineError, locked, start_time, until

BASE = Path(
    os.environ.get("ENGINES_BASE", Path(__file__).resolve().parent.parent.parent / "var/engines")
)
DIST = BASE / "dist"  # shared by all bases: the servers are downloaded once
READY_S, STOP_S = 120.0, 20.0
IS_ROOT = os.geteuid() == 0


class Engine(ABC):
    """One server or cluster: ``nodes`` processes numbered from 1, ports counted from ``port``."""

    name: ClassVar[str]
    default_port: ClassVar[int]
    default_heap: ClassVar[str] = "256m"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(
        self,
        base: Path = BASE,
        *,
        port: int = 0,
        nodes: int = 1,
        host: str = "127.0.0.1",
        heap: str = "",
        extra: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self.base = base.resolve()
        self.port = port or self.default_port
        self.nodes = nodes
        self.host = host  # the address it listens on
        self.heap = heap or self.default_heap
        self.extra = extra  # of the server's own settings, over ours

    @classmethod
    @abstractmethod
    def lacks(cls) -> str:
        """What this machine lacks for it, as a sentence; empty when nothing."""

    @property
    @abstractmethod
    def address(self) -> str:
        """What a client is given."""

    @abstractmethod
    def fetch(self) -> Path:
        """Where the server's files are; downloads them at first use."""

    @abstractmethod
    def _prepare(self) -> None:
        """Write configurations and empty data folders of all nodes."""

    @abstractmethod
    def _launch(self, node: int) -> int:
        """Start one node; its process id."""

    @abstractmethod
    def _is_ready(self, node: int) -> bool: ...

    def folder(self, node: int = 1) -> Path:
        return self.base / "run" / f"{self.name}-{node}"

    def log(self, node: int = 1) -> Path:
        return self.folder(node) / "server.log"

    def pid(self, node: int = 1) -> int | None:
        """The node's process id, None when it does not run."""
        try:
            pid, started = map(int, (self.folder(node) / "pid").read_text().split())
        except (OSError, ValueError):
            return None
        return pid if start_time(pid) == started else None

    def running(self) -> dict[int, int]:
        """Node -> process id of what runs in this base, also beyond ``nodes``."""
        folders = (self.base / "run").glob(f"{self.name}-*")
        nodes = sorted(int(f.name.rpartition("-")[2]) for f in folders)
        return {node: pid for node in nodes if (pid := self.pid(node))}

    def start(self, *, keep: bool = False) -> str:
        """Start every node that does not run and wait for it; the address."""
        with locked(self.base / "run" / f"{self.name}.lock"):
            self.fetch()
            has_data = keep and self.folder().exists()
            if not self.running() and not has_data:
                for folder in (self.base / "run").glob(f"{self.name}-*"):
                    shutil.rmtree(folder)
                self._prepare()
            new = [n for n in range(1, self.nodes + 1) if self.pid(n) is None]
            for node in new:
                pid = self._launch(node)
                (self.folder(node) / "pid").write_text(f"{pid} {start_time(pid) or 0}")
            for node in new:
                self._wait_ready(node)
        return self.address

    def signal(self, number: signal.Signals, node: int | None = None) -> list[int]:
        """Send a signal to one node or to all; the process ids that got it."""
        pids = [pid for n, pid in self.running().items() if node in (None, n)]
        for pid in pids:  # all first: the last Kafka node alone has no quorum to leave
            os.kill(pid, number)
        return pids

    def stop(self, node: int | None = None) -> None:
        """End cleanly; by force what has not ended in 20 s."""
        self.signal(signal.SIGCONT, node)
        pids = self.signal(self.stop_signal, node)
        if not until(lambda: not any(map(start_time, pids)), STOP_S):
            self.kill(node)

    def kill(self, node: int | None = None) -> None:
        """SIGKILL, as a crash."""
        pids = self.signal(signal.SIGKILL, node)
        if not until(lambda: not any(map(start_time, pids)), STOP_S):
            raise EngineError(f"{self.name}: processes {pids} do not end")

    def freeze(self, node: int | None = None) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self.signal(signal.SIGSTOP, node)

    def thaw(self, node: int | None = None) -> None:
        self.signal(signal.SIGCONT, node)

    def _wait_ready(self, node: int) -> None:
        def ready_or_gone() -> bool:
            return self.pid(node) is None or self._is_ready(node)

        if until(ready_or_gone, READY_S) and self.pid(node) is not None:
            return
        log = self.log(node)
        tail = log.read_text(errors="replace")[-3000:] if log.exists() else ""
        raise EngineError(f"{self.name}-{node} did not get ready; {log} ends with\n{tail}")
