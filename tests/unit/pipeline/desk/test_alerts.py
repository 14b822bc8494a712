"""Alerts and silences at the desk."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pipeline.desk import alerts, silences
from pipeline.errors import IllegalTransition, MissingFields, NotAllowed, NotFound
from pipeline.store import tables as t
from tests.unit.pipeline.desk.world import BGS, DUTY, DUTY2, LEADER, World


def test_a_claim_is_written_with_who_and_when_and_a_second_is_refused(world: World) -> None:
    name = world.alert()
    world.do(alerts.claim_alert, DUTY, name)
    row = world.one(t.alerts)
    assert (row["state"], row["claimed_by"], row["claimed_at"]) == ("claimed", "李值班", world.now)
    with pytest.raises(IllegalTransition, match="已由李值班于11月24日14:00认领"):
        world.do(alerts.claim_alert, DUTY2, name)


def test_an_act_is_one_audit_line_and_one_fact(world: World) -> None:
    name = world.alert()
    world.do(alerts.claim_alert, DUTY, name)
    line = world.one(t.audit)
    assert (line["act"], line["object_id"], line["actor"]) == ("claim_alert", name, "李值班")
    assert line["before"]["state"] == "new" and line["after"]["state"] == "claimed"
    assert world.one(t.outbox)["topic"] == "desk.facts"


def test_only_the_claimer_or_a_leader_gives_a_claim_back(world: World) -> None:
    name = world.alert()
    world.do(alerts.claim_alert, DUTY, name)
    with pytest.raises(NotAllowed, match="李值班"):
        world.do(alerts.release_claim, DUTY2, name)
    world.do(alerts.release_claim, LEADER, name)
    assert world.one(t.alerts)["state"] == "new"


def test_duty_shelves_four_hours_at_most_a_leader_longer(world: World) -> None:
    name = world.alert()
    with pytest.raises(NotAllowed, match="4 小时"):
        world.do(alerts.shelve_alert, DUTY, name, world.now + timedelta(hours=5), "等水利回复")
    with pytest.raises(NotAllowed, match="晚于现在"):
        world.do(alerts.shelve_alert, DUTY, name, world.now, "等水利回复")
    world.do(alerts.shelve_alert, LEADER, name, world.now + timedelta(hours=5), "等水利回复")
    assert world.one(t.alerts)["shelved_until"] == world.now + timedelta(hours=5)


def test_closing_needs_a_reason_and_keeps_the_judgement(world: World) -> None:
    name = world.alert()
    with pytest.raises(MissingFields) as caught:
        world.do(alerts.close_alert, DUTY, name, " ", True)
    assert set(caught.value.fields) == {"reason"}
    world.do(alerts.close_alert, DUTY, name, "玩梗，无实质内容", False)
    assert world.one(t.alerts)["useful"] is False
    world.do(alerts.reopen_alert, DUTY, name, "又有新帖")
    assert world.one(t.alerts)["state"] == "new"


def test_offices_do_not_touch_alerts_and_unknown_ones_are_named(world: World) -> None:
    name = world.alert()
    with pytest.raises(NotAllowed, match="值班员"):
        world.do(alerts.claim_alert, BGS, name)
    with pytest.raises(NotFound, match="nope"):
        world.do(alerts.claim_alert, DUTY, "nope")


# ---- silences ---------------------------------------------------------------------------


def test_a_preview_shows_what_would_fall_silent(world: World) -> None:
    world.alert("a1", adcode="450108")
    world.alert("a2", adcode="450200")
    world.alert("a3", adcode="450108", state="claimed")
    with world.store.read() as conn:
        assert [r["fingerprint"] for r in silences.preview_silence(conn, {"adcode": "450100"})] == [
            "a1"
        ]


@pytest.mark.parametrize(
    ("matchers", "fits"),
    [
        ({"rule": "rumour"}, True),
        ({"rule": "burst"}, False),
        ({"adcode": "450000"}, True),
        ({"adcode": "450109"}, False),
        ({"kind": "rumour", "max_level": 3}, True),
        ({"kind": "rumour", "max_level": 2}, False),
        ({}, False),
    ],
)
def test_matchers_fit_together_or_not_at_all(matchers: dict[str, object], fits: bool) -> None:
    alert = {"rule": "rumour", "kind": "rumour", "adcode": "450108", "level": 3}
    assert silences.silence_matches(matchers, alert) is fits


def test_a_silence_has_an_owner_a_reason_and_an_end(world: World) -> None:
    end = world.now + timedelta(hours=3)
    number = world.do(silences.add_silence, DUTY, {"rule": "talk_burst"}, "已发布预警", end)
    row = world.one(t.silences)
    assert (row["id"], row["owner"], row["ends_at"]) == (number, "李值班", end)
    world.do(silences.end_silence, DUTY2, number)
    assert world.one(t.silences)["ends_at"] == world.now
    with pytest.raises(IllegalTransition):
        world.do(silences.end_silence, DUTY, number)


def test_nothing_can_mute_everything(world: World) -> None:
    end = world.now + timedelta(hours=1)
    with pytest.raises(MissingFields, match="不能静默全部"):
        world.do(silences.add_silence, LEADER, {"rule": ""}, "太吵", end)
    with pytest.raises(MissingFields, match="colour"):
        world.do(silences.add_silence, LEADER, {"colour": "red"}, "太吵", end)
    with pytest.raises(NotAllowed, match="4 小时"):
        world.do(
            silences.add_silence, DUTY, {"rule": "x"}, "太吵", world.now + timedelta(hours=4.1)
        )
