"""Releases: frozen, numbered, verifiable; corrections and withdrawals name the old one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pipeline.desk import cases, releases
from pipeline.desk import clarifications as cl
from pipeline.errors import IllegalTransition, NotAllowed
from pipeline.portal.site import Site, publish
from pipeline.store import tables as t
from tests.unit.pipeline.desk.world import CHECKER, DUTY, LEADER, SECRECY, SIGNER, World


def released(world: World) -> int:
    draft = world.signed(world.draft(world.case()))
    return world.do(releases.release, DUTY, draft, ["weibo", "portal"])


def test_a_release_is_frozen_numbered_and_verifiable(world: World) -> None:
    released(world)
    row = world.one(t.releases)
    assert row["number"] == "南气辟〔2026〕0001号"
    assert row["signer"] == "签发人" and row["released_by"] == "李值班"
    assert releases.verify_release(row)
    assert not releases.verify_release({**row, "content": {**row["content"], "facts": "别的"}})
    assert row["content"]["evidence"][0]["station"] == "南宁国家气象观测站"


def test_the_portal_is_the_first_channel(world: World) -> None:
    released(world)
    assert [(c["channel"], c["state"]) for c in world.all(t.release_channels)] == [
        ("portal", "waiting"),
        ("weibo", "waiting"),
    ]
    world.do(releases.record_receipt, DUTY, 2, "https://weibo.com/1", "已发")
    assert world.one(t.release_channels, id=2)["state"] == "done"


def test_a_written_portal_is_confirmed_once(world: World) -> None:
    released(world)

    def link(number: str) -> str:
        return f"http://localhost/portal/{number}"

    assert world.tx(lambda tx: releases.confirm_portal(tx, link)) == 1
    assert world.tx(lambda tx: releases.confirm_portal(tx, link)) == 0
    channel = world.one(t.release_channels, channel="portal")
    assert channel["state"] == "done" and channel["link"].endswith("0001号")


def test_the_case_is_answered_and_its_clocks_stop(world: World) -> None:
    released(world)
    case = world.one(t.cases)
    assert (case["status"], case["responded_at"]) == ("responded", world.now)
    assert world.one(t.clocks, name="first_release")["met_at"] == world.now


def test_the_claim_enters_the_library(world: World) -> None:
    released(world)
    claim = world.one(t.claims)
    assert (claim["claim"], claim["verdict"], claim["origin"]) == ("某水库今晚放水", "失实", "own")


def test_only_a_signed_draft_goes_out_and_only_once(world: World) -> None:
    draft = world.checked(world.draft(world.case()))
    with pytest.raises(IllegalTransition):
        world.do(releases.release, DUTY, draft, ["portal"])
    with pytest.raises(NotAllowed):
        world.do(releases.release, CHECKER, draft, ["portal"])
    world.do(cl.sign_off, SIGNER, draft)
    world.do(releases.release, DUTY, draft, ["portal"])
    with pytest.raises(IllegalTransition):
        world.do(releases.release, DUTY, draft, ["portal"])


def test_posts_of_persons_stay_inside(world: World) -> None:
    case_id = world.case()
    draft = world.draft(case_id)
    post = world.do(
        cl.add_evidence, DUTY, case_id, kind="post", ref="p1", title="帖", text="水库放水了！"
    )
    world.do(
        cl.save_draft, DUTY, draft, 2, evidence=[*world.one(t.clarifications)["evidence"], post]
    )
    world.do(releases.release, DUTY, world.signed(draft), ["portal"])
    assert [e["kind"] for e in world.one(t.releases)["content"]["evidence"]] == ["observation"]


def test_a_correction_names_the_old_release_and_goes_the_whole_way(world: World) -> None:
    old = released(world)
    fix = world.do(releases.correct, DUTY, old, "雨量数字有误")
    with pytest.raises(IllegalTransition, match="正在办理"):
        world.do(releases.correct, DUTY, old, "再来一次")
    assert world.one(t.clarifications, id=1)["status"] == "released"  # in force until then
    world.do(cl.save_draft, DUTY, fix, 1, facts="累计13.2毫米，没有放水安排。")
    world.signed(fix)
    new = world.do(releases.release, DUTY, fix, ["portal"])
    row = world.one(t.releases, id=new)
    assert (row["kind"], row["of_release"], row["reason"]) == ("correction", old, "雨量数字有误")
    assert row["number"] == "南气辟〔2026〕0002号"
    assert world.one(t.clarifications, id=1)["status"] == "corrected"
    assert [c["active"] for c in world.all(t.claims)] == [False, True]
    with pytest.raises(IllegalTransition):
        world.do(releases.withdraw, LEADER, old, "已更正过")


def test_a_withdrawal_is_a_release_and_deletes_nothing(world: World) -> None:
    old = released(world)
    with pytest.raises(NotAllowed, match="带班领导"):
        world.do(releases.withdraw, DUTY, old, "主管部门另有发布")
    new = world.do(releases.withdraw, LEADER, old, "主管部门另有发布")
    row = world.one(t.releases, id=new)
    assert (row["kind"], row["of_release"]) == ("withdrawal", old)
    assert releases.verify_release(row)
    assert releases.verify_release(world.one(t.releases, id=old))
    assert world.one(t.clarifications)["status"] == "withdrawn"
    assert world.one(t.claims)["active"] is False
    with pytest.raises(IllegalTransition):
        world.do(releases.withdraw, LEADER, new, "撤回撤回")


def test_a_release_expires_by_itself_once(world: World) -> None:
    released(world)
    world.wait(hours=100)
    assert world.tx(releases.expire_due) == 1
    assert world.tx(releases.expire_due) == 0
    assert world.one(t.clarifications)["status"] == "expired"
    world.do(releases.correct, DUTY, 1, "补充新情况")  # an expired one can still be corrected


def test_a_correction_of_a_closed_case_may_go_out(world: World) -> None:
    old = released(world)
    world.do(cases.watch_case, DUTY, 1)
    world.do(cases.close_case, DUTY, 1, "已平息")
    fix = world.do(releases.correct, DUTY, old, "雨量数字有误")
    world.signed(fix)
    world.do(releases.release, DUTY, fix, ["portal"])
    assert world.one(t.cases)["status"] == "closed"


def test_the_portal_can_show_what_was_released(world: World, tmp_path: object) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    old = released(world)
    world.wait(minutes=5)
    world.do(releases.withdraw, SIGNER, old, "主管部门另有发布")
    site = Site("南宁市气象局", "http://localhost/portal")
    with world.store.read() as conn:
        publish(conn, tmp_path / "out", site, world.now + timedelta(minutes=1))
    page = (tmp_path / "out" / "r" / "2026-0001.html").read_text(encoding="utf-8")
    assert "已撤回" in page and "12.3毫米" in page
    assert (tmp_path / "out" / "r" / "2026-0002.html").exists()
    assert SECRECY.name not in page
