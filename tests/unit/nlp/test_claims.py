"""Known claims: the right one suggested, and never a true event joined to a rumour."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp.claim_calibration import suggest_threshold
from nlp.claims import (
    VERDICTS,
    ClaimIndex,
    KnownClaim,
    Thresholds,
    load_library,
    read_claims,
    stance,
)
from nlp.errors import ClaimFileError
from nlp.types import HAZARDS, ClaimMatch

DATA = Path(__file__).parent / "data"
LIBRARY = {claim.id: claim for claim in load_library()}
INDEX = ClaimIndex(LIBRARY.values())
# One text went round under several cities' names, or as two wordings: either answer is right.
FAMILY = {"WR066": "WR065", "WR071": "WR070"}

Row = dict[str, str]


def _rows(name: str) -> list[Row]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def _told(row: Row) -> datetime | None:
    """A moment when the claim was going round: the hardest case for a true event."""
    day = LIBRARY[row["claim"]].date
    return datetime.fromisoformat(day).replace(tzinfo=UTC) if len(day) == 10 else None


def _same(one: str, other: str) -> bool:
    return FAMILY.get(one, one) == FAMILY.get(other, other)


def _share(rows: list[Row], right: Callable[[Row], bool]) -> float:
    return sum(map(right, rows)) / len(rows)


def _first_is_right(row: Row) -> bool:
    found = INDEX.match(row["text"])
    return bool(found) and _same(found[0].id, row["claim"])


def test_library_is_complete_and_shows_no_doubtful_link() -> None:
    assert len(LIBRARY) >= 60
    for claim in LIBRARY.values():
        assert claim.verdict in VERDICTS
        assert claim.hazard in HAZARDS
        assert claim.source_name
        assert claim.correction
        assert not claim.source_url or claim.source_url.startswith("http")


def test_repeats_and_questions_are_suggested_first() -> None:
    rows = [row for row in _rows("claim_posts.jsonl") if row["role"] in ("repeat", "question")]
    assert len(rows) >= 100
    assert _share(rows, _first_is_right) >= 0.75


def test_denials_are_suggested_too() -> None:
    rows = [row for row in _rows("claim_posts.jsonl") if row["role"] == "debunk"]
    assert _share(rows, _first_is_right) >= 0.70


def test_chatter_around_a_claim_does_not_hide_it() -> None:
    rows = [row for row in _rows("claim_posts.jsonl") if row["role"] == "repeat"]
    chatter = [
        dict(row, text=f"下班路上堵了一个钟头，菜还没买，{row['text']}，刚在群里看到的，晚上再说吧")
        for row in rows
    ]
    assert _share(chatter, _first_is_right) >= 0.75


def test_ordinary_posts_get_at_most_one_false_suggestion_in_two_hundred() -> None:
    rows = _rows("place_posts.jsonl")
    assert sum(bool(INDEX.match(row["text"])) for row in rows) <= 1


def test_confirm_is_precise_and_never_takes_a_true_event() -> None:
    right = wrong = 0
    for row in _rows("claim_posts.jsonl"):
        for found in INDEX.match(row["text"], at=_told(row)):
            if found.level != "confirm":
                continue
            if row["role"] in ("repeat", "copy") and _same(found.id, row["claim"]):
                right += 1
            else:
                wrong += 1
    assert wrong == 0
    assert right >= 25


def test_near_copies_are_confirmed_while_the_claim_goes_round() -> None:
    rows = [row for row in _rows("claim_posts.jsonl") if row["role"] == "copy"]
    for row in rows:
        found = INDEX.match(row["text"], at=_told(row))
        assert (found[0].id, found[0].level) == (row["claim"], "confirm"), row["text"]


CLAIM = KnownClaim(
    "C1",
    "武鸣双桥镇一座桥被洪水冲垮，7月3日夜里有5人落水失踪",
    "失实",
    place="广西南宁武鸣区",
    adcode="450110",
    date="2026-07-04",
)
NEAR = datetime(2026, 7, 4, 3, tzinfo=UTC)


def _one(text: str, at: datetime | None = NEAR, rumour: str = "none") -> ClaimMatch:
    found = ClaimIndex([CLAIM]).match(text, rumour=rumour, at=at)
    assert len(found) == 1
    return found[0]


def test_word_for_word_is_confirmed() -> None:
    found = _one("听说武鸣双桥镇一座桥被洪水冲垮，7月3日夜里有5人落水失踪！")
    assert found.level == "confirm"
    assert found.differs == ()
    assert found.similarity > 0.9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("宾阳双桥镇一座桥被洪水冲垮，7月3日夜里有5人落水失踪", "地点"),
        ("武鸣双桥镇一座桥被洪水冲垮，7月3日夜里有2人落水失踪", "数字"),
        ("武鸣双桥镇一座桥被洪水冲垮，8月9日夜里有5人落水失踪", "日期"),
        ("武鸣太平镇一座桥被洪水冲垮，7月3日夜里有5人落水失踪", "地点"),
        ("武鸣双桥镇一座桥没有被洪水冲垮，7月3日夜里无5人落水失踪", "语气"),
    ],
)
def test_a_differing_place_day_figure_or_tone_is_named_and_only_suggested(
    text: str, said: str
) -> None:
    found = _one(text)
    assert found.level == "suggest"
    assert any(difference.startswith(said) for difference in found.differs)


def test_a_year_later_the_same_words_are_only_suggested() -> None:
    text = "武鸣双桥镇一座桥被洪水冲垮，7月3日夜里有5人落水失踪"
    assert _one(text, NEAR + timedelta(days=365)).level == "suggest"


def test_a_claim_with_a_true_twin_is_never_confirmed() -> None:
    claim = LIBRARY["WR014"]
    found = INDEX.match(claim.claim, at=datetime(2025, 8, 27, tzinfo=UTC))
    assert (found[0].id, found[0].level) == ("WR014", "suggest")


@pytest.mark.parametrize("rumour", ["question", "debunk"])
def test_what_the_head_calls_a_question_or_denial_is_not_confirmed(rumour: str) -> None:
    text = "武鸣双桥镇一座桥被洪水冲垮，7月3日夜里有5人落水失踪"
    assert _one(text, rumour=rumour).level == "suggest"


def test_short_posts_only_suggest() -> None:
    index = ClaimIndex([KnownClaim("C2", "水库溃坝了", date="2026-07-04")])
    found = index.match("水库溃坝了", at=NEAR)
    assert [match.level for match in found] == ["suggest"]


def test_inactive_claims_are_not_matched() -> None:
    claim = KnownClaim("C3", "武鸣双桥镇一座桥被洪水冲垮", active=False)
    index = ClaimIndex([claim])
    assert len(index) == 0
    assert index.match(claim.claim) == ()


def test_threshold_is_set_from_ordinary_posts() -> None:
    background = [row["text"] for row in _rows("place_posts.jsonl")]
    claims = list(LIBRARY.values())
    lenient = suggest_threshold(claims, background, share=0.05)
    strict = suggest_threshold(claims, background, share=0.0)
    assert lenient <= strict
    index = ClaimIndex(claims, thresholds=Thresholds(strict))
    assert not any(index.match(text) for text in background)
    with pytest.raises(ValueError, match="ordinary"):
        suggest_threshold(claims, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("水库溃坝了快跑", "repeat"),
        ("水库溃坝是真的吗", "question"),
        ("求证：水库是不是溃坝了", "question"),
        ("求辟谣，听说要停水", "question"),
        ("是不是真的啊有没有人在现场", "question"),
        ("真的假的？", "question"),
        ("【辟谣】水库运行正常", "debunk"),
        ("视频是2021年的，别再传了", "debunk"),
        ("网传停课通知不实", "debunk"),
        ("假的！别信", "debunk"),
        ("", "repeat"),
    ],
)
def test_stance(text: str, expected: str) -> None:
    assert stance(text) == expected


def test_stance_on_written_posts() -> None:
    rows = _rows("claim_posts.jsonl")
    wanted = {"copy": "repeat", "negative": "repeat"}
    right = _share(rows, lambda row: stance(row["text"]) == wanted.get(row["role"], row["role"]))
    assert right >= 0.9


def test_claims_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "claims.jsonl"
    path.write_text(
        '{"id": "A", "claim": "水库要泄洪", "verdict": "失实", "place": "南宁", '
        '"hazard": "flood"}\n'
        "\n"
        '{"id": 7, "claim": "停水三天", "new_field": 1}\n',
        encoding="utf-8",
    )
    first, second = read_claims(path)
    assert (first.id, first.verdict, first.place, first.hazard) == ("A", "失实", "南宁", "flood")
    assert (second.id, second.verdict) == ("7", "尚待核实")


@pytest.mark.parametrize(
    "line", ["{", '{"id": "A"}', '{"claim": "x"}', "[]", "3", '{"id": "A", "claim": " "}']
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "claims.jsonl"
    path.write_text(f'{{"id": "A", "claim": "水库要泄洪"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(ClaimFileError, match="line 2"):
        read_claims(path)


@given(st.text(max_size=150))
def test_any_text_is_matched_without_a_crash(text: str) -> None:
    for found in INDEX.match(text + "郑州海洋馆鲨鱼跑出来", at=NEAR):
        assert 0 < found.similarity <= 1
