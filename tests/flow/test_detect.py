"""posts.annotated -> desk.db: the same outcome however the posts are batched, killed, repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pipeline.domain.levels import load_levels
from pipeline.domain.post import AnnotatedPost
from pipeline.domain.routing import load_routes
from pipeline.domain.rules import load_rules
from pipeline.errors import NotNow
from pipeline.stages.detect import Detector
from pipeline.store import tables as t
from pipeline.store.sql import Store
from tests.flow.annotated import START, night
from tests.stores import open_store

DEFAULTS = Path(__file__).parents[2] / "pipeline" / "defaults"


class Clock:
    """A clock that a test sets."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


def make_store(path: Path) -> Store:
    store = open_store(path)
    store.create()
    return store


def make_detector(store: Store) -> Detector:
    detector = Detector(
        store,
        load_rules(DEFAULTS / "rules.toml"),
        load_routes(DEFAULTS / "routes.toml"),
        load_levels(DEFAULTS / "levels.toml"),
        clock=Clock(),
    )
    detector.rebuild()
    return detector


# What depends on when a row was written, not on what was posted.
WALL = {"recorded_at", "created_at", "not_before", "captured_at", "message_id", "value"}
TABLES = (
    t.events, t.event_posts, t.event_buckets, t.event_traits, t.talk_posts, t.baselines,
    t.alerts, t.help_calls, t.vault, t.deliveries, t.evidence,
)  # fmt: skip


def picture(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of what the detector writes, without the wall clock."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with store.read() as conn:
        for table in TABLES:
            columns = [
                c
                for c in table.columns
                if c.name not in WALL and not (c.name == "id" and c.autoincrement is True)
            ]
            rows = conn.execute(select(*columns)).all()
            found[table.name] = sorted(tuple(map(repr, row)) for row in rows)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = make_store(tmp_path / "desk.db")
    yield made
    made.close()


def feed(detector: Detector, items: Sequence[AnnotatedPost], size: int) -> None:
    for start in range(0, len(items), size):
        detector.handle(items[start : start + size])


def test_what_another_wrote_meanwhile_is_read_again(store: Store, tmp_path: Path) -> None:
    """Such as the batch of a part that was killed while its database hung."""
    items = night(1, 300)
    plain = make_store(tmp_path / "plain.db")
    feed(make_detector(plain), items, 100)
    feed(make_detector(store), items[:100], 100)
    late = make_detector(store)
    late.rebuild()
    feed(make_detector(store), items[100:200], 100)
    with pytest.raises(NotNow, match="memory is built anew"):
        late.handle(items[100:200])
    feed(late, items[100:], 100)
    assert picture(store) == picture(plain)
    plain.close()


@pytest.mark.parametrize("seed", range(4))
def test_batches_kills_and_repeats_change_nothing(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    # the last seed spans weeks, so that events close and memory is forgotten
    items = night(seed, 700, days=(0.25, 0.5, 3, 20)[seed])
    plain = make_store(tmp_path / "plain.db")
    feed(make_detector(plain), items, 400)
    broken = make_store(tmp_path / "broken.db")
    detector = make_detector(broken)
    at = 0
    while at < len(items):
        size = rng.choice((1, 2, 7, 30, 150))
        detector.handle(items[at : at + size])
        if rng.random() < 0.3:  # killed after the write, before the bus knew: the batch returns
            detector = make_detector(broken)
            detector.handle(items[at : at + size])
        at += size
    one, other = picture(plain), picture(broken)
    for table in one:
        assert one[table] == other[table], table
    assert len(one["events"]) > 10
    assert len(one["alerts"]) > 5
    assert len(one["help_calls"]) > 5
    plain.close()
    broken.close()
