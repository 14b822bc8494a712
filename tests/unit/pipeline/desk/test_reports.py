"""Upward reports, claims, corrected labels, hand-over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nlp.claims import KnownClaim
from pipeline.desk import alerts, cases, claims, handover, labels, reports
from pipeline.errors import DeskError, IllegalTransition, MissingFields, NotAllowed, Stale
from pipeline.store import tables as t
from tests.unit.pipeline.desk.world import CHECKER, DUTY, DUTY2, LEADER, QXT, World


def test_a_report_is_written_from_the_case(world: World) -> None:
    world.event()
    case_id = world.case(event_id="E-1", title=None)
    number = world.do(reports.draft_report, DUTY, case_id, "初报", "市政府")
    text = world.one(t.upward_reports, id=number)["text"]
    for part in ("接报时间：2026年11月24日14时00分", "weibo（37条）", "良庆区", "重大", "37条"):
        assert part in text
    assert "{" not in text


def test_telephone_then_writing_stop_their_clocks(world: World) -> None:
    case_id = world.case()
    number = world.do(reports.draft_report, DUTY, case_id, "初报", "广西气象局")
    with pytest.raises(MissingFields, match="不能晚于现在"):
        world.do(reports.record_phone, DUTY, number, "总值班室", world.now + timedelta(minutes=1))
    world.wait(minutes=10)
    world.do(reports.record_phone, DUTY, number, "总值班室", world.now - timedelta(minutes=2))
    assert world.one(t.clocks, name="report_phone:广西气象局")["met_at"] == world.now
    assert world.one(t.clocks, name="report_phone:市政府")["met_at"] is None
    with pytest.raises(IllegalTransition, match="签发"):
        world.do(reports.send_report, DUTY, number)
    with pytest.raises(MissingFields, match="待补充"):
        world.do(reports.sign_report, LEADER, number)
    version = world.do(reports.save_report, DUTY, number, 2, "补齐的正文")
    with pytest.raises(NotAllowed):
        world.do(reports.sign_report, DUTY, number)
    world.do(reports.sign_report, LEADER, number)
    with pytest.raises(Stale):
        world.do(reports.save_report, DUTY2, number, version, "旧版上的改动")
    world.do(reports.send_report, DUTY, number)
    assert world.one(t.clocks, name="report_written:广西气象局")["met_at"] == world.now
    with pytest.raises(IllegalTransition, match="已报出"):
        world.do(reports.save_report, DUTY, number, version + 2, "x")


def test_a_change_after_the_signature_needs_a_new_one(world: World) -> None:
    number = world.do(reports.draft_report, DUTY, world.case(), "初报", "市政府")
    version = world.do(reports.save_report, DUTY, number, 1, "正文")
    world.do(reports.sign_report, LEADER, number)
    world.do(reports.save_report, DUTY, number, version + 1, "改过的正文")
    assert world.one(t.upward_reports)["signed_by"] == ""


def test_first_reports_come_first(world: World) -> None:
    case_id = world.case()
    with pytest.raises(MissingFields, match="初报"):
        world.do(reports.draft_report, DUTY, case_id, "续报", "市政府")
    with pytest.raises(MissingFields, match="报送对象"):
        world.do(reports.draft_report, DUTY, case_id, "初报", "邻市")


# ---- the library and labels ---------------------------------------------------------------


def test_seeding_twice_adds_nothing_and_keeps_what_was_retired(world: World) -> None:
    known = [KnownClaim("WR1", "水库泄洪", "失实"), KnownClaim("WR2", "冰雹如碗", "失实")]
    assert world.tx(lambda tx: claims.seed_library(tx, known)) == 2
    world.do(claims.retire_claim, CHECKER, "WR1", "已过时")
    assert world.tx(lambda tx: claims.seed_library(tx, known)) == 0
    with world.store.read() as conn:
        assert [c.id for c in claims.active_claims(conn, world.now)] == ["WR2"]


def test_shipped_claims_that_only_suggest_stay_so(world: World) -> None:
    from nlp.claims import load_library

    world.tx(lambda tx: claims.seed_library(tx, load_library()))
    with world.store.read() as conn:
        kept = {c.id: c.suggest_only for c in claims.active_claims(conn, world.now)}
    assert kept == {c.id: c.suggest_only for c in load_library()}
    assert any(kept.values())


def test_a_verdict_needs_its_ground(world: World) -> None:
    with pytest.raises(MissingFields) as caught:
        world.do(claims.add_claim, DUTY, claim="明天停课", verdict="失实")
    assert set(caught.value.fields) == {"correction", "source_name"}
    world.do(claims.add_claim, DUTY, claim="明天停课", verdict="尚待核实")
    with pytest.raises(NotAllowed):
        world.do(claims.add_claim, QXT, claim="明天停课", verdict="尚待核实")


def test_a_corrected_label_is_kept_masked(world: World) -> None:
    world.do(labels.correct_label, DUTY, "p1", "kind", "talk", "help", "救命 13812345678")
    row = world.one(t.label_corrections)
    assert (row["new"], row["by"]) == ("help", "李值班")
    assert "13812345678" not in row["text"]
    with pytest.raises(MissingFields, match="有效的标签"):
        world.do(labels.correct_label, DUTY, "p1", "kind", "talk", "rumour", "x")


# ---- hand-over ----------------------------------------------------------------------------


def test_a_hand_over_freezes_what_is_open_and_changes_who_answers(world: World) -> None:
    world.alert()
    world.do(alerts.claim_alert, DUTY, "a1")
    case_id = world.case()
    world.help_call()
    with pytest.raises(NotAllowed, match="自己"):
        world.do(handover.hand_over, DUTY, DUTY.name)
    with pytest.raises(DeskError, match="不是在岗"):
        world.do(handover.hand_over, DUTY, CHECKER.name)
    before = world.chain()
    world.do(handover.hand_over, DUTY, DUTY2.name, "注意水库传言")
    items = world.one(t.handovers)["open_items"]
    assert [len(items[k]) for k in ("alerts", "cases", "help_calls")] == [1, 1, 1]
    assert items["cases"][0]["next_due"] == (world.now + timedelta(minutes=30)).isoformat()
    assert world.one(t.cases)["owner"] == world.one(t.alerts)["claimed_by"] == DUTY2.name
    assert world.chain() == before + 1
    world.do(cases.dismiss_case, LEADER, case_id, "no_matter")
    assert world.one(t.handovers)["open_items"] == items
