"""Warning signals in text: every wording, and never a colour that was not said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp.types import HAZARDS
from nlp.warnings import find_warning, find_warnings

NOW = datetime(2026, 7, 3, 2, 0, tzinfo=UTC)  # 10:00 in Beijing


@pytest.mark.parametrize(
    ("text", "hazard", "colour", "action"),
    [
        ("南宁市气象台发布暴雨橙色预警", "rain", "orange", "issued"),
        ("广西气象台发布暴雨四级（蓝色）预警", "rain", "blue", "issued"),
        ("台风三级预警信号生效中", "typhoon", "yellow", "in_force"),
        ("大风Ⅲ级预警", "wind", "yellow", "in_force"),
        ("气象台发布大风蓝色预警[Ⅳ级/一般]", "wind", "blue", "issued"),
        ("暴雨橙色预警提升为红色", "rain", "red", "changed"),
        ("将暴雨蓝色预警信号升级为暴雨黄色预警信号", "rain", "yellow", "changed"),
        ("台风预警由蓝色升级为黄色", "typhoon", "yellow", "changed"),
        ("暴雨红色预警信号降级为橙色", "rain", "orange", "changed"),
        ("江南区解除暴雨蓝色预警", "rain", "blue", "lifted"),
        ("道路结冰预警解除", "cold", None, "lifted"),
        ("雷电黄色预警继续生效", "thunder", "yellow", "in_force"),
        ("武鸣区发布雷雨大风二级预警", "thunder", "orange", "issued"),
        ("高温红色预警信号", "heat", "red", "in_force"),
        ("【大雾】黄色预警", "fog", "yellow", "in_force"),
        ("联合发布地质灾害气象风险橙色预警", "geo", "orange", "issued"),
        ("今早冰雹橙色预警", "hail", "orange", "in_force"),
        ("暴雨升红色", "rain", "red", "changed"),
        ("台风“尼格”蓝色预警", "typhoon", "blue", "in_force"),
        ("霾橙色预警", "haze", "orange", "in_force"),
        ("南宁发布暴雨预警", "rain", None, "issued"),
        ("【暴雨橙色预警】南宁市气象台14时20分发布", "rain", "orange", "issued"),
    ],
)
def test_wording(text: str, hazard: str, colour: str | None, action: str) -> None:
    found = find_warning(text)
    assert found is not None
    assert (found.hazard, found.colour, found.action) == (hazard, colour, action)


@pytest.mark.parametrize(
    "text",
    [
        "防汛四级应急响应",
        "启动重大气象灾害（暴雨）Ⅲ级应急响应",
        "收到预警短信了",
        "我妈的怒气已发布红色预警",
        "【剧透预警】第八集男主领盒饭",
        "这本书封面是红色的",
        "",
    ],
)
def test_no_weather_warning(text: str) -> None:
    assert find_warnings(text) == ()


def test_several_in_one_notice() -> None:
    found = find_warnings("南宁市气象台2025年10月7日9时解除台风三级预警、暴雨四级预警")
    assert [(w.type_name, w.colour, w.action) for w in found] == [
        ("台风", "yellow", "lifted"),
        ("暴雨", "blue", "lifted"),
    ]


def test_two_types_under_one_word() -> None:
    found = find_warnings("苏州发布暴雨、强对流双黄色预警")
    assert [(w.type_name, w.colour, w.action) for w in found] == [
        ("暴雨", "yellow", "issued"),
        ("强对流", "yellow", "issued"),
    ]
    assert [w.type_name for w in find_warnings("北京大风寒潮双预警生效中")] == ["大风", "寒潮"]


def test_headline_and_sentence_are_one_warning() -> None:
    found = find_warnings("【暴雨红色预警】南宁市气象台7月3日9时发布暴雨红色预警信号", NOW)
    assert [(w.type_name, w.colour, w.action) for w in found] == [("暴雨", "red", "issued")]


def test_station_and_time_are_read() -> None:
    found = find_warning("据南宁市气象台消息，7月2日21时30分发布暴雨黄色预警信号", NOW)
    assert found is not None
    assert found.station == "南宁市气象台"
    assert found.time_text == "7月2日21时30分"
    assert found.flags == ()


@pytest.mark.parametrize(
    ("text", "station"),
    [
        ("广西壮族自治区气象台7月3日9时发布暴雨蓝色预警", "广西壮族自治区气象台"),
        ("呼和浩特市气象台7月3日9时发布暴雨蓝色预警", "呼和浩特市气象台"),
        ("7月3日9时日照市气象台发布大风蓝色预警", "日照市气象台"),
        ("从江县气象局7月3日发布高温黄色预警", "从江县气象局"),
    ],
)
def test_station_names_that_look_like_lead_words(text: str, station: str) -> None:
    found = find_warning(text)
    assert found is not None
    assert found.station == station


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("暴雨红色预警，速转", ("unsourced",)),
        ("南宁市气象台发布暴雨红色预警", ("unsourced",)),
        ("南宁市气象台7月3日9时发布暴雨红色预警", ()),
        ("南宁市气象台6月20日8时发布暴雨红色预警", ("stale",)),
        ("南宁市气象台2025年7月3日9时发布暴雨红色预警", ("stale",)),
        ("6月20日8时发布暴雨红色预警", ("unsourced", "stale")),
        ("南宁市气象台28日21时发布暴雨红色预警", ("stale",)),
        ("南宁市气象台2月30日8时发布暴雨红色预警", ()),
    ],
)
def test_unsourced_and_stale(text: str, flags: tuple[str, ...]) -> None:
    found = find_warning(text, NOW)
    assert found is not None
    assert found.flags == flags


def test_a_december_notice_told_in_january_is_of_last_year() -> None:
    january = datetime(2026, 1, 1, 1, 0, tzinfo=UTC)
    fresh = find_warning("南宁市气象台12月31日20时发布寒潮蓝色预警", january)
    assert fresh is not None
    assert fresh.flags == ()


_WORDS = st.sampled_from(
    [
        *("暴雨", "台风", "雷电", "大雾", "预警", "信号", "升级", "为", "由", "解除", "发布"),
        *("四级", "Ⅲ级", "（蓝色）", "红", "色", "橙色", "气象台", "南宁市", "7月", "2日", "99时"),
        *("2月30日", "，", "。", "继续", "响应", "【", "】", "2026-13-45", "25:70"),
    ]
)


@given(st.lists(_WORDS, max_size=14).map("".join))
def test_never_invents_a_colour(text: str) -> None:
    signs = {
        "blue": ("蓝", "四级", "Ⅳ"),
        "yellow": ("黄", "三级", "Ⅲ"),
        "orange": ("橙", "二级", "Ⅱ"),
        "red": ("红", "一级", "Ⅰ"),
    }
    for found in find_warnings(text, NOW):
        assert found.hazard in HAZARDS
        assert found.type_name in text
        assert found.station in text
        assert found.time_text in text
        if found.colour is not None:
            assert any(sign in text for sign in signs[found.colour])


@given(st.text(max_size=200))
def test_any_text_is_read_without_a_crash(text: str) -> None:
    find_warnings(text + "预警", NOW)


def test_a_long_hostile_text_is_no_slow_path() -> None:
    assert find_warnings("暴雨预警升级为" * 3000 + "红") != ()
    assert find_warnings("气象" * 1500 + "暴雨预警") != ()
