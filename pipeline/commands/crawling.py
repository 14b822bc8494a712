"""Crawling: the door for what spiders fetch, source health, and the ``crawl`` part and command."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from pipeline.app import App, build
from pipeline.beats import Beats, until
from pipeline.commands.running import Drill, has_sources
from pipeline.domain.alert import AlertState
from pipeline.domain.rights import MACHINE
from pipeline.errors import SettingsError
from pipeline.settings import Settings
from pipeline.store import tables as t
from pipeline.store.sql import Tx

if TYPE_CHECKING:
    from crawlers.health import SourceRun
    from crawlers.sources import Source
    from pipeline.domain.claim_review import ReviewedClaim
    from pipeline.domain.post import FetchedPost, Unreadable
    from pipeline.domain.warning import OfficialWarning


BLIND = ("failing", "refused", "empty")


def _sees_again(tx: Tx, source: str) -> None:
    """The alert about a blindness that has ended needs nobody any more."""
    a = t.alerts
    blind = tx.conn.execute(
        select(a.c.fingerprint, a.c.figures).where(
            a.c.rule == "source_blind", a.c.state == AlertState.NEW
        )
    ).all()
    ended = [row.fingerprint for row in blind if row.figures.get("source") == source]
    tx.conn.execute(
        update(a)
        .where(a.c.fingerprint.in_(ended))
        .values(state=AlertState.CALMED.value, state_reason="来源已恢复，未曾认领")
    )


class Door:
    """The crawlers' intake: posts to the bus, warnings to the desk, the rest to the dead."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.ingest = app.ingest()

    def accept(self, posts: Sequence[FetchedPost]) -> object:
        return self.ingest.accept(posts)

    def refuse(self, pieces: Sequence[Unreadable]) -> object:
        self.ingest.refuse(pieces)
        return None

    def warn(self, warnings: Sequence[OfficialWarning]) -> object:
        from pipeline.stages.warnings import store_warnings

        with self.app.store.begin(self.app.now()) as tx:
            return store_warnings(tx, warnings)

    def learn(self, claims: Sequence[ReviewedClaim]) -> object:
        from pipeline.desk.claims import import_reviews

        with self.app.store.begin(self.app.now()) as tx:
            return import_reviews(tx, MACHINE, claims, origin=claims[0].source_name)


class HealthRecorder:
    """Keeps what each visit to a source came to; a source gone blind raises an alert."""

    def __init__(
        self,
        app: App,
        sources: Sequence[Source],
        *,
        seen: Callable[[SourceRun], object] | None = None,
    ) -> None:
        self.app = app
        self.sources = {s.name: s for s in sources}
        self.seen = seen
        self.beats = Beats(app, "crawl")

    def announce(self) -> None:
        """Every source is on the board from the first second, visited or not."""
        h = t.source_health
        with self.app.store.begin(self.app.now()) as tx:
            tx.conn.execute(delete(h).where(h.c.source.not_in(list(self.sources))))
            known = set(tx.conn.execute(select(h.c.source)).scalars())
            rows = [
                {"source": s.name, "spider": s.spider, "url": s.url, "every_s": s.every_s,
                 "state": "never", "reason": "尚未采集"}
                for s in self.sources.values()
                if s.name not in known
            ]  # fmt: skip
            if rows:
                tx.conn.execute(insert(h), rows)

    @staticmethod
    def _for_long(source: Source, row: Mapping[Any, Any], now: datetime) -> bool:
        """A source that used to see and has not for a while; one failed visit is an accident.

        One that never saw anything is a matter of setting up, shown with the sources.
        """
        if row["last_success_at"] is None:
            return False
        patience = max(timedelta(minutes=5), 3 * timedelta(seconds=source.every_s))
        return bool(now - row["last_success_at"] > patience)

    def record(self, run: SourceRun) -> None:
        from crawlers.health import is_late
        from pipeline.stages.alert import source_blind

        source = self.sources[run.source]
        h, now = t.source_health, self.app.now()
        with self.app.store.begin(now) as tx:
            row = tx.conn.execute(select(h).where(h.c.source == run.source)).mappings().one()
            newest = max(
                (at for at in (row["last_post_at"], run.newest_published_at) if at), default=None
            )
            state = run.state
            reason = run.reason
            if state == "ok" and is_late(source.expect_per_hour, newest, now):
                state, reason = "late", "比平时安静：最新一条已过去很久"
            good = run.ok and not run.empty_suspicious
            tx.conn.execute(
                update(h)
                .where(h.c.source == run.source)
                .values(
                    state=state,
                    reason=reason,
                    last_run_at=run.finished_at,
                    last_success_at=run.finished_at if good else row["last_success_at"],
                    last_post_at=newest,
                    last_new_at=run.finished_at if run.items else row["last_new_at"],
                    runs=row["runs"] + 1,
                    failures=row["failures"] + (not run.ok),
                    empty_runs=row["empty_runs"] + run.empty_suspicious,
                    items=row["items"] + run.items,
                    broken=row["broken"] + run.entries_broken,
                    usual_per_hour=source.expect_per_hour,
                )
            )
            if state in BLIND and self._for_long(source, row, now):
                app = self.app
                source_blind(
                    tx,
                    run.source,
                    reason,
                    now,
                    rules=app.detect_rules,
                    routes=app.routes,
                    home_adcode=app.settings.home_adcode,
                )
            elif state not in BLIND and row["state"] in BLIND:
                _sees_again(tx, run.source)
        self.beats()
        if self.seen is not None:
            self.seen(run)


def crawl_part(app: App, stop: threading.Event) -> None:
    """The crawlers, each source at its own period."""
    from crawlers.drill.site import drill_sources
    from crawlers.runner import crawl_forever
    from crawlers.sources import read_sources

    if app.is_drill:
        drill = Drill.load(app.settings.home)
        speed = drill.speed
        sources = drill_sources(f"http://127.0.0.1:{drill.site_port}", speed)
    else:
        speed = 1.0
        sources = [s for s in read_sources(app.settings.home / "sources.toml") if s.enabled]
    recorder = HealthRecorder(app, sources)
    recorder.announce()

    async def crawl() -> None:
        ended = asyncio.Event()
        watcher = asyncio.create_task(until(stop, ended))
        alive = asyncio.create_task(_keep_beating(recorder.beats))
        await crawl_forever(
            sources,
            Door(app),
            recorder,
            app.clock,
            ended,
            contact=app.settings.contact,
            speed=speed,
        )
        await watcher
        alive.cancel()

    asyncio.run(crawl())


async def _keep_beating(beats: Beats) -> None:
    """Visits may lie minutes apart; a crawler that waits for the next one is not silent."""
    while True:
        await asyncio.to_thread(beats)
        await asyncio.sleep(beats.every_s)


def crawl_round(settings: Settings) -> Iterator[dict[str, Any]]:
    """Fetch every enabled source once; a line per source. Raises: SettingsError without any."""
    from crawlers.runner import crawl_once
    from crawlers.sources import read_sources

    file = settings.home / "sources.toml"
    if not has_sources(settings):
        raise SettingsError(f"no source is enabled; write {file} (see docs/settings.md)")
    app = build(settings)
    try:
        sources = [source for source in read_sources(file) if source.enabled]
        runs: list[Any] = []
        recorder = HealthRecorder(app, sources, seen=runs.append)
        asyncio.run(crawl_once(sources, Door(app), recorder, app.clock, contact=settings.contact))
        for run in runs:
            state = "ok" if run.ok else "refused" if run.refused else "failed"
            yield {"source": run.source, "state": state, "items": run.items, "reason": run.reason}
    finally:
        app.close()
