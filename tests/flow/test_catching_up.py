"""Three hours without detection, then all at once: what was missed is told, and not as a storm.

The drill's posts are worked off twice: as they come, and after servers were away from 19:30 to
22:30. Sweeping, grouping and telling run as the desk part runs them.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from nlp.claims import load_library
from pipeline.app import App, build, rule_file
from pipeline.desk import claims, queries_board
from pipeline.domain.alert import LATE_AFTER, AlertState
from pipeline.domain.rights import Actor, Role
from pipeline.notify import Notifier
from pipeline.receivers import load_receivers
from pipeline.settings import Settings
from pipeline.stages.sweep import sweep
from pipeline.store import tables as t
from tests.flow.night import START, NightClock, fetch, play, work

STEP = timedelta(minutes=10)
DOWN, UP, END = timedelta(minutes=90), timedelta(minutes=270), timedelta(minutes=300)
DUTY = Actor(1, "李值班", Role.DUTY)
KEY = "k" * 40


class Product:
    """A product whose clock the test moves; notices go to a file."""

    def __init__(self, home: Path) -> None:
        self.clock = NightClock()
        settings = Settings(home=home, secret_key=KEY, vault_key=KEY)
        self.app: App = build(settings, self.clock)
        receivers = load_receivers(rule_file(settings, "channels.toml"), home=home)
        self.digest_over = receivers.digest_over
        self._notifier = Notifier(
            self.app.store, receivers, grouping=self.app.detect_rules.grouping
        )
        self._file = home / "notices.log"
        with self.app.store.begin(START) as tx:
            claims.seed_library(tx, load_library())

    def tick(self, seconds: float = 0.5) -> None:
        """One round of the desk part."""
        self.clock.at += timedelta(seconds=seconds)
        sweep(self.app.store, self.clock.now(), self.app.rules)
        self._notifier.send_due(self.clock.now())

    def live(self, start: timedelta, end: timedelta) -> None:
        """Posts are worked off as they come."""
        while start < end:
            play(self.app, self.clock, start, start + STEP)
            self.tick(31)
            start += STEP

    def notices(self) -> list[dict[str, Any]]:
        if not self._file.exists():
            return []
        return [json.loads(line) for line in self._file.read_text("utf-8").splitlines()]

    def alerts(self) -> dict[str, Any]:
        with self.app.store.read() as conn:
            return {row.fingerprint: row for row in conn.execute(select(t.alerts))}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Product:
    product = Product(tmp_path_factory.mktemp("calm"))
    product.live(timedelta(0), END)
    return product


def lasting(product: Product) -> dict[str, tuple[Any, ...]]:
    """Alerts without when they were made and what became of them."""
    found = product.alerts().items()
    return {name: (a.rule, a.rung, a.event_id, a.level, a.fired_at) for name, a in found}


def test_after_three_hours_what_was_missed_is_told_without_a_storm(
    calm: Product, tmp_path: Path
) -> None:
    product = Product(tmp_path)
    product.live(timedelta(0), DOWN)
    before, known = len(product.notices()), set(product.alerts())
    missed = fetch(product.app, product.clock, DOWN, UP)
    work(product.app, product.clock, between=product.tick)
    for _ in range(20):  # ten minutes after it
        product.tick(30)
    told = product.notices()[before:]
    made = [alert for name, alert in product.alerts().items() if name not in known]
    assert missed > 1000 and len(made) > 40

    # every call for help is told by itself and once, the rest by few messages or one digest
    first = [n for n in told if n["reason"] == "alert"]
    calls = {a.fingerprint for a in made if a.kind == "help" and a.state == AlertState.NEW}
    assert len(calls) > 20
    told_of = Counter(n["fingerprint"] for n in first if n["receiver"] == "值班台")
    assert {name: told_of[name] for name in calls} == dict.fromkeys(calls, 1)
    others = Counter(n["receiver"] for n in first if n["fingerprint"] not in calls)
    assert max(others.values()) <= product.digest_over
    # nobody is chased for what could not be known: clocks run from when the desk heard of it
    chased = Counter(n["receiver"] for n in told if n["reason"] in ("reminder", "escalation"))
    assert max(chased.values()) <= product.app.rules.digest_over + 3
    in_peace = [n for n in calm.notices() if n["at"] >= (START + DOWN).isoformat()]
    assert len(told) < len(in_peace) / 2 and len(told) < missed / 20

    late = [a for a in made if a.recorded_at - a.fired_at >= LATE_AFTER]
    titles = {n["fingerprint"]: n["title"] for n in first}
    marked = [a for a in late if a.fingerprint in titles and "汇总" not in titles[a.fingerprint]]
    assert len(marked) > 20 and all("（晚到 " in titles[a.fingerprint] for a in marked)
    with product.app.store.read() as conn:
        board = queries_board.board(conn, product.clock.now(), DUTY)
    shown = {item.ref: item.late for item in board.items}
    assert all(shown[a.fingerprint].startswith("晚到 ") for a in late if a.state == AlertState.NEW)

    product.clock.at = START + UP
    product.live(UP, END)
    assert lasting(product) == lasting(calm), "nothing is missing, nothing is made twice"


def test_what_is_fetched_after_its_time_is_kept_and_told_to_nobody(tmp_path: Path) -> None:
    product = Product(tmp_path)
    fetch(product.app, product.clock, timedelta(0), DOWN, fetched_at=START + timedelta(hours=9))
    work(product.app, product.clock, between=product.tick)
    for _ in range(3):
        product.tick(30)
    assert {a.state for a in product.alerts().values()} == {AlertState.BACKFILL.value}
    assert not [n for n in product.notices() if n["reason"] == "alert"]
