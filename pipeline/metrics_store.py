"""The store's share of the metrics: parts, outbox, notices, deadlines, alerts, sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from sqlalchemy import Connection, func, select

from pipeline.desk import queries as q
from pipeline.domain.alert import AlertState
from pipeline.domain.case import HelpState
from pipeline.store import tables as t

LATELY = timedelta(hours=1)
DELIVERIES_READ = 2000  # newest deliveries looked at for the delays of the last hour
DELAYS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
DELIVERY_STATES = ("waiting", "failed", "sent", "grouped", "given_up", "cancelled")
SOURCE_STATES = ("ok", "late", "empty", "refused", "failing", "never")
SECOND_LOOKS = {"threads": "thread", "meanings": "meaning", "passed": "passed"}


def of_the_store(conn: Connection, now: datetime, pace: float) -> Iterator[Metric]:
    """Every figure of the store. ``pace``: drill seconds per wall second, 1 outside a drill."""
    yield from _beats(conn, now, pace)
    yield from _outbox(conn, now, pace)
    yield from _deliveries(conn, now, pace)
    yield from _clocks(conn, now)
    yield from _alerts(conn, now)
    yield from _help(conn, now)
    yield from _sources(conn, now, pace)


def one(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))


def seconds(span: timedelta) -> float:
    return max(0.0, span.total_seconds())


def _by(name: str, help_text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    found = GaugeMetricFamily(name, help_text, labels=[label])
    for text, value in values:
        found.add_metric([text], float(value))
    return found


def _delays(name: str, help_text: str, took: Sequence[float]) -> Metric:
    """How long things took in the last hour: a histogram that forgets, so a gauge."""
    counts = [(str(float(le)), float(sum(s <= le for s in took))) for le in DELAYS]
    counts.append(("+Inf", float(len(took))))
    return GaugeHistogramMetricFamily(name, help_text, buckets=counts, gsum_value=sum(took))


def _beats(conn: Connection, now: datetime, pace: float) -> Iterator[Metric]:
    silent = GaugeMetricFamily(
        "tingfeng_part_silent_seconds", "Since a part's last sign of life.", labels=["part"]
    )
    messages = CounterMetricFamily(
        "tingfeng_part_messages", "Handled since the part's start.", labels=["part"]
    )
    buried = CounterMetricFamily(
        "tingfeng_part_dead_letters", "Given up since the part's start.", labels=["part"]
    )
    busy = CounterMetricFamily(
        "tingfeng_part_busy_seconds", "Spent on messages since the start.", labels=["part"]
    )
    looks = CounterMetricFamily(
        "tingfeng_second_tier_posts",
        "Unsure posts: read again in their thread or by meaning, or passed over.",
        labels=["part", "look"],
    )
    model = InfoMetricFamily("tingfeng_model", "Model that judges.", labels=["part"])
    for row in q.rows(conn, select(t.heartbeats).order_by(t.heartbeats.c.part)):
        part, figures = row["part"], row["figures"] or {}
        silent.add_metric([part], seconds(now - row["at"]) / pace)
        if "handled" in figures:
            messages.add_metric([part], figures["handled"])
            buried.add_metric([part], figures["buried"])
            busy.add_metric([part], figures["busy_s"])
        for name, look in SECOND_LOOKS.items():
            if name in figures:
                looks.add_metric([part, look], figures[name])
        if "model" in figures:
            model.add_metric([part], {"version": str(figures["model"])})
    yield from (silent, messages, buried, busy, looks, model)


def _outbox(conn: Connection, now: datetime, pace: float) -> Iterator[Metric]:
    o = t.outbox.c
    waiting, oldest = conn.execute(
        select(func.count(), func.min(o.created_at)).where(o.sent_at.is_(None))
    ).one()
    yield one("tingfeng_outbox_waiting_messages", "Not yet on the bus.", waiting)
    age = seconds(now - oldest) / pace if oldest else 0.0
    yield one("tingfeng_outbox_oldest_age_seconds", "Oldest message not yet on the bus.", age)


def _deliveries(conn: Connection, now: datetime, pace: float) -> Iterator[Metric]:
    d = t.deliveries.c
    counted = _counts(conn, d.state)
    yield _by(
        "tingfeng_deliveries",
        "Notices by state.",
        "state",
        [(state, counted.get(state, 0)) for state in DELIVERY_STATES],
    )
    overdue = conn.execute(
        select(func.min(d.not_before)).where(d.state.in_(("waiting", "failed")))
    ).scalar()
    yield one(
        "tingfeng_delivery_overdue_seconds",
        "How long the next notice has been due and not gone out.",
        seconds(now - overdue) / pace if overdue else 0.0,
    )
    newest = select(d.created_at, d.sent_at).order_by(d.id.desc()).limit(DELIVERIES_READ).subquery()
    sent = conn.execute(select(newest).where(newest.c.sent_at > now - LATELY)).all()
    yield _delays(
        "tingfeng_delivery_delay_seconds",
        "From queueing to sending, in the last hour; what is grouped waits on purpose.",
        [seconds(row.sent_at - row.created_at) for row in sent],
    )


def _clocks(conn: Connection, now: datetime) -> Iterator[Metric]:
    c = t.clocks.c
    running = c.met_at.is_(None) & c.cancelled_at.is_(None)
    owners = ("case", "assignment", "alert", "help", "report", "step")
    for name, help_text, which in (
        ("tingfeng_clocks_running", "Deadlines that run.", running),
        ("tingfeng_clocks_overdue", "Deadlines that have passed.", running & (c.due_at <= now)),
    ):
        counted = _counts(conn, c.owner, which)
        names = (*owners, *sorted(counted.keys() - set(owners)))
        yield _by(name, help_text, "owner", [(owner, counted.get(owner, 0)) for owner in names])


def _alerts(conn: Connection, now: datetime) -> Iterator[Metric]:
    a = t.alerts.c
    counted = _counts(conn, a.state)
    yield _by(
        "tingfeng_alerts",
        "Alerts by state.",
        "state",
        [(state.value, counted.get(state.value, 0)) for state in AlertState],
    )
    # the index on fired_at bounds what is read; older posts make no alert but a backfilled one
    lately = conn.execute(
        select(a.fired_at, a.recorded_at).where(
            a.fired_at > now - 24 * LATELY,
            a.recorded_at > now - LATELY,
            a.state != AlertState.BACKFILL.value,
        )
    ).all()
    yield _delays(
        "tingfeng_alert_delay_seconds",
        "From the time of the post that raised an alert to its record, in the last hour.",
        [seconds(row.recorded_at - row.fired_at) for row in lately],
    )


def _help(conn: Connection, now: datetime) -> Iterator[Metric]:
    h = t.help_calls.c
    waiting, oldest = conn.execute(
        select(func.count(), func.min(h.seen_at)).where(h.state == HelpState.NEW.value)
    ).one()
    yield one("tingfeng_help_calls_waiting", "Calls for help not yet passed on.", waiting)
    age = seconds(now - oldest) if oldest else 0.0
    yield one("tingfeng_help_calls_oldest_age_seconds", "Oldest one not yet passed on.", age)


def _sources(conn: Connection, now: datetime, pace: float) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "tingfeng_source_state", "1 for the state a source is in.", labels=["source", "state"]
    )
    success = GaugeMetricFamily(
        "tingfeng_source_success_age_seconds",
        "Since a source was last read with success.",
        labels=["source"],
    )
    period = GaugeMetricFamily(
        "tingfeng_source_period_seconds", "How often it is to be read.", labels=["source"]
    )
    counters = {
        column: CounterMetricFamily(f"tingfeng_source_{column}", help_text, labels=["source"])
        for column, help_text in (
            ("runs", "Visits."),
            ("failures", "Visits that failed."),
            ("items", "New posts it gave."),
        )
    }
    for row in q.rows(conn, select(t.source_health).order_by(t.source_health.c.source)):
        source = row["source"]
        for name in SOURCE_STATES:
            state.add_metric([source, name], float(row["state"] == name))
        if row["last_success_at"] is not None:
            success.add_metric([source], seconds(now - row["last_success_at"]) / pace)
        period.add_metric([source], row["every_s"] / pace)
        for column, family in counters.items():
            family.add_metric([source], row[column])
    yield from (state, success, period, *counters.values())


def _counts(conn: Connection, column: Any, which: Any = None) -> dict[str, int]:
    query = select(column, func.count()).group_by(column)
    found = conn.execute(query if which is None else query.where(which))
    return dict(found.tuples().all())
