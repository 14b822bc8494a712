"""Every page opens for every role that has it, and the buttons change the desk."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from sqlalchemy import insert, select
from streamlit.testing.v1 import AppTest

from dashboard.board import PAGES
from pipeline.desk import help as desk_help
from pipeline.desk import silences
from pipeline.store import tables as t
from tests.dashboard import seed
from tests.dashboard.conftest import Open, Parts

PEOPLE = {role: name for _, name, role, _ in reversed(seed.PEOPLE)}


def text(app: AppTest) -> str:
    """Everything written on the page, as one string."""
    return "\n".join(str(h.proto.body) for h in app.get("html"))


@pytest.mark.parametrize(
    ("page", "role"), [(name, role) for name, _, _, roles in PAGES for role in roles]
)
def test_a_page_opens_for_its_roles(open_as: Open, page: str, role: object) -> None:
    app = open_as(PEOPLE[role], page)  # type: ignore[index]
    assert "听风" in text(app) and not app.error


def row(parts: Parts, table: object, column: object, value: object) -> dict[str, object]:
    with parts.store.read() as conn:
        found = conn.execute(select(table).where(column == value)).mappings().one()  # type: ignore[call-overload]
        return dict(found)


def test_claiming_an_alert_and_taking_it_back(open_as: Open, parts: Parts) -> None:
    app = open_as("李值班")
    dam = seed.fp("dam")
    app.button(key=f"act_alert_{dam}").click().run()
    alert = row(parts, t.alerts, t.alerts.c.fingerprint, dam)
    assert (alert["state"], alert["claimed_by"]) == ("claimed", "李值班")
    app.button(key="undo_button").click().run()
    assert row(parts, t.alerts, t.alerts.c.fingerprint, dam)["state"] == "new"


def test_shelving_without_a_reason_is_refused_and_keeps_the_page(
    open_as: Open, parts: Parts
) -> None:
    dam = seed.fp("dam")
    app = open_as("李值班", sel=f"alert:{dam}")
    app.button(key=f"p_shelve_{dam}").click().run()
    assert row(parts, t.alerts, t.alerts.c.fingerprint, dam)["state"] == "new"
    app.text_input(key=f"shelve_why_{dam}").set_value("已电话核实").run()
    app.button(key=f"p_shelve_{dam}").click().run()
    assert row(parts, t.alerts, t.alerts.c.fingerprint, dam)["state"] == "shelved"


def test_a_post_with_markup_is_shown_as_text(open_as: Open) -> None:
    app = open_as("李值班", "events", id=seed.eid("dam"))
    shown = text(app)
    assert "&lt;script&gt;" in shown and "<script>" not in shown


def test_a_help_call_is_passed_on(open_as: Open, parts: Parts) -> None:
    app = open_as("李值班", "help", id="1")
    app.button(key="help_pass").click().run()
    call = row(parts, t.help_calls, t.help_calls.c.id, 1)
    assert (call["state"], call["passed_to"]) == ("passed", "119")


def test_the_office_signs_for_its_task(open_as: Open, parts: Parts) -> None:
    app = open_as("谭主任", "cases", id="1", tab="tasks")
    app.button(key="receive_2").click().run()
    assert row(parts, t.assignments, t.assignments.c.id, 2)["state"] == "received"


def test_secrecy_then_signature_then_release(open_as: Open, parts: Parts) -> None:
    app = open_as("陆保密", "cases", id="1", draft="1")
    for field in app.text_input:
        if str(field.key).startswith("neg_1_"):
            field.set_value("可公开")
    app.run()
    app.button(key="pass_secrecy_1").click().run()
    assert row(parts, t.clarifications, t.clarifications.c.id, 1)["status"] == "sign"
    app = open_as("莫签发", "cases", id="1", draft="1")
    app.button(key="pass_sign_1").click().run()
    assert row(parts, t.clarifications, t.clarifications.c.id, 1)["status"] == "signed"
    app = open_as("李值班", "cases", id="1", draft="1")
    app.button(key="yes_release_1").click().run()
    assert row(parts, t.clarifications, t.clarifications.c.id, 1)["status"] == "released"
    assert row(parts, t.cases, t.cases.c.id, 1)["status"] == "responded"


def test_a_silence_is_seen_on_its_alert_and_ended_there(open_as: Open, parts: Parts) -> None:
    dam = seed.fp("dam")
    kind = row(parts, t.alerts, t.alerts.c.fingerprint, dam)["kind"]
    ends = parts.clock.now() + timedelta(hours=2)
    with parts.store.begin(parts.clock.now()) as tx:
        silences.add_silence(tx, seed.actor("周值班"), {"kind": kind}, "同一谣言已在办", ends)
    app = open_as("李值班", sel=f"alert:{dam}")
    assert "周值班静默至" in text(app) and "同一谣言已在办" in text(app)
    app.button(key="yes_unsilence_1").click().run()
    ended = row(parts, t.silences, t.silences.c.id, 1)
    assert (ended["ends_at"], ended["ended_by"]) == (parts.clock.now(), "李值班")
    assert "周值班静默至" not in text(app)


def test_the_press_conference_is_noted_and_its_clock_stops(open_as: Open, parts: Parts) -> None:
    app = open_as("李值班", "cases", id="1")
    app.text_area(key="press_1").set_value("11 时在局会议室，莫签发发布雨情").run()
    app.button(key="case_press").click().run()
    clock = row(parts, t.clocks, t.clocks.c.name, "press")
    assert clock["met_at"] == parts.clock.now()
    assert "case_press" not in [b.key for b in app.button], "it is noted once"


def test_contacts_are_kept_as_evidence_or_destroyed_by_the_leader(
    open_as: Open, parts: Parts
) -> None:
    now = parts.clock.now()
    with parts.store.begin(now) as tx:
        for call in (1, 2):
            sealed = base64.urlsafe_b64decode(parts.vault.seal("13800000000"))
            tx.conn.execute(
                insert(t.vault), {"help_call_id": call, "ciphertext": sealed, "created_at": now}
            )
            desk_help.pass_on(tx, seed.actor("李值班"), call, "119", "")
            desk_help.close_help(tx, seed.actor("李值班"), call, "已救出")
    app = open_as("李值班", "help", id="1")
    assert "yes_help_destroy" not in [b.key for b in app.button], "only a leader destroys"
    app.button(key="help_hold").click().run()
    assert row(parts, t.vault, t.vault.c.help_call_id, 1)["held_reason"] == "", "a reason is needed"
    app.text_input(key="hold_1").set_value("涉及责任认定").run()
    app.button(key="help_hold").click().run()
    assert row(parts, t.vault, t.vault.c.help_call_id, 1)["held_reason"] == "李值班：涉及责任认定"
    app = open_as("韦带班", "help", id="1")
    assert "yes_help_destroy" not in [b.key for b in app.button], "what is held stays"
    app = open_as("韦带班", "help", id="2")
    app.button(key="yes_help_destroy").click().run()
    assert row(parts, t.vault, t.vault.c.help_call_id, 2)["ciphertext"] is None


def test_an_ended_session_shows_nothing(parts: Parts) -> None:
    from tests.dashboard.conftest import SCRIPT

    app = AppTest.from_file(str(SCRIPT), default_timeout=30)
    app.session_state["_sid"] = "unknown"
    app.run()
    assert "登录已结束" in text(app) and "待处理" not in text(app)
