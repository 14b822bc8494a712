"""Running clocks: every due time is a row, written when its clock starts.

``DeskRules`` is ``deadlines.toml`` and the lines of ``reports.toml``, checked. A case keeps the
clocks that were in force when it was opened; ``specs_of`` reads them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import chinese_calendar
import structlog
from sqlalchemy import insert, select, update

from pipeline.domain.deadlines import BEIJING, ClockSpec, Times, times, weekdays
from pipeline.errors import SettingsError
from pipeline.store import tables as t
from pipeline.store.sql import Tx
from pipeline.toml_file import read_toml

log = structlog.get_logger("desk")

DEFAULTS = Path(__file__).parents[1] / "defaults"


@dataclass(frozen=True, slots=True)
class DeskRules:
    """The desk's rules. ``short``: prefix of numbers, as 南气. ``is_drill``: cases opened under
    these rules are drill cases. ``claim_progress``: a claim older than this without progress
    falls back. ``catch_up_after``: a longer pause between sweeps counts as a stop."""

    clocks: tuple[ClockSpec, ...]
    report_lines: tuple[str, ...]
    report_texts: Mapping[str, str]
    short: str = "南气"
    is_drill: bool = False
    default_office: str = "办公室"
    claim_progress: timedelta = timedelta(minutes=60)
    catch_up_after: timedelta = timedelta(minutes=5)
    digest_over: int = 5
    destroy_after: timedelta = timedelta(minutes=10)

    def frozen(self) -> dict[str, Any]:
        """What a case keeps of these rules."""
        return {
            "short": self.short,
            "report_lines": list(self.report_lines),
            "report_texts": dict(self.report_texts),
            "clocks": [c.to_json() for c in self.clocks],
        }


def load_desk_rules(path: Path, *, short: str = "南气", is_drill: bool = False) -> DeskRules:
    """Read ``deadlines.toml``; ``reports.toml`` from beside it, else the shipped one.

    Raises: SettingsError naming the file and what is wrong.
    """
    table = read_toml(path)
    beside = path.with_name("reports.toml")
    reports_path = beside if beside.exists() else DEFAULTS / "reports.toml"
    reports = read_toml(reports_path)
    try:
        desk = table.get("desk", {})

        def minutes(key: str, default: int) -> timedelta:
            return timedelta(minutes=float(desk.get(key, default)))

        return DeskRules(
            clocks=tuple(ClockSpec.from_json(row) for row in table["clock"]),
            report_lines=tuple(reports["lines"]),
            report_texts=dict(reports["text"]),
            short=short,
            is_drill=is_drill,
            default_office=str(desk.get("default_office", "办公室")),
            claim_progress=minutes("claim_progress_minutes", 60),
            catch_up_after=minutes("catch_up_after_minutes", 5),
            digest_over=int(desk.get("digest_over", 5)),
            destroy_after=minutes("destroy_contacts_after_minutes", 10),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(
            f"{path.name} (or {reports_path.name}): {error}; compare it with the shipped file"
        ) from error


@cache
def shipped_rules() -> DeskRules:
    """The rules as shipped: for acts outside any case, and for tests."""
    return load_desk_rules(DEFAULTS / "deadlines.toml")


def specs_of(case: Mapping[str, Any]) -> list[ClockSpec]:
    """The clocks frozen into a case."""
    return [ClockSpec.from_json(row) for row in case["frozen_rules"].get("clocks", ())]


@cache
def _announced(year: int) -> bool:
    try:
        chinese_calendar.is_workday(date(year, 1, 1))
    except NotImplementedError:
        log.warning("holidays of a year are not known; counting Monday to Friday", year=year)
        return False
    return True


def work_calendar(day: date) -> bool:
    """The official holiday calendar with its make-up workdays; weekdays for unknown years."""
    return bool(chinese_calendar.is_workday(day)) if _announced(day.year) else weekdays(day)


def start_clock(
    tx: Tx,
    owner: str,
    owner_id: str | int,
    spec: ClockSpec,
    *,
    start: datetime | None = None,
    case_id: int | None = None,
    due_at: datetime | None = None,
    name: str = "",
    label: str = "",
) -> datetime:
    """Write the row of a clock and return its due time. Starting it twice changes nothing.

    ``start``: default now. ``due_at``: set by a person instead of the table's; warnings keep
    their shares of the way. ``name``, ``label``: for clocks that run once per line.
    """
    started = start or tx.now
    at = times(spec, started, work_calendar)
    if due_at is not None:
        span = max(due_at - started, timedelta())
        at = Times(started + span * 0.5, started + span * 0.8, due_at)
    basis = spec.basis if due_at is None else "派单时指定"
    years = {started.astimezone(BEIJING).year, at.due.astimezone(BEIJING).year}
    if spec.workdays and due_at is None and not all(_announced(y) for y in years):
        basis += "（该年放假安排尚未收录，暂按周一至周五计，请人工核对）"
    name = name or spec.name
    c = t.clocks.c
    there = tx.conn.execute(
        select(c.id).where(
            c.owner == owner,
            c.owner_id == str(owner_id),
            c.name == name,
            c.started_at == started,
        )
    ).first()
    values = {
        "case_id": case_id,
        "label": label or spec.label,
        "basis": basis,
        "warn50_at": at.warn50,
        "warn80_at": at.warn80,
        "due_at": at.due,
    }
    if there is None:
        key = {"owner": owner, "owner_id": str(owner_id), "name": name, "started_at": started}
        tx.conn.execute(insert(t.clocks), {**key, **values, "fired": {}})
    else:
        tx.conn.execute(
            update(t.clocks).where(c.id == there.id).values(**values, cancelled_at=None)
        )
    return at.due


def _running(owner: str, owner_id: str | int, name: str | None) -> Any:
    c = t.clocks.c
    query = (
        update(t.clocks)
        .where(c.owner == owner, c.owner_id == str(owner_id))
        .where(c.met_at.is_(None), c.cancelled_at.is_(None))
    )
    return query if name is None else query.where(c.name == name)


def meet(tx: Tx, owner: str, owner_id: str | int, name: str) -> int:
    """What the clock waited for has happened. Returns how many running clocks it stopped."""
    return tx.conn.execute(_running(owner, owner_id, name).values(met_at=tx.now)).rowcount


def cancel(tx: Tx, owner: str, owner_id: str | int, name: str | None = None) -> int:
    """The clock no longer applies (all of the owner's when no name is given)."""
    return tx.conn.execute(_running(owner, owner_id, name).values(cancelled_at=tx.now)).rowcount


def is_met(tx: Tx, owner: str, owner_id: str | int, name: str) -> bool:
    """True when such a clock was ever met."""
    c = t.clocks.c
    row = tx.conn.execute(
        select(c.id).where(
            c.owner == owner,
            c.owner_id == str(owner_id),
            c.name == name,
            c.met_at.is_not(None),
        )
    ).first()
    return row is not None


def per_line(spec: ClockSpec, line: str) -> ClockSpec:
    """The clock of one reporting line."""
    return replace(spec, name=f"{spec.name}:{line}", label=f"{spec.label}（{line}）")
