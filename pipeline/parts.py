"""The parts of a running product: one long-lived process each.

``tingfeng part NAME --config DIR`` runs one of them. A part ends when it gets SIGTERM or SIGINT,
or when its standard input closes (its supervisor is gone): so nothing is ever left behind.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import delete, func, select

from pipeline import engines
from pipeline.app import App, build, rule_file
from pipeline.beats import Beats, Figures, forget_beat, part_name, until
from pipeline.bus.base import Message
from pipeline.bus.topics import POSTS_ANNOTATED, POSTS_RAW
from pipeline.clock import DrillClock
from pipeline.commands.crawling import crawl_part
from pipeline.errors import EngineDown, SettingsError
from pipeline.settings import Settings
from pipeline.store import tables as t
from pipeline.worker import Worker

if TYPE_CHECKING:
    from pipeline.portal.site import Site

log = structlog.get_logger("parts")

Part = Callable[[App, threading.Event], None]


def stop_event() -> threading.Event:
    """An event that is set when this process should end."""
    stop = threading.Event()

    def on_signal(_signo: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)

    def watch_parent() -> None:
        # the bare descriptor: a buffered reader blocked at the interpreter's end aborts it
        with suppress(OSError):
            while os.read(0, 1):
                pass
        stop.set()

    if os.environ.get("TINGFENG_SUPERVISED"):
        threading.Thread(target=watch_parent, name="parent-watch", daemon=True).start()
    return stop


# ---- the parts ------------------------------------------------------------------------------


def setup_part(app: App, stop: threading.Event) -> None:
    """Make the stores, the library and the first users; print the users as one JSON line."""
    from nlp.claims import load_library
    from pipeline.desk import claims, users
    from pipeline.notify import load_receivers

    # read here too, so that a wrong file stops the start and not the desk part again and again
    s = app.settings
    load_receivers(rule_file(s, "channels.toml"), s.receivers, home=s.home)
    with app.store.begin(app.now()) as tx:
        claims.seed_library(tx, load_library())
        made = users.first_users(tx)
    lines = [
        {"name": u.name, "password": u.password, "label": u.role.label, "office": u.office}
        for u in made
    ]
    print(json.dumps(lines, ensure_ascii=False), flush=True)


def site_part(app: App, stop: threading.Event) -> None:
    """The drill's replica site."""
    from crawlers.drill.scenario import load_scenario
    from crawlers.drill.site import DrillSite
    from pipeline.commands.running import Drill

    drill = Drill.load(app.settings.home)
    scenario = load_scenario(drill.scenario)
    clock = app.clock
    assert isinstance(clock, DrillClock)

    def released_at() -> datetime | None:
        with app.store.read() as conn:
            at: datetime | None = conn.execute(select(func.min(t.releases.c.released_at))).scalar()
        return at

    async def serve() -> None:
        site = DrillSite(
            scenario, clock, clock.until - scenario.length, released_at=cached(released_at, 1.0)
        )
        await site.open(drill.site_port)
        try:
            await until(stop)
        finally:
            await site.close()

    asyncio.run(serve())


def annotate_part(app: App, stop: threading.Event) -> None:
    """posts.raw -> posts.annotated."""
    from pipeline.stages.annotate import Annotate

    annotator, batch = app.annotator(), app.settings.annotate_batch
    second = app.second_tier(annotator)
    stage = Annotate(app.bus, annotator, app.clock, second=second, full_batch=batch)

    def note() -> str:
        return annotator.problem or (second.note if second is not None else "")

    beats, looked, told = Beats(app, "annotate", note=note), Every(1), Every(60)

    def figures() -> dict[str, Any]:
        counted = asdict(second.counters) if second is not None else {}
        return {"model": annotator.model_version, **counted}

    def beat(lag: int, why: str) -> None:
        if second is not None and not why and looked.is_due():  # waiting, it asks no bus
            second.see_backlog(max(lag, app.bus.lag("detect", [POSTS_ANNOTATED.name])))
            if told.is_due():
                log.info("second tier", **asdict(second.counters))
        beats(lag, why)

    try:
        if second is not None:
            second.warm_up()
        work(
            app, stop, "annotate", POSTS_RAW.name, stage, batch,
            beats=beats, on_beat=beat, figures=figures,
        )  # fmt: skip
    finally:
        if second is not None:
            second.close()


def index_part(app: App, stop: threading.Event) -> None:
    """posts.annotated -> search index."""
    from pipeline.stages.index import IndexPosts

    work(app, stop, "index", POSTS_ANNOTATED.name, IndexPosts(app.index, app.clock), 500)


def detect_part(app: App, stop: threading.Event) -> None:
    """posts.annotated -> events and alerts."""
    from pipeline.bus.codec import decode_annotated

    detector = app.detector()

    def handle(messages: Sequence[Message]) -> None:
        detector.handle([decode_annotated(m.value) for m in messages])

    work(app, stop, "detect", POSTS_ANNOTATED.name, handle, 200)


def work(
    app: App,
    stop: threading.Event,
    stage: str,
    topic: str,
    handler: Callable[[Sequence[Message]], None],
    batch: int,
    *,
    beats: Beats | None = None,
    on_beat: Callable[[int, str], None] | None = None,
    figures: Figures = dict,
) -> None:
    """Run a worker until ``stop``. ``figures``: what it counts besides its messages."""
    beats = beats or Beats(app, stage)
    gc.collect()
    gc.freeze()  # the model and the memory of events are not garbage; do not look at them again
    worker = Worker(
        app.bus,
        stage,
        [topic],
        handler,
        stage=stage,
        batch=batch,
        dead_share_limit=app.settings.dead_share_limit,
        clock=app.clock,
        on_beat=on_beat or beats,
    )
    beats.figures = lambda: {**worker.figures(), **figures()}
    worker.run(stop)


def desk_part(app: App, stop: threading.Event) -> None:
    """What the clock does: sweep, relay, notify, publish the portal, forget old posts."""
    from pipeline.notify import Notifier, load_receivers
    from pipeline.portal.site import Site
    from pipeline.stages.drift import count_days
    from pipeline.stages.relay import Relay
    from pipeline.stages.sweep import sweep

    s = app.settings
    site = Site(bureau=s.bureau, url=s.portal_address, is_drill=app.is_drill)
    relay = Relay(app.store, app.bus, clock=app.clock)
    receivers = load_receivers(rule_file(s, "channels.toml"), s.receivers, home=s.home)
    notifier = Notifier(
        app.store, receivers, public_url=s.desk_address, grouping=app.detect_rules.grouping
    )
    beats = Beats(app, "desk")
    calmed, published, forgotten = Every(5), Every(10), Every(3600)

    def tell() -> None:
        """Notifying may wait on a slow mail server; the clocks must not wait with it."""
        while not stop.wait(0.5):
            attempt("notify", lambda: notifier.send_due(app.now()))

    def count() -> None:
        """Counting a day of many sources takes seconds; nor must the clocks wait with that."""
        while not stop.is_set():
            attempt("drift", lambda: count_days(app.store, app.index, app.now(), stop.is_set))
            stop.wait(3600)

    threading.Thread(target=tell, name="notify", daemon=True).start()
    counting = threading.Thread(target=count, name="drift", daemon=True)
    counting.start()
    while not stop.wait(0.5):
        now = app.now()
        attempt("sweep", partial(sweep, app.store, now, app.rules))
        if calmed.is_due():  # it writes: an officer's act must not meet it twice a second
            attempt("calm", lambda: _calm(app))
        attempt("relay", relay.run_once)
        attempt("portal", partial(_publish, app, site, even_so=published.is_due()))
        if forgotten.is_due():
            attempt("retention", lambda: forget(app))
        attempt("beat", lambda: _say_alive(app, beats))
    counting.join(timeout=2)  # it reads the index, which is closed next


def _say_alive(app: App, beats: Beats) -> None:
    """Alive, though the bus may not be: then it says that."""
    try:
        lag, note = app.bus.lag("detect", [POSTS_ANNOTATED.name]), ""
    except EngineDown as error:
        lag, note = 0, str(error)
    beats(lag, note)


def _calm(app: App) -> None:
    from pipeline.stages.alert import calm
    from pipeline.stages.warnings import close_expired

    with app.store.begin(app.now()) as tx:
        calm(tx, app.detect_rules)
        close_expired(tx)


class Every:
    """True at the first question and then once per ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = time.monotonic() - seconds

    def is_due(self) -> bool:
        due = time.monotonic() - self._last >= self.seconds
        if due:
            self._last = time.monotonic()
        return due


def _publish(app: App, site: Site, *, even_so: bool) -> None:
    """Write the public pages when a release waits for its page, then note that it is up.

    ``even_so``: also without one, so that what has expired says so and a lost page comes back.
    """
    from pipeline.desk.releases import confirm_portal, portal_waits
    from pipeline.portal.site import publish

    with app.store.read() as conn:
        waits = portal_waits(conn)
        if waits or even_so:  # both read the same picture of the tables
            publish(conn, app.settings.portal_dir, site, app.now())
    if waits:
        with app.store.begin(app.now()) as tx:
            confirm_portal(tx, site.address_of)


def forget(app: App) -> None:
    """Retention: old posts and old messages go; what a case rests on was copied into it."""
    now = app.now()
    dropped = app.index.drop_before(now - timedelta(days=app.settings.retention_days))
    pruned = app.bus.prune(now)
    with closing(engines.open_seen(app.settings)) as seen:
        seen.forget_before(now - timedelta(days=app.settings.retention_days))
    with app.store.begin(now) as tx:  # sent long ago: the bus has them
        old = now - timedelta(days=30)
        sent = tx.conn.execute(delete(t.outbox).where(t.outbox.c.sent_at < old)).rowcount
    if dropped or pruned or sent:
        log.info("retention", posts=dropped, messages=pruned, outbox=sent)


_troubles: dict[str, str] = {}


def attempt(what: str, act: Callable[[], object]) -> None:
    """Do it; a failure is logged once until it changes, and tried again on the next round."""
    try:
        act()
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        if _troubles.get(what) != text:
            _troubles[what] = text
            log.exception("a round failed; trying again", what=what)
    else:
        if _troubles.pop(what, None):
            log.info("works again", what=what)


def board_part(app: App, stop: threading.Event) -> None:
    """Login, screens and the portal's files."""
    import uvicorn

    from dashboard.asgi import make_app

    server = uvicorn.Server(
        uvicorn.Config(
            make_app(app),
            host=app.settings.host,
            port=app.settings.port,
            log_level="warning",
            ws_max_size=16 * 1024 * 1024,
            timeout_graceful_shutdown=3,
        )
    )
    beats = Beats(app, "board")

    def watch() -> None:
        while not stop.wait(1.0):
            beats()
        server.should_exit = True

    threading.Thread(target=watch, name="watch", daemon=True).start()
    server.run()


def cached(read: Callable[[], datetime | None], for_s: float) -> Callable[[], datetime | None]:
    """The answer of ``read``, asked again at most every ``for_s`` seconds."""
    last: tuple[float, datetime | None] = (-for_s, None)

    def ask() -> datetime | None:
        nonlocal last
        if time.monotonic() - last[0] >= for_s:
            last = (time.monotonic(), read())
        return last[1]

    return ask


PARTS: dict[str, Part] = {
    "setup": setup_part,
    "site": site_part,
    "crawl": crawl_part,
    "annotate": annotate_part,
    "index": index_part,
    "detect": detect_part,
    "desk": desk_part,
    "board": board_part,
}


def run_part(name: str, settings: Settings) -> None:
    """Run one part until it is told to end. Raises: SettingsError for an unknown name."""
    if name not in PARTS:
        raise SettingsError(f"no part {name!r}; there are {', '.join(PARTS)}")
    stop = stop_event()
    app = build(settings)
    structlog.contextvars.bind_contextvars(part=name)
    log.info("part started", pid=os.getpid())
    try:
        PARTS[name](app, stop)
        if settings.one_of_several:
            forget_beat(app, part_name(settings, name))
    finally:
        app.close()
    log.info("part ended")
