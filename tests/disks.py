"""A small disk: a file that takes its space, and a moment at which it finishes nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STEP = 1 << 20


def mount(folder: Path, size: str) -> None:
    """A file system in memory of ``size`` (``300m``); skipped where none can be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a disk of its own needs the right to mount: {done.stderr.strip()}")


def mount_image(folder: Path, size: str) -> None:
    """As ``mount``, a file system that ``hanging`` can freeze."""
    image = folder.with_suffix(".img")
    try:
        for command in (
            ["truncate", "-s", size, str(image)],
            ["mkfs.ext4", "-q", str(image)],
            ["mount", "-o", "loop", str(image), str(folder)],
        ):
            subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", "") or str(error)
        pytest.skip(f"a disk that can hang needs ext4 and the right to mount: {why.strip()}")
    finally:
        image.unlink(missing_ok=True)  # what is mounted keeps it
    try:
        with hanging(folder):
            pass
    except (OSError, subprocess.CalledProcessError) as error:
        unmount(folder)
        pytest.skip(f"no disk can be made to hang here: {error}")


@contextmanager
def hanging(folder: Path) -> Iterator[None]:
    """What is written to the disk of ``folder`` waits, what is read does not."""
    subprocess.run(["fsfreeze", "--freeze", str(folder)], capture_output=True, check=True)
    try:
        yield
    finally:
        go_on(folder)


def go_on(folder: Path) -> None:
    """End ``hanging``, if it lasts."""
    subprocess.run(["fsfreeze", "--unfreeze", str(folder)], capture_output=True, check=False)


def unmount(folder: Path) -> None:
    """Also while somebody still has a file of it open."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Ballast:
    """A file that takes the space of the disk that ``folder`` is on."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ballast"

    def leave(self, bytes_: int) -> None:
        """Grow until so much is free, as far as that goes; with 0 not a byte is left."""
        # unbuffered: what a buffer could not write it would try again, and fail, on closing
        with self._file.open("ab", buffering=0) as file:
            step = STEP
            while step and (more := self._free() - bytes_) > 0:
                try:
                    file.write(bytes(min(more, step)))
                except OSError:  # others took it meanwhile
                    step //= 2

    def _free(self) -> int:
        disk = os.statvfs(self._file)
        return disk.f_bavail * disk.f_frsize

    def go(self) -> None:
        self._file.unlink()


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte is left on the disk of ``folder``."""
    ballast = Ballast(folder)
    ballast.leave(0)
    try:
        yield
    finally:
        ballast.go()
