"""What must be acted on next, for whom, and how soon: the rows and counters of 总览."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from pipeline.desk import queries as q
from pipeline.domain.alert import AlertState, lateness
from pipeline.domain.case import AssignmentState, CaseStatus, HelpState
from pipeline.domain.event import EVENT_KIND_NAMES, Level
from pipeline.domain.release import ClarificationStatus, Step
from pipeline.domain.rights import Actor, Role
from pipeline.store import tables as t

COUNTERS: dict[str, str] = {
    "new": "新",
    "mine": "我的",
    "soon": "1 小时内到期",
    "overdue": "超时",
    "help": "求助未转",
    "sign": "待审签",
}
MOST = 200
"""Rows looked at. More open alerts than this means a storm: the gravest are shown, all counted."""

_STEP_ROLE = {
    ClarificationStatus.CHECK: Role.CHECKER,
    ClarificationStatus.SECRECY: Role.SECRECY,
    ClarificationStatus.SIGN: Role.SIGNER,
}


@dataclass(frozen=True, slots=True)
class ActionItem:
    """One row of 待处理.

    ``key``: ``alert:…``, ``case:…``, ``assignment:…``, ``step:…``. ``groups``: the counters it
    belongs to. ``due_at``: when the next clock on it runs out; ``due_what``: what happens then.
    ``act``: the main button, ``""`` when this person has none. ``spark``: posts per ten minutes.
    ``late``: how much later than its posts an alert came, when that was long.
    """

    key: str
    ref: str
    level: Level
    kind: str
    title: str
    place: str
    why: str
    who: str
    state: str
    groups: frozenset[str]
    since: datetime
    due_at: datetime | None = None
    due_what: str = ""
    act: str = ""
    act_label: str = ""
    posts: int = 0
    lately: int = 0
    spark: tuple[int, ...] = ()
    event_id: str = ""
    case_id: int | None = None
    is_mine: bool = False
    late: str = ""

    def urgency(self, now: datetime) -> tuple[int, bool, datetime, int, str]:
        """Order of the list: grave and pressing, overdue, due within the hour, new, the rest.

        Within a band mine comes first, then what is due sooner, then what is graver.
        """
        due = self.due_at
        late = due is not None and due <= now
        soon = due is not None and due - now <= q.SOON
        if self.level >= Level.MAJOR and soon:
            band = 0
        elif late:
            band = 1
        elif soon:
            band = 2
        elif "new" in self.groups:
            band = 3
        else:
            band = 4
        return band, not self.is_mine, due or self.since, -int(self.level), self.key


@dataclass(frozen=True, slots=True)
class Board:
    """Rows in the order of who must act next, and the counters that filter them."""

    items: tuple[ActionItem, ...]
    counters: dict[str, int] = field(default_factory=dict)
    last_claim: tuple[datetime, str] | None = None

    def only(self, group: str) -> tuple[ActionItem, ...]:
        """The rows of one counter; all of them for an empty group."""
        return tuple(i for i in self.items if not group or group in i.groups)


def board(conn: Connection, now: datetime, actor: Actor) -> Board:
    """Everything this person should see on 总览, most pressing first."""
    clocks = _clocks(conn)
    desk = actor.role in (Role.DUTY, Role.LEADER)
    items: list[ActionItem] = []
    if desk:
        items += _alerts(conn, now, actor, clocks)
        items += _cases(conn, now, actor, clocks)
    items += _assignments(conn, now, actor, clocks)
    items += _steps(conn, now, actor, clocks)
    items.sort(key=lambda i: i.urgency(now))
    counters = {name: sum(name in i.groups for i in items) for name in COUNTERS}
    counters["help"] = _number(conn, t.help_calls, HelpState.NEW.value) if desk else 0
    if desk:
        counters["new"] = _number(conn, t.alerts, AlertState.NEW.value)
    last = conn.execute(
        select(t.alerts.c.claimed_at, t.alerts.c.claimed_by)
        .where(t.alerts.c.claimed_at.is_not(None))
        .order_by(t.alerts.c.claimed_at.desc())
        .limit(1)
    ).first()
    return Board(tuple(items), counters, (last[0], last[1]) if last else None)


def _number(conn: Connection, table: Any, state: str) -> int:
    return q.count(conn, select(func.count()).select_from(table).where(table.c.state == state))


Clocks = dict[tuple[str, str], list[dict[str, Any]]]


def _clocks(conn: Connection) -> Clocks:
    """Running clocks by what they belong to, soonest first; a case also gets those of its parts."""
    c = t.clocks.c
    running: Clocks = defaultdict(list)
    query = (
        select(c.owner, c.owner_id, c.case_id, c.name, c.label, c.due_at)
        .where(c.met_at.is_(None), c.cancelled_at.is_(None))
        .order_by(c.due_at)
    )
    for row in q.rows(conn, query):
        running[row["owner"], row["owner_id"]].append(row)
    return running


def _next(clocks: Clocks, owner: str, owner_id: Any) -> tuple[datetime | None, str]:
    found = clocks.get((owner, str(owner_id)))
    return (found[0]["due_at"], found[0]["label"]) if found else (None, "")


def _pressing(due: datetime | None, now: datetime) -> set[str]:
    if due is None:
        return set()
    if due <= now:
        return {"overdue"}
    return {"soon"} if due - now <= q.SOON else set()


def _alerts(conn: Connection, now: datetime, actor: Actor, clocks: Clocks) -> list[ActionItem]:
    a = t.alerts.c
    query = (
        select(t.alerts, t.events.c.posts, t.events.c.title.label("event_title"))
        .join(t.events, t.events.c.id == a.event_id, isouter=True)
        .where(
            a.state.in_((AlertState.NEW.value, AlertState.CLAIMED.value, AlertState.CALMED.value))
        )
        .where(a.case_id.is_(None))
        .order_by(a.level.desc(), a.last_at.desc())
        .limit(MOST)
    )
    found = q.rows(conn, query)
    events = [r["event_id"] for r in found if r["event_id"]]
    spark = q.sparks(conn, events, now)
    late = q.lately(conn, events, now)
    items = []
    for r in found:
        state = AlertState(r["state"])
        mine = state is AlertState.CLAIMED and r["claimed_by"] == actor.name
        due, what = _next(clocks, "alert", r["fingerprint"])
        if state is AlertState.CLAIMED:
            who = f"{r['claimed_by']} 已认领"
            since = r["claimed_at"] or r["fired_at"]
        else:
            who = "未认领" if state is AlertState.NEW else state.label
            since = r["fired_at"]
        groups = _pressing(due, now)
        groups |= {"new"} if state is AlertState.NEW else set()
        groups |= {"mine"} if mine else set()
        act = ("claim", "认领") if state is not AlertState.CLAIMED else ("open_case", "立单")
        if state is AlertState.CLAIMED and not mine:
            act = ("", "")
        items.append(
            ActionItem(
                key=f"alert:{r['fingerprint']}",
                ref=r["fingerprint"],
                level=Level(r["level"]),
                kind=EVENT_KIND_NAMES.get(r["kind"], r["kind"]),
                title=r["event_title"] or r["title"],
                place=r["place_name"],
                why=r["sentence"],
                who=who,
                state=state.label,
                groups=frozenset(groups),
                since=since,
                due_at=due,
                due_what=what,
                act=act[0],
                act_label=act[1],
                posts=r["posts"] or 0,
                lately=late.get(r["event_id"], 0),
                spark=tuple(spark.get(r["event_id"], ())),
                event_id=r["event_id"],
                is_mine=mine,
                late=lateness(r["fired_at"], r["recorded_at"]),
            )
        )
    return items


_CASE_STEP = {
    CaseStatus.TRIAGE: "待研判：定等级、写理由",
    CaseStatus.ASSESSED: "待分办",
    CaseStatus.HANDLING: "处置中：反馈、起草、审签、发布",
    CaseStatus.RESPONDED: "已回应：转入观察",
    CaseStatus.WATCHING: "观察中：平息后办结",
}


def _cases(conn: Connection, now: datetime, actor: Actor, clocks: Clocks) -> list[ActionItem]:
    c = t.cases.c
    query = (
        select(t.cases, t.events.c.posts, t.events.c.kind, t.events.c.place_name)
        .join(t.events, t.events.c.id == c.event_id, isouter=True)
        .where(c.status.in_(q.OPEN_CASE_VALUES))
        .order_by(c.level.desc(), c.opened_at.desc())
        .limit(MOST)
    )
    found = q.rows(conn, query)
    events = [r["event_id"] for r in found if r["event_id"]]
    spark, late = q.sparks(conn, events, now), q.lately(conn, events, now)
    items = []
    for r in found:
        status = CaseStatus(r["status"])
        mine = r["owner"] == actor.name
        due, what = _next(clocks, "case", r["id"])
        items.append(
            ActionItem(
                key=f"case:{r['id']}",
                ref=str(r["id"]),
                level=Level(r["level"]),
                kind=EVENT_KIND_NAMES.get(r["kind"] or "", "处置单"),
                title=r["title"],
                place=r["place_name"] or "",
                why=f"{r['number']} · {_CASE_STEP[status]}",
                who=f"{r['owner']} 承办" if not mine else "我承办",
                state=status.label,
                groups=frozenset(_pressing(due, now) | ({"mine"} if mine else set())),
                since=r["opened_at"],
                due_at=due,
                due_what=what,
                act="open",
                act_label="办理",
                posts=r["posts"] or 0,
                lately=late.get(r["event_id"], 0),
                spark=tuple(spark.get(r["event_id"], ())),
                event_id=r["event_id"],
                case_id=r["id"],
                is_mine=mine,
            )
        )
    return items


def _assignments(conn: Connection, now: datetime, actor: Actor, clocks: Clocks) -> list[ActionItem]:
    """For an office: what it was given. For the desk: what came back and waits for a decision."""
    a = t.assignments.c
    waiting: Sequence[str]
    if actor.role is Role.OFFICE:
        waiting = (
            AssignmentState.SENT.value,
            AssignmentState.RECEIVED.value,
            AssignmentState.RETURNED.value,
        )
    elif actor.role in (Role.DUTY, Role.LEADER):
        waiting = (AssignmentState.REPLIED.value, AssignmentState.HANDED_BACK.value)
    else:
        return []
    query = (
        select(t.assignments, t.cases.c.title, t.cases.c.number, t.cases.c.level, t.cases.c.owner)
        .join(t.cases, t.cases.c.id == a.case_id)
        .where(a.state.in_(waiting), t.cases.c.status.in_(q.OPEN_CASE_VALUES))
        .limit(MOST)
    )
    if actor.role is Role.OFFICE:
        query = query.where(a.office == actor.office)
    items = []
    for r in q.rows(conn, query):
        state = AssignmentState(r["state"])
        due, what = _next(clocks, "assignment", r["id"])
        mine = actor.role is Role.OFFICE or r["owner"] == actor.name
        quick = state is AssignmentState.SENT and actor.role is Role.OFFICE
        items.append(
            ActionItem(
                key=f"assignment:{r['id']}",
                ref=str(r["id"]),
                level=Level(r["level"]),
                kind="分办",
                title=r["title"],
                place=r["office"],
                why=f"{r['number']} · {r['task']}",
                who=f"{r['office']} {state.label}",
                state=state.label,
                groups=frozenset(
                    _pressing(due, now)
                    | ({"mine"} if mine else set())
                    | ({"new"} if quick else set())
                ),
                since=r["sent_at"],
                due_at=due or r["due_at"],
                due_what=what or "办结时限",
                act="receive" if quick else "open",
                act_label="签收" if quick else "办理",
                case_id=r["case_id"],
                is_mine=mine,
            )
        )
    return items


def _steps(conn: Connection, now: datetime, actor: Actor, clocks: Clocks) -> list[ActionItem]:
    """Drafts that wait for a check, a secrecy review, a signature or the release."""
    c = t.clarifications.c
    waiting = [
        ClarificationStatus.CHECK.value,
        ClarificationStatus.SECRECY.value,
        ClarificationStatus.SIGN.value,
        ClarificationStatus.SIGNED.value,
    ]
    query = (
        select(t.clarifications, t.cases.c.number, t.cases.c.level)
        .join(t.cases, t.cases.c.id == c.case_id)
        .where(c.status.in_(waiting))
        .limit(MOST)
    )
    if actor.role is Role.OFFICE:
        query = query.where(c.author_id == actor.user_id)
    items = []
    for r in q.rows(conn, query):
        status = ClarificationStatus(r["status"])
        role = _STEP_ROLE.get(status)
        mine = actor.role is role and r["author_id"] != actor.user_id
        if role is None:  # signed: the desk or the signer releases it
            mine = actor.role in (Role.DUTY, Role.LEADER, Role.SIGNER)
        due, what = _next(clocks, "step", r["id"])
        verb = Step(status.value).label if role is not None else "发布"
        items.append(
            ActionItem(
                key=f"step:{r['id']}",
                ref=str(r["id"]),
                level=Level(r["level"]),
                kind="澄清稿",
                title=r["title"],
                place="",
                why=f"{r['number']} · {r['author']} 起草 · 结论 {r['verdict']}"
                + (" · 应急先签" if r["emergency"] else ""),
                who=f"待{verb}",
                state=status.label,
                groups=frozenset(_pressing(due, now) | {"sign"} | ({"mine"} if mine else set())),
                since=r["updated_at"],
                due_at=due,
                due_what=what,
                act="open",
                act_label=verb if mine else "查看",
                case_id=r["case_id"],
                is_mine=mine,
            )
        )
    return items


def help_lane(conn: Connection, *, limit: int = 8) -> list[dict[str, Any]]:
    """Help calls that nobody has passed on, oldest first."""
    h = t.help_calls.c
    query = (
        select(t.help_calls).where(h.state == HelpState.NEW.value).order_by(h.seen_at).limit(limit)
    )
    return q.rows(conn, query)


def volume(conn: Connection, now: datetime, *, hours: int = 24) -> list[dict[str, Any]]:
    """Posts per hour and sentiment over all events, oldest first: ``{start, label, posts}``."""
    since = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)
    buckets: dict[tuple[datetime, str], int] = defaultdict(int)
    b = t.event_buckets.c
    query = select(b.start, func.sum(b.neg), func.sum(b.neu), func.sum(b.pos)).where(
        b.start >= since
    )
    for start, neg, neu, pos in conn.execute(query.group_by(b.start)):
        hour = start.replace(minute=0)
        for label, n in (("neg", neg), ("neu", neu), ("pos", pos)):
            buckets[hour, label] += int(n or 0)
    return [
        {"start": start, "label": label, "posts": n}
        for (start, label), n in sorted(buckets.items())
    ]


def county_counts(
    conn: Connection, now: datetime, city: str, *, hours: int = 3
) -> dict[str, tuple[int, int]]:
    """County code -> posts in the last hours and in the same span before. ``city``: 4 digits."""
    p = t.event_posts.c
    since, middle = now - timedelta(hours=2 * hours), now - timedelta(hours=hours)
    county = func.substr(p.adcode, 1, 6)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for index, (start, end) in enumerate(((middle, now), (since, middle))):
        query = (
            select(county, func.count())
            .where(p.at > start, p.at <= end, p.adcode.startswith(city))
            .group_by(county)
        )
        for code, n in conn.execute(query):
            counts[code][index] += n
    return {code: (n[0], n[1]) for code, n in counts.items()}


def kinds(conn: Connection, now: datetime, *, hours: int = 24) -> list[tuple[str, int]]:
    """Posts per kind of event in the last hours, most first."""
    p = t.event_posts.c
    query = (
        select(t.events.c.kind, func.count())
        .join(t.events, t.events.c.id == p.event_id)
        .where(p.at > now - timedelta(hours=hours))
        .group_by(t.events.c.kind)
    )
    found = [(EVENT_KIND_NAMES.get(k, k), n) for k, n in conn.execute(query)]
    return sorted(found, key=lambda kn: -kn[1])
