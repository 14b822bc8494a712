"""Events become alerts: joined, inhibited, silenced, routed; warnings and their processes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import insert, select, update

from nlp.types import Place
from pipeline.bus.base import decode_envelope
from pipeline.bus.schemas import load_schema
from pipeline.domain.post import Counts
from pipeline.domain.routing import load_routes
from pipeline.domain.rules import Rules
from pipeline.domain.warning import OfficialWarning
from pipeline.stages.alert import calm, source_blind
from pipeline.stages.warnings import close_expired, open_process, store_warnings, warnings_in_force
from pipeline.store import tables as t
from pipeline.store.sql import Store
from tests.flow.annotated import START, night, post
from tests.flow.test_detect import DEFAULTS, make_detector, make_store

DAM = (Place("450108", "大王滩水库", 0, 5, level="reservoir"),)
RUMOUR: dict[str, Any] = {"rumour": "unverified", "hazards": ("flood",), "places": DAM}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = make_store(tmp_path / "desk.db")
    yield made
    made.close()


def rows(store: Store, table: Any) -> list[Any]:
    with store.read() as conn:
        order = table.c.fired_at if table is t.alerts else next(iter(table.primary_key.columns))
        return list(conn.execute(select(table).order_by(order)).all())


def spread(store: Store, count: int, *, start: float = 0.0, first: int = 1, **more: Any) -> None:
    """``count`` accounts tell the dam rumour, one a minute."""
    detector = make_detector(store)
    detector.handle(
        [
            post(first + n, f"第{n}个说法：大王滩水库今晚{n}点泄洪", start + n, **(RUMOUR | more))
            for n in range(count)
        ]
    )


def warning(
    number: int, action: Any = "issued", minutes: float = 0.0, **more: Any
) -> OfficialWarning:
    values: dict[str, Any] = {
        "id": f"W{number}",
        "hazard": "rain",
        "type_name": "暴雨",
        "type_code": "11B03",
        "colour": "orange",
        "action": action,
        "station": "南宁市气象台",
        "adcode": "450100",
        "area": "南宁市",
        "issued_at": START + timedelta(minutes=minutes),
    }
    return OfficialWarning(**(values | more))


def test_a_rumour_sounds_with_all_an_office_needs(store: Store) -> None:
    with store.begin(START) as tx:
        store_warnings(tx, [warning(1, minutes=-60)])
    spread(store, 1)
    (alert,) = rows(store, t.alerts)
    assert (alert.rule, alert.rung, alert.state) == ("rumour", "early", "new")
    assert (alert.lead_office, alert.helper_offices) == ("气象台", ["办公室", "业务科"])
    assert alert.links[0]["url"] == "https://example.org/p/1"
    assert alert.warning_texts == ["南宁市气象台暴雨橙色预警（10-18 17:00发布）"]
    assert "1 小时内反馈" in alert.asked
    told = rows(store, t.deliveries)
    assert [d.receiver for d in told] == ["值班台", "气象台"]
    for part in ("为何现在：", "地点：大王滩水库", "例1：", "在效预警：南宁市气象台", "请气象台："):
        assert part in told[0].body
    assert told[0].title.startswith("【一般·谣言】网传：")
    (kept,) = rows(store, t.evidence)
    assert (kept.fingerprint, kept.url) == (alert.fingerprint, "https://example.org/p/1")


def test_messages_on_the_topic_alerts_keep_the_contract(store: Store) -> None:
    make_detector(store).handle(night(7, 400))
    check = Draft202012Validator(load_schema("alert/1"))
    Draft202012Validator.check_schema(check.schema)
    sent = [m for m in rows(store, t.outbox) if m.topic == "alerts"]
    assert len(sent) > 10
    for message in sent:
        envelope = decode_envelope(message.value)
        assert envelope.schema == "alert/1"
        body = json.loads(bytes(envelope.body))
        assert body["fingerprint"] == message.key
        assert list(check.iter_errors(body)) == []


def test_the_desk_sees_one_line_per_matter(store: Store) -> None:
    spread(store, 60)
    alerts = rows(store, t.alerts)
    live = [a for a in alerts if a.state == "new"]
    assert len(alerts) >= 4
    assert len(live) == 1
    assert live[0].level == 3  # dam, and told by more than a few
    assert "次" in live[0].sentence
    assert {a.state for a in alerts} == {"new", "suppressed"}
    assert all(a.state_reason for a in alerts if a.state == "suppressed")


def open_case(store: Store, event_id: str, level: int, status: str = "handling") -> None:
    with store.begin(START) as tx:
        tx.conn.execute(
            insert(t.cases),
            {
                "number": "南气舆〔2026〕0001号", "event_id": event_id, "title": "x",
                "level": level, "status": status, "owner": "张三", "lead_office": "气象台",
                "helper_offices": [], "copy_offices": [], "frozen_rules": {}, "opened_at": START,
            },
        )  # fmt: skip


@pytest.mark.parametrize(("level", "told"), [(3, []), (2, ["张三"])])
def test_an_open_case_speaks_already(store: Store, level: int, told: list[str]) -> None:
    spread(store, 4)
    (event,) = rows(store, t.events)
    open_case(store, event.id, level)
    before = {d.id for d in rows(store, t.deliveries)}
    spread(store, 12, start=5, first=50)
    new = [a for a in rows(store, t.alerts) if a.case_id]
    assert new
    assert {a.state for a in new} == {"suppressed"}
    assert {a.state_reason for a in new} == {"已有处置单 南气舆〔2026〕0001号"}
    more = [d for d in rows(store, t.deliveries) if d.id not in before]
    assert sorted({d.receiver for d in more}) == told  # only the owner, only of a graver level


def test_a_closed_case_does_not_mute(store: Store) -> None:
    spread(store, 1)
    (event,) = rows(store, t.events)
    open_case(store, event.id, 3, status="closed")
    spread(store, 6, start=2, first=50)
    assert [a.state for a in rows(store, t.alerts) if a.level == 3] == ["new"]


def test_a_silence_says_who_why_and_until(store: Store) -> None:
    with store.begin(START) as tx:
        tx.conn.execute(
            insert(t.silences),
            {
                "matchers": {"kind": "rumour", "adcode": "450100"}, "owner": "李四",
                "reason": "水利局正在发布", "starts_at": START,
                "ends_at": START + timedelta(hours=2),
            },
        )  # fmt: skip
    spread(store, 1)
    (alert,) = rows(store, t.alerts)
    assert alert.state == "suppressed"
    assert alert.state_reason == "李四静默至 10-18 20:00：水利局正在发布"
    assert rows(store, t.deliveries) == []


def test_a_claim_keeps_the_matter_with_its_owner_until_it_grows_graver(store: Store) -> None:
    spread(store, 2)
    with store.begin(START) as tx:
        tx.conn.execute(
            update(t.alerts).values(state="claimed", claimed_by="王五", level=3, version=2)
        )
    spread(store, 20, start=5, first=50)
    first, *others = rows(store, t.alerts)
    assert first.state == "claimed"
    assert first.version == 2  # figures may move under a person's hands, their lock may not
    assert "次" in first.sentence
    assert {a.state for a in others} == {"suppressed"}
    assert "王五" in others[0].state_reason


def talk(first: int, count: int, minutes: float) -> list[Any]:
    return [post(first + n, f"雨好大{n}", minutes + n * 0.2, sketch=False) for n in range(count)]


@pytest.mark.parametrize("announced", [False, True])
def test_talk_about_the_rain_we_announced_is_inhibited(store: Store, announced: bool) -> None:
    with store.begin(START) as tx:
        if announced:
            store_warnings(tx, [warning(1, minutes=-30)])
    make_detector(store).handle(talk(1, 60, 0))
    (event,) = rows(store, t.events)
    assert (event.kind, event.hazard) == ("talk", "rain")
    assert bool(event.process_id) is announced
    alerts = rows(store, t.alerts)
    assert alerts[0].rule == "talk_burst"
    assert {a.state for a in alerts[:1]} == {"suppressed" if announced else "new"}
    assert bool(rows(store, t.deliveries)) is not announced


def test_a_place_used_to_talk_does_not_burst(store: Store) -> None:
    detector = make_detector(store)
    for day in range(5):
        for _ in range(2):  # the same posts twice: each counts once
            detector.handle(talk(1000 * day, 40, 1440 * day))
    usual = [b for b in rows(store, t.baselines) if b.kind == "talk:rain"]
    assert sum(b.today for b in usual) <= 40
    assert max(b.mean for b in usual) > 15
    fired = [a for a in rows(store, t.alerts) if a.rule == "talk_burst"]
    assert len(fired) <= 2  # at first a surprise; once it is usual, none


def test_old_posts_are_recorded_and_not_sounded(store: Store) -> None:
    spread(store, 5, delay_s=7 * 3600)
    alerts = rows(store, t.alerts)
    assert alerts
    assert {a.state for a in alerts} == {"backfill"}
    assert rows(store, t.deliveries) == []


def test_a_help_call_goes_into_its_lane_and_the_vault(store: Store) -> None:
    sealed = base64.urlsafe_b64encode(b"\x01sealed").decode()
    road = (Place("450103", "葛村路", 0, 3, level="road"),)
    text = "求救！葛村路有老人被困二楼，电话138****12**，快来人"
    make_detector(store).handle(
        [
            post(1, text, 0, kind="help", urgency=3, places=road, help_p=0.9),
            post(2, text + "！", 1, kind="help", urgency=3, places=road, sealed_contact=sealed),
            post(3, "转发", 2, repost_of=post(1, "").post.id, sketch=False, sealed_contact=sealed),
        ]
    )
    (call,) = rows(store, t.help_calls)
    assert (call.state, call.copies, call.place_name) == ("new", 2, "葛村路")
    (kept,) = rows(store, t.vault)
    assert (kept.help_call_id, kept.ciphertext) == (call.id, b"\x01sealed")
    (alert,) = rows(store, t.alerts)
    assert (alert.rule, alert.lead_office) == ("help_call", "值班台")
    assert {d.not_before for d in rows(store, t.deliveries)} == {alert.recorded_at}  # no waiting


def test_counts_that_grow_later_fire_the_reference_number(store: Store) -> None:
    detector = make_detector(store)
    first = post(1, "网传青秀山上的观音塔被雷劈成两半了", 0, rumour="unverified", places=())
    detector.handle([first])
    assert rows(store, t.alerts) == []
    again = post(
        1, first.post.text, 0, rumour="unverified", places=(), counts=Counts(600, 0, 0, 0),
        fetched_at=START + timedelta(hours=2), counted_at=START + timedelta(hours=2),
    )  # fmt: skip
    detector.handle([again])
    assert {a.rung for a in rows(store, t.alerts)} == {"r500", "anchor"}
    heat = {b.start: b.heat for b in rows(store, t.event_buckets)}
    assert heat == {START: 1.0, START + timedelta(hours=2): 600.0}


def test_calm_leaves_help_and_people_alone(store: Store) -> None:
    spread(store, 1)
    make_detector(store).handle([post(99, "救命！水进屋了，老人出不来", 0, kind="help")])
    with store.begin(START + timedelta(minutes=119)) as tx:
        assert calm(tx, Rules()) == 0
    with store.begin(START + timedelta(minutes=121)) as tx:
        assert calm(tx, Rules()) == 1
    states = {a.rule: a.state for a in rows(store, t.alerts)}
    assert states == {"rumour": "calmed", "help_call": "new"}


def test_a_blind_source_is_said_once_per_blindness(store: Store) -> None:
    routes = load_routes(DEFAULTS / "routes.toml")

    def blind(minutes: float) -> str:
        now = START + timedelta(minutes=minutes)
        with store.begin(now) as tx:
            return source_blind(tx, "某论坛", "连续三次超时", now, rules=Rules(), routes=routes)

    health = {"source": "某论坛", "spider": "site", "state": "failing", "last_success_at": START}
    with store.begin(START) as tx:
        tx.conn.execute(insert(t.source_health), health)
    assert blind(10) == blind(20)
    (alert,) = rows(store, t.alerts)
    assert (alert.lead_office, alert.state) == ("业务科", "new")
    assert "上次成功 10-18 18:00" in alert.sentence
    with store.begin(START) as tx:
        tx.conn.execute(
            update(t.source_health).values(last_success_at=START + timedelta(minutes=30))
        )
    blind(60)
    assert len(rows(store, t.alerts)) == 2


# ---- official warnings --------------------------------------------------------------------

LIFE = [
    warning(1, colour="blue"),
    warning(2, "changed", 60, colour="orange", supersedes=("W1",)),
    warning(3, minutes=90, adcode="450103", station="青秀区气象台", area="青秀区"),
    warning(4, "lifted", 180, supersedes=("W2",)),
    warning(5, "lifted", 240, adcode="450103", station="青秀区气象台"),
]


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_the_life_of_warnings_in_any_order_and_twice(store: Store, order: tuple[int, ...]) -> None:
    with store.begin(START) as tx:
        for n in order:
            assert store_warnings(tx, [LIFE[n]]) == 1
        assert store_warnings(tx, LIFE) == 0
    with store.read() as conn:

        def force(code: str, minutes: float) -> list[str]:
            at = START + timedelta(minutes=minutes)
            return sorted(w["id"] for w in warnings_in_force(conn, code, at))

        assert force("450108", 30) == ["W1"]
        assert force("450108", 100) == ["W2"]
        assert force("450103", 100) == ["W2", "W3"]
        assert force("450100", 100) == ["W2", "W3"]
        assert force("450108", 181) == []
        assert force("450103", 200) == ["W3"]
        assert force("450200", 100) == []
        assert force("450103", 241) == []
    ended = {w.id: w.superseded_by for w in rows(store, t.warnings) if w.lifted_at}
    assert ended == {"W1": "W2", "W2": "W4", "W3": "W5"}


def test_a_process_opens_with_the_first_and_closes_with_the_last(store: Store) -> None:
    with store.begin(START) as tx:
        store_warnings(tx, LIFE[:4])
    with store.read() as conn:
        assert open_process(conn, "rain", "450100", START + timedelta(minutes=200)) is not None
    with store.begin(START) as tx:
        store_warnings(tx, LIFE[4:])
    (process,) = rows(store, t.processes)
    assert (process.opened_at, process.closed_at) == (START, START + timedelta(minutes=240))
    with store.begin(START) as tx:
        store_warnings(tx, [warning(6, minutes=600, expires_at=START + timedelta(minutes=700))])
    with store.begin(START + timedelta(minutes=699)) as tx:
        assert close_expired(tx) == 0
    with store.begin(START + timedelta(minutes=701)) as tx:
        assert close_expired(tx) == 1
    assert [bool(p.closed_at) for p in rows(store, t.processes)] == [True, True]


def test_a_clarification_that_cites_a_changed_warning_asks_for_review(store: Store) -> None:
    with store.begin(START) as tx:
        store_warnings(tx, LIFE[:1])
        open_case_id = 1
        tx.conn.execute(
            insert(t.evidence),
            {
                "id": 7, "case_id": open_case_id, "kind": "warning", "ref": "W1", "text": "x",
                "sha256": "", "captured_at": START, "captured_by": "张三",
            },
        )  # fmt: skip
    open_case(store, "E-1", 2)
    draft = {
        "case_id": 1, "title": "x", "claim": "x", "verdict": "失实", "channels": [],
        "status": "released", "author": "张三", "author_id": 1, "created_at": START,
        "updated_at": START,
    }  # fmt: skip
    with store.begin(START) as tx:
        drafts = [{**draft, "evidence": [number]} for number in (7, 8)]
        tx.conn.execute(insert(t.clarifications), drafts)
        store_warnings(tx, LIFE[1:2])
    one, other = rows(store, t.clarifications)
    assert one.needs_review == "所引用的暴雨预警已变更，请复核"
    assert other.needs_review == ""
