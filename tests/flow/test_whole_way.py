"""From a post to a review, every step by the person who has to take it.

The drill's posts go through the real door, annotator, index and detector; then the false
dam-release rumour is answered by the desk, and the public page and the review are read.
"""

from __future__ import annotations

import io
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import docx
import pytest
from sqlalchemy import select

from crawlers.drill.scenario import load_scenario
from nlp.claims import load_library
from pipeline.app import App, build
from pipeline.bus.base import decode_envelope
from pipeline.bus.topics import ALERTS, DESK_FACTS
from pipeline.desk import alerts, assignments, cases, claims, clarifications, drafts, evidence
from pipeline.desk import releases as desk_releases
from pipeline.desk.negative import negative_findings
from pipeline.desk.review import add_lesson, load_review, write_review
from pipeline.desk.review_export import to_docx, to_html
from pipeline.domain.case import CaseStatus
from pipeline.domain.rights import Actor, Role
from pipeline.errors import DeskError, MissingFields, NotAllowed
from pipeline.portal.site import Site, publish
from pipeline.settings import load_settings
from pipeline.stages.relay import Relay
from pipeline.store import tables as t
from pipeline.store.sql import verify_audit
from tests.flow.night import START, NightClock, play

DUTY = Actor(1, "duty", Role.DUTY)
LEADER = Actor(2, "leader", Role.LEADER)
OFFICE = Actor(3, "qxt", Role.OFFICE, office="气象台")
CHECKER = Actor(4, "checker", Role.CHECKER)
SECRECY = Actor(5, "secrecy", Role.SECRECY)
SIGNER = Actor(6, "signer", Role.SIGNER)


@pytest.fixture(scope="module")
def clock() -> NightClock:
    return NightClock()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, clock: NightClock) -> App:
    """A product whose posts up to 20:40 have gone through every machine stage."""
    app = build(load_settings(tmp_path_factory.mktemp("home")), clock)
    with app.store.begin(START) as tx:
        claims.seed_library(tx, load_library())
    play(app, clock, timedelta(0), timedelta(hours=2, minutes=40))
    return app


def rows(app: App, table: Any, *where: Any) -> list[dict[str, Any]]:
    with app.store.read() as conn:
        return [dict(r) for r in conn.execute(select(table).where(*where)).mappings()]


@pytest.fixture(scope="module")
def rumour(app: App) -> dict[str, Any]:
    """The event of the dam-release rumour."""
    found = rows(app, t.events, t.events.c.kind == "rumour", t.events.c.title.contains("泄洪"))
    assert found, [e["title"] for e in rows(app, t.events, t.events.c.kind == "rumour")]
    return max(found, key=lambda e: e["posts"])


def test_the_rumour_is_one_event_with_its_alert(app: App, rumour: dict[str, Any]) -> None:
    truth = load_scenario("rainstorm_night").truth()
    of_matter = {i for i, label in truth.items() if label.matter == "dam_release"}
    members = [r["post_id"] for r in rows(app, t.event_posts)]
    texts = app.index.get(members)
    natives = {
        item.post.native_id
        for post_id, item in texts.items()
        if post_id
        in {
            r["post_id"] for r in rows(app, t.event_posts, t.event_posts.c.event_id == rumour["id"])
        }
    }
    assert len(natives & of_matter) / len(natives) >= 0.9, "the event holds other matters"
    assert rumour["spread"] > 0 and rumour["question"] > 0
    fired = rows(app, t.alerts, t.alerts.c.event_id == rumour["id"])
    assert fired
    assert (
        any(char.isdigit() for char in fired[0]["sentence"]) or "真伪待核实" in fired[0]["sentence"]
    )


def test_a_help_call_has_its_lane_and_its_contact_only_in_the_vault(app: App) -> None:
    calls = rows(app, t.help_calls)
    assert calls
    assert rows(app, t.vault), "a call with a phone keeps it sealed"
    raw = app.settings.posts_db.read_bytes() + app.settings.desk_db.read_bytes()
    phones = {
        word
        for p in load_scenario("rainstorm_night").posts
        for word in re.findall(r"1[3-9]\d{9}", p.text)
    }
    assert phones
    assert not [phone for phone in phones if phone.encode() in raw]


def test_the_whole_way(app: App, clock: NightClock, rumour: dict[str, Any], tmp_path: Path) -> None:
    def step(minutes: float = 1.0) -> datetime:
        clock.at += timedelta(minutes=minutes)
        return clock.at

    alert = rows(app, t.alerts, t.alerts.c.event_id == rumour["id"])[0]
    with app.store.begin(step()) as tx:
        alerts.claim_alert(tx, DUTY, alert["fingerprint"])
    with app.store.begin(step()) as tx:
        case_id = cases.open_case(tx, DUTY, fingerprint=alert["fingerprint"], rules=app.rules)
    with pytest.raises(NotAllowed), app.store.begin(step(0)) as tx:
        cases.assess_case(tx, DUTY, case_id, 3, "涉及水库")
    with app.store.begin(step()) as tx:
        cases.assess_case(tx, LEADER, case_id, 3, "涉及水库泄洪，跨区传播")
    with app.store.begin(step()) as tx:
        task = assignments.assign(tx, DUTY, case_id, "气象台", "核实雨量与水库调度，提供口径")
    with app.store.begin(step(5)) as tx:
        assignments.receive(tx, OFFICE, task)
    with app.store.begin(step(10)) as tx:
        assignments.reply(tx, OFFICE, task, "经与水库管理单位核实，今晚无泄洪计划，水位低于汛限。")
    with app.store.begin(step()) as tx:
        assignments.accept_reply(tx, DUTY, task)
    with app.store.begin(step()) as tx:
        draft = drafts.start_draft(tx, DUTY, case_id)
        row = (
            tx.conn.execute(select(t.clarifications).where(t.clarifications.c.id == draft))
            .mappings()
            .one()
        )
        proof = evidence.add_evidence(
            tx, DUTY, case_id, kind="observation", ref="obs-1", title="雨量实况",
            text="18 时至 20 时南宁站累计雨量 46.2 毫米", station="南宁站", at=clock.at,
        )  # fmt: skip
        drafts.save_draft(
            tx, DUTY, draft, row["version"], title="关于“水库今晚泄洪”的情况说明",
            claim="大王滩水库今晚泄洪，沿岸居民需立即撤离", verdict="失实",
            facts="经核实，水库今晚没有泄洪计划，水位低于汛限水位。",
            measures="已加密监测，逐小时发布雨情。", results="已请平台对不实信息加注说明。",
            evidence=[proof],
        )  # fmt: skip
    with app.store.begin(step()) as tx:
        clarifications.submit(tx, DUTY, draft)
    for person, act in (
        (CHECKER, clarifications.pass_check),
        (SECRECY, clarifications.pass_secrecy),
        (SIGNER, clarifications.sign_off),
    ):
        with pytest.raises(DeskError), app.store.begin(step(0)) as tx:
            act(tx, DUTY, draft)  # the author never approves
        with app.store.begin(step(2)) as tx:
            if act is clarifications.pass_secrecy:
                with pytest.raises(MissingFields):
                    clarifications.pass_secrecy(tx, SECRECY, draft)
                hits = negative_findings(tx.conn, draft)
                answers = {hit.id: "已商水库管理单位，同意公开" for hit in hits}
                clarifications.pass_secrecy(tx, SECRECY, draft, "同意", answers)
            else:
                act(tx, person, draft)
    with app.store.begin(step()) as tx:
        release_id = desk_releases.release(tx, DUTY, draft, ["portal"])
    released = rows(app, t.releases, t.releases.c.id == release_id)[0]
    assert desk_releases.verify_release(released)

    site = Site(bureau=app.settings.bureau, url="https://example.org/portal", is_drill=True)
    with app.store.read() as conn:
        publish(conn, tmp_path / "portal", site, clock.now())
        assert desk_releases.portal_waits(conn)
    with app.store.begin(step(0)) as tx:
        assert desk_releases.confirm_portal(tx, site.address_of) == 1
    pages = list((tmp_path / "portal" / "r").glob("*.html"))
    assert len(pages) == 1
    page = pages[0].read_text("utf-8")
    assert released["number"] in page and "没有泄洪计划" in page and "南宁站" in page

    play(app, clock, timedelta(hours=2, minutes=40), timedelta(hours=6))
    after = rows(app, t.events, t.events.c.id == rumour["id"])[0]
    assert after["posts"] > rumour["posts"], "the event goes on while it is answered"

    with app.store.begin(step()) as tx:
        cases.watch_case(tx, DUTY, case_id)
    with app.store.begin(step(30)) as tx:
        cases.close_case(tx, DUTY, case_id, "传播已平息")
    with app.store.begin(step()) as tx:
        add_lesson(tx, DUTY, case_id, "汛期先备水库口径", "气象台", clock.at + timedelta(days=7))
        write_review(tx, LEADER, case_id, "发现及时，首次回应在时限内。")
    with app.store.begin(step()) as tx:
        cases.archive_case(tx, DUTY, case_id)
    case = rows(app, t.cases, t.cases.c.id == case_id)[0]
    assert case["status"] == CaseStatus.ARCHIVED

    with app.store.read() as conn:
        review = load_review(conn, case_id, clock.now())
        assert verify_audit(conn).ok
    figures = {f.key: f for f in review.figures}
    assert figures["alert_claimed"].value is not None
    assert figures["assigned_received"].value == 5
    assert figures["margin"].value is not None and figures["margin"].value > 0
    assert review.effects[0].spread_before > 0
    html = to_html(review).decode()
    assert released["number"] in html and "汛期先备水库口径" in html
    text = "\n".join(p.text for p in docx.Document(io.BytesIO(to_docx(review))).paragraphs)
    assert "发现及时" in text

    assert Relay(app.store, app.bus, clock=clock).run_once() > 0
    while Relay(app.store, app.bus, clock=clock).run_once():
        pass
    facts = [
        json.loads(bytes(decode_envelope(m.value).body)) for m in app.bus.read(DESK_FACTS.name)
    ]
    assert {"opened", "assessed", "assigned", "received", "released", "closed"} <= {
        str(f.get("fact", "")).removeprefix("case_").removeprefix("assignment_") for f in facts
    }
    assert list(app.bus.read(ALERTS.name))
