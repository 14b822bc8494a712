"""One warning from two sources: each fills in what the other left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from pipeline.domain.warning import OfficialWarning
from pipeline.stages.warnings import store_warnings
from pipeline.store import tables as t
from tests.stores import open_store

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LISTED = OfficialWarning(
    id="45010041600000_20261123200000",
    hazard="rain",
    type_name="暴雨",
    type_code="11B03",
    colour="orange",
    action="issued",
    station="南宁市气象台",
    adcode="450100",
    area="南宁市",
    issued_at=AT,
)


def test_the_second_source_adds_the_end_and_never_takes_it_away(tmp_path: Path) -> None:
    store = open_store(tmp_path / "desk.db")
    store.create()
    full = replace(LISTED, expires_at=AT + timedelta(hours=3))
    for warning in (LISTED, full, LISTED, replace(full, expires_at=AT + timedelta(hours=9))):
        with store.begin(AT) as tx:
            store_warnings(tx, [warning])
    with store.read() as conn:
        rows = conn.execute(select(t.warnings.c.expires_at, t.warnings.c.lifted_at)).all()
    assert [tuple(row) for row in rows] == [(AT + timedelta(hours=3), None)]
