"""Two who differ stand side by side until one gives way or a leader decides."""

from __future__ import annotations

import pytest

from pipeline.desk import labels
from pipeline.domain.corrections import standing
from pipeline.errors import IllegalTransition, MissingFields, NotAllowed
from tests.unit.pipeline.desk.world import CHECKER, DUTY, DUTY2, LEADER, World

TEXT = "楼下的水进车库了"


def stands(world: World):
    with world.store.read() as conn:
        return standing(labels.corrections(conn))


def test_agreeing_with_the_machine_counts_only_against_a_colleague(world: World) -> None:
    with pytest.raises(MissingFields, match="不同的新标签"):
        world.do(labels.correct_label, DUTY, "p1", "kind", "talk", "talk", TEXT)
    world.do(labels.correct_label, DUTY, "p1", "kind", "talk", "impact", TEXT)
    world.do(labels.correct_label, DUTY2, "p1", "kind", "talk", "talk", TEXT)
    (found,) = stands(world)
    assert found.disputed and found.label is None
    assert found.words == {"李值班": "impact", "王值班": "talk"}


def test_giving_way_ends_a_dispute_and_nothing_is_overwritten(world: World) -> None:
    world.do(labels.correct_label, DUTY, "p1", "kind", "talk", "impact", TEXT)
    world.do(labels.correct_label, DUTY2, "p1", "kind", "talk", "help", TEXT)
    world.do(labels.correct_label, DUTY2, "p1", "kind", "talk", "impact", TEXT)
    (found,) = stands(world)
    assert (found.label, found.settled_by) == ("impact", "")
    with world.store.read() as conn:
        assert [c.new for c in labels.corrections(conn)] == ["impact", "help", "impact"]


def test_a_leader_settles_and_a_later_word_opens_it_again(world: World) -> None:
    args = ("p1", "urgency", "0", "1", TEXT)
    world.do(labels.correct_label, DUTY, *args)
    with pytest.raises(IllegalTransition, match="没有分歧"):
        world.do(labels.settle_label, LEADER, *args)
    world.do(labels.correct_label, DUTY2, "p1", "urgency", "0", "2", TEXT)
    with pytest.raises(NotAllowed):
        world.do(labels.settle_label, DUTY, *args)
    world.do(labels.settle_label, LEADER, *args)
    (found,) = stands(world)
    assert (found.label, found.settled_by) == ("1", "张带班")
    world.do(labels.correct_label, CHECKER, "p1", "urgency", "0", "2", TEXT)
    (found,) = stands(world)
    assert found.disputed


def test_heads_and_posts_do_not_mix(world: World) -> None:
    world.do(labels.correct_label, DUTY, "p1", "kind", "talk", "impact", TEXT)
    world.do(labels.correct_label, DUTY2, "p1", "sentiment", "neu", "neg", TEXT)
    world.do(labels.correct_label, DUTY2, "p2", "kind", "talk", "help", TEXT)
    assert [(s.post_id, s.head, s.label) for s in stands(world)] == [
        ("p1", "kind", "impact"),
        ("p1", "sentiment", "neg"),
        ("p2", "kind", "help"),
    ]
