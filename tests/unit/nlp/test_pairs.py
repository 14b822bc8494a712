"""One look at all pairs of a batch: nothing is missed, answers are those of the long way."""

from __future__ import annotations

import random

import pytest

from nlp.lexicon import WordScanner, hazard_pairs, hazards_in
from nlp.pairs import PairTable
from nlp.places import Gazetteer
from nlp.text import clean, segmenter

TEXTS = [
    "",
    "雨",
    "南宁青秀区暴雨，白沙大道积水过膝，武鸣区大王滩水库水位上涨",
    "🌧️暴雨橙色预警\ud83c 邕江水位",
    "武鸣",
    "暴雨" * 400,
    "记录一下南宁今天的雷电和冰雹，宾阳县停电",
]


def test_every_place_of_a_pair_is_named() -> None:
    lists = (["暴雨", "积水"], ["南宁", "武鸣", "雨暴"], [])
    found = PairTable(lists).starts(TEXTS)
    for pairs, per_text in zip(lists, found, strict=True):
        for text, starts in zip(TEXTS, per_text, strict=True):
            there = [i for i in range(len(text) - 1) if text[i : i + 2] in pairs]
            assert set(there) <= set(starts)
            assert starts == sorted(starts)
            assert all(0 <= start < len(text) for start in starts)


def test_more_than_eight_lists_do_not_fit() -> None:
    with pytest.raises(ValueError, match="eight"):
        PairTable([["暴雨"]] * 9)


def test_a_scanner_that_is_told_where_to_look_finds_the_same() -> None:
    dice = random.Random(4)
    words = ["暴雨", "暴雨橙色", "雨橙", "橙色预警", "预警"]
    scanner = WordScanner(words, yielding=["暴雨橙色"])
    texts = ["".join(dice.choices("暴雨橙色预警，", k=30)) for _ in range(200)]
    (starts,) = PairTable([scanner.pairs]).starts(texts)
    found = [scanner.find(text, starts=at) for text, at in zip(texts, starts, strict=True)]
    assert found == [scanner.find(text) for text in texts]
    assert any(found)


def test_hazards_and_places_are_the_same_when_told_where_to_look() -> None:
    gazetteer = Gazetteer.load()
    of_hazards, of_places = PairTable((hazard_pairs(), gazetteer.pairs)).starts(TEXTS)
    for text, hazards, places in zip(TEXTS, of_hazards, of_places, strict=True):
        assert hazards_in(text, hazards) == hazards_in(text)
        assert gazetteer.find(text, "广西", places) == gazetteer.find(text, "广西")


def test_tokens_of_known_words_are_the_tokens_of_the_text() -> None:
    cutter = segmenter()
    for text in [*TEXTS, "下了abc123毫米的特大暴雨，气象台发布山洪灾害气象风险预警！！"]:
        cleaned = clean(text)
        for _ in range(2):  # the second time from memory
            assert cutter.search_tokens_of(cutter.cut(cleaned), cleaned) == cutter.search_tokens(
                cleaned
            )
