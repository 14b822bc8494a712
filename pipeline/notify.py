"""Tell receivers: take waiting deliveries, group them, send, record every attempt.

A delivery names *who* hears (an office, a role, a person); ``channels.toml`` says by which
channels. One row per who and channel. A crash between sending and recording repeats a notice and
never loses one. Meanings are Alertmanager's: ``group_wait`` is in the delivery's ``not_before``,
``group_interval`` holds back further notices about one event, ``repeat_interval`` reminds of an
alert that nobody has claimed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, bindparam, func, insert, select, update

from pipeline.channels import ChannelFailed, Notice
from pipeline.domain.alert import AlertState
from pipeline.domain.rules import GroupingRule
from pipeline.receivers import Receivers
from pipeline.store import tables as t
from pipeline.store.sql import Store, Tx

log = structlog.get_logger("notify")

TRIES = 6
FIRST_RETRY = timedelta(seconds=30)
AGAIN = "再次提醒："
_MUTE = (
    AlertState.SUPPRESSED,
    AlertState.SHELVED,
    AlertState.CLOSED,
    AlertState.CALMED,
    AlertState.BACKFILL,
)


@dataclass(frozen=True, slots=True)
class _Group:
    """Deliveries that go out as one message; the first leads."""

    rows: tuple[dict[str, Any], ...]

    @property
    def lead(self) -> dict[str, Any]:
        return self.rows[0]


class Notifier:
    """Sends what is due. One per desk.db; it sleeps on nothing and may be called often.

    ``public_url``: where officers open the desk, for the link to the receipt page.
    """

    def __init__(
        self,
        store: Store,
        receivers: Receivers,
        *,
        public_url: str = "",
        grouping: GroupingRule | None = None,
    ) -> None:
        self._store = store
        self._receivers = receivers
        self._url = public_url.rstrip("/")
        self._grouping = grouping or GroupingRule()

    def send_due(self, now: datetime) -> int:
        """Send every group that is due; returns how many messages went out."""
        with self._store.read() as conn:
            if not _anything(conn, now, self._grouping):
                return 0
        with self._store.begin(now) as tx:
            self._remind(tx)
            self._assign(tx)
            self._cancel(tx)
        with self._store.read() as conn:
            groups = self._groups(conn, now)
        sent = 0
        for group in self._digested(groups):
            sent += self._send(group, now)
        return sent

    # ---- choosing ---------------------------------------------------------------------

    def _remind(self, tx: Tx) -> None:
        """Say an unclaimed alert again when its last telling is ``repeat_interval`` old."""
        d = t.deliveries
        for name, receiver, count, first in _forgotten(tx.conn, tx.now, self._grouping):
            row = tx.conn.execute(select(d).where(d.c.id == first)).mappings().one()
            title = row["title"].removeprefix(AGAIN)
            tx.conn.execute(
                insert(d),
                {
                    **{k: row[k] for k in ("fingerprint", "case_id", "receiver", "body")},
                    "title": f"{AGAIN}{title}",
                    "dedup_key": f"{name}:{receiver}:repeat:{count}"[:96],
                    "reason": "repeat",
                    "channel": "",
                    "state": "waiting",
                    "not_before": tx.now,
                    "created_at": tx.now,
                },
            )

    def _assign(self, tx: Tx) -> None:
        """Give each waiting delivery its channels: the row takes the first, copies the others."""
        d = t.deliveries
        rows = (
            tx.conn.execute(select(d).where(d.c.state == "waiting", d.c.channel == ""))
            .mappings()
            .all()
        )
        for row in rows:
            first, *others = self._receivers.of(row["receiver"])
            tx.conn.execute(update(d).where(d.c.id == row["id"]).values(channel=first.name))
            for other in others:
                copy = {k: v for k, v in row.items() if k != "id"}
                key = f"{row['dedup_key']}|{other.name}"
                if len(key) > 96:
                    key = hashlib.sha256(key.encode()).hexdigest()
                tx.conn.execute(insert(d), {**copy, "channel": other.name, "dedup_key": key})

    def _cancel(self, tx: Tx) -> None:
        """What was muted, closed or has calmed since it was queued is not said any more."""
        d, a = t.deliveries, t.alerts
        muted = select(a.c.fingerprint).where(a.c.state.in_(_MUTE))
        tx.conn.execute(
            update(d)
            .where(
                d.c.state.in_(("waiting", "failed")),
                d.c.reason.in_(("alert", "repeat")),
                d.c.fingerprint.in_(muted),
            )
            .values(state="cancelled", last_error="发送前预警已被抑制、暂挂、关闭或平息")
        )

    def _groups(self, conn: Connection, now: datetime) -> list[_Group]:
        """Groups with something due, oldest first."""
        d, a = t.deliveries, t.alerts
        rows = conn.execute(
            select(d, a.c.event_id, a.c.level, a.c.kind)
            .outerjoin(a, a.c.fingerprint == d.c.fingerprint)
            .where(d.c.state.in_(("waiting", "failed")), d.c.channel != "")
            .order_by(d.c.created_at, d.c.id)
        ).mappings()
        held: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in rows:
            held.setdefault(_group_key(row), []).append(dict(row))
        quiet = self._told_lately(conn, now)
        groups = []
        for key, members in held.items():
            due = [m for m in members if m["not_before"] <= now]
            if not due or (key in quiet and all(m["kind"] != "help" for m in due)):
                continue
            if any(m["state"] == "failed" and m["not_before"] > now for m in members):
                continue  # the channel is resting after a failure
            members.sort(key=lambda m: (-(m["level"] or 0), -m["id"]))
            groups.append(_Group(tuple(members)))
        return groups

    def _told_lately(self, conn: Connection, now: datetime) -> set[tuple[str, ...]]:
        d, a = t.deliveries, t.alerts
        since = now - timedelta(seconds=self._grouping.group_interval_s)
        rows = conn.execute(
            select(d.c.id, d.c.receiver, d.c.channel, d.c.reason, a.c.event_id)
            .join(a, a.c.fingerprint == d.c.fingerprint)
            .where(d.c.state == "sent", d.c.sent_at > since)
        ).mappings()
        return {_group_key(row) for row in rows}

    def _digested(self, groups: list[_Group]) -> list[_Group]:
        """After a stop much may be due at once: one digest per receiver, not a storm."""
        by_target: dict[tuple[str, str], list[_Group]] = {}
        for group in groups:
            by_target.setdefault((group.lead["receiver"], group.lead["channel"]), []).append(group)
        made: list[_Group] = []
        for found in by_target.values():
            calls = [g for g in found if g.lead["kind"] == "help"]
            rest = [g for g in found if g.lead["kind"] != "help"]
            made += calls  # a call for help is never one line of many
            if len(rest) > self._receivers.digest_over:
                made.append(_Group(tuple(row for g in rest for row in g.rows)))
            else:
                made += rest
        return made

    # ---- sending ----------------------------------------------------------------------

    def _send(self, group: _Group, now: datetime) -> bool:
        lead = group.lead
        receiver = self._receivers.named(lead["channel"])
        failed: ChannelFailed | None = None
        if receiver is None:
            failed = ChannelFailed("refused", "此通知渠道已从 channels.toml 删除")
        else:
            try:
                receiver.channel.send(self._notice(group, now))
            except ChannelFailed as error:
                failed = error
            except Exception as error:
                # a broken plugin must not stop the others; it is tried again like a lost network
                log.exception("a channel broke", channel=lead["channel"])
                failed = ChannelFailed("unknown", f"通知渠道内部错误（{type(error).__name__}）")
        with self._store.begin(now) as tx:
            _record(tx, group, failed)
        return failed is None

    def _notice(self, group: _Group, now: datetime) -> Notice:
        lead, rows = group.lead, group.rows
        title, body = lead["title"], lead["body"]
        events = {_group_key(row) for row in rows}
        if len(events) > 1:
            title = f"【汇总】{len(rows)} 条通知"
            body = "\n".join(f"{n}. {row['title']}" for n, row in enumerate(rows, start=1))
        elif len(rows) > 1:
            more = dict.fromkeys(_why(row["body"]) for row in rows[1:])
            body += "\n同一事件另有：" + "；".join(more)
        link = ""
        if self._url and len(events) == 1:
            if lead["case_id"]:
                link = f"{self._url}/cases?id={lead['case_id']}"
            elif lead["fingerprint"]:
                link = f"{self._url}/overview?sel=alert:{lead['fingerprint']}"
        elif self._url:
            link = self._url
        return Notice(
            receiver=lead["receiver"],
            title=title,
            body=body,
            link=link,
            at=now,
            fingerprint=lead["fingerprint"],
            case_id=lead["case_id"],
            reason=lead["reason"],
        )


def _why(body: str) -> str:
    """The first line of a notice: why it was sent."""
    return body.partition("\n")[0].removeprefix("为何现在：")


def _group_key(row: Any) -> tuple[str, ...]:
    """One message per receiver, channel and event; reminders and digests stand alone."""
    base = (row["receiver"], row["channel"])
    if row["reason"] in ("alert", "update", "repeat") and row["event_id"]:
        return (*base, "event", row["event_id"])
    return (*base, "one", str(row["id"]))


def _anything(conn: Connection, now: datetime, grouping: GroupingRule) -> bool:
    """Whether there may be something to do: the usual answer is no, and cheap."""
    d = t.deliveries.c
    waiting = select(d.id).where(d.state.in_(("waiting", "failed")), d.not_before <= now).limit(1)
    if conn.execute(waiting).first() is not None:
        return True
    return bool(_forgotten(conn, now, grouping))


def _forgotten(conn: Connection, now: datetime, grouping: GroupingRule) -> Sequence[Any]:
    """(fingerprint, receiver, tellings, first delivery) of unclaimed alerts told long ago."""
    d, a = t.deliveries.c, t.alerts.c
    before = now - timedelta(seconds=grouping.repeat_interval_s)
    return conn.execute(
        select(d.fingerprint, d.receiver, func.count(), func.min(d.id))
        .join(t.alerts, a.fingerprint == d.fingerprint)
        .where(a.state == AlertState.NEW, a.recorded_at < before)
        .where(d.reason.in_(("alert", "repeat", "update")))
        .group_by(d.fingerprint, d.receiver)
        .having(func.max(d.sent_at) < before, func.count() == func.count(d.sent_at))
    ).all()


def _record(tx: Tx, group: _Group, failed: ChannelFailed | None) -> None:
    """What became of an attempt: one row of attempts, and the new state of every member."""
    d, lead = t.deliveries, group.lead
    tx.conn.execute(
        insert(t.delivery_attempts),
        {
            "delivery_id": lead["id"],
            "at": tx.now,
            "ok": failed is None,
            "error_class": failed.failure if failed else "",
            "error": str(failed) if failed else "",
        },
    )
    ids = [row["id"] for row in group.rows]
    if failed is None:
        tx.conn.execute(
            update(d)
            .where(d.c.id.in_(ids))
            .values(state="grouped", sent_at=tx.now, last_error="", error_class="")
        )
        tx.conn.execute(
            update(d)
            .where(d.c.id == lead["id"])
            .values(state="sent", attempts=lead["attempts"] + 1)
        )
        return
    rows = []
    for row in group.rows:
        tries = row["attempts"] + 1
        over = failed.is_permanent or tries >= TRIES
        rows.append(
            {
                "b_id": row["id"],
                "b_tries": tries,
                "b_state": "given_up" if over else "failed",
                "b_next": tx.now + FIRST_RETRY * 2 ** (tries - 1),
            }
        )
    tx.conn.execute(
        update(d)
        .where(d.c.id == bindparam("b_id"))
        .values(
            attempts=bindparam("b_tries"),
            state=bindparam("b_state"),
            not_before=bindparam("b_next"),
            last_error=str(failed),
            error_class=failed.failure,
        ),
        rows,
    )
    if lead["last_error"] != str(failed):  # say it again only when it is another failure
        log.warning(
            "a notice did not get out",
            channel=lead["channel"],
            failure=failed.failure,
            attempt=lead["attempts"] + 1,
            delivery=lead["id"],
        )
