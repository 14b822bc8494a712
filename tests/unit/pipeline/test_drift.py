"""Drift: chance is not reported, a change is."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from nlp.types import Annotation
from pipeline.domain import drift

WORDS = ["暴雨", "积水", "停课", "预报", "堵车", "打雷", "台风", "下雨", "回家", "地铁"]


def said(
    rng: random.Random, words: list[str], share_neg: float, unsure: float, model: str = "m"
) -> Annotation:
    return Annotation(
        model=model,
        relevant=True,
        kind="talk",
        sentiment="neg" if rng.random() < share_neg else "neu",
        urgency=0,
        rumour="none",
        unsure=("kind",) if rng.random() < unsure else (),
        tokens=" ".join(rng.sample(words, 4)),
    )


def days(seed: int, n: int, words: list[str], share_neg: float, unsure: float) -> drift.DayCounts:
    rng = random.Random(seed)
    return drift.joined(
        drift.count([said(rng, words, share_neg, unsure) for _ in range(n)]) for _ in range(3)
    )


def compare(now: drift.DayCounts, before: drift.DayCounts) -> drift.Drift:
    return drift.compare("weibo", now, before, unsure_by=0.05, mix_by=0.05)


def test_the_same_talk_is_no_drift() -> None:
    found = compare(days(1, 200, WORDS, 0.4, 0.1), days(2, 900, WORDS, 0.4, 0.1))
    assert found.judged and not found.notable
    assert found.words < 0.005 and found.mix["sentiment"] < 0.005


def test_other_words_other_labels_and_doubt_are_told_apart() -> None:
    before = days(2, 900, WORDS, 0.4, 0.1)
    words = compare(days(1, 200, ["沙尘", "口罩", "黄色", "能见度", *WORDS[:1]], 0.4, 0.1), before)
    assert words.words_moved and words.heads == ()
    assert set(words.risen) == {"沙尘", "口罩", "黄色", "能见度", WORDS[0]}
    labels = compare(days(1, 200, WORDS, 0.9, 0.1), before)
    assert labels.heads == ("sentiment",) and not labels.words_moved
    doubt = compare(days(1, 200, WORDS, 0.4, 0.3), before)
    assert doubt.heads == ("kind",)
    now, then = doubt.unsure["kind"]
    assert now > 0.2 > then


def test_labels_that_another_model_gave_are_told_from_talk_that_changed() -> None:
    rng = random.Random(4)
    now = drift.count([said(rng, WORDS, 0.9, 0.1, "new") for _ in range(600)])
    before = days(2, 900, WORDS, 0.4, 0.1)
    assert compare(now, before).other_model
    assert not compare(days(1, 200, WORDS, 0.9, 0.1), before).other_model
    assert not compare(now, drift.joined([now, before, now, now, now, now])).other_model


def test_words_of_one_or_two_people_are_not_kept() -> None:
    rng = random.Random(4)
    common = drift.count([said(rng, WORDS, 0, 0) for _ in range(50)]).common
    assert set(common) <= set(WORDS)
    lone = drift.count([said(rng, ["张三丰", "某某巷", "车牌", "电话"], 0, 0) for _ in range(2)])
    assert lone.common == {} and sum(lone.words) > 0


def test_few_posts_are_not_judged() -> None:
    found = compare(
        days(1, 20, ["沙尘", "口罩", "黄色", "能见度"], 0.9, 0.9), days(2, 900, WORDS, 0, 0)
    )
    assert not found.judged and not found.notable
    assert (found.posts, found.posts_before) == (60, 2700)


@given(
    st.dictionaries(st.text(max_size=3), st.integers(0, 10**6), max_size=8),
    st.dictionaries(st.text(max_size=3), st.integers(0, 10**6), max_size=8),
)
def test_divergence_is_symmetric_and_bounded(one: dict[str, int], other: dict[str, int]) -> None:
    bits = drift.divergence(one, other)
    assert 0 <= bits <= 1
    assert abs(bits - drift.divergence(other, one)) < 1e-9
    assert drift.divergence(one, one) == 0
