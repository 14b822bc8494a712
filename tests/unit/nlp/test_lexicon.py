"""The word lists: readable, consistent, and what is looked up in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp.lexicon import (
    WordScanner,
    event_hazard,
    hazards_in,
    read_lines,
    read_table,
    signal_hazards,
    weather_words,
)
from nlp.types import HAZARDS


@pytest.mark.parametrize(
    ("name", "columns", "hazard_column"),
    [("terms.tsv", 3, 2), ("signals.tsv", 5, 3), ("event_codes.tsv", 4, 3)],
)
def test_tables_hold_known_hazards_only(name: str, columns: int, hazard_column: int) -> None:
    rows = read_table(name, columns)
    assert rows
    for row in rows:
        assert len(row) == columns
        assert row[hazard_column] in {*HAZARDS, ""}


def test_division_codes_are_six_digits_and_unique() -> None:
    codes = [row[0] for row in read_table("divisions.tsv", 3)]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"\d{6}", code) for code in codes)
    guangxi = [code for code in codes if code.startswith("45")]
    assert len([code for code in guangxi if not code.endswith("00")]) == 111


def test_towns_lie_in_a_known_county() -> None:
    divisions = {row[0] for row in read_table("divisions.tsv", 3)}
    for code, _name in read_table("towns.tsv", 2):
        assert len(code) == 9
        assert code[:6] in divisions


def test_sites_lie_in_a_known_division_or_abroad() -> None:
    divisions = {row[0] for row in read_table("divisions.tsv", 3)} | {"100000"}
    for name, level, code, _others in read_table("sites.tsv", 4):
        assert name
        assert level
        assert code in divisions or level in {"foreign", "sea", "road"}


def test_signal_grades_and_colours_agree() -> None:
    grade_of = {"blue": "4", "yellow": "3", "orange": "2", "red": "1"}
    rows = read_table("signals.tsv", 5)
    assert len(rows) == 44
    assert all(grade_of[colour] == grade for _type, colour, grade, _hazard, _text in rows)


def test_event_codes_known_and_unknown() -> None:
    assert event_hazard("11B03") == ("暴雨", "rain")
    assert event_hazard("11b20") == ("雷雨大风", "thunder")
    assert event_hazard("11B88", "暴雪") == ("暴雪", "snow")
    assert event_hazard("11B88", "新类型") == ("新类型", "other")
    assert event_hazard("11B88") == ("11B88", "other")
    assert signal_hazards()["霾"] == "haze"


@pytest.mark.parametrize(
    ("text", "hazards"),
    [
        ("南宁暴雨，友爱路积水没过膝盖", ("rain", "waterlog")),
        ("台风登陆，海边风大", ("typhoon", "wind")),
        ("霾又来了", ("haze",)),
        ("冰箱里的雪糕化了", ()),
        ("热心市民冷静处理", ()),
        ("大坝管涌，快撤", ("flood",)),
        ("好大的雨", ("rain",)),
        ("", ()),
    ],
)
def test_hazards(text: str, hazards: tuple[str, ...]) -> None:
    assert hazards_in(text) == hazards


@given(st.text())
def test_hazards_of_any_text_are_known_and_in_order(text: str) -> None:
    found = hazards_in(text)
    assert list(found) == [name for name in HAZARDS if name in found]


def test_words_for_the_segmenter() -> None:
    words = weather_words()
    assert "回南天" in words
    assert "冰箱" not in words
    assert words == sorted(set(words))
    assert all(len(word) > 1 and " " not in word for word in words)


def test_scanner_takes_the_longest_and_does_not_overlap() -> None:
    scanner = WordScanner(["暴雨", "暴雨红色预警", "红色", "预警信号"])
    assert scanner.find("暴雨红色预警信号") == [(0, "暴雨红色预警")]
    assert scanner.touches("红色的")
    assert not scanner.touches("晴天")


def test_a_yielding_word_gives_way_to_one_inside_it() -> None:
    scanner = WordScanner(["下南", "南宁", "宁夏"], yielding=["下南"])
    assert scanner.find("记录一下南宁夏天") == [(4, "南宁")]


def _plain_find(words: list[str], text: str) -> list[tuple[int, str]]:
    found, start = [], 0
    while start < len(text):
        here = [word for word in words if text.startswith(word, start)]
        if here:
            longest = max(here, key=len)
            found.append((start, longest))
            start += len(longest)
        else:
            start += 1
    return found


@given(
    st.lists(st.text("雨风水", min_size=2, max_size=4), max_size=6, unique=True),
    st.text("雨风水x", max_size=30),
)
def test_scanner_agrees_with_a_plain_search(words: list[str], text: str) -> None:
    assert WordScanner(words).find(text) == _plain_find(words, text)


def test_comments_are_no_data() -> None:
    for name in ("homonyms.txt", "not_places.txt", "rumours.jsonl"):
        assert not any(line.startswith("#") for line in read_lines(name))
