"""Claim matching on posts that no threshold was set on, and confirm under attack.

``claim_heldout.jsonl``: 71 claims (16 of them our own, about Nanning), each with a repeat, a
question, a denial and a true event that resembles it, written before any of them was scored.
The cues of stance and the rules for other years, days and numbers were widened after a first
look at these posts; the thresholds were not touched.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from nlp.claim_calibration import Calibration, Repeat, calibrate, suggest_threshold
from nlp.claims import ClaimIndex, KnownClaim, Thresholds, load_library, read_claims
from nlp.places import Gazetteer
from nlp.stance import stance, stance_towards

DATA = Path(__file__).parent / "data"
CLAIMS = [*load_library(), *read_claims(DATA / "claim_heldout_claims.jsonl")]
BY_ID = {claim.id: claim for claim in CLAIMS}
INDEX = ClaimIndex(CLAIMS)
ROWS = [
    json.loads(line)
    for line in (DATA / "claim_heldout.jsonl").read_text(encoding="utf-8").splitlines()
]
ORDINARY = [
    json.loads(line)["text"]
    for line in (DATA / "place_posts.jsonl").read_text(encoding="utf-8").splitlines()
]
CHATTER = "下班路上堵了一个钟头，菜还没买，{}，刚在群里看到的，晚上再说吧，明天还要早起送娃"
BREATHLESS = (
    "下班路上堵了一个钟头 菜还没买{}刚在群里看到的晚上再说吧明天还要早起送娃今天这天真是够了"
    "阳台的衣服又没收楼下老王说他家也一样"
)


def told(claim_id: str) -> datetime | None:
    day = BY_ID[claim_id].date
    return datetime.fromisoformat(day).replace(tzinfo=UTC) if len(day) == 10 else None


def first_right(shape: str = "{}") -> Counter[str]:
    right: Counter[str] = Counter()
    for row in ROWS:
        found = INDEX.match(shape.format(row["text"]))
        right[row["role"]] += bool(found) and found[0].id == row["claim"]
    return right


def test_the_set_is_as_large_as_it_says() -> None:
    roles = Counter(row["role"] for row in ROWS)
    assert roles == dict.fromkeys(("repeat", "question", "debunk", "negative"), 71)
    assert len({row["claim"] for row in ROWS}) == 71


@pytest.mark.parametrize("shape", ["{}", CHATTER])
def test_the_right_claim_comes_first(shape: str) -> None:
    right = first_right(shape)
    assert (right["repeat"] + right["question"]) / 142 >= 0.88  # the goal is .75
    assert right["debunk"] / 71 >= 0.70


def test_a_claim_in_a_text_without_punctuation_is_found() -> None:
    right: Counter[str] = Counter()
    for row in ROWS:
        found = INDEX.match(BREATHLESS.format(row["text"].replace("，", "")))
        right[row["role"]] += bool(found) and found[0].id == row["claim"]
    assert (right["repeat"] + right["question"]) / 142 >= 0.80


def test_nothing_is_joined_that_is_no_repeat() -> None:
    joined = Counter(
        row["role"]
        for row in ROWS
        for match in INDEX.match(row["text"], at=told(row["claim"]))
        if match.level == "confirm"
    )
    assert set(joined) == {"repeat"}


def variants(claim: KnownClaim, gazetteer: Gazetteer) -> Iterator[tuple[str, str, int]]:
    """(what was changed, text, days after the claim went round) of one claim."""
    said = claim.claim
    for shape in ("听说{}！！", "{}，大家注意安全", "刚下班，饭都没吃。群里在传：{}。给家里看看"):
        yield "copy", shape.format(said), 0
    figures = re.sub(r"\d+", lambda m: str(int(m.group()) + 7), said)
    if figures != said:
        yield "number", figures, 0
    places = [place for place in gazetteer.find(said) if place.start >= 0]
    if places:
        moved = said
        for place in sorted(places, key=lambda p: -p.start):
            moved = moved[: place.start] + "贵州都匀" + moved[place.end :]
        yield "place", moved, 0
        yield "place", f"贵州都匀：{said}", 0
    day = date.fromisoformat(claim.date)
    other = day + timedelta(days=120)
    yield "day", f"{other.month}月{other.day}日，{said}", 0
    yield "year", f"{day.year - 3}年的事，{said}", 0
    yield "later", said, 400
    for shape in ("【辟谣】{}，不实", "网传“{}”，经核实并非事实", "{}？假的，别信"):
        yield "denial", shape.format(said), 0
    for shape in ("{}？", "{}，是真的吗", "求证：{}，有没有知道的"):
        yield "question", shape.format(said), 0


def test_confirm_joins_copies_and_nothing_that_was_changed() -> None:
    gazetteer = Gazetteer.load()
    tried: Counter[str] = Counter()
    joined: Counter[str] = Counter()
    for claim in CLAIMS:
        at = told(claim.id)
        if at is None:
            continue
        for changed, text, days in variants(claim, gazetteer):
            tried[changed] += 1
            levels = {m.level for m in INDEX.match(text, at=at + timedelta(days=days))}
            joined[changed] += "confirm" in levels
    wrong = sum(joined.values()) - joined["copy"]
    assert sum(tried.values()) > 1000
    assert joined["copy"] / sum(joined.values()) >= 0.98
    assert wrong == 0
    assert joined["copy"] / tried["copy"] >= 0.95


def test_stance_is_told() -> None:
    wanted = {"negative": "repeat"}
    right: Counter[str] = Counter()
    for row in ROWS:
        right[row["role"]] += stance(row["text"]) == wanted.get(row["role"], row["role"])
    assert right["repeat"] + right["negative"] >= 0.97 * 142
    assert right["question"] >= 0.85 * 71
    assert right["debunk"] >= 0.70 * 71


def test_stance_towards_a_claim_sees_its_negation() -> None:
    claim = "阳朔兴坪镇在建大桥的桥墩垮塌了"
    assert stance_towards(claim, claim, claim) == "repeat"
    denied = "兴坪那座大桥的桥墩未垮塌"
    assert stance(denied) == "repeat"
    assert stance_towards(denied, denied, claim) == "debunk"
    assert stance_towards(claim, claim, claim, "question") == "question"


REPEATS = [Repeat(row["text"], row["claim"], row["role"]) for row in ROWS if row["claim"] in BY_ID]


def test_calibration_keeps_both_promises_and_says_how_well() -> None:
    found = calibrate(CLAIMS, ORDINARY, REPEATS)
    assert isinstance(found, Calibration)
    assert found.false_per_200 <= 1
    assert found.confirm_precision >= 0.98
    assert found.first_right >= 0.75
    assert found.confirmed >= 10
    assert 0 < found.thresholds.suggest <= found.thresholds.confirm <= 1
    index = ClaimIndex(CLAIMS, thresholds=found.thresholds)
    false = sum(bool(index.match(text)) for text in ORDINARY)
    assert round(200 * false / len(ORDINARY), 3) == found.false_per_200


def test_wrong_joins_raise_the_confirm_threshold() -> None:
    """Posts that read like the claim but are labelled as true events must not be joined."""
    text = "青秀区今晚八点起全城停水三天，水厂进洪水"
    at = told("NN01")
    wrong = [Repeat(text, "NN01", "negative", at)]
    right = [Repeat(BY_ID["NN01"].claim, "NN01", "repeat", at)]
    lenient = calibrate(CLAIMS, ORDINARY, [*right, Repeat(text, "NN01", "repeat", at)])
    strict = calibrate(CLAIMS, ORDINARY, [*right, *wrong])
    assert lenient.thresholds.confirm < strict.thresholds.confirm
    assert strict.confirm_precision == 1.0
    assert strict.confirmed == 1


def test_more_ordinary_likeness_raises_the_suggest_threshold() -> None:
    alike = [row["text"] for row in ROWS if row["role"] == "negative"]
    plain = suggest_threshold(CLAIMS, ORDINARY)
    assert suggest_threshold(CLAIMS, [*ORDINARY, *alike]) > plain
    index = ClaimIndex(CLAIMS, thresholds=Thresholds(suggest_threshold(CLAIMS, alike, share=0)))
    assert not any(index.match(text) for text in alike)
