"""Cases and assignments."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert

from pipeline.desk import alerts, assignments, cases, clarifications
from pipeline.errors import (
    DeskError,
    IllegalTransition,
    MissingFields,
    NotAllowed,
)
from pipeline.store import tables as t
from tests.unit.pipeline.desk.world import BGS, CHECKER, DUTY, DUTY2, LEADER, QXT, World


def clocks_of(world: World, **where: object) -> dict[str, dict[str, object]]:
    return {c["name"]: c for c in world.all(t.clocks, **where)}


# ---- opening ------------------------------------------------------------------------------


def test_a_case_from_an_alert_takes_its_route_and_claims_it(world: World) -> None:
    world.event()
    name = world.alert(lead_office="业务科", helper_offices=["气象台"])
    case_id = world.do(cases.open_case, DUTY, fingerprint=name, rules=world.rules)
    case, alert = world.one(t.cases), world.one(t.alerts)
    assert case["number"] == "南气舆〔2026〕0001号"
    assert (case["lead_office"], case["helper_offices"]) == ("业务科", ["气象台"])
    assert (alert["state"], alert["claimed_by"], alert["case_id"]) == ("claimed", "李值班", case_id)
    assert world.one(t.case_timeline)["kind"] == "opened"
    assert world.chain() == 1


def test_a_second_alert_on_the_same_event_joins_the_open_case(world: World) -> None:
    first = world.do(cases.open_case, DUTY, fingerprint=world.alert("a1"), rules=world.rules)
    second = world.alert("a2", rule="burst")
    assert world.do(cases.open_case, DUTY2, fingerprint=second, rules=world.rules) == first
    assert len(world.all(t.cases)) == 1
    assert world.one(t.alerts, fingerprint="a2")["case_id"] == first


def test_opening_quiets_the_other_alerts_of_the_event(world: World) -> None:
    world.alert("a1")
    world.alert("a2", rule="burst")
    world.do(cases.open_case, DUTY, fingerprint="a1", rules=world.rules)
    other = world.one(t.alerts, fingerprint="a2")
    assert other["state"] == "suppressed"
    assert "南气舆〔2026〕0001号" in other["state_reason"]


def test_a_case_without_alert_event_or_title_is_not_opened(world: World) -> None:
    with pytest.raises(MissingFields, match="标题"):
        world.do(cases.open_case, DUTY, rules=world.rules)
    assert world.chain() == 0


def test_numbers_go_on_within_the_year_and_start_anew_with_the_next(world: World) -> None:
    for _ in range(2):
        world.do(cases.open_case, DUTY, title="媒体来电", case_class="media", rules=world.rules)
    world.wait(days=40)
    world.do(cases.open_case, DUTY, title="媒体来电", rules=world.rules)
    assert [c["number"] for c in world.all(t.cases)] == [
        "南气舆〔2026〕0001号",
        "南气舆〔2026〕0002号",
        "南气舆〔2027〕0001号",
    ]


# ---- assessing ----------------------------------------------------------------------------


def test_only_a_leader_decides_major(world: World) -> None:
    case_id = world.do(cases.open_case, DUTY, title="传言", rules=world.rules)
    with pytest.raises(NotAllowed, match="带班领导"):
        world.do(cases.assess_case, DUTY, case_id, 3, "影响大")
    world.do(cases.assess_case, DUTY, case_id, 2, "本地传播")
    world.do(cases.assess_case, LEADER, case_id, 4, "央媒报道")
    with pytest.raises(NotAllowed):  # nor takes it back
        world.do(cases.assess_case, DUTY, case_id, 1, "误判")


def test_response_clocks_run_from_t0(world: World) -> None:
    case_id = world.do(cases.open_case, DUTY, title="传言", rules=world.rules)
    t0 = world.now - timedelta(minutes=20)
    world.do(cases.assess_case, LEADER, case_id, 3, "影响大", confirmed_at=t0)
    found = clocks_of(world, owner="case")
    assert found["first_release"]["due_at"] == t0 + timedelta(hours=5)
    assert found["release_target"]["due_at"] == t0 + timedelta(hours=1)
    assert found["press"]["due_at"] == t0 + timedelta(hours=24)
    assert found["report_phone:市政府"]["due_at"] == t0 + timedelta(minutes=30)
    assert found["report_written:广西气象局"]["due_at"] == t0 + timedelta(hours=1)


def test_a_higher_level_keeps_t0_and_changes_the_clocks(world: World) -> None:
    case_id = world.case(level=1)
    t0 = world.now
    world.wait(hours=2)
    world.do(cases.assess_case, LEADER, case_id, 3, "升级")
    running = [
        c
        for c in world.all(t.clocks, owner="case", name="first_release")
        if c["cancelled_at"] is None
    ]
    assert [c["due_at"] for c in running] == [t0 + timedelta(hours=5)]
    assert world.one(t.cases)["confirmed_at"] == t0


def test_reassessing_work_in_hand_does_not_take_it_out_of_hand(world: World) -> None:
    case_id = world.case(level=2)
    world.assignment(case_id)
    world.do(cases.assess_case, LEADER, case_id, 3, "升级")
    assert world.one(t.cases)["status"] == "handling"


def test_t0_cannot_lie_in_the_future(world: World) -> None:
    case_id = world.do(cases.open_case, DUTY, title="传言", rules=world.rules)
    with pytest.raises(MissingFields, match="确认时间"):
        world.do(
            cases.assess_case, DUTY, case_id, 1, "x", confirmed_at=world.now + timedelta(seconds=1)
        )


def test_a_case_keeps_the_rules_it_was_opened_with(world: World) -> None:
    case_id = world.do(cases.open_case, DUTY, title="传言", rules=world.rules)
    world.rules = replace(world.rules, clocks=())  # somebody edits the file meanwhile
    world.do(cases.assess_case, LEADER, case_id, 3, "影响大")
    assert clocks_of(world)["first_release"]["due_at"] == world.now + timedelta(hours=5)


def test_policy_counts_working_days(world: World) -> None:
    case_id = world.do(cases.open_case, DUTY, title="新规", case_class="policy", rules=world.rules)
    world.do(cases.assess_case, DUTY, case_id, 1, "政策公开")
    clock = clocks_of(world)["first_release"]
    assert clock["label"] == "发布解读材料"
    assert clock["due_at"] == world.now.replace(hour=16) + timedelta(days=3)  # Friday midnight


def test_a_due_time_in_a_year_without_a_calendar_says_so(world: World) -> None:
    world.wait(days=30)
    case_id = world.do(cases.open_case, DUTY, title="申请", case_class="request", rules=world.rules)
    world.do(cases.assess_case, DUTY, case_id, 1, "收到申请")
    assert "请人工核对" in str(clocks_of(world)["first_release"]["basis"])


# ---- assignments --------------------------------------------------------------------------


def test_the_way_of_an_assignment(world: World) -> None:
    case_id = world.case()
    a = world.assignment(case_id)
    assert world.one(t.cases)["status"] == "handling"
    receipt = clocks_of(world, owner="assignment")["receipt"]
    assert receipt["due_at"] == world.now + timedelta(minutes=30)
    world.do(assignments.receive, QXT, a)
    assert clocks_of(world, owner="assignment")["receipt"]["met_at"] == world.now
    world.do(assignments.reply, QXT, a, "雨量正常")
    world.do(assignments.return_reply, DUTY, a, "请补充逐时雨量")
    world.do(assignments.reply, QXT, a, "逐时雨量如下")
    world.do(assignments.accept_reply, DUTY, a)
    row = world.one(t.assignments)
    assert (row["state"], row["received_by"], row["decided_by"]) == (
        "accepted",
        "气象台员",
        "李值班",
    )


def test_an_office_acts_on_its_own_assignments_only(world: World) -> None:
    a = world.assignment(world.case())
    with pytest.raises(NotAllowed, match="气象台"):
        world.do(assignments.receive, BGS, a)
    with pytest.raises(NotAllowed):
        world.do(assignments.receive, DUTY, a)


def test_replying_without_signing_for_it_is_refused(world: World) -> None:
    a = world.assignment(world.case())
    with pytest.raises(IllegalTransition, match="待签收"):
        world.do(assignments.reply, QXT, a, "没有放水")


def test_a_task_handed_back_goes_to_another_office(world: World) -> None:
    case_id = world.case()
    a = world.assignment(case_id)
    world.do(assignments.hand_back, QXT, a, "不属本台职责")
    new = world.do(assignments.reassign, DUTY, a, "办公室", "改由办公室牵头")
    old, fresh = world.one(t.assignments, id=a), world.one(t.assignments, id=new)
    assert (old["state"], fresh["state"], fresh["replaces"]) == ("reassigned", "sent", a)
    assert world.one(t.cases)["lead_office"] == "办公室"
    world.do(assignments.receive, BGS, new)


def test_there_is_one_lead_office_at_a_time(world: World) -> None:
    case_id = world.case()
    world.assignment(case_id)
    with pytest.raises(DeskError, match="气象台正在牵头"):
        world.assignment(case_id, "办公室")
    world.assignment(case_id, "办公室", part="helper")
    assert world.one(t.cases)["helper_offices"] == ["办公室"]


def test_work_is_not_sent_out_before_the_assessment(world: World) -> None:
    case_id = world.do(cases.open_case, DUTY, title="传言", rules=world.rules)
    with pytest.raises(IllegalTransition, match="请先研判"):
        world.assignment(case_id)


def test_a_due_time_set_by_a_person_stands(world: World) -> None:
    due = world.now + timedelta(minutes=40)
    world.assignment(world.case(), due_at=due)
    clock = clocks_of(world, owner="assignment")["reply"]
    assert clock["due_at"] == due == world.one(t.assignments)["due_at"]
    assert clock["warn50_at"] == world.now + timedelta(minutes=20)


# ---- the end ------------------------------------------------------------------------------


def responded(world: World) -> int:
    case_id = world.case()
    world.assignment(case_id)
    world.do(cases.mark_responded, DUTY, case_id, "留言板已答复")
    return case_id


def test_closing_lists_what_is_open(world: World) -> None:
    case_id = responded(world)
    draft = world.do(clarifications.start_draft, DUTY, case_id)
    world.do(cases.watch_case, DUTY, case_id)
    with pytest.raises(DeskError, match=r"还有 2 项.*气象台：核实雨量和预报（待签收）.*草稿"):
        world.do(cases.close_case, DUTY, case_id, "已平息")
    world.do(assignments.hand_back, QXT, 1, "无需办理")
    world.do(assignments.accept_reply, DUTY, 1, "同意")
    world.do(clarifications.discard_draft, DUTY, draft, "已用留言板答复")
    world.do(cases.close_case, DUTY, case_id, "已平息")
    assert world.one(t.cases)["status"] == "closed"
    assert all(c["met_at"] or c["cancelled_at"] for c in world.all(t.clocks, owner="case"))


def test_answering_stops_the_release_clocks(world: World) -> None:
    responded(world)
    found = clocks_of(world, owner="case")
    assert found["first_release"]["met_at"] == world.now
    assert found["release_target"]["met_at"] == world.now
    assert found["press"]["met_at"] is None


def test_archiving_needs_the_review(world: World) -> None:
    case_id = responded(world)
    world.do(cases.watch_case, DUTY, case_id)
    world.do(assignments.hand_back, QXT, 1, "x")
    world.do(assignments.accept_reply, DUTY, 1)
    world.do(cases.close_case, DUTY, case_id, "已平息")
    with pytest.raises(MissingFields, match="复盘"):
        world.do(cases.archive_case, DUTY, case_id)
    world.tx(
        lambda tx: tx.conn.execute(
            insert(t.reviews),
            {"case_id": case_id, "made_at": world.now, "made_by": "x", "figures": []},
        )
    )
    world.do(cases.archive_case, DUTY, case_id)
    world.do(cases.reopen_case, DUTY, case_id, "二次舆情")
    assert world.one(t.cases)["status"] == "handling"


def test_a_reopened_case_never_stands_beside_a_newer_one_on_its_event(world: World) -> None:
    world.event()
    old = world.do(cases.open_case, DUTY, event_id="E-1", rules=world.rules)
    world.do(cases.dismiss_case, DUTY, old, "no_matter")
    world.do(cases.open_case, DUTY, event_id="E-1", rules=world.rules)
    with pytest.raises(DeskError, match="0002号"):
        world.do(cases.reopen_case, DUTY, old, "有新情况")


def test_dismissing_needs_a_reason_of_the_list(world: World) -> None:
    case_id = world.case(level=1)
    with pytest.raises(MissingFields, match="理由"):
        world.do(cases.dismiss_case, DUTY, case_id, "because")
    world.do(cases.dismiss_case, DUTY, case_id, "not_ours", "已转水利局")
    assert world.one(t.cases)["dismiss_reason"] == "not_ours"


def test_merging_takes_the_work_along(world: World) -> None:
    alert = world.alert()
    a = world.do(cases.open_case, DUTY, fingerprint=alert, rules=world.rules)
    world.do(cases.assess_case, LEADER, a, 3, "影响大")
    task = world.assignment(a)
    b = world.case(level=3, title="同一传言的另一单")
    world.do(cases.merge_case, DUTY, a, b, "同一传言")
    assert world.one(t.cases, id=a)["status"] == "merged"
    assert world.one(t.cases, id=b)["status"] == "handling"
    assert world.one(t.assignments, id=task)["case_id"] == b
    assert world.one(t.alerts)["case_id"] == b
    world.do(assignments.receive, QXT, task)
    assert {r["case_id"] for r in world.all(t.case_timeline, kind="received")} == {b}


def test_a_graver_case_does_not_vanish_in_a_milder_one(world: World) -> None:
    a, b = world.case(level=3), world.case(level=1)
    with pytest.raises(DeskError, match="研判到重大"):
        world.do(cases.merge_case, DUTY, a, b, "同一传言")
    with pytest.raises(IllegalTransition, match="自身"):
        world.do(cases.merge_case, DUTY, a, a, "同一传言")


def test_the_owner_is_somebody_on_duty(world: World) -> None:
    case_id = world.case()
    with pytest.raises(DeskError, match="不是在岗"):
        world.do(cases.change_owner, DUTY, case_id, CHECKER.name)
    world.do(cases.change_owner, DUTY, case_id, DUTY2.name)
    assert world.one(t.cases)["owner"] == DUTY2.name


def test_administrators_do_not_work_on_cases(world: World) -> None:
    from tests.unit.pipeline.desk.world import ADMIN, AUDITOR, SECURITY

    for actor in (ADMIN, SECURITY, AUDITOR):
        with pytest.raises(NotAllowed):
            world.do(cases.open_case, actor, title="x", rules=world.rules)
        with pytest.raises(NotAllowed):
            world.do(alerts.claim_alert, actor, "a1")
    assert world.chain() == 0
