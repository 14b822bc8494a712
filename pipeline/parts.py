"""The parts of a running product: one long-lived process each.

``tingfeng part NAME --config DIR`` runs one of them. A part ends when it gets SIGTERM or SIGINT,
or when its standard input closes (its supervisor is gone): so nothing is ever left behind. One
that starts while a server is away waits for it.
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
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import func, select

from pipeline.app import App, build, make_clock, rule_file
from pipeline.beats import Beats, Figures, forget_beat, part_name, touch, until
from pipeline.bus.base import Message
from pipeline.bus.topics import POSTS_ANNOTATED, POSTS_RAW
from pipeline.clock import DrillClock
from pipeline.commands.crawling import crawl_part
from pipeline.desk_part import desk_part
from pipeline.errors import NotNow, SettingsError, StoreRefused
from pipeline.rounds import Every
from pipeline.settings import Settings
from pipeline.store import tables as t
from pipeline.worker import Worker

if TYPE_CHECKING:
    from dashboard.placeholder import Placeholder

log = structlog.get_logger("parts")

Part = Callable[[App, threading.Event], None]

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 5.0
HELPING = 2_000
"""Posts that index and detection take at once when so many wait: each statement and request then
serves more of them. Detection keeps other writers out for about 65 ms of such a helping."""


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
    from pipeline.receivers import load_receivers

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

    work(app, stop, "index", POSTS_ANNOTATED.name, IndexPosts(app.index, app.clock), HELPING)


def detect_part(app: App, stop: threading.Event) -> None:
    """posts.annotated -> events and alerts."""
    from pipeline.bus.codec import decode_annotated

    detector = app.detector()

    def handle(messages: Sequence[Message]) -> None:
        detector.handle([decode_annotated(m.value) for m in messages])

    work(app, stop, "detect", POSTS_ANNOTATED.name, handle, HELPING)


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
    """Run one part until it is told to end.

    Raises: SettingsError for an unknown name; what ``build`` raises and waiting does not cure.
    """
    if name not in PARTS:
        raise SettingsError(f"no part {name!r}; there are {', '.join(PARTS)}")
    stop = stop_event()
    structlog.contextvars.bind_contextvars(part=name)
    # somebody looks at what the setup says, so it says at once what is missing
    app = build(settings) if name == "setup" else open_app(name, settings, stop)
    if app is None:
        return
    log.info("part started", pid=os.getpid())
    try:
        PARTS[name](app, stop)
        if settings.one_of_several:
            forget_beat(app, part_name(settings, name))
    finally:
        app.close()
    log.info("part ended")


def open_app(name: str, settings: Settings, stop: threading.Event) -> App | None:
    """The stores of a configuration, waited for while a server is away; None when told to end.

    Raises: SettingsError, StoreRefused: a person must put that right.
    """
    since: datetime | None = None
    said, wait_s = "", FIRST_WAIT_S
    with ExitStack() as stack:
        board: Placeholder | None = None
        while not stop.is_set():
            try:
                return build(settings)
            except StoreRefused:
                raise
            except NotNow as error:
                since = since or make_clock(settings).now()
                if str(error) != said:
                    said = str(error)
                    log.warning("waiting for a server", missing=said, since=since.isoformat())
                if name == "board":
                    from dashboard.placeholder import Placeholder

                    board = board or stack.enter_context(Placeholder(settings))
                    board.say(error, since)
            touch(settings, name)
            stop.wait(wait_s)
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)
    return None
