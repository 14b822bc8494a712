"""The work of comparing a text with claims is bounded, whatever the text: counted, not timed."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp import claim_search, particulars
from nlp.claims import ClaimIndex, KnownClaim, load_library
from nlp.particulars import read_particulars
from nlp.places import Gazetteer
from tests.unit.nlp.test_bounded_work import HOSTILE

CLAIMS = [claim.claim for claim in load_library()]
INDEX = ClaimIndex(load_library())
FORMS = 3
"""Forms of one claim at most: the whole and its long clauses."""


def _texts() -> dict[str, str]:
    dice = random.Random(3)
    pairs = [claim[i : i + 2] for claim in CLAIMS for i in range(len(claim) - 1)]
    return {
        **HOSTILE,
        "claims glued": "".join(dice.choices(CLAIMS, k=100)),
        "claims spaced": " ".join(dice.choices(CLAIMS, k=100)),
        "pairs": "".join(dice.choices(pairs, k=1000)),
        "single characters": "，".join("".join(CLAIMS)),
        "pieces": "，".join(claim[n % 9 : n % 9 + 7] for n, claim in enumerate(CLAIMS * 9)),
        "digits after a claim": CLAIMS[0] + "1" * 3000,
    }


TEXTS = _texts()


def _plan(text: str) -> tuple[claim_search.Plan, dict[int, int]]:
    postings = INDEX._postings
    hits, end = claim_search.find_hits(text, postings, None)
    assert len(hits) <= claim_search.MOST_HITS
    worth = claim_search.candidates(hits, postings)
    assert len(worth) <= claim_search.GATE_MOST
    forms = {number: len(INDEX._held[number].forms) for number in worth}
    if not worth:
        return {}, forms
    return claim_search.plan(text[:end], hits, postings, worth, list(forms.values())), forms


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("length", [300, 800, 2000])
def test_comparisons_are_bounded(name: str, length: int) -> None:
    plan, forms = _plan(TEXTS[name][:length])
    assert len(plan) <= claim_search.MOST_CLAUSES
    compared = sum(forms[number] for numbers in plan.values() for number in numbers)
    beyond = claim_search.BEST_CLAIMS * claim_search.BEST_CLAUSES * FORMS
    assert compared <= max(claim_search.MOST_COMPARED, beyond)


@given(st.lists(st.sampled_from(CLAIMS) | st.text("雨水，。库1", max_size=9), max_size=40))
def test_any_mixture_is_bounded(pieces: list[str]) -> None:
    plan, _ = _plan("，".join(pieces))
    assert len(plan) <= claim_search.MOST_CLAUSES


def test_two_claims_in_one_long_post_are_both_found() -> None:
    claims = load_library()
    chatter = "今天下班好累，晚饭吃什么好呢，孩子作业还没写完，" * 3
    both = 0
    for one, other in zip(claims, claims[40:] + claims[:40], strict=True):
        found = INDEX.match(f"{chatter}{one.claim}。{chatter}{other.claim}。{chatter}")
        both += {one.id, other.id} <= {match.id for match in found}
    assert both / len(claims) >= 0.9


def test_a_claim_is_found_inside_a_text_without_punctuation() -> None:
    claim = "武鸣区青龙水库大坝裂开今晚炸坝泄洪"
    text = "下班路上堵了一个钟头菜还没买" * 4 + claim + "刚在群里看到的晚上再说吧" * 4
    assert INDEX.match(text) == ()
    found = ClaimIndex([KnownClaim("A", claim)]).match(text)
    assert [match.id for match in found] == ["A"]


def test_reading_figures_takes_linear_work() -> None:
    gazetteer = Gazetteer.load()
    assert read_particulars("1" * 3000, gazetteer).figures == {}
    # a start inside a run of digits is no start: else each digit would be tried from each other
    assert re.compile(particulars._NUMBER).findall("1" * 30) == ["1" * 9]
