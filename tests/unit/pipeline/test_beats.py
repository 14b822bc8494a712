"""What parts say of themselves, on a real store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pipeline import beats
from pipeline.app import App, build
from pipeline.settings import load_settings
from pipeline.store import tables as t
from tests.fakes import HandClock


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    made = build(load_settings(tmp_path), HandClock())
    yield made
    made.close()


def rows(app: App) -> dict[str, dict[str, Any]]:
    with app.store.read() as conn:
        return {row["part"]: dict(row) for row in conn.execute(select(t.heartbeats)).mappings()}


def test_a_beat_carries_what_was_counted_and_touches_its_file(app: App) -> None:
    counted = {"handled": 7, "buried": 1, "busy_s": 0.5}
    said = beats.Beats(app, "index", every_s=0, figures=lambda: counted)
    said(3, "waits")
    row = rows(app)["index"]
    assert (row["lag"], row["note"], row["figures"]) == (3, "waits", counted)
    assert (app.settings.home / "beats" / "index").exists()


def test_a_beat_before_the_migration_counted_nothing(app: App) -> None:
    with app.store.begin(app.now()) as tx:
        tx.conn.exec_driver_sql(
            "INSERT INTO heartbeats (part, at, lag, note) VALUES ('old', '2026-11-24', 0, '')"
        )
    assert rows(app)["old"]["figures"] == {}


def test_several_of_one_part_stand_side_by_side(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    several = app.settings.model_copy(update={"one_of_several": True})
    names = []
    for host in ("one", "two"):
        monkeypatch.setattr(beats.socket, "gethostname", lambda host=host: host)
        names.append(beats.part_name(several, "annotate"))
        beats.beat(app, names[-1])
    assert names == ["annotate@one", "annotate@two"]
    assert set(rows(app)) == set(names)
    assert beats.part_name(app.settings, "annotate") == "annotate"


def test_one_of_several_that_was_replaced_is_forgotten_others_are_not(app: App) -> None:
    clock = app.clock
    assert isinstance(clock, HandClock)
    for part in ("annotate@gone", "annotate", "annotated@x", "index@far"):
        beats.beat(app, part)
    clock.move(minutes=11)
    beats.beat(app, "annotate@new")
    assert set(rows(app)) == {"annotate@new", "annotate", "annotated@x", "index@far"}
    beats.forget_beat(app, "annotate@new")
    assert "annotate@new" not in rows(app)
    assert timedelta(minutes=11) > beats.GONE_AFTER
