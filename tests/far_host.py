"""Another host, as far as the network goes: what runs there can vanish behind a dead line.

It is a network namespace with one line to it. While the line is down packets are dropped and
nobody says so, as when a host loses its power or a cable is cut behind a switch: no reset, no
"unreachable".
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NEW_NET = 0x40000000  # CLONE_NEWNET


class FarHost:
    """``address``: its own, which reaches this host too. Made and undone by ``far_host``."""

    def __init__(self) -> None:
        number = os.getpid()
        self.name = f"far{number}"
        self._near, self._far = f"{self.name}n", f"{self.name}f"
        net = f"198.18.{number // 64 % 256}.{number % 64 * 4}"  # of those for tests of networks
        first, _, last = net.rpartition(".")
        self._here, self.address = f"{first}.{int(last) + 1}", f"{first}.{int(last) + 2}"

    def make(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self._near, "type", "veth", "peer", self._far, "netns", self.name)
        ip("addr", "add", f"{self._here}/30", "dev", self._near)
        ip("link", "set", self._near, "up")
        self._ip("addr", "add", f"{self.address}/30", "dev", self._far)
        self._ip("link", "set", "lo", "up")
        self._ip("link", "set", self._far, "up")
        shown = self._ip("-brief", "link", "show", self._far)
        # known for good: else this host would soon notice that nobody there answers
        ip(
            "neigh",
            "replace",
            self.address,
            "lladdr",
            shown.split()[2],
            "nud",
            "permanent",
            "dev",
            self._near,
        )

    def undo(self) -> None:
        for command in (["link", "del", self._near], ["netns", "del", self.name]):
            subprocess.run(["ip", *command], capture_output=True, check=False)

    @contextmanager
    def vanished(self) -> Iterator[None]:
        """Nothing comes through."""
        self._ip("link", "set", self._far, "down")
        try:
            yield
        finally:
            self._ip("link", "set", self._far, "up")

    def call(self, work: Callable[[], object]) -> None:
        """Do it there; the processes that it starts stay there. Raises what it raises."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                with Path(f"/run/netns/{self.name}").open() as place:
                    if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), _NEW_NET):
                        raise OSError(ctypes.get_errno(), "setns")
                work()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]

    def _ip(self, *arguments: str) -> str:
        return ip("-netns", self.name, *arguments)


def ip(*arguments: str) -> str:
    command: list[Any] = ["ip", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def far_host() -> Iterator[FarHost]:
    """A host for some servers; the test is skipped where none can be made."""
    host = FarHost()
    try:
        try:
            host.make()
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", "") or str(error)
            pytest.skip(f"a host of its own needs the right to make networks: {why.strip()}")
        yield host
    finally:
        host.undo()
