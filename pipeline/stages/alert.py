"""events -> alerts: join, inhibit, silence, route, and queue the telling.

Everything is written in the transaction that holds the event's new figures, so there is no
moment where an event has grown and its alert is missing. Alertmanager's meanings apply:
*inhibition* (an open case, somebody's claim, an announced weather process speaks already),
*silence* (a person muted matching alerts), *grouping* (``notify`` sends one message per group).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from pipeline.bus.topics import ALERTS
from pipeline.clock import BEIJING
from pipeline.desk.silences import silence_matches
from pipeline.domain.alert import AlertState, fingerprint
from pipeline.domain.event import Level
from pipeline.domain.findings import Finding
from pipeline.domain.routing import Routes
from pipeline.domain.rules import Rules
from pipeline.stages.alert_words import alert_body, headline, notice, warning_line
from pipeline.stages.help_lane import HelpCall, record_calls
from pipeline.stages.matter import hazard_group, prefecture_of
from pipeline.stages.memory import EventState, moment
from pipeline.stages.standing import Desk
from pipeline.store import tables as t
from pipeline.store.sql import Tx

DESK = "值班台"
"""The receiver that hears of every alert: whoever is on duty."""
CAPTURED_BY = "系统"


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule's statement about an event, as things stood when it became true."""

    event: EventState | None
    rule: str
    rung: str
    kind: str
    title: str
    sentence: str
    figures: dict[str, Any]
    level: Level
    hazard: str
    adcode: str
    place_name: str
    links: tuple[dict[str, Any], ...]
    fired_at: datetime
    seen_at: datetime
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, event: EventState, finding: Finding, fired_at: datetime, seen: datetime) -> Fired:
        """A finding with what the alert will show of its event."""
        return cls(
            event=event,
            rule=finding.rule,
            rung=finding.rung,
            kind=event.kind,
            title=event.title,
            sentence=finding.sentence,
            figures=finding.figures,
            level=Level(event.proposed_level),
            hazard=event.hazard,
            adcode=event.adcode,
            place_name=event.place_name,
            links=tuple(dict(link) for link in event.links),
            fired_at=fired_at,
            seen_at=seen,
            reasons=tuple(event.proposed_reasons),
        )

    @property
    def last_at(self) -> datetime:
        """When its event last grew, as far as this batch knows."""
        last = moment(self.event.last_at) if self.event is not None else self.fired_at
        return max(self.fired_at, last)

    @property
    def event_id(self) -> str:
        return self.event.id if self.event is not None else ""


class Dispatch:
    """Turns statements into alert rows, messages and deliveries."""

    def __init__(self, rules: Rules, routes: Routes, home_adcode: str, backfill: timedelta) -> None:
        self._rules = rules
        self._routes = routes
        self._home = home_adcode
        self._backfill = backfill

    def record(
        self,
        tx: Tx,
        fired: Sequence[Fired],
        calls: Sequence[HelpCall],
        grown: Iterable[EventState],
    ) -> None:
        """Write new alerts, what grew of the old ones, and the help lane."""
        grown = [event for event in grown if any(event.fired.values())]
        if fired or grown:
            ids = {one.event_id for one in fired} | {event.id for event in grown}
            times = [one.fired_at for one in fired] or [tx.now]
            desk = Desk(tx, ids - {""}, min(times), max(times))
            new = {name for one in fired if (name := self._sound(desk, one))}
            for event in grown:
                for (rule, rung), more in event.fired.items():
                    name = fingerprint(rule, event.id, rung)
                    alert = desk.alert(event.id, name)
                    if more and alert is not None and name not in new:
                        last = max(alert.last_at, moment(event.last_at))
                        desk.change(alert, times=alert.times + more, last_at=last)
            desk.write(tx)
        record_calls(tx, calls)

    def sound(self, tx: Tx, one: Fired, subject: str) -> str:
        """One alert that has no event, about ``subject``. Returns its fingerprint; the same again
        changes nothing."""
        name = fingerprint(one.rule, subject, one.rung)
        a = t.alerts.c
        if tx.conn.execute(select(a.fingerprint).where(a.fingerprint == name)).first() is None:
            desk = Desk(tx, (), one.fired_at, one.fired_at)
            self._write_up(desk, one, name)
            desk.write(tx)
        return name

    def _sound(self, desk: Desk, one: Fired) -> str:
        """Decide about a statement. Returns the new alert's fingerprint, empty when it is known."""
        name = fingerprint(one.rule, one.event_id, one.rung)
        if desk.alert(one.event_id, name) is not None:
            return ""
        self._write_up(desk, one, name)
        return name

    def _write_up(self, desk: Desk, one: Fired, name: str) -> None:
        adcode = one.adcode or self._home
        routing, asked = self._routes.choose(one.hazard, adcode, one.kind, one.level)
        warnings = [warning_line(row) for row in desk.warnings.of(adcode, one.fired_at)[:6]]
        growth = one.event.fired.get((one.rule, one.rung), 0) if one.event else 0
        row: dict[str, Any] = {
            "fingerprint": name,
            "rule": one.rule,
            "rung": one.rung,
            "event_id": one.event_id,
            "level": int(one.level),
            "kind": one.kind,
            "title": one.title,
            "sentence": one.sentence,
            "figures": {**one.figures, "reasons": list(one.reasons)},
            "hazard": one.hazard,
            "adcode": one.adcode,
            "place_name": one.place_name,
            "lead_office": routing.lead,
            "helper_offices": list(routing.helpers),
            "copy_offices": list(routing.copies),
            "links": [{k: link[k] for k in ("text", "url", "source")} for link in one.links],
            "warning_texts": warnings,
            "asked": asked,
            "fired_at": one.fired_at,
            "last_at": one.last_at,
            "recorded_at": desk.now,
            "times": 1 + growth,
            "case_id": None,
        }
        owner = self._decide(desk, one, row)
        desk.add(row)
        _keep_evidence(desk, one, name)
        desk.tell(ALERTS, key=name, body=alert_body(row, routing.rule))
        if row["state"] == AlertState.NEW:
            _supersede(desk, one, name)
            self._queue(desk, row)
        elif owner:
            _deliver(desk, row, owner, desk.now, reason="escalation")
        elif row["state_reason"].startswith("同一事件"):
            # the same people hear of it again, after the group's interval
            at = desk.now + timedelta(seconds=self._wait(row))
            _deliver(desk, row, DESK, at, reason="update")

    def _decide(self, desk: Desk, one: Fired, row: dict[str, Any]) -> str:
        """Set the alert's state and its reason. Returns a person to tell nevertheless, or empty."""
        row["state"], row["state_reason"] = AlertState.NEW.value, ""

        def suppress(reason: str) -> None:
            row["state"], row["state_reason"] = AlertState.SUPPRESSED.value, reason

        if one.fired_at < one.seen_at - self._backfill:
            row["state"] = AlertState.BACKFILL.value
            row["state_reason"] = "采集时已过时效，补录备查，不再通知"
            return ""
        held = desk.cases.get(one.event_id)
        if held is not None:
            suppress(f"已有处置单 {held.number}")
            row["case_id"] = held.id
            return str(held.owner) if one.level > held.level else ""
        for silence in desk.silences:
            if silence_matches(silence["matchers"], row):
                until = silence["ends_at"].astimezone(BEIJING).strftime("%m-%d %H:%M")
                suppress(f"{silence['owner']}静默至 {until}：{silence['reason']}")
                return ""
        if one.rule == "talk_burst":
            process = desk.processes.open(
                hazard_group(one.hazard), prefecture_of(one.adcode), one.fired_at
            )
            if process is not None:
                suppress(f"正在议论已预警的天气过程（{process['id']}）")
                return ""
        live = desk.live(one.event_id)
        if live is not None and one.level <= live.level:
            if live.state == AlertState.CLAIMED:
                suppress(f"同一事件已由{live.claimed_by}认领，最新情况已更新到该预警")
            else:
                suppress("同一事件已有未认领预警，最新情况已更新到该预警")
            desk.change(live, sentence=one.sentence, figures=row["figures"], links=row["links"])
        return ""

    def _wait(self, row: dict[str, Any]) -> float:
        return 0.0 if row["kind"] == "help" else self._rules.grouping.group_wait_s

    def _queue(self, desk: Desk, row: dict[str, Any]) -> None:
        """Deliveries for the desk and the offices; a call for help waits for nothing."""
        at = desk.now + timedelta(seconds=self._wait(row))
        receivers = dict.fromkeys((DESK, row["lead_office"]))
        if row["level"] >= Level.LARGER:
            receivers.update(dict.fromkeys(row["helper_offices"]))
        if row["level"] >= Level.MAJOR:
            receivers.update(dict.fromkeys(row["copy_offices"]))
        for receiver in receivers:
            _deliver(desk, row, receiver, at)


def _supersede(desk: Desk, one: Fired, name: str) -> None:
    """A graver alert replaces the lower ones of its event that nobody has taken: the desk sees
    one line per matter, and its clock starts anew only when the matter became graver."""
    for alert in desk.waiting(one.event_id):
        if alert.fingerprint != name:
            desk.change(
                alert,
                state=AlertState.SUPPRESSED.value,
                state_reason="已由同一事件更高等级预警接替",
            )


def _deliver(
    desk: Desk, row: dict[str, Any], receiver: str, not_before: datetime, reason: str = "alert"
) -> None:
    desk.deliver(
        {
            "dedup_key": f"{row['fingerprint']}:{receiver}:{reason}",
            "reason": reason,
            "fingerprint": row["fingerprint"],
            "case_id": row["case_id"],
            "receiver": receiver,
            "channel": "",
            "title": headline(row),
            "body": notice(row),
            "state": "waiting",
            "not_before": not_before,
            "created_at": desk.now,
        }
    )


def _keep_evidence(desk: Desk, one: Fired, name: str) -> None:
    """Copy the posts that an alert rests on, so that forgetting old posts never eats a case."""
    for link in one.links:
        desk.keep(
            {
                "fingerprint": name,
                "kind": "post",
                "ref": link["post_id"],
                "title": one.title,
                "text": link["body"],
                "url": link["url"],
                "at": datetime.fromisoformat(link["at"]),
                "sha256": hashlib.sha256(link["body"].encode()).hexdigest(),
                "captured_at": desk.now,
                "captured_by": CAPTURED_BY,
            }
        )


def calm(tx: Tx, rules: Rules) -> int:
    """Alerts that nobody took and whose event stopped growing are calmed; returns how many."""
    a = t.alerts
    before = tx.now - timedelta(minutes=rules.calm.after_minutes)
    done = tx.conn.execute(
        update(a)
        .where(
            a.c.state == AlertState.NEW,
            a.c.last_at < before,
            a.c.kind.not_in(("help", "source")),
        )
        .values(
            state=AlertState.CALMED.value,
            state_reason=f"{rules.calm.after_minutes:.0f} 分钟无新增，未曾认领",
        )
    )
    return int(done.rowcount)


def source_blind(
    tx: Tx,
    source: str,
    reason: str,
    now: datetime,
    *,
    rules: Rules,
    routes: Routes,
    home_adcode: str = "450100",
) -> str:
    """A source went blind: say so, once per blindness. Returns the alert's fingerprint.

    One blindness lasts until the source succeeds again: its last success names it.
    """
    s = t.source_health.c
    row = tx.conn.execute(select(s.last_success_at).where(s.source == source)).first()
    last = row.last_success_at if row is not None else None
    rung = last.strftime("%y%m%d%H%M%S") if last is not None else "never"
    since = f"，上次成功 {last.astimezone(BEIJING):%m-%d %H:%M}" if last else "，从未成功"
    one = Fired(
        event=None,
        rule="source_blind",
        rung=rung,
        kind="source",
        title=f"来源“{source}”失联",
        sentence=f"来源“{source}”已采不到数据（{reason}）{since}；此来源上的舆情目前看不见",
        figures={"source": source, "reason": reason},
        level=Level.GENERAL,
        hazard="",
        adcode="",
        place_name="",
        links=(),
        fired_at=now,
        seen_at=now,
    )
    # A source has no event; its name takes that place in the fingerprint.
    dispatch = Dispatch(rules, routes, home_adcode, timedelta(days=1))
    return dispatch.sound(tx, one, subject=source)
