"""A claim and a post side by side: marks by value, in both texts, without overlaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp.claim_compare import Mark, compare
from nlp.claim_library import KnownClaim
from nlp.places import Gazetteer

GAZETTEER = Gazetteer.load()
CLAIM = KnownClaim(
    "C", "武鸣区双桥镇7月3日降雨299毫米，3人被困", adcode="450110", date="2026-07-04"
)


def said(text: str, marks: tuple[Mark, ...], agrees: bool) -> list[str]:
    return [text[m.start : m.end] for m in marks if m.agrees is agrees and m.kind != "phrase"]


@pytest.mark.parametrize(
    ("text", "differ", "kinds"),
    [
        ("武鸣区双桥镇7月3日降雨299毫米，5人被困", ["5人"], ("number",)),
        ("宾阳县7月3日降雨299毫米，3人被困", ["宾阳县"], ("place",)),
        ("武鸣区双桥镇8月9日降雨299毫米", ["8月9日"], ("date",)),
        ("武鸣区双桥镇降雨没有299毫米", ["没有"], ("denial",)),
        ("武鸣区双桥镇7月3日降雨299毫米，3人被困", [], ()),
    ],
)
def test_what_differs_is_marked_in_the_post(
    text: str, differ: list[str], kinds: tuple[str, ...]
) -> None:
    found = compare(CLAIM, text, GAZETTEER)
    assert said(text, found.post_marks, agrees=False) == differ
    assert found.differs == kinds


def test_what_differs_is_marked_in_the_claim_too() -> None:
    found = compare(CLAIM, "双桥镇8月9日降雨120毫米", GAZETTEER)
    assert said(CLAIM.claim, found.claim_marks, agrees=False) == ["7月3日", "299毫米"]


def test_what_agrees_is_named_by_kind() -> None:
    found = compare(CLAIM, "听讲双桥镇七月三号下了二百九十九毫米，三人被困", GAZETTEER)
    assert "双桥镇" in found.agrees["place"]
    assert "二百九十九毫米" in found.agrees["number"]
    assert "三人" in found.agrees["number"]


def test_a_claim_that_names_no_place_is_compared_by_its_division() -> None:
    claim = KnownClaim("D", "水库大坝裂开了", adcode="450110")
    assert compare(claim, "宾阳县水库大坝裂开了", GAZETTEER).differs == ("place",)
    assert compare(claim, "武鸣区水库大坝裂开了", GAZETTEER).differs == ()


def test_another_year_and_a_far_day_are_marked_though_the_claim_names_none() -> None:
    claim = KnownClaim("E", "双桥镇水库大坝裂开", adcode="450110", date="2026-07-04")
    for text, differ in (
        ("2023年双桥镇水库大坝裂开", ["2023"]),
        ("12月9日双桥镇水库大坝裂开", ["12月9日"]),
        ("2026年7月2日双桥镇水库大坝裂开", []),
        ("7月3日双桥镇水库大坝裂开", []),
    ):
        found = compare(claim, text, GAZETTEER)
        assert said(text, found.post_marks, agrees=False) == differ, text
        assert "date" not in found.agrees


def test_a_day_without_month_agrees_with_the_same_day() -> None:
    assert compare(CLAIM, "双桥镇3日降雨299毫米", GAZETTEER).differs == ()
    assert compare(CLAIM, "双桥镇8月3日降雨299毫米", GAZETTEER).differs == ("date",)


@given(st.text("武鸣宾阳双桥镇7月3日299毫米3人没有被困，吗", max_size=60))
def test_marks_never_overlap_nor_leave_the_text(text: str) -> None:
    found = compare(CLAIM, text, GAZETTEER)
    for whole, marks in ((CLAIM.claim, found.claim_marks), (text, found.post_marks)):
        at = 0
        for mark in marks:
            assert at <= mark.start < mark.end <= len(whole)
            at = mark.end


@given(st.text(max_size=120))
def test_any_text_is_compared_without_a_crash(text: str) -> None:
    compare(CLAIM, text + CLAIM.claim, GAZETTEER)
