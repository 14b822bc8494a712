"""Official warnings and the weather processes that they open and close.

A process (天气过程) is hazard group x city x time span: it groups events, and it inhibits alerts
that only say "people talk about the rain that we announced".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, or_, select, update

from pipeline.domain.warning import OfficialWarning
from pipeline.stages.matter import hazard_group, prefecture_of
from pipeline.store import tables as t
from pipeline.store.sql import Tx

_w, _p = t.warnings, t.processes
_NOT_PUBLIC_YET = ("withdrawn", "expired")


def store_warnings(tx: Tx, warnings: Sequence[OfficialWarning]) -> int:
    """Keep warnings that are new to us; returns how many were. The same list again changes nothing.

    An update or a lifting ends what it names; one that names nothing ends what the same station
    has in force of the same type. Arrival out of order comes out the same.
    """
    known = set(
        tx.conn.execute(
            select(_w.c.id).where(_w.c.id.in_([w.id for w in warnings] or [""]))
        ).scalars()
    )
    taken = 0
    for warning in sorted(warnings, key=lambda w: (w.issued_at, w.id)):
        if warning.id in known:
            _complete(tx, warning)
            continue
        known.add(warning.id)
        _keep(tx, warning)
        taken += 1
    return taken


def _keep(tx: Tx, warning: OfficialWarning) -> None:
    tx.conn.execute(
        insert(_w),
        {
            "id": warning.id,
            "hazard": warning.hazard,
            "type_name": warning.type_name[:32],
            "type_code": warning.type_code[:16],
            "colour": warning.colour,
            "action": warning.action,
            "station": warning.station[:64],
            "adcode": warning.adcode,
            "area": warning.area[:128],
            "issued_at": warning.issued_at,
            "effective_at": warning.effective_at,
            "expires_at": warning.expires_at,
            "text": warning.text,
            "url": warning.url,
            "source": warning.source,
        },
    )
    for row in tx.conn.execute(_ended_by(warning)).mappings().all():
        tx.conn.execute(
            update(_w)
            .where(_w.c.id == row["id"])
            .values(lifted_at=warning.issued_at, superseded_by=warning.id)
        )
        _ask_review(tx, row, warning)
    _arrived_late(tx, warning)
    _follow(tx, warning)


def _complete(tx: Tx, warning: OfficialWarning) -> None:
    """A second source of the same warning may know what the first left out, as when it ends."""
    for column in (_w.c.effective_at, _w.c.expires_at):
        value = getattr(warning, column.name)
        if value is not None:
            tx.conn.execute(
                update(_w).where(_w.c.id == warning.id, column.is_(None)).values({column: value})
            )


def _ended_by(warning: OfficialWarning) -> Any:
    """The warnings of before that this one ends.

    A new issue of the same type by the same station also replaces: no station has two colours of
    one signal in force.
    """
    same = (
        (_w.c.type_name == warning.type_name)
        & (_w.c.adcode == warning.adcode)
        & (_w.c.station == warning.station)
    )
    named = _w.c.id.in_(warning.supersedes or ("",))
    return (
        select(_w)
        .where(
            _w.c.id != warning.id,
            _w.c.action != "lifted",
            _w.c.issued_at <= warning.issued_at,
            or_(_w.c.lifted_at.is_(None), _w.c.lifted_at > warning.issued_at),
            or_(named, same),
        )
        .order_by(_w.c.issued_at)
    )


def _arrived_late(tx: Tx, warning: OfficialWarning) -> None:
    """A warning that comes after the one that ended it is ended at once."""
    if warning.action == "lifted":
        return
    later = (
        tx.conn.execute(
            select(_w)
            .where(
                _w.c.type_name == warning.type_name,
                _w.c.adcode == warning.adcode,
                _w.c.station == warning.station,
                _w.c.issued_at > warning.issued_at,
            )
            .order_by(_w.c.issued_at)
            .limit(1)
        )
        .mappings()
        .first()
    )
    if later is not None:
        tx.conn.execute(
            update(_w)
            .where(_w.c.id == warning.id)
            .values(lifted_at=later["issued_at"], superseded_by=later["id"])
        )


def _follow(tx: Tx, warning: OfficialWarning) -> None:
    """Open the process that a warning announces; close it when the last warning is lifted."""
    group, city = hazard_group(warning.hazard), prefecture_of(warning.adcode)
    if not city:
        return
    held = open_process(tx.conn, group, city, warning.issued_at)
    if warning.action != "lifted":
        if held is None:
            tx.conn.execute(
                insert(_p),
                {
                    "id": f"P-{group}-{city}-{warning.issued_at:%Y%m%d%H%M}",
                    "hazard": group,
                    "adcode": city,
                    "opened_at": warning.issued_at,
                    "opened_by": warning.id,
                },
            )
        return
    if held is None:
        return
    left = [
        row
        for row in warnings_in_force(tx.conn, city, warning.issued_at)
        if hazard_group(row["hazard"]) == group
    ]
    if not left:
        tx.conn.execute(update(_p).where(_p.c.id == held["id"]).values(closed_at=warning.issued_at))


def close_expired(tx: Tx) -> int:
    """Close processes whose warnings have all run out; returns how many. For the sweeper."""
    closed = 0
    for row in tx.conn.execute(select(_p).where(_p.c.closed_at.is_(None))).mappings().all():
        force = warnings_in_force(tx.conn, row["adcode"], tx.now)
        if not any(hazard_group(w["hazard"]) == row["hazard"] for w in force):
            tx.conn.execute(update(_p).where(_p.c.id == row["id"]).values(closed_at=tx.now))
            closed += 1
    return closed


def open_process(conn: Connection, group: str, city: str, at: datetime) -> dict[str, Any] | None:
    """The process of a hazard group in a city at a time, if one was open then."""
    return Processes(conn).open(group, city, at)


def warnings_in_force(conn: Connection, adcode: str, at: datetime) -> list[dict[str, Any]]:
    """Warnings that held for a place at a time, newest first: its own, its city's, its province's,
    and for a city also those of its counties."""
    return WarningsAt(conn, at, at).of(adcode, at)


class Processes:
    """Weather processes, each hazard and city asked for once: for many questions at one moment."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._held: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def open(self, group: str, city: str, at: datetime) -> dict[str, Any] | None:
        """As ``open_process``."""
        held = self._held.get((group, city))
        if held is None:
            rows = self._conn.execute(
                select(_p)
                .where(_p.c.hazard == group, _p.c.adcode == city)
                .order_by(_p.c.opened_at.desc())
            ).mappings()
            held = self._held[group, city] = [dict(row) for row in rows]
        for row in held:
            if row["opened_at"] <= at and (row["closed_at"] is None or row["closed_at"] > at):
                return row
        return None


class WarningsAt:
    """Warnings between two times, each place asked for once."""

    def __init__(self, conn: Connection, first: datetime, last: datetime) -> None:
        self._conn, self._first, self._last = conn, first, last
        self._held: dict[str, list[dict[str, Any]]] = {}

    def of(self, adcode: str, at: datetime) -> list[dict[str, Any]]:
        """As ``warnings_in_force``, for a time between the two."""
        held = self._held.get(adcode)
        if held is None:
            held = self._held[adcode] = self._ask(adcode)
        return [
            row
            for row in held
            if row["issued_at"] <= at
            and (row["lifted_at"] is None or row["lifted_at"] > at)
            and (row["expires_at"] is None or row["expires_at"] > at)
        ]

    def _ask(self, adcode: str) -> list[dict[str, Any]]:
        codes = {adcode[:6], adcode[:4] + "00", adcode[:2] + "0000"} if adcode else set()
        own: ColumnElement[bool] = _w.c.adcode.in_(codes)
        if adcode[4:6] == "00":
            own = or_(own, _w.c.adcode.like(adcode[:4] + "%"))
        rows = self._conn.execute(
            select(_w)
            .where(
                own,
                _w.c.action != "lifted",
                _w.c.issued_at <= self._last,
                or_(_w.c.lifted_at.is_(None), _w.c.lifted_at > self._first),
                or_(_w.c.expires_at.is_(None), _w.c.expires_at > self._first),
            )
            .order_by(_w.c.issued_at.desc(), _w.c.id)
        ).mappings()
        return [dict(row) for row in rows]


def _ask_review(tx: Tx, old: Any, new: OfficialWarning) -> None:
    """Clarifications that cite a warning which has just changed are looked at again."""
    c, e = t.clarifications, t.evidence
    evidence = set(
        tx.conn.execute(select(e.c.id).where(e.c.kind == "warning", e.c.ref == old["id"])).scalars()
    )
    if not evidence:
        return
    word = {"lifted": "解除", "changed": "变更"}.get(new.action, "重新发布")
    reason = f"所引用的{old['type_name']}预警已{word}，请复核"
    for row in tx.conn.execute(
        select(c.c.id, c.c.evidence).where(c.c.status.not_in(_NOT_PUBLIC_YET))
    ).all():
        if evidence.intersection(row.evidence):
            tx.conn.execute(update(c).where(c.c.id == row.id).values(needs_review=reason))
