"""Clauses and weights by which claims are compared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nlp.grams import MAX_CLAUSE, background_counts, clauses, content_length, grams, weight


def test_a_claim_in_chatter_stands_as_its_own_clause() -> None:
    text = "下班了，群里说梧州23号要下雪，五十年来第一场！真冷，先吃饭。"
    assert "群里说梧州23号要下雪五十年来第一场" in clauses(text)


def test_links_mentions_and_faces_are_no_content() -> None:
    assert clauses("水库要泄洪了 https://t.cn/abc @老李: [泪]") == ["水库要泄洪了"]
    assert clauses("#梧州下雪# 真的要下雪了吗，梧州五十年没下") == [
        "梧州下雪真的要下雪了吗梧州五十年没下",
        "真的要下雪了吗梧州五十年没下",
    ]


@given(st.text(max_size=300))
def test_clauses_of_any_text_are_short_and_hold_something(text: str) -> None:
    for clause in clauses(text):
        assert 0 < len(clause) <= MAX_CLAUSE * 2


def test_rare_words_weigh_more_than_what_everybody_writes() -> None:
    assert weight("鳄鱼") > weight("暴雨") > 0
    assert weight("的") < weight("泄洪")


def test_grams_are_of_one_to_three_characters() -> None:
    assert grams("溃坝了") == {"溃", "坝", "了", "溃坝", "坝了", "溃坝了"}


def test_background_counts_posts_not_occurrences() -> None:
    texts = [f"今天南宁下大雨下大雨第{number}次了呀" for number in range(100)]
    counts = background_counts([*texts, texts[0], "短"])
    assert counts[""] == 100
    assert counts["大雨"] == 100
    assert "99" not in counts


def test_content_length_counts_letters_figures_and_characters() -> None:
    assert content_length("南宁 26℃，a！") == 5
