"""Drafts, steps, and the people who may take them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert

from pipeline.desk import clarifications as cl
from pipeline.desk import releases
from pipeline.domain.rights import Role
from pipeline.errors import IllegalTransition, MissingFields, NotAllowed, NotFound, Stale
from pipeline.store import tables as t
from tests.unit.pipeline.desk.world import (
    BGS,
    CHECKER,
    DUTY,
    DUTY2,
    LEADER,
    QXT,
    SECRECY,
    SIGNER,
    World,
)


def status(world: World) -> str:
    return str(world.one(t.clarifications)["status"])


def test_a_template_fits_the_matter_and_leaves_blanks_to_fill(world: World) -> None:
    world.event()
    case_id = world.case(event_id="E-1", title=None)
    draft = world.do(cl.start_draft, DUTY, case_id)
    row = world.one(t.clarifications)
    assert "泄洪" in row["title"] and "【主管单位】" in row["facts"]
    missing = cl.missing_fields(row)
    assert missing["facts"] == "事实真相中的【主管单位】"
    with pytest.raises(MissingFields) as caught:
        world.do(cl.submit, DUTY, draft)
    assert set(caught.value.fields) == set(missing)
    with pytest.raises(NotFound, match="rumour_release"):
        world.do(cl.start_draft, DUTY, case_id, template="nope")


def test_the_first_draft_puts_an_assessed_case_in_hand(world: World) -> None:
    case_id = world.case()
    world.do(cl.start_draft, DUTY, case_id)
    assert world.one(t.cases)["status"] == "handling"


def test_two_editors_meet_loudly(world: World) -> None:
    draft = world.draft(world.case())
    version = world.one(t.clarifications)["version"]
    world.do(cl.save_draft, DUTY2, draft, version, facts="王的改动")
    with pytest.raises(Stale, match=r"王值班于14:00已保存第 3 版"):
        world.do(cl.save_draft, DUTY, draft, version, facts="李的改动")
    assert world.one(t.clarifications)["facts"] == "王的改动"


def test_a_wrong_value_is_named_and_nothing_is_saved(world: World) -> None:
    draft = world.draft(world.case())
    version = world.one(t.clarifications)["version"]
    for field, value in (
        ("verdict", "谣言"),
        ("evidence", [999]),
        ("disclosure", "公开"),
        ("status", "released"),
        ("valid_until", world.now.replace(tzinfo=None)),
    ):
        with pytest.raises(MissingFields) as caught:
            world.do(cl.save_draft, DUTY, draft, version, **{field: value})
        assert set(caught.value.fields) == {field}
    assert world.one(t.clarifications)["version"] == version


def test_the_way_of_a_clarification(world: World) -> None:
    draft = world.signed(world.draft(world.case()))
    assert status(world) == "signed"
    with world.store.read() as conn:
        steps = [(s["step"], s["outcome"], s["actor"]) for s in cl.history(conn, draft)]
    assert steps == [
        ("start", "done", "李值班"),
        ("save", "done", "李值班"),
        ("submit", "done", "李值班"),
        ("check", "passed", "核稿人"),
        ("secrecy", "passed", "保密员"),
        ("sign", "passed", "签发人"),
    ]


def test_a_submitted_text_is_not_changed_any_more(world: World) -> None:
    draft = world.draft(world.case())
    world.do(cl.submit, DUTY, draft)
    with pytest.raises(IllegalTransition, match="由审签人退回"):
        world.do(cl.save_draft, DUTY, draft, 3, facts="偷偷改")


def test_each_step_in_its_turn(world: World) -> None:
    draft = world.draft(world.case())
    with pytest.raises(IllegalTransition):
        world.do(cl.pass_check, CHECKER, draft)
    world.do(cl.submit, DUTY, draft)
    with pytest.raises(IllegalTransition):
        world.do(cl.sign_off, SIGNER, draft)
    with pytest.raises(IllegalTransition):
        world.do(cl.pass_secrecy, SECRECY, draft, "", world.answers(draft))
    with pytest.raises(NotAllowed):
        world.do(cl.pass_check, DUTY2, draft)


@pytest.mark.parametrize("role", [Role.CHECKER, Role.SECRECY, Role.SIGNER])
def test_whoever_wrote_a_version_takes_no_step(world: World, role: Role) -> None:
    draft = world.draft(world.case())
    world.do(cl.save_draft, DUTY2, draft, 2, results="再核实")
    world.do(cl.submit, DUTY, draft)
    if role is not Role.CHECKER:
        world.do(cl.pass_check, CHECKER, draft)
    if role is Role.SIGNER:
        world.do(cl.pass_secrecy, SECRECY, draft, "", world.answers(draft))
    step = {Role.CHECKER: cl.pass_check, Role.SECRECY: cl.pass_secrecy, Role.SIGNER: cl.sign_off}
    for writer in (DUTY, DUTY2):
        with pytest.raises(NotAllowed, match="自己的稿件"):
            world.do(step[role], replace(writer, role=role), draft)


def test_the_reviewer_of_confidentiality_does_not_sign(world: World) -> None:
    draft = world.checked(world.draft(world.case()))
    with pytest.raises(NotAllowed, match="两人"):
        world.do(cl.sign_off, replace(SECRECY, role=Role.SIGNER), draft)


def test_every_hit_of_the_negative_list_is_answered(world: World) -> None:
    draft = world.draft(world.case())
    world.do(cl.save_draft, DUTY, draft, 2, facts="没有泄洪，致3人受伤的说法不实。")
    world.do(cl.submit, DUTY, draft)
    world.do(cl.pass_check, CHECKER, draft)
    answers = world.answers(draft)
    assert len(answers) == 2
    one = next(iter(answers))
    with pytest.raises(MissingFields) as caught:
        world.do(cl.pass_secrecy, SECRECY, draft, "", {one: "已核对"})
    assert set(caught.value.fields) == set(answers) - {one}
    world.do(cl.pass_secrecy, SECRECY, draft, "", answers)
    step = world.one(t.clarification_steps, step="secrecy")
    assert {f["answer"] for f in step["findings"]} == {"已核对"}


def test_sent_back_the_whole_way_starts_anew(world: World) -> None:
    draft = world.checked(world.draft(world.case()))
    world.do(cl.send_back, SIGNER, draft, "数字要写到站")
    assert status(world) == "draft"
    world.do(cl.save_draft, DUTY, draft, world.one(t.clarifications)["version"], results="已补")
    world.do(cl.submit, DUTY, draft)
    world.do(cl.pass_check, CHECKER, draft)
    # a signer who sent it back still needs a review of this round
    with pytest.raises(IllegalTransition):
        world.do(cl.sign_off, SIGNER, draft)


def test_only_whose_turn_it_is_sends_back(world: World) -> None:
    draft = world.draft(world.case())
    world.do(cl.submit, DUTY, draft)
    with pytest.raises(NotAllowed):
        world.do(cl.send_back, SIGNER, draft, "不行")
    with pytest.raises(MissingFields):
        world.do(cl.send_back, CHECKER, draft, "")


def test_differences_between_versions_are_by_field_and_sentence(world: World) -> None:
    draft = world.draft(world.case())
    world.do(cl.save_draft, DUTY, draft, 2, facts="水位正常。今晚没有放水安排。")
    world.do(cl.save_draft, DUTY, draft, 3, facts="水位正常。今夜没有放水安排。")
    with world.store.read() as conn:
        assert cl.diff(conn, draft, 3, 4) == [
            (
                "事实真相",
                ["@@ -1,2 +1,2 @@", " 水位正常。", "-今晚没有放水安排。", "+今夜没有放水安排。"],
            )
        ]
        with pytest.raises(NotFound, match="第 9 版"):
            cl.diff(conn, draft, 3, 9)


# ---- emergency ----------------------------------------------------------------------------


def test_an_emergency_needs_a_major_case(world: World) -> None:
    draft = world.draft(world.case(level=2))
    with pytest.raises(NotAllowed, match="重大"):
        world.do(cl.submit, DUTY, draft, emergency=True)


def emergency(world: World) -> int:
    draft = world.draft(world.case(level=3))
    world.do(cl.submit, DUTY, draft, emergency=True)
    world.do(cl.sign_off, SIGNER, draft)
    return draft


def test_in_an_emergency_the_checks_follow_within_two_hours(world: World) -> None:
    draft = emergency(world)
    due = {c["name"]: c["due_at"] for c in world.all(t.clocks, owner="step")}
    assert due == {n: world.now + timedelta(hours=2) for n in ("check", "secrecy")}
    world.do(releases.release, DUTY, draft, ["portal"])
    world.wait(minutes=30)
    world.do(cl.pass_check, CHECKER, draft)
    world.do(cl.pass_secrecy, SECRECY, draft, "", world.answers(draft))
    assert all(c["met_at"] == world.now for c in world.all(t.clocks, owner="step"))
    assert status(world) == "released"
    with pytest.raises(IllegalTransition, match="无需重复"):
        world.do(cl.pass_check, CHECKER, draft)


def test_no_late_check_before_the_signature(world: World) -> None:
    draft = world.draft(world.case(level=4))
    world.do(cl.submit, DUTY, draft, emergency=True)
    with pytest.raises(IllegalTransition, match="签发后补办"):
        world.do(cl.pass_check, CHECKER, draft)


def test_a_late_check_that_fails_marks_the_release(world: World) -> None:
    draft = emergency(world)
    world.do(releases.release, DUTY, draft, ["portal"])
    world.do(cl.send_back, CHECKER, draft, "雨量单位写错")
    row = world.one(t.clarifications)
    assert row["status"] == "released"
    assert row["needs_review"] == "业务核稿未通过：雨量单位写错"
    assert world.all(t.clocks, owner="step", name="check")[0]["met_at"] == world.now


def test_a_late_check_before_the_release_stops_it(world: World) -> None:
    draft = emergency(world)
    world.do(cl.send_back, SECRECY, draft, "含个人信息")
    assert status(world) == "draft"
    assert all(c["cancelled_at"] for c in world.all(t.clocks, owner="step"))
    with pytest.raises(IllegalTransition):
        world.do(releases.release, DUTY, draft, ["portal"])


def test_the_reviewer_after_an_emergency_is_not_its_signer(world: World) -> None:
    draft = emergency(world)
    with pytest.raises(NotAllowed, match="两人"):
        world.do(cl.pass_secrecy, replace(SIGNER, role=Role.SECRECY), draft)


# ---- evidence and offices -----------------------------------------------------------------


def test_an_observation_names_station_and_time(world: World) -> None:
    case_id = world.case()
    with pytest.raises(MissingFields) as caught:
        world.do(
            cl.add_evidence, DUTY, case_id, kind="observation", ref="1", title="雨量", text="12毫米"
        )
    assert set(caught.value.fields) == {"station", "at"}


def test_evidence_is_masked_and_kept_once(world: World) -> None:
    case_id = world.case()
    add = {"kind": "post", "ref": "p1", "title": "", "text": "打13812345678"}
    first = world.do(cl.add_evidence, DUTY, case_id, **add)
    assert world.do(cl.add_evidence, DUTY, case_id, **add) == first
    assert "13812345678" not in world.one(t.evidence)["text"]


def test_evidence_is_suggested_from_warnings_claims_and_replies(world: World) -> None:
    world.event(claim_id="WR1")
    case_id = world.case(event_id="E-1", title=None)

    def machines(tx: object) -> None:
        conn = tx.conn  # type: ignore[attr-defined]
        conn.execute(
            insert(t.warnings),
            {
                "id": "w1",
                "type_name": "暴雨",
                "colour": "橙色",
                "action": "issued",
                "station": "南宁市气象台",
                "adcode": "450100",
                "issued_at": world.now,
            },
        )
        conn.execute(
            insert(t.claims),
            {
                "id": "WR1",
                "claim": "水库今晚泄洪",
                "verdict": "失实",
                "origin": "library",
                "created_at": world.now,
                "created_by": "系统",
            },
        )

    world.tx(machines)
    with world.store.read() as conn:
        found = {(i["kind"], i["ref"]): i for i in cl.suggest_evidence(conn, case_id)}
    assert set(found) == {("warning", "w1"), ("claim", "WR1")}
    item = found["warning", "w1"]
    assert item.pop("why") == "当时生效的预警"
    world.do(cl.add_evidence, DUTY, case_id, **item)
    with world.store.read() as conn:  # what is taken is not suggested again
        assert [i["ref"] for i in cl.suggest_evidence(conn, case_id)] == ["WR1"]


def test_an_office_drafts_only_where_it_has_a_part(world: World) -> None:
    case_id = world.case()
    world.assignment(case_id)
    with pytest.raises(NotAllowed, match="没有分办给办公室"):
        world.do(cl.start_draft, BGS, case_id)
    draft = world.draft(case_id, author=QXT)
    world.do(cl.submit, QXT, draft)
    assert status(world) == "check"


def test_presence_is_shown_and_is_no_act(world: World) -> None:
    draft = world.draft(world.case())
    lines = world.chain()
    world.do(cl.touch_editing, LEADER, draft)
    assert world.one(t.clarifications)["editing_by"] == "张带班"
    assert world.chain() == lines
