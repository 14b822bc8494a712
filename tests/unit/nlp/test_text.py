from __future__ import annotations

import jieba
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp.lexicon import weather_words
from nlp.text import (
    MENTION,
    NUMBER,
    READ_LIMIT,
    REPOST,
    URL,
    Segmenter,
    clean,
    mask_numbers,
    own_text,
    query_tokens,
    search_tokens,
)
from tests.unit.nlp.texts import drill_texts


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("ＡＢＣ　１２３", "abc 123"),
        ("颱風紅色預警", "台风红色预警"),
        ("暴\u200b雨\ufeff了", "暴雨了"),
        ("看这里http://t.cn/A6abc积水", f"看这里{URL}积水"),
        ("HTTPS://EXAMPLE.COM/x 好", f"{URL} 好"),
        ("@张三 救人", f"{MENTION} 救人"),
        ("转发//@李四:水退了", f"转发{REPOST}水退了"),
        ("转发／／＠李四：水退了", f"转发{REPOST}水退了"),
        ("a@", "a@"),
        ("  两头\t\n空白  ", "两头 空白"),
        ("冒充\ue001标记", "冒充 标记"),
        ("半个\ud83d代理", "半个代理"),
        ("中间\0有零", "中间 有零"),
        ("", ""),
    ],
)
def test_clean(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


def test_numbers_are_masked_for_the_heads_only() -> None:
    assert clean("拨打12345") == "拨打12345"
    assert mask_numbers("拨打12345或119") == f"拨打{NUMBER}或119"


@settings(deadline=None)  # the first call builds the table
@given(st.text(alphabet=st.characters(), max_size=200))
def test_clean_survives_any_text_and_is_stable(text: str) -> None:
    once = clean(text)
    assert "\0" not in once
    assert not any(0xD800 <= ord(c) < 0xE000 for c in once)
    assert once == once.strip()


def test_only_the_beginning_of_an_endless_text_is_read() -> None:
    assert len(clean("雨" * 3 * READ_LIMIT)) == READ_LIMIT


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("太可怕了//@某人:决堤了//@别人:真的吗", "太可怕了"),
        ("//@某人:决堤了", ""),
        ("没有转发", "没有转发"),
        ("见https://t.cn//x", "见https://t.cn//x"),
    ],
)
def test_own_text(text: str, own: str) -> None:
    assert own_text(text) == own


def test_search_finds_a_word_inside_a_longer_one() -> None:
    tokens = search_tokens("南宁发布暴雨橙色预警，城市内涝！@某人 http://t.cn/x").split()
    assert {"南宁", "暴雨", "橙色", "预警", "城市", "内涝"} <= set(tokens)
    assert "，" not in tokens
    assert not any(mark in token for token in tokens for mark in (URL, MENTION))


def test_what_is_typed_can_be_found() -> None:
    text = "听说水库今晚泄洪，楼下的车都在往高处搬，短时强降水还没停"
    held = set(search_tokens(text).split())
    for typed in ("水库泄洪", "短时强降水", "高处"):
        assert set(query_tokens(typed)) <= held


def test_segmentation_agrees_with_jieba() -> None:
    """jieba is the reference; rjieba is the same dictionary and model in another language."""
    reference = jieba.Tokenizer()
    for word in weather_words():
        reference.add_word(word)
    ours = Segmenter(weather_words())
    same = mine = theirs = 0
    for text in map(clean, drill_texts()[:300]):
        a, b = _spans(ours.cut(text)), _spans(reference.lcut(text))
        same, mine, theirs = same + len(a & b), mine + len(a), theirs + len(b)
    assert 2 * same / (mine + theirs) > 0.97


def _spans(words: list[str]) -> set[tuple[int, int]]:
    spans: set[tuple[int, int]] = set()
    start = 0
    for word in words:
        spans.add((start, start + len(word)))
        start += len(word)
    return spans


def test_weather_words_stay_whole() -> None:
    assert "短时强降水" in Segmenter(["短时强降水"]).cut("今晚有短时强降水")
