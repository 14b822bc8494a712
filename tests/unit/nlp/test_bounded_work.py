"""No text is slow: work is counted, not timed.

Counted are the calls of functions (ours and the interpreter's own) while one text is annotated.
The patterns of ``nlp`` bound their own repetitions and read at most the same few characters.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest

from nlp.annotator import LOOK_LIMIT, Annotator
from nlp.claims import load_library
from nlp.lexicon.divisions import all_entries
from nlp.text import READ_LIMIT

LONG = 10_000
MOST_CALLS = 13_000
"""A usual post of 80 characters takes about 1,000. 10,600 (claims in pieces) are 2 ms."""


def _fill(piece: str) -> str:
    return (piece * (LONG // len(piece) + 1))[:LONG]


def _hostile() -> dict[str, str]:
    dice = random.Random(1)
    claims = [claim.claim for claim in load_library()]
    names = sorted({entry.said for entry in all_entries()})
    return {
        "one word": _fill("暴雨"),
        "one place": _fill("南宁"),
        "all places": _fill("".join(dice.sample(names, 2000))),
        "place endings": _fill("某某路口大桥水库镇村"),
        "doubtful places": _fill("在江南区大塘镇，"),
        "all claims": _fill("，".join(dice.choices(claims, k=500))),
        "claims in pieces": _fill("，".join("".join(claims)[i : i + 6] for i in range(0, 9000, 6))),
        "one claim": _fill(claims[0] + "是真的吗，"),
        "warnings": _fill("大风寒潮双预警、暴雨橙色预警信号升级为"),
        "figures": _fill("死3人伤12人7月20日一百二十毫米"),
        "numbers": _fill("1"),
        "links": _fill("http://a.cn/ @某人 //@某某: "),
        "short parts": _fill("雨，水，库，"),
        "any characters": "".join(chr(dice.randrange(0x4E00, 0x9FA5)) for _ in range(LONG)),
        "nothing": _fill("\u200b \u3000"),
        "surrogates": _fill("\ud83c雨"),
    }


HOSTILE = _hostile()


@pytest.fixture(scope="module")
def annotator() -> Annotator:
    loaded = Annotator.load()
    loaded.annotate(list(HOSTILE.values()))  # words are remembered, code is compiled
    return loaded


def _calls(annotator: Annotator, text: str) -> int:
    annotator.annotate([text])  # what is looked up once is not counted
    counted = 0

    def count(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        annotator.annotate([text])
    finally:
        sys.setprofile(before)
    return counted


@pytest.mark.parametrize("name", HOSTILE)
def test_a_long_text_takes_no_more_than_its_beginning(annotator: Annotator, name: str) -> None:
    text = HOSTILE[name]
    assert len(text) == LONG
    assert _calls(annotator, text) <= _calls(annotator, text[:READ_LIMIT]) + 50


@pytest.mark.parametrize("name", HOSTILE)
def test_work_is_bounded(annotator: Annotator, name: str) -> None:
    assert _calls(annotator, HOSTILE[name]) < MOST_CALLS


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_found_beyond_the_limit(annotator: Annotator, name: str) -> None:
    (one,) = annotator.annotate([HOSTILE[name]])
    assert all(place.end <= LOOK_LIMIT for place in one.places)
    assert len(one.claims) <= 3
    assert len(one.tokens) <= READ_LIMIT * 8
