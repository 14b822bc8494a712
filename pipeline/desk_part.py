"""The part that does what the clock does: deadlines, outbox, notices, public pages, retention."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import delete

from pipeline import engines
from pipeline.app import App, rule_file
from pipeline.beats import Beats
from pipeline.bus.topics import POSTS_ANNOTATED
from pipeline.errors import EngineDown
from pipeline.rounds import Every, attempt
from pipeline.store import tables as t

if TYPE_CHECKING:
    from pipeline.portal.site import Site

log = structlog.get_logger("parts")


def desk_part(app: App, stop: threading.Event) -> None:
    """What the clock does: sweep, relay, notify, publish the portal, forget old posts."""
    from pipeline.notify import Notifier
    from pipeline.portal.site import Site
    from pipeline.receivers import load_receivers
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
    calmed, published = Every(5), Every(10)
    heard = 0, ""  # of the bus: lag, trouble

    def tell() -> None:
        """Notifying may wait on a slow mail server; the clocks must not wait with it."""
        while not stop.wait(0.5):
            attempt("notify", lambda: notifier.send_due(app.now()))

    def hear() -> None:
        nonlocal heard
        try:
            heard = app.bus.lag("detect", [POSTS_ANNOTATED.name]), ""
        except EngineDown as error:
            heard = 0, str(error)

    def carry() -> None:
        """A bus that is away takes its time to say so; nor must the clocks wait with that."""
        while not stop.wait(0.5):
            attempt("relay", relay.run_once)
            attempt("lag", hear)

    def hourly() -> None:
        """Seconds of work, or of waiting for a server that is away."""
        while not stop.is_set():
            attempt("retention", lambda: forget(app))
            attempt("drift", lambda: count_days(app.store, app.index, app.now(), stop.is_set))
            stop.wait(3600)

    threading.Thread(target=tell, name="notify", daemon=True).start()
    carrying = threading.Thread(target=carry, name="relay", daemon=True)
    tidying = threading.Thread(target=hourly, name="hourly", daemon=True)
    carrying.start()
    tidying.start()
    while not stop.wait(0.5):
        now = app.now()
        attempt("sweep", partial(sweep, app.store, now, app.rules))
        if calmed.is_due():  # it writes: an officer's act must not meet it twice a second
            attempt("calm", lambda: _calm(app))
        attempt("portal", partial(_publish, app, site, even_so=published.is_due()))
        attempt("beat", partial(beats, *heard))
    for thread in (carrying, tidying):  # they use the bus and the index, which are closed next
        thread.join(timeout=2)


def _calm(app: App) -> None:
    from pipeline.stages.alert import calm
    from pipeline.stages.warnings import close_expired

    with app.store.begin(app.now()) as tx:
        calm(tx, app.detect_rules)
        close_expired(tx)


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
