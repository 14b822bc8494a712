"""New claims out of the desk's store: what counts as new, and what is known of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import insert

from pipeline.desk import claims, releases
from pipeline.desk.queries_new_claims import new_claims
from pipeline.domain.checkworthy import Worth
from pipeline.store import tables as t
from tests.unit.pipeline.desk.world import DUTY, World


def rumour(world: World, name: str, *posts: dict[str, Any], **values: Any) -> None:
    event: dict[str, Any] = {
        "id": name, "kind": "rumour", "title": f"网传：{name}", "first_post_id": f"{name}-0",
        "first_at": world.now, "first_seen_at": world.now, "last_at": world.now,
        "posts": len(posts), "places": {}, "sources": {}, "proposed_reasons": [],
        "updated_at": world.now, **values,
    }  # fmt: skip
    base = {
        "event_id": name, "at": world.now, "seen_at": world.now, "source": "s", "kind": "talk",
        "sentiment": "neg", "stance": "spread", "author": "a", "author_kind": "person",
    }  # fmt: skip
    rows = [{**base, "post_id": f"{name}-{n}", **post} for n, post in enumerate(posts)]
    with world.store.begin(world.now) as tx:
        tx.conn.execute(insert(t.events), event)
        for row in rows:
            tx.conn.execute(insert(t.event_posts), row)


def found(world: World) -> list[Worth]:
    with world.store.read() as conn:
        return new_claims(conn, None, world.now)


def test_known_old_merged_and_other_matters_are_left_out(world: World) -> None:
    rumour(world, "E-new", {})
    rumour(world, "E-known", {}, claim_id="WR001")
    rumour(world, "E-merged", {}, merged_into="E-new")
    rumour(world, "E-damage", {}, kind="damage")
    rumour(world, "E-old", {}, last_at=world.now - timedelta(hours=25))
    assert [w.spoken.event_id for w in found(world)] == ["E-new"]


def test_what_we_released_is_no_longer_new_but_known(world: World) -> None:
    rumour(world, "E-1", {})
    draft = world.signed(world.draft(world.case(event_id="E-1")))
    assert [w.spoken.event_id for w in found(world)] == ["E-1"]
    world.do(releases.release, DUTY, draft, ["portal"])
    assert not found(world)
    with world.store.read() as conn:  # and joins what the annotator compares posts with
        (known,) = claims.active_claims(conn, world.now)
    assert known.claim == world.one(t.releases)["content"]["claim"]


def test_accounts_pace_and_answers_are_counted(world: World) -> None:
    early = world.now - timedelta(hours=3)
    rumour(
        world, "E-1", {"author": "a", "at": early}, {"author": "a"}, {"author": "b"},
        {"author": "c", "author_kind": "government", "stance": "debunk"},
    )  # fmt: skip
    (one,) = found(world)
    said = one.spoken
    assert (said.posts, said.authors, said.last_hour) == (4, 3, 3)
    assert said.is_answered
    assert "未说来源" in one.reasons


def test_five_at_most_the_gravest_first(world: World) -> None:
    for n in range(7):
        rumour(world, f"E-{n}", {}, title="网传：水库溃坝" if n == 6 else "网传：下雨了")
    assert len(found(world)) == 5
    assert found(world)[0].spoken.event_id == "E-6"
