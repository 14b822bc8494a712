"""Places: names told apart by what the text says, then by the account's place."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp.lexicon.divisions import all_entries, division_name
from nlp.places import Gazetteer
from nlp.types import Place

DATA = Path(__file__).parent / "data" / "place_posts.jsonl"
GAZETTEER = Gazetteer.load()


def _named(text: str, name: str, hint: str | None = None) -> Place:
    for place in GAZETTEER.find(text, hint):
        if name in (place.name, text[place.start : place.end]):
            return place
    raise AssertionError(f"{name} not found in {text}: {GAZETTEER.find(text, hint)}")


@pytest.mark.parametrize(
    ("text", "name", "adcode"),
    [
        ("武鸣城厢镇灵水路停电", "城厢镇", "450110100"),
        ("隆安城厢镇河边那排烧烤档被冲走", "城厢镇", "450123100"),
        ("良庆区大塘镇政府喇叭在喊", "大塘镇", "450108103"),
        ("忻城县大塘镇六安村", "大塘镇", "451321101"),
        ("江西镇左江水倒灌，锦江那几个坡断了", "江西镇", "450105105"),
        ("江西省今天大范围降雨", "江西省", "360000"),
        ("江西今天大范围降雨", "江西省", "360000"),
        ("良庆镇老街进水", "良庆镇", "450108100"),
        ("良庆区暴雨", "良庆区", "450108"),
        ("兴宁区三塘镇那条河边", "三塘镇", "450102101"),
        ("梅州兴宁市气象台发布暴雨橙色预警", "兴宁市", "441481"),
        ("广西资源县梅溪镇山体滑坡", "资源县", "450329"),
        ("融水和睦镇这边水到楼梯第七级", "和睦镇", "450225101"),
        ("民族大道双向积水", "民族大道", "450100"),
        ("大王滩水库今晚开闸", "大王滩水库", "450108"),
        ("重庆开州港", "重庆市", "500000"),
        ("内蒙古暴雪", "内蒙古自治区", "150000"),
    ],
)
def test_which_place(text: str, name: str, adcode: str) -> None:
    assert _named(text, name).adcode == adcode


@pytest.mark.parametrize(
    ("text", "adcode", "name"),
    [
        ("武鸣县停电了", "450110", "武鸣区"),
        ("横县六景积水", "450181", "横州市"),
        ("邕宁县下雨", "450109", "邕宁区"),
        ("融水县涨水", "450225", "融水苗族自治县"),
        ("邕城今晚暴雨", "450100", "南宁市"),
    ],
)
def test_old_and_short_names(text: str, adcode: str, name: str) -> None:
    assert _named(text, name).adcode == adcode


def test_an_old_name_says_what_it_is_called_now() -> None:
    assert "今为武鸣区" in _named("武鸣县停电了", "武鸣区").why


@pytest.mark.parametrize(
    ("text", "hint", "road", "adcode"),
    [
        ("人在上海的南宁路上躲雨", None, "南宁路", "310000"),
        ("徐汇南宁路这一段地势低", None, "南宁路", "310104"),
        ("青岛长沙路的大排档棚子被掀到二楼", None, "长沙路", "370200"),
        ("桂林路积水了", "上海", "桂林路", "310000"),
        ("桂林路积水了", None, "桂林路", ""),
        ("郑州人民路树倒了", None, "人民路", "410100"),
        ("人民路树倒了", "广东 广州", "人民路", "440100"),
        ("人民路树倒了", "广西 南宁", "人民路", "450100"),
    ],
)
def test_a_road_named_after_a_city_lies_elsewhere(
    text: str, hint: str | None, road: str, adcode: str
) -> None:
    place = _named(text, road, hint)
    assert place.level == "road"
    assert place.adcode == adcode
    assert place.why or adcode == "450100"


@pytest.mark.parametrize(
    "text",
    [
        "自然资源部门提醒",
        "有没有电影资源",
        "江南水乡的梅雨",
        "兴业银行停电了",
        "今天水好大",
        "各位来宾请入座",
        "这家公安局在哪",
        "蜜雪冰城第二杯半价",
        "祝大家端午安康",
        "方法总比困难多",
    ],
)
def test_everyday_words_are_no_places(text: str) -> None:
    assert GAZETTEER.find(text) == ()


def test_everyday_word_becomes_a_place_by_its_company_or_the_account() -> None:
    assert _named("资源梅溪镇到县城全是冰", "资源县").adcode == "450329"
    assert _named("我们资源下雪了", "资源县").adcode == "450329"
    assert _named("人在江南，水到膝盖", "江南区", "广西 南宁").adcode == "450105"


def test_the_account_decides_between_places_of_one_name() -> None:
    here = _named("大塘镇淹了", "大塘镇", "广西 来宾")
    assert here.adcode == "451321101"
    assert "来宾" in here.why
    assert any("良庆" in other for other in here.alternatives)
    home = _named("大塘镇淹了", "大塘镇")
    assert home.adcode == "450108103"
    assert any("忻城" in other for other in home.alternatives)


def test_a_province_or_city_is_not_taken_for_a_town_near_home() -> None:
    assert _named("江西北部、广西南部有大雨", "江西省").adcode == "360000"
    assert _named("江西下雨了", "江西省", "广西 南宁").adcode == "360000"
    assert _named("南阳下雨了", "南阳市", "广西 南宁").adcode == "411300"
    assert _named("江南区江西停电", "江西镇").adcode == "450105105"


def test_the_post_comes_first_and_the_account_last() -> None:
    places = GAZETTEER.find("友爱路积水", "广西 桂林")
    assert places[0].name == "友爱路"
    assert places[-1].adcode == "450300"
    assert (places[-1].start, places[-1].end) == (-1, -1)


def test_a_park_of_a_common_name_goes_to_the_account_a_known_one_stays() -> None:
    assert _named("人民公园停电", "人民公园", "广东 广州").adcode == "440100"
    assert _named("青秀山停电", "青秀山", "广东 广州").adcode == "450103"


def test_the_reason_names_what_decided() -> None:
    assert "大王滩水库" in _named("大王滩水库开闸，良庆这边要搬", "良庆区").why


def test_account_place_by_code_or_words() -> None:
    assert GAZETTEER.find("下雨了", "450300")[0].name == "桂林市"
    assert GAZETTEER.find("下雨了", "广西 南宁 青秀区")[0].adcode == "450103"
    assert GAZETTEER.find("下雨了", "海外 其他") == ()
    assert GAZETTEER.find("下雨了", "") == ()


def test_most_telling_place_first() -> None:
    names = [place.name for place in GAZETTEER.find("广西南宁西乡塘区友爱路积水")]
    assert names == ["友爱路", "西乡塘区", "南宁市", "广西壮族自治区"]


def test_unknown_names_are_told_by_their_ending() -> None:
    place = _named("横州云表镇内涝", "云表镇")
    assert place.adcode.startswith("450181")
    unknown = _named("佛山三水大浪镇停电", "大浪镇")
    assert unknown.level == "town"
    assert unknown.adcode == "440607"


@pytest.mark.parametrize(
    "text", ["我们村停电", "大家绕路走", "这条路淹了", "回家的路上", "高速封了"]
)
def test_an_ending_alone_is_no_name(text: str) -> None:
    assert GAZETTEER.find(text) == ()


def test_written_posts_reach_the_goal() -> None:
    """F1 on posts of our own writing with the places named in them."""
    right = wrong = missed = 0
    for line in DATA.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = row["text"]
        found = {text[p.start : p.end] for p in GAZETTEER.find(text) if p.start >= 0}
        said = set(row["places"])
        right += len(found & said)
        wrong += len(found - said)
        missed += len(said - found)
    assert 2 * right / (2 * right + wrong + missed) >= 0.90


@given(st.text(max_size=120), st.one_of(st.none(), st.text(max_size=12)))
def test_any_text_and_hint_are_read(text: str, hint: str | None) -> None:
    for place in GAZETTEER.find(text, hint):
        assert place.start == place.end == -1 or 0 <= place.start < place.end <= len(text)


_NAMES = st.sampled_from(sorted({entry.said for entry in all_entries()})[::7])


@given(st.lists(_NAMES, min_size=1, max_size=6))
def test_spans_do_not_overlap_and_codes_are_known(names: list[str]) -> None:
    places = sorted(GAZETTEER.find("".join(names)), key=lambda place: place.start)
    for one, other in itertools.pairwise(places):
        assert one.end <= other.start
    for place in places:
        code = place.adcode
        assert code in ("", "100000") or division_name(code) or division_name(code[:6])


@pytest.mark.parametrize(
    ("text", "code"),
    [("湖南长沙暴雨", "430100"), ("江西南昌暴雨", "360100"), ("长沙县暴雨", "430121")],
)
def test_a_city_named_after_its_province_is_not_the_county_of_its_name(
    text: str, code: str
) -> None:
    assert code in {place.adcode for place in Gazetteer.load().find(text)}
