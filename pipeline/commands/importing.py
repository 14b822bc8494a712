"""``tingfeng import`` and ``tingfeng replay``: posts from files and from the kept log."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from pipeline.app import App, build
from pipeline.bus.base import Record
from pipeline.bus.topics import POSTS_ANNOTATED, POSTS_RAW
from pipeline.domain.post import FetchedPost, Unreadable
from pipeline.errors import EngineDown
from pipeline.settings import Settings
from pipeline.supervisor import RunLock, part_command

BATCH = 500
MACHINE_PARTS = ("annotate", "index", "detect")
IDLE_LIMIT_S = 120.0


def import_posts(
    settings: Settings,
    file: Path,
    *,
    file_format: str = "auto",
    mapping: Path | None = None,
    wait: bool = False,
) -> dict[str, int]:
    """Hand a file to the door: {"read", "accepted", "repeated", "dead"}.

    With ``wait`` it returns when all is annotated, indexed and detected: by the running product
    when one runs on this folder, else by machine parts started for the while.
    """
    from crawlers.columns import load_profile
    from crawlers.spiders.importer import read_file

    app = build(settings)
    totals = {"read": 0, "accepted": 0, "repeated": 0, "dead": 0}
    try:
        with ExitStack() as stack:
            if wait and not RunLock.is_held(settings.home):
                stack.enter_context(machine_parts(settings))
            progress = stack.enter_context(progress_bar())
            task = progress.add_task(f"import {file.name}", total=None)
            ingest = app.ingest()
            columns = load_profile(mapping) if mapping else None
            pieces = read_file(file, format=file_format, fetched_at=app.now(), mapping=columns)
            for batch in _batches(pieces):
                posts = [p for p in batch if isinstance(p, FetchedPost)]
                broken = [p for p in batch if isinstance(p, Unreadable)]
                if posts:
                    result = ingest.accept(posts)
                    for key in totals:
                        totals[key] += getattr(result, key)
                if broken:
                    ingest.refuse(broken)
                    totals["read"] += len(broken)
                    totals["dead"] += len(broken)
                progress.update(task, completed=totals["read"])
            progress.update(task, total=totals["read"])
            if wait:
                wait_until_done(app, progress)
    finally:
        app.close()
    return totals


def replay_posts(settings: Settings, since: datetime | None) -> dict[str, int]:
    """Publish the kept raw posts once more, so that the present model judges them.

    Index and events are keyed by post id, so nothing is doubled.
    """
    app = build(settings)
    count = 0
    try:
        with progress_bar() as progress:
            task = progress.add_task("replay", total=None)
            kept = list(app.bus.read(POSTS_RAW.name, since=since))
            for batch in _batches(iter(kept)):
                app.bus.publish(POSTS_RAW.name, [Record(m.key, m.value) for m in batch])
                count += len(batch)
                progress.update(task, completed=count)
    finally:
        app.close()
    return {"replayed": count}


def progress_bar() -> Progress:
    """A bar on standard error; silent when nobody looks."""
    console = Console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _batches(pieces: Iterator[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for piece in pieces:
        batch.append(piece)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def machine_parts(settings: Settings) -> Iterator[None]:
    """Annotate, index and detect, running beside us until the block ends."""
    lock = RunLock(settings.home)
    log_dir = settings.home / "log"
    log_dir.mkdir(parents=True, exist_ok=True)
    children = []
    with ExitStack() as stack:
        for name in MACHINE_PARTS:
            log = stack.enter_context((log_dir / f"{name}.log").open("ab"))
            children.append(
                subprocess.Popen(  # noqa: S603  our own interpreter and module
                    part_command(name, settings.home), stdout=log, stderr=log
                )
            )
        try:
            yield
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait(timeout=30)
            lock.release()


def outstanding(app: App) -> int:
    """Messages on the way: not yet annotated, indexed or detected."""
    annotated = [POSTS_ANNOTATED.name]
    return (
        app.bus.lag("annotate", [POSTS_RAW.name])
        + app.bus.lag("index", annotated)
        + app.bus.lag("detect", annotated)
    )


def wait_until_done(app: App, progress: Progress) -> None:
    """Return when nothing is on the way. Raises: EngineDown when nothing moves for two minutes."""
    task = progress.add_task("annotate, index, detect", total=outstanding(app) or 1)
    last, moved = -1, time.monotonic()
    while left := outstanding(app):
        if left != last:
            last, moved = left, time.monotonic()
        elif time.monotonic() - moved > IDLE_LIMIT_S:
            raise EngineDown(
                f"{left} messages do not move; look into {app.settings.home / 'log'} for the reason"
            )
        total = progress.tasks[task].total or 1
        progress.update(task, completed=max(0, total - left))
        time.sleep(0.05)
    progress.update(task, completed=progress.tasks[task].total or 1)
