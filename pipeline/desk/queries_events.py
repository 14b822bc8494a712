"""Events and alerts as screens read them: lists with facets, one event, one alert."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, select

from pipeline.desk import queries as q
from pipeline.desk.silences import active_silence
from pipeline.domain.alert import ALERT_MOVES, AlertState
from pipeline.domain.event import EVENT_KIND_NAMES, Level
from pipeline.domain.rights import Actor, may
from pipeline.store import tables as t

SILENT_STATES = (AlertState.SHELVED, AlertState.SUPPRESSED, AlertState.CALMED, AlertState.BACKFILL)


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert. ``can``: acts this person may do now. ``quiet``: who muted it and why."""

    alert: dict[str, Any]
    state_label: str
    quiet: str
    can: frozenset[str]
    deliveries: tuple[dict[str, Any], ...]
    case_id: int | None
    silence: dict[str, Any] | None
    """What mutes alerts like this one now, if anything."""


def alert_view(conn: Connection, fingerprint: str, now: datetime, actor: Actor) -> AlertView | None:
    """One alert with its deliveries; None when there is none."""
    a = q.one(conn, select(t.alerts).where(t.alerts.c.fingerprint == fingerprint))
    if a is None:
        return None
    d = t.deliveries.c
    told = q.rows(
        conn,
        select(t.deliveries).where(d.fingerprint == fingerprint).order_by(d.id.desc()).limit(20),
    )
    return AlertView(
        alert=a,
        state_label=AlertState(a["state"]).label,
        quiet=why_quiet(a),
        can=alert_acts(a, actor),
        deliveries=tuple(told),
        case_id=a["case_id"],
        silence=active_silence(conn, a, now),
    )


def alert_acts(a: dict[str, Any], actor: Actor) -> frozenset[str]:
    """Which buttons an alert has for this person."""
    state = AlertState(a["state"])
    to = ALERT_MOVES[state]
    acts = set()
    if may(actor, "claim_alert"):
        if AlertState.CLAIMED in to:
            acts.add("claim")
        mine = a["claimed_by"] == actor.name or may(actor, "silence_long")
        if state is AlertState.CLAIMED and mine:
            acts.add("release")
        if a["case_id"] is None and state is not AlertState.CLOSED:
            acts.add("open_case")
    if may(actor, "shelve_alert") and AlertState.SHELVED in to:
        acts |= {"shelve", "silence"}
    if may(actor, "close_alert"):
        if AlertState.CLOSED in to:
            acts.add("close")
        if AlertState.NEW in to and state is not AlertState.CLAIMED:
            acts.add("reopen")
    return frozenset(acts)


def why_quiet(a: dict[str, Any]) -> str:
    """Who or which rule keeps an alert quiet, until when; empty when it is not quiet."""
    state = AlertState(a["state"])
    if state not in SILENT_STATES:
        return ""
    reason = a["state_reason"] or state.label
    if a["shelved_until"] is not None:
        from pipeline.clock import BEIJING

        return f"{reason}，到 {a['shelved_until'].astimezone(BEIJING):%m-%d %H:%M}"
    return str(reason)


# ---- events -------------------------------------------------------------------------------

SORTS = {"heat": "最热", "last": "最新", "first": "最早", "level": "等级"}
SPANS: dict[str, timedelta | None] = {
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "all": None,
}


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events. Empty fields do not restrict; ``adcode`` is a prefix."""

    kinds: tuple[str, ...] = ()
    levels: tuple[int, ...] = ()
    hazards: tuple[str, ...] = ()
    adcode: str = ""
    words: str = ""
    since: datetime | None = None
    open_only: bool = False
    sort: str = "heat"
    limit: int = 30


@dataclass(frozen=True, slots=True)
class EventList:
    """Events and, for each facet, how many of the chosen time have which value."""

    events: tuple[dict[str, Any], ...]
    total: int
    facets: dict[str, list[tuple[str, int]]]
    sparks: dict[str, list[int]]
    lately: dict[str, int]


def event_list(conn: Connection, wanted: EventFilter, now: datetime) -> EventList:
    """Events that match, with facets over everything in the chosen time."""
    e = t.events.c
    order = {
        "heat": e.heat.desc(),
        "last": e.last_at.desc(),
        "first": e.first_at,
        "level": func.coalesce(e.level, e.proposed_level).desc(),
    }[wanted.sort if wanted.sort in SORTS else "heat"]
    query = _matching(select(t.events), wanted).order_by(order, e.last_at.desc(), e.id)
    found = q.rows(conn, query.limit(wanted.limit))
    total = q.count(conn, _matching(select(func.count()).select_from(t.events), wanted))
    ids = [r["id"] for r in found]
    return EventList(
        events=tuple(found),
        total=total,
        facets=_facets(conn, wanted),
        sparks=q.sparks(conn, ids, now),
        lately=q.lately(conn, ids, now),
    )


def _matching(query: Select[Any], wanted: EventFilter, *, facets: bool = False) -> Select[Any]:
    e = t.events.c
    query = query.where(e.merged_into == "")
    if wanted.since is not None:
        query = query.where(e.last_at >= wanted.since)
    if wanted.words:
        for word in wanted.words.split():
            escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            query = query.where(e.title.like(f"%{escaped}%", escape="\\"))
    if facets:
        return query
    if wanted.kinds:
        query = query.where(e.kind.in_(wanted.kinds))
    if wanted.levels:
        query = query.where(func.coalesce(e.level, e.proposed_level).in_(wanted.levels))
    if wanted.hazards:
        query = query.where(e.hazard.in_(wanted.hazards))
    if wanted.adcode:
        query = query.where(e.adcode.startswith(wanted.adcode))
    return query


def _facets(conn: Connection, wanted: EventFilter) -> dict[str, list[tuple[str, int]]]:
    e = t.events.c
    query = _matching(
        select(e.kind, func.coalesce(e.level, e.proposed_level), e.hazard, func.count()),
        wanted,
        facets=True,
    ).group_by(e.kind, func.coalesce(e.level, e.proposed_level), e.hazard)
    kinds: Counter[str] = Counter()
    levels: Counter[str] = Counter()
    hazards: Counter[str] = Counter()
    for kind, level, hazard, n in conn.execute(query):
        kinds[kind] += n
        levels[str(level)] += n
        if hazard:
            hazards[hazard] += n
    return {
        "kind": kinds.most_common(),
        "level": sorted(levels.items(), reverse=True),
        "hazard": hazards.most_common(),
    }


@dataclass(frozen=True, slots=True)
class EventView:
    """One event with everything its page shows, except the posts' texts (they are in the index)."""

    event: dict[str, Any]
    level: Level
    level_is_decided: bool
    buckets: tuple[dict[str, Any], ...]
    marks: tuple[tuple[datetime, str, str], ...]
    alerts: tuple[dict[str, Any], ...]
    cases: tuple[dict[str, Any], ...]
    releases: tuple[dict[str, Any], ...]
    warnings: tuple[dict[str, Any], ...]
    claim: dict[str, Any] | None
    can: frozenset[str]
    kind_label: str = field(default="")


def event_view(conn: Connection, event_id: str, now: datetime, actor: Actor) -> EventView | None:
    """One event; None when there is none. A merged event leads to the one it went into."""
    for _ in range(5):
        event = q.one(conn, select(t.events).where(t.events.c.id == event_id))
        if event is None or not event["merged_into"]:
            break
        event_id = event["merged_into"]
    if event is None:
        return None
    buckets = q.rows(
        conn,
        select(t.event_buckets)
        .where(t.event_buckets.c.event_id == event_id)
        .order_by(t.event_buckets.c.start.desc())
        .limit(432),  # three days
    )[::-1]
    alerts = q.rows(
        conn,
        select(t.alerts).where(t.alerts.c.event_id == event_id).order_by(t.alerts.c.fired_at),
    )
    cases = q.rows(
        conn, select(t.cases).where(t.cases.c.event_id == event_id).order_by(t.cases.c.id)
    )
    releases = q.rows(
        conn,
        select(t.releases)
        .where(t.releases.c.case_id.in_([c["id"] for c in cases]))
        .order_by(t.releases.c.released_at),
    )
    marks = [(a["fired_at"], "预警", "alert") for a in alerts]
    marks += [(r["released_at"], "发布", "release") for r in releases]
    claim = None
    if event["claim_id"]:
        claim = q.one(conn, select(t.claims).where(t.claims.c.id == event["claim_id"]))
    acts = set()
    if may(actor, "open_case"):
        acts.add("open_case")
    if may(actor, "correct_label"):
        acts.add("correct_label")
    return EventView(
        event=event,
        level=Level(event["level"] or event["proposed_level"]),
        level_is_decided=event["level"] is not None,
        buckets=tuple(buckets),
        marks=tuple(marks),
        alerts=tuple(alerts),
        cases=tuple(cases),
        releases=tuple(releases),
        warnings=tuple(_warnings_then(conn, event)),
        claim=claim,
        can=frozenset(acts),
        kind_label=EVENT_KIND_NAMES.get(event["kind"], event["kind"]),
    )


def _warnings_then(conn: Connection, event: dict[str, Any]) -> list[dict[str, Any]]:
    """Warnings that were in force somewhere between the first and the last post of the event."""
    w = t.warnings.c
    query = (
        select(t.warnings)
        .where(w.action != "lifted", w.issued_at <= event["last_at"])
        .where((w.lifted_at.is_(None)) | (w.lifted_at >= event["first_at"]))
        .where((w.expires_at.is_(None)) | (w.expires_at >= event["first_at"]))
        .where(w.issued_at >= event["first_at"] - timedelta(days=3))
        .order_by(w.issued_at.desc())
        .limit(20)
    )
    if event["adcode"]:
        query = query.where(w.adcode.startswith(event["adcode"][:4]))
    return q.rows(conn, query)


@dataclass(frozen=True, slots=True)
class PostRef:
    """A post of an event with its folded copies. ``copies``: near-copies and reposts of it."""

    post_id: str
    at: datetime
    stance: str
    copies: int


def event_posts(
    conn: Connection, event_id: str, *, stance: str = "", limit: int = 30, offset: int = 0
) -> list[PostRef]:
    """Posts of an event with copies folded, most copied first, then newest."""
    p = t.event_posts.c
    copies = (
        select(p.copy_of, func.count().label("n"))
        .where(p.event_id == event_id, p.copy_of != "")
        .group_by(p.copy_of)
        .subquery()
    )
    n = func.coalesce(copies.c.n, 0)
    query = (
        select(p.post_id, p.at, p.stance, n)
        .join(copies, copies.c.copy_of == p.post_id, isouter=True)
        .where(p.event_id == event_id, p.copy_of == "")
        .order_by(n.desc(), p.at.desc(), p.post_id)
        .limit(limit)
        .offset(offset)
    )
    if stance:
        query = query.where(p.stance == stance)
    return [PostRef(*row) for row in conn.execute(query)]
