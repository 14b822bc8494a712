"""ClaimReview is read as published; what cannot be used is handed back with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawlers.spiders.claimreview import read_document
from pipeline.domain.claim_review import BadReview, ReviewedClaim, read_claim_reviews, verdict_of


def review(**other: Any) -> dict[str, Any]:
    return {
        "@context": "https://schema.org",
        "@type": "ClaimReview",
        "url": "https://example.org/check/1",
        "datePublished": "2026-06-20T08:00:00+08:00",
        "claimReviewed": "青龙水库大坝裂开，今晚炸坝",
        "author": {"@type": "Organization", "name": "示例核查台"},
        "reviewRating": {"@type": "Rating", "alternateName": "不实"},
        "reviewBody": "大坝完好，没有放水安排。",
        **other,
    }


def read(data: Any) -> list[ReviewedClaim | BadReview]:
    return list(read_claim_reviews(json.dumps(data, ensure_ascii=False)))


def test_a_review_becomes_a_claim() -> None:
    assert read(review()) == [
        ReviewedClaim(
            "青龙水库大坝裂开，今晚炸坝", "失实", "不实", "示例核查台",
            "https://example.org/check/1", "2026-06-20", "大坝完好，没有放水安排。",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrap",
    [
        lambda r: [r, r],
        lambda r: {"@graph": [{"@type": "WebSite"}, r, r]},
        lambda r: {"@type": "DataFeed", "dataFeedElement": [{"item": r}, {"item": [r]}]},
        lambda r: {"@type": "ItemList", "itemListElement": [{"item": r}, {"item": r}]},
        lambda r: [{**r, "@type": ["Review", "http://schema.org/ClaimReview"]}, r],
    ],
)
def test_every_usual_wrapping_is_opened(wrap: Any) -> None:
    found = read(wrap(review()))
    assert len(found) == 2
    assert all(isinstance(entry, ReviewedClaim) for entry in found)
    assert len({entry.id for entry in found if isinstance(entry, ReviewedClaim)}) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"claimReviewed": " "}, "claimReviewed"),
        ({"claimReviewed": "水" * 501}, "501"),
        ({"author": None}, "author"),
        ({"reviewRating": {"alternateName": "四颗星"}}, "reviewRating"),
        ({"reviewRating": None}, "reviewRating"),
    ],
)
def test_a_bad_entry_says_why_and_keeps_its_bytes(change: dict[str, Any], reason: str) -> None:
    good, bad = read([review(), review(**change)])
    assert isinstance(good, ReviewedClaim)
    assert isinstance(bad, BadReview)
    assert bad.number == 2
    assert reason in bad.reason
    assert json.loads(bad.raw)["@type"] == "ClaimReview"


@pytest.mark.parametrize("body", ["", "{", "[]", '{"@type": "WebPage"}', "[" * 100_000])
def test_a_file_without_reviews_says_so(body: str) -> None:
    (bad,) = read_claim_reviews(body)
    assert isinstance(bad, BadReview)
    assert bad.raw == body.encode()


@pytest.mark.parametrize(
    ("said", "rating", "verdict"),
    [
        ("谣言", {}, "失实"),
        ("不实信息", {}, "失实"),
        ("False", {}, "失实"),
        ("Mostly true", {}, "部分属实"),
        ("属实", {}, "属实"),
        ("部分属实", {}, "部分属实"),
        ("尚待核实", {}, "尚待核实"),
        ("无法核实", {}, "无法核实"),
        ("", {"ratingValue": "1"}, "失实"),
        ("", {"ratingValue": 5}, "属实"),
        ("", {"ratingValue": 50, "worstRating": 0, "bestRating": 100}, "部分属实"),
    ],
)
def test_verdicts(said: str, rating: dict[str, Any], verdict: str) -> None:
    found = verdict_of(said, rating)
    assert found is not None
    assert found.value == verdict


def test_links_that_are_none_are_left_out() -> None:
    for url in ("javascript:alert(1)", "https://a:b@example.org/", "http://[", 7):
        (found,) = read(review(url=url))
        assert isinstance(found, ReviewedClaim)
        assert found.link == ""


def test_a_page_is_read_by_its_blocks() -> None:
    block = json.dumps(review(), ensure_ascii=False).replace("<", "\\u003c")
    page = (
        '<html><script type="application/ld+json">{"@type": "WebSite"}</script>'
        f'<script type="application/ld+json">{block}</script></html>'
    )
    (found,) = read_document(page)
    assert isinstance(found, ReviewedClaim)
    (bad,) = read_document("<html><p>没有核查</p></html>")
    assert isinstance(bad, BadReview)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["@type", "@graph", "item", "author", "claimReviewed", "reviewRating", "url",
                     "ratingValue", "name", "datePublished"]
                ),
                inner | st.just("ClaimReview"),
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)  # fmt: skip
def test_any_json_is_read_without_a_crash(data: Any) -> None:
    assert read(data)
