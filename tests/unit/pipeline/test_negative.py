"""The negative list: what is found, what is left alone, what counts as answered."""

from __future__ import annotations

import pytest

from pipeline.desk.negative import shipped_rules
from pipeline.domain.negative import NegativeRule, check, unanswered


def hits(text: str) -> set[str]:
    return {f.rule for f in check({"事实真相": text}, shipped_rules())}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("联系人13812345678", "person_phone"),
        ("身份证450103199001011234", "person_id"),
        ("车牌桂A12345被淹", "person_plate"),
        ("据内部会商意见", "process"),
        ("事故造成3人死亡", "casualties"),
        ("该造谣者已被行政拘留", "blame"),
        ("今晚绝对不会下雨", "absolute"),
        ("大王滩水库今晚没有泄洪计划", "others_duty"),
        ("此件为秘密级", "secret"),
        ("弹药库附近积水", "military"),
    ],
)
def test_what_a_reviewer_must_look_at_is_found(text: str, rule: str) -> None:
    assert rule in hits(text)


@pytest.mark.parametrize(
    "text",
    [
        "南宁站8时至14时累计雨量12.3毫米，最大小时雨强5.1毫米。",
        "气象台11月24日13时05分发布暴雨橙色预警信号，请注意防范。",
        "热线12121、应急值班电话12345。",
        "预计今晚有小到中雨，请以最新预报为准。",
        "台风命名由世界气象组织台风委员会负责。",
    ],
)
def test_ordinary_sentences_raise_no_question(text: str) -> None:
    assert hits(text) == set()


def test_a_finding_keeps_its_id_while_its_words_stay() -> None:
    first = check({"事实真相": "没有泄洪。"}, shipped_rules())
    again = check({"事实真相": "经核实，水库没有泄洪。请放心。"}, shipped_rules())
    assert [f.id for f in first] == [f.id for f in again]


def test_the_same_words_in_one_field_are_one_question_and_in_two_fields_two() -> None:
    one = check({"事实真相": "泄洪、泄洪"}, shipped_rules())
    two = check({"事实真相": "泄洪", "处置结果": "泄洪"}, shipped_rules())
    assert (len(one), len(two)) == (1, 2)


def test_every_finding_needs_its_own_answer() -> None:
    found = check({"事实真相": "泄洪；3人死亡"}, shipped_rules())
    assert len(unanswered(found, {})) == 2
    assert unanswered(found, {found[0].id: "已与水利局核对"}) == [found[1]]
    assert len(unanswered(found, {f.id: " " for f in found})) == 2


def test_a_rule_without_words_or_with_a_broken_pattern_is_refused() -> None:
    row = {"id": "x", "title": "x", "basis": "x", "ask": "x"}
    with pytest.raises(ValueError, match="words or a pattern"):
        NegativeRule.from_json(row)
    with pytest.raises(ValueError, match="rule x"):
        NegativeRule.from_json({**row, "pattern": "("})
