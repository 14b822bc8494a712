"""Known claims on the board: beside the posts they were found in, renewed, new ones by weight."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from dashboard.claim_pair import marked, side_by_side
from nlp.claim_compare import Mark
from nlp.claim_library import shown_link
from nlp.claims import ClaimIndex, KnownClaim
from nlp.types import Annotation
from pipeline.domain.post import AnnotatedPost, Post
from pipeline.store import tables as t
from tests.dashboard import seed
from tests.dashboard.conftest import NIGHT, Open, Parts
from tests.dashboard.test_pages import row, text

CLAIM: dict[str, Any] = {
    "id": "R0042", "claim": "大王滩水库今晚泄洪，下游3个村要撤", "verdict": "失实",
    "correction": "没有泄洪安排。", "source_name": "示例局", "source_url": "https://example.org/1",
    "adcode": "450108", "date": "2026-11-20",
}  # fmt: skip


def pair(said: str, rumour: str = "none", **claim: str) -> str:
    known = KnownClaim(CLAIM["id"], CLAIM["claim"], adcode=CLAIM["adcode"], date=CLAIM["date"])
    (match,) = ClaimIndex([known]).match(said, at=NIGHT)
    post = Post("p", "weibo_like", "p", "", "a", "person", NIGHT, NIGHT, said)
    annotation = Annotation("m", True, "talk", "neu", 0, rumour, claims=(match,))  # type: ignore[arg-type]
    return side_by_side({**CLAIM, **claim}, AnnotatedPost(post, annotation), match, NIGHT)


def test_what_differs_is_marked_in_both_texts_and_named() -> None:
    shown = pair("听说大王滩水库今晚泄洪，下游5个村要撤，快转")
    assert shown.count("≠数字") == 2
    assert "数字：帖文5个，库中3个" in shown
    assert "没有泄洪安排。" in shown
    assert "https://example.org/1" in shown
    assert "<a " not in shown
    assert "转述" in shown and "相似 " in shown


def test_question_and_denial_are_told_from_a_repeat() -> None:
    assert "<b>求证</b>" in pair("大王滩水库今晚泄洪下游3个村要撤是真的吗")
    assert "<b>辟谣</b>" in pair("大王滩水库今晚没有泄洪，下游3个村不用撤")
    assert "<b>辟谣</b>" in pair("大王滩水库今晚泄洪，下游3个村要撤", rumour="debunk")


def test_agreement_is_named_too() -> None:
    shown = pair("大王滩水库今晚泄洪，下游3个村要撤")
    assert "没有发现地点、日期、数字不一致" in shown
    assert "大王滩水库" in shown.split("相同：")[1]


def test_doubtful_links_are_never_shown() -> None:
    said = "大王滩水库今晚泄洪，下游3个村要撤"
    for link in (
        "http://m.yc00.com/x",
        "javascript:alert(1)",
        "https://u:p@example.org",
        "http://[",
    ):
        assert shown_link(link) == ""
        assert link not in pair(said, source_url=link)


def test_strangers_markup_stays_text() -> None:
    shown = pair("<script>alert(1)</script>大王滩水库今晚泄洪，下游5个村<b>要撤</b>")
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert marked("<i>5</i>", [Mark(0, 4, "number", False)]).startswith('<mark class="unlike">&lt;')


def match_dam(parts: Parts) -> None:
    """What the annotator would have found, put into the index."""
    known = KnownClaim("R0042", "大王滩水库今晚泄洪", adcode="450100", date="2024-09-08")
    index = ClaimIndex([known])
    with parts.store.read() as conn:
        p = t.event_posts.c
        ids = list(conn.execute(select(p.post_id).where(p.event_id == seed.eid("dam"))).scalars())
    items = []
    for item in parts.index.get(ids).values():
        found = index.match(item.post.text, at=item.post.published_at)
        items.append(replace(item, annotation=replace(item.annotation, claims=found)))
    parts.index.put(items, NIGHT)


def test_event_and_library_show_post_and_claim_side_by_side(open_as: Open, parts: Parts) -> None:
    match_dam(parts)
    event = text(open_as("李值班", "events", id=seed.eid("dam")))
    assert 'class="sides"' in event
    assert "水库当前水位低于汛限水位" in event
    app = open_as("李值班", "rumours")
    assert 'class="sides"' not in text(app)
    app.toggle(key="pair_R0042").set_value(True).run()
    assert 'class="sides"' in text(app)


def test_a_claim_due_for_review_is_taken_back_into_use(open_as: Open, parts: Parts) -> None:
    app: AppTest = open_as("李值班", "rumours")
    app.button(key="renew_R0043").click().run()
    renewed = row(parts, t.claims, t.claims.c.id, "R0043")["review_at"]
    assert renewed == NIGHT + timedelta(days=180)
    assert not [b for b in app.button if b.key == "renew_R0043"]


def test_new_claims_stand_on_the_board_with_their_reasons(open_as: Open) -> None:
    shown = text(open_as("李值班"))
    assert "首次出现的说法" in shown
    after = shown.split("首次出现的说法", 1)[1]
    assert "为何先查：" in after
    assert "明天全市中小学停课" in after
    assert "涉学校停课" in after


def test_the_office_has_no_new_claims_to_check(open_as: Open) -> None:
    assert "首次出现的说法" not in text(open_as("黄科长"))
