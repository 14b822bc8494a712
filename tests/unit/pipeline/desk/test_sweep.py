"""The sweeper and the relay: what becomes true because time passes, once."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import insert, select, update

import pipeline.bus
from pipeline.bus.base import Record, decode_envelope
from pipeline.bus.sqlite import SqliteBus
from pipeline.clock import WallClock
from pipeline.desk import alerts, assignments, cases, releases
from pipeline.desk import clarifications as cl
from pipeline.desk import help as calls
from pipeline.errors import EngineDown
from pipeline.stages.relay import Relay
from pipeline.stages.sweep import sweep
from pipeline.store import tables as t
from pipeline.store.sql import Store
from tests.unit.pipeline.desk.world import DUTY, LEADER, QXT, SIGNER, World


def swept(world: World, step_minutes: float = 0, times: int = 1) -> None:
    """Let time pass in steps with a sweep after each, as in ordinary running."""
    for _ in range(times):
        world.wait(minutes=step_minutes)
        sweep(world.store, world.now, world.rules)


def said(world: World, **where: Any) -> list[tuple[str, str]]:
    return [(d["receiver"], d["reason"]) for d in world.all(t.deliveries, **where)]


def everything(store: Store) -> dict[str, list[Any]]:
    with store.read() as conn:
        return {
            name: [tuple(r) for r in conn.execute(select(table))]
            for name, table in t.metadata.tables.items()
        }


def test_a_clock_fires_each_rung_once(world: World) -> None:
    world.assignment(world.case(level=2))
    swept(world)
    kinds = []
    for _ in range(50):
        swept(world, 4)
        kinds = [
            r["data"]["rungs"]
            for r in world.all(t.case_timeline)
            if r["data"].get("clock") == "receipt"
        ]
    assert kinds == [["50"], ["80"], ["due", "up1"], ["up2"]]
    receipt = world.one(t.clocks, name="receipt")
    assert list(receipt["fired"]) == ["50", "80", "due", "up1", "up2", "end"]
    told = [d for d in world.all(t.deliveries) if f"clock:{receipt['id']}:" in d["dedup_key"]]
    assert [(d["receiver"], d["reason"]) for d in told] == [
        ("气象台", "reminder"),
        ("气象台", "reminder"),
        ("气象台", "reminder"),
        ("李值班", "escalation"),
        ("带班领导", "escalation"),
    ]


def test_a_met_clock_is_silent(world: World) -> None:
    a = world.assignment(world.case(level=2))
    world.do(assignments.receive, QXT, a)
    swept(world, 4, 40)
    assert not any("签收" in d["title"] for d in world.all(t.deliveries))


def test_sweeping_twice_at_the_same_time_changes_nothing(world: World) -> None:
    world.alert()
    world.help_call()
    world.assignment(world.case())
    for minutes in (0, 3, 20, 45, 400):
        world.wait(minutes=minutes)
        sweep(world.store, world.now, world.rules)
        before = everything(world.store)
        assert sweep(world.store, world.now, world.rules) == 0
        assert everything(world.store) == before


def test_two_sweepers_at_once_do_it_once(world: World) -> None:
    world.assignment(world.case())
    swept(world)
    world.wait(minutes=4.9)
    for _ in range(6):
        world.wait(minutes=4.9)
        threads = [
            threading.Thread(target=sweep, args=(world.store, world.now, world.rules))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = [
        (r["data"]["clock"], tuple(r["data"]["rungs"]))
        for r in world.all(t.case_timeline)
        if "rungs" in r["data"]
    ]
    assert lines and len(lines) == len(set(lines))
    keys = [d["dedup_key"] for d in world.all(t.deliveries)]
    assert len(keys) == len(set(keys))


def test_an_unclaimed_alert_goes_to_the_desk_then_to_the_leader(world: World) -> None:
    world.alert(level=4)
    swept(world)
    assert world.one(t.clocks)["due_at"] == world.now + timedelta(minutes=5)
    swept(world, 1, 10)
    assert said(world, fingerprint="a1")[-2:] == [
        ("值班台", "reminder"),
        ("带班领导", "escalation"),
    ]


def test_a_claim_stops_the_clock_and_giving_it_back_starts_it_anew(world: World) -> None:
    world.alert(level=4)
    swept(world)
    world.do(alerts.claim_alert, DUTY, "a1")
    swept(world, 4)
    assert world.one(t.clocks)["met_at"] is not None
    world.do(alerts.release_claim, DUTY, "a1")
    swept(world)
    running = [c for c in world.all(t.clocks) if c["met_at"] is None]
    assert [c["started_at"] for c in running] == [world.now]


def test_a_calmed_alert_waits_for_nobody_and_waits_anew_when_it_is_new_again(
    world: World,
) -> None:
    world.alert(level=4)
    swept(world)
    for state in ("calmed", "new"):
        world.wait(minutes=1)
        world.tx(lambda tx, s=state: tx.conn.execute(update(t.alerts).values(state=s)))  # type: ignore[misc]
        swept(world)
    clocks = world.all(t.clocks)
    assert [c["cancelled_at"] is not None for c in clocks] == [True, False]
    assert clocks[1]["due_at"] == world.now + timedelta(minutes=5)


def test_a_claim_without_progress_falls_back(world: World) -> None:
    world.alert()
    world.do(alerts.claim_alert, DUTY, "a1")
    swept(world, 3, 19)
    assert world.one(t.alerts)["state"] == "claimed"
    swept(world, 3)
    row = world.one(t.alerts)
    assert (row["state"], row["claimed_by"]) == ("new", "")
    assert row["state_reason"] == "李值班认领后 60 分钟无进展，已退回待认领"
    assert said(world, reason="fallback") == [("李值班", "fallback"), ("值班台", "fallback")]


def test_a_claim_with_a_case_is_progress(world: World) -> None:
    world.alert()
    world.do(cases.open_case, DUTY, fingerprint="a1", rules=world.rules)
    swept(world, 4, 20)
    assert world.one(t.alerts)["state"] == "claimed"


def test_a_shelved_alert_returns(world: World) -> None:
    world.alert()
    world.do(alerts.shelve_alert, DUTY, "a1", world.now + timedelta(minutes=30), "等回复")
    swept(world, 4, 7)
    assert world.one(t.alerts)["state"] == "shelved"
    swept(world, 4)
    assert world.one(t.alerts)["state"] == "new"


def test_a_help_call_is_chased_in_minutes(world: World) -> None:
    world.help_call()
    swept(world)
    swept(world, 1, 5)
    assert ("带班领导", "escalation") in said(world)
    world.do(calls.pass_on, DUTY, 1, "119")
    before = len(said(world))
    swept(world, 1, 30)
    assert len(said(world)) == before


def test_after_a_stop_everybody_gets_one_digest(world: World) -> None:
    for n in range(4):
        world.alert(f"a{n}", level=4, event_id=f"E-{n}")
    case_id = world.case()
    world.assignment(case_id)
    swept(world)
    world.wait(hours=9)  # the product stood still
    swept(world)
    receivers = [d["receiver"] for d in world.all(t.deliveries)]
    assert len(receivers) == len(set(receivers))
    digest = world.one(t.deliveries, receiver="带班领导")
    assert digest["reason"] == "digest"
    assert "系统停运" in digest["title"] and digest["body"].count("\n") > 5
    swept(world, 1, 3)
    assert len(world.all(t.deliveries)) == len(receivers)


def test_after_a_stop_the_timeline_gets_one_line_per_clock(world: World) -> None:
    world.case()
    swept(world)
    world.wait(hours=30)
    swept(world)
    lines = [r for r in world.all(t.case_timeline) if "rungs" in r["data"]]
    names = [r["data"]["clock"] for r in lines]
    assert len(names) == len(set(names)) == len(world.all(t.clocks, owner="case"))
    assert {r["kind"] for r in lines} == {"escalated"}


def test_many_reminders_in_one_sweep_are_one_digest_too(world: World) -> None:
    for n in range(8):
        world.alert(f"a{n}", level=2, event_id=f"E-{n}")
    swept(world)
    swept(world, 3, 5)
    assert [d["reason"] for d in world.all(t.deliveries, receiver="值班台")] == ["digest"]


def test_a_cited_warning_that_is_lifted_asks_for_review(world: World) -> None:
    case_id = world.case()
    row = {
        "id": "w1", "type_name": "暴雨", "colour": "橙色", "action": "issued",
        "issued_at": world.now,
    }  # fmt: skip
    world.tx(lambda tx: tx.conn.execute(insert(t.warnings), row))
    draft = world.draft(case_id)
    cited = world.do(
        cl.add_evidence, DUTY, case_id, kind="warning", ref="w1", title="暴雨橙色", text="生效"
    )
    world.do(cl.save_draft, DUTY, draft, 2, evidence=[cited])
    world.do(releases.release, DUTY, world.signed(draft), ["portal"])
    swept(world, 1)
    assert world.one(t.clarifications)["needs_review"] == ""
    lifted = world.now + timedelta(minutes=1)
    world.tx(lambda tx: tx.conn.execute(update(t.warnings).values(lifted_at=lifted)))
    swept(world, 2)
    assert world.one(t.clarifications)["needs_review"] == "引用的暴雨橙色预警已解除"
    swept(world, 1, 3)
    assert len(world.all(t.case_timeline, kind="review_asked")) == 1


def test_late_checks_of_an_emergency_are_chased(world: World) -> None:
    draft = world.draft(world.case())
    world.do(cl.submit, DUTY, draft, emergency=True)
    world.do(cl.sign_off, SIGNER, draft)
    swept(world, 4, 31)
    assert ("业务核稿", "reminder") in said(world)
    assert any("补办保密审查" in d["title"] for d in world.all(t.deliveries, receiver="带班领导"))


def test_contacts_of_a_closed_call_are_destroyed(world: World) -> None:
    number = world.help_call()
    row = {"help_call_id": number, "ciphertext": b"x" * 40, "created_at": world.now}
    world.tx(lambda tx: tx.conn.execute(insert(t.vault), row))
    world.do(calls.close_help, DUTY, number, "已脱困")
    swept(world, 4, 2)
    assert world.one(t.vault)["ciphertext"] is not None  # it could have been a slip
    swept(world, 4)
    assert world.one(t.vault)["ciphertext"] is None
    assert world.one(t.audit, act="destroy_contacts")["role"] == "machine"


def test_releases_expire_in_the_sweep(world: World) -> None:
    world.do(releases.release, DUTY, world.signed(world.draft(world.case())), ["portal"])
    swept(world)
    world.wait(hours=100)
    swept(world)
    assert world.one(t.clarifications)["status"] == "expired"


def test_an_overdue_case_is_escalated_to_the_leader(world: World) -> None:
    world.rules = replace(world.rules, catch_up_after=timedelta(hours=1))
    world.case(level=1)
    swept(world)
    swept(world, 60, 49)
    assert said(world)[-2:] == [("李值班", "reminder"), ("带班领导", "escalation")]
    assert LEADER.name not in {r for r, _ in said(world)}


# ---- relay --------------------------------------------------------------------------------


class ListBus:
    """Keeps what is published; can be told to fail after so many messages."""

    def __init__(self) -> None:
        self.got: list[Record] = []
        self.fail = False

    def publish(self, topic: str, records: list[Record]) -> None:
        if self.fail:
            raise EngineDown("the bus does not answer")
        self.got += records


def test_the_relay_moves_each_message_once_in_order(world: World, tmp_path: Path) -> None:
    world.assignment(world.case())
    bus = SqliteBus(tmp_path / "posts.db", clock=WallClock())
    relay = Relay(world.store, bus, limit=2)
    while relay.run_once():
        pass
    got = list(bus.read("desk.facts"))
    bus.close()
    ids = [decode_envelope(m.value).id for m in got]
    assert ids == [r["message_id"] for r in world.all(t.outbox)]
    assert {m.key for m in got} == {"1"}


def test_a_lower_id_that_commits_later_is_not_passed_over(world: World) -> None:
    world.case()
    bus = ListBus()
    relay = Relay(world.store, bus)  # type: ignore[arg-type]
    world.tx(lambda tx: tx.conn.execute(update(t.outbox).where(t.outbox.c.id == 2).values(id=90)))
    relay.run_once()
    world.tx(
        lambda tx: tx.conn.execute(
            update(t.outbox).where(t.outbox.c.id == 90).values(id=2, sent_at=None)
        )
    )
    assert relay.run_once() == 1


def test_a_bus_that_is_down_loses_nothing(world: World) -> None:
    world.case()
    bus = ListBus()
    bus.fail = True
    relay = Relay(world.store, bus)  # type: ignore[arg-type]
    with pytest.raises(EngineDown):
        relay.run_once()
    bus.fail = False
    assert relay.run_once() == 2


def test_facts_keep_their_contract(world: World) -> None:
    path = Path(pipeline.bus.__file__).parent / "schemas" / "desk-fact-1.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    world.alert()
    world.do(alerts.claim_alert, DUTY, "a1")
    world.do(releases.release, DUTY, world.signed(world.draft(world.case())), ["portal"])
    swept(world)
    swept(world, 30)
    bodies = [json.loads(r["value"])["body"] for r in world.all(t.outbox)]
    for body in bodies:
        jsonschema.validate(body, schema)
    assert {"alert_claimed", "opened", "released", "reminded"} <= {b["fact"] for b in bodies}
