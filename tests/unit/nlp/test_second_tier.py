"""The second look: what moves, what never moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nlp import account, second_tier
from nlp.account import Account
from nlp.annotator import Annotator
from nlp.heads import COLUMNS, HEAD, HEADS, probabilities
from nlp.training.account import fit_account
from nlp.training.labelled import SIDE_TASKS, LabelledText
from nlp.types import Annotation, ClaimMatch

WEIGHTS = {"features": list(account.FEATURES), "weight": [0.1, -1.1, -0.3, -0.7]}
LEVELS = {head.name: 0.5 for head in HEADS}


@pytest.fixture(scope="module")
def annotator() -> Annotator:
    return Annotator.load()


def test_a_newspaper_lowers_and_an_ordinary_person_moves_nothing() -> None:
    paper = account.shift(Account("media", True, 1_000_000), WEIGHTS)
    assert -account.LIMIT <= paper < 0
    for followers in (0, 10, 1000):
        assert account.shift(Account("person", False, followers), WEIGHTS) == 0
    old = {"weight": [0.0, -9.0], "features": ["verified", "followers"]}
    assert account.shift(Account("media", True, 1_000_000), old) == 0, "a card of another version"


def test_a_newspaper_may_lose_the_flag_and_a_person_with_a_million_readers_may_not() -> None:
    said = _said()
    assert said.rumour == "unverified"
    weights = {**WEIGHTS, "weight": [0.0, -9.0, -9.0, -9.0]}
    weak = second_tier.by_scores(said, _row_with(said, unverified=0.5, none=0.4), LEVELS)
    assert weak.rumour == "unverified"
    person = second_tier.by_account(weak, Account("person", True, 10**6), weights, 0.6)
    assert person.rumour == "unverified" and "rumour" in person.unsure
    assert person.scores["rumour"]["unverified"] < weak.scores["rumour"]["unverified"]
    assert (
        second_tier.by_account(weak, Account("media", True, 10**6), weights, 0.6).rumour == "none"
    )


def _row_with(said: Annotation, **rumour: float) -> NDArray[np.float32]:
    row = second_tier.as_row(said)
    head = HEAD["rumour"]
    left = (1 - sum(rumour.values())) / (len(head.labels) - len(rumour))
    row[head.columns] = [rumour.get(label, left) for label in head.labels]
    return row


def test_nothing_known_moves_nothing(annotator: Annotator) -> None:
    (said,) = annotator.annotate(["听说上游水库今晚要炸坝放水，大家快跑"])
    assert second_tier.by_account(said, Account(), WEIGHTS, 0.5) is said
    assert second_tier.by_account(said, Account("media", True, 10), None, 0.5) is said


@given(
    st.sampled_from(["person", "organisation", "media", "government"]),
    st.booleans(),
    st.sampled_from([-1, 0, 10, 1000, 10**7]),
)
def test_only_the_rumour_head_moves(kind: str, verified: bool, followers: int) -> None:
    said = _said()
    moved = second_tier.by_account(said, Account(kind, verified, followers), WEIGHTS, 0.5)
    assert (moved.kind, moved.sentiment, moved.urgency) == (said.kind, said.sentiment, said.urgency)
    rumour = moved.scores["rumour"]
    assert abs(sum(rumour.values()) - 1) < 1e-3
    assert rumour[moved.rumour] == max(rumour.values())
    others = [label for label in rumour if label != "unverified"]
    before = [said.scores["rumour"][label] for label in others]
    after = [rumour[label] for label in others]
    assert np.argsort(before).tolist() == np.argsort(after).tolist() or min(after) < 1e-3


_kept = []


def _said():  # type: ignore[no-untyped-def]
    if not _kept:
        _kept.extend(Annotator.load().annotate(["听说上游水库今晚要炸坝放水，大家快跑"]))
    return _kept[0]


def test_the_account_is_given_as_a_reason() -> None:
    moved = second_tier.by_account(_said(), Account("media", True, 1_000_000), WEIGHTS, 0.5)
    assert (moved.tier, moved.looks) == (2, ("account",))
    word, weight = moved.reasons["rumour"][-1]
    assert word == "媒体账号，粉丝100万级" and weight < 0


def test_ordinary_sure_posts_are_left_alone(annotator: Annotator) -> None:
    said = annotator.annotate(["听说水库要垮了", "救命，我们被困在屋顶，水还在涨", "好大的雨"])
    assert [second_tier.wants_second_look(s) for s in said] == [True, True, False]


def test_what_a_reply_answers_decides_what_it_means(annotator: Annotator) -> None:
    own, answered = "真的假的？", "网传大王滩水库今晚泄洪，下游全部要淹"
    alone, chained = annotator.annotate([own, second_tier.with_answered(own, answered)])
    said = second_tier.by_thread(alone, chained)
    assert alone.rumour == "none" or not alone.relevant
    assert said.rumour == "question" and said.relevant and said.tier == 2
    assert (said.tokens, said.places) == (alone.tokens, alone.places)


@given(st.lists(st.floats(-8, 8), min_size=COLUMNS, max_size=COLUMNS))
def test_new_scores_never_lower_urgency(logits: list[float]) -> None:
    said = _said()
    row = probabilities(np.array([logits], np.float32))[0]
    again = second_tier.by_scores(said, row, LEVELS)
    assert again.urgency >= said.urgency
    assert np.abs(second_tier.as_row(again) - row).max() < 1e-4
    for head in HEADS[:2]:
        scores = again.scores[head.name]
        assert scores[getattr(again, head.name)] == max(scores.values())


def test_a_near_meaning_only_suggests() -> None:
    said = replace(_said(), claims=())
    near = [ClaimMatch("A", 0.2, clause="甲"), ClaimMatch("B", 0.15, "confirm", "乙", ("地点：…",))]
    found = second_tier.with_suggestion(said, near, [0.2, 0.7])
    assert found.claims == (ClaimMatch("B", 0.7, "suggest", "乙", ("地点：…",)),)
    assert found.looks == ("meaning",)
    assert second_tier.with_suggestion(said, near, [0.2, 0.3]) is said
    assert second_tier.with_suggestion(said, [], []) is said
    shown = replace(said, claims=(ClaimMatch("C", 0.5),))
    assert second_tier.with_suggestion(shown, near, [0.9, 0.9]) is shown


def test_a_help_call_stays_one_and_is_called_unsure(annotator: Annotator) -> None:
    (said,) = annotator.annotate(["救命，我们被困在屋顶，水还在涨"])
    assert said.kind == "help"
    row = second_tier.as_row(said)
    row[HEAD["kind"].columns] = 0.02
    row[HEAD["kind"].start + HEAD["kind"].labels.index("talk")] = 0.88
    again = second_tier.by_scores(said, row, LEVELS)
    assert again.kind == "help" and "kind" in again.unsure and again.urgency == said.urgency
    chained = replace(_said(), kind="talk", urgency=0)
    assert second_tier.by_thread(said, chained).kind == "help"


def test_what_an_account_weighs_is_fitted_on_posts_with_a_verdict() -> None:
    rows = []
    for n in range(300):
        is_rumour = n % 3 == 0
        known = {"verified": False, "verified_type": -1, "followers": 200}
        paper = {"verified": True, "verified_type": 3, "followers": 3_000_000}
        rows.append(
            LabelledText(
                text=f"第{n % 7}条{'速转' if n % 5 else '记者'}消息{n * 37 % 101}",
                set_name="ced",
                labels={"report": SIDE_TASKS["report"].index("rumor" if is_rumour else "nonrumor")},
                raw={"time": f"2012-{1 + n // 30:02d}-01", "extra": known if is_rumour else paper},
            )
        )
    fitted = fit_account(rows)
    assert fitted is not None and fitted == fit_account(rows)
    assert fitted["text_and_account"]["accuracy"] > 0.95 > fitted["text"]["accuracy"]
    assert account.shift(Account("media", True, 10**6), fitted) < -1
    assert fit_account(rows[:50]) is None
