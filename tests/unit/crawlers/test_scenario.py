"""The drill's night is complete, honest about itself, and the same on every machine."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crawlers.drill.posts import CHANNELS, COUNT_NAMES, DrillPost, DrillWarning
from crawlers.drill.scenario import (
    SCENARIOS,
    Scenario,
    ScenarioError,
    load_scenario,
    scenario_names,
)
from nlp.types import HAZARDS, KINDS, RUMOURS, SENTIMENTS

START = datetime(2026, 10, 18, 10, 0, tzinfo=UTC)  # 18:00 in Beijing


def everything(night: Scenario) -> list[DrillPost | DrillWarning]:
    return [*night.posts, *night.warnings]


@pytest.fixture(scope="module")
def night() -> Scenario:
    return load_scenario("rainstorm_night")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A scenario folder of one's own to break."""
    return Path(shutil.copytree(SCENARIOS / "rainstorm_night", tmp_path / "night"))


def hours(clock: str) -> timedelta:
    """Offset of a Beijing clock time of the night."""
    hour, minute = map(int, clock.split(":"))
    return timedelta(hours=hour - 18, minutes=minute)


# --- the night -------------------------------------------------------------------------------


def test_is_found_by_name_and_by_path(night: Scenario) -> None:
    assert "rainstorm_night" in scenario_names()
    assert load_scenario(SCENARIOS / "rainstorm_night") == night


def test_has_the_size_the_drill_promises(night: Scenario) -> None:
    written = {post.text for post in night.posts if post.written}
    assert len(written) >= 400
    assert 1500 <= len(night.posts) <= 2000
    assert len(night.warnings) >= 20
    assert {post.channel for post in night.posts} == set(CHANNELS) - {"warning"}


def test_ids_are_unique_and_posts_in_order(night: Scenario) -> None:
    ids = [item.id for item in everything(night)]
    assert len(ids) == len(set(ids)) == len(night.truth())
    offsets = [post.offset for post in night.posts]
    assert offsets == sorted(offsets)
    assert timedelta(0) <= offsets[0] and offsets[-1] < night.length == timedelta(hours=6)


def test_labels_are_labels_of_the_annotation_guide(night: Scenario) -> None:
    for id_, truth in night.truth().items():
        assert truth.kind in KINDS, id_
        assert truth.sentiment in SENTIMENTS, id_
        assert truth.urgency in range(4), id_
        assert truth.rumour in RUMOURS, id_
        assert set(truth.hazards) <= set(HAZARDS), id_
        assert truth.matter in night.matters, id_


def test_every_label_and_every_matter_is_played(night: Scenario) -> None:
    truths = list(night.truth().values())
    assert {t.kind for t in truths} == set(KINDS)
    assert {t.sentiment for t in truths} == set(SENTIMENTS)
    assert {t.rumour for t in truths} == set(RUMOURS)
    assert {t.urgency for t in truths} == {0, 1, 2, 3}
    assert {t.matter for t in truths} == set(night.matters)


def test_places_are_named_in_the_text(night: Scenario) -> None:
    for post in night.posts:
        if post.written:
            for place in post.truth.places:
                assert place.name in post.title + post.text, post.id


def test_the_dam_rumour_starts_small_spreads_and_mutates(night: Scenario) -> None:
    posts = [p for p in night.posts if p.truth.matter == "dam_release" and not p.after_release]
    first = posts[0]
    assert first.id == "dam-root" and hours("20:03") < first.offset < hours("20:07")
    believing = [p for p in posts if p.truth.rumour == "unverified"]
    assert len([p for p in believing if not p.written]) >= 150
    assert len([p for p in posts if p.truth.rumour == "question" and p.written]) >= 40
    assert len([p for p in posts if p.truth.rumour == "debunk" and p.written]) >= 10
    text = "\n".join(p.text for p in believing)
    for mutation in ("屯六水库", "凤亭河水库", "老虎岭水库", "天雹水库", "零点", "全城停水三天"):
        assert mutation in text
    notice = {p.text.split("\n")[-1] for p in posts if p.key == "dam-notice"}
    assert len(notice) >= 6


def test_no_office_denies_the_rumour_before_the_officer_does(night: Scenario) -> None:
    for post in night.posts:
        if post.truth.rumour == "debunk" and post.author_kind in ("government", "media"):
            assert post.after_release, post.id
    late = [post for post in night.posts if post.after_release]
    assert late and all(post.offset >= hours("22:30") for post in late)


def test_the_other_strands_are_there(night: Scenario) -> None:
    wave = [
        p
        for p in night.posts
        if p.truth.matter == "forecast_complaint" and hours("20:40") <= p.offset <= hours("21:40")
    ]
    assert len(wave) >= 60
    open_calls = [p for p in night.posts if p.written and p.truth.kind == "help"]
    assert len(open_calls) >= 20
    assert len([p for p in open_calls if re.search(r"1\d\d[ -]?0000", p.text)]) >= 12
    assert sum(p.truth.kind == "irrelevant" for p in night.posts) >= 20
    repeated = Counter(p.text for p in night.posts)
    assert sum(n > 1 for n in repeated.values()) >= 5  # exact duplicates
    per_half_hour = Counter(int(p.offset / timedelta(minutes=30)) for p in night.posts)
    assert per_half_hour[9] > per_half_hour[8] < per_half_hour[6]  # a lull, then a second wave


def test_only_invented_telephone_numbers(night: Scenario) -> None:
    for item in everything(night):
        digits = re.sub(r"(?<=\d)[ -](?=\d)", "", item.text)
        for number in re.findall(r"1[3-9]\d{9}", digits):
            assert number.startswith("1380000"), item.id
        for plate in re.findall(r"桂[A-Z][·\s]?[A-Z0-9]{5,6}", item.text):
            assert "D000" in plate, item.id


def test_offices_are_marked_as_invented(night: Scenario) -> None:
    for post in night.posts:
        if post.author_kind == "government":
            assert post.author.endswith("（演练）"), post.id


# --- how posts pass on -----------------------------------------------------------------------


def test_the_same_files_give_the_same_night(night: Scenario, copy: Path) -> None:
    assert load_scenario(copy).posts == night.posts


def test_editing_one_text_moves_no_other(night: Scenario, copy: Path) -> None:
    file = copy / "talk.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    gone = json.loads(lines[0])["key"]
    assert load_scenario(copy).posts == tuple(p for p in night.posts if p.key != gone)


def test_reposts_follow_their_original(night: Scenario) -> None:
    by_id = {post.id: post for post in night.posts}
    reposts = [post for post in night.posts if post.repost_of]
    assert len(reposts) > 500
    for post in reposts:
        parent, root = by_id[post.repost_of or ""], by_id[post.root or ""]
        assert post.offset >= parent.offset > timedelta(0)
        assert post.text.endswith(f"//@{parent.author}:{parent.text}")
        assert root.repost_of is None and root.key == post.key
    assert any(by_id[post.repost_of or ""].repost_of for post in reposts)  # chains


def test_counts_start_at_nothing_grow_and_end_at_their_final_value(night: Scenario) -> None:
    for post in night.posts[::20]:
        before = post.counts_at(post.offset - timedelta(seconds=1))
        assert before == dict.fromkeys(COUNT_NAMES, 0)
        last = before
        for minutes in (0, 5, 30, 120, 10_000):
            now = post.counts_at(post.offset + timedelta(minutes=minutes))
            assert all(now[name] >= last[name] for name in COUNT_NAMES)
            last = now
        assert all(last[n] >= post.counts.get(n, 0) - 1 for n in COUNT_NAMES)


def test_counted_reposts_are_never_fewer_than_shown(night: Scenario) -> None:
    root = next(post for post in night.posts if post.id == "dam-boost")
    for clock in ("20:30", "21:00", "22:00", "23:59"):
        shown = sum(p.root == root.id and p.offset <= hours(clock) for p in night.posts)
        assert root.counts_at(hours(clock))["reposts"] >= shown


# --- warnings --------------------------------------------------------------------------------


def test_warnings_rise_to_red_and_are_lowered(night: Scenario) -> None:
    city = [w for w in night.warnings if w.station == "南宁市气象台" and w.type == "暴雨"]
    colours = [w.colour for w in city]
    assert colours == ["blue", "yellow", "orange", "red", "red", "orange", "yellow"]
    assert {w.action for w in night.warnings} == {"issued", "changed", "lifted"}
    assert {"暴雨", "雷电", "地质灾害气象风险"} <= {w.type for w in night.warnings}
    by_id = {w.id: w for w in night.warnings}
    for warning in night.warnings:
        assert warning.expires >= warning.offset
        if warning.supersedes:
            before = by_id[warning.supersedes]
            assert (before.type, before.adcode) == (warning.type, warning.adcode)


def test_alert_ids_have_the_national_form(night: Scenario) -> None:
    ids = [warning.alert_id(START) for warning in night.warnings]
    assert len(set(ids)) == len(ids)
    assert ids[0].startswith("45010041600000_2026101818120")
    assert all(re.fullmatch(r"45\d{12}_20261018\d{6}", id_) for id_ in ids)


# --- mistakes --------------------------------------------------------------------------------


def first_row(folder: Path, name: str) -> dict[str, Any]:
    row: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8").split("\n")[0])
    return row


def add(folder: Path, name: str, **changes: Any) -> None:
    row = {**first_row(folder, name), "key": "added", **changes}
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"key": "talk-002"}, "used before, in talk.jsonl line 2"),
        ({"at": "1:5"}, "'at' must be an offset"),
        ({"at": "06:00:00"}, "before the end"),
        ({"channel": "radio"}, "'channel' must be one of weibo_like"),
        ({"channel": "warning"}, "'channel' must be one of"),
        ({"text": " "}, "'text' is missing or empty"),
        ({"mood": "good"}, "unknown field 'mood'"),
        ({"counts": {"likes": -1}}, "'likes' must be a whole number"),
        ({"reply_to": "nobody"}, "'reply_to' must name the key of an earlier post"),
        ({"truth": None}, "'truth' is missing"),
        ({"spread": {"copies": 3, "over": "00:10:00", "shape": "loud"}}, "'comments' or 'pools'"),
        (
            {"spread": {"copies": 3, "over": "00:10:00", "shape": "loud", "comments": ["好"]}},
            "'shape' must be one of burst",
        ),
        (
            {"spread": {"copies": 3, "over": "00:10:00", "shape": "burst", "pools": ["none"]}},
            "no pool 'none'",
        ),
    ],
)
def test_a_mistake_names_file_line_and_cure(copy: Path, changes: dict[str, Any], says: str) -> None:
    add(copy, "talk.jsonl", **changes)
    with pytest.raises(ScenarioError, match=re.escape(says)) as caught:
        load_scenario(copy)
    assert str(caught.value).startswith("talk.jsonl line ")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "gossip"}, "truth 'kind' must be one of help"),
        ({"urgency": "1"}, "truth 'urgency' must be one of 0"),
        ({"hazards": ["drizzle"]}, "no hazard 'drizzle'"),
        ({"kind": "irrelevant", "hazards": ["rain"]}, "irrelevant text has no hazards"),
        ({"places": [{"adcode": "45", "name": "广西"}]}, "a place is"),
        ({"matter": "unheard_of"}, "matter 'unheard_of' is not listed"),
    ],
)
def test_a_wrong_truth_is_refused(copy: Path, changes: dict[str, Any], says: str) -> None:
    add(copy, "talk.jsonl", truth={**first_row(copy, "talk.jsonl")["truth"], **changes})
    with pytest.raises(ScenarioError, match=re.escape(says)):
        load_scenario(copy)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sender": "123"}, "14 digits"),
        ({"action": "changed"}, "'supersedes' names an earlier warning"),
        ({"expires": "00:00:01"}, "'expires' lies before 'at'"),
        ({"colour": "purple"}, "'colour' must be one of blue"),
    ],
)
def test_a_wrong_warning_is_refused(copy: Path, changes: dict[str, Any], says: str) -> None:
    add(copy, "warnings.jsonl", **changes)
    with pytest.raises(ScenarioError, match=re.escape(says)) as caught:
        load_scenario(copy)
    assert str(caught.value).startswith("warnings.jsonl line ")


def test_unreadable_files_are_named(copy: Path) -> None:
    with (copy / "talk.jsonl").open("a", encoding="utf-8") as file:
        file.write("{oops\n")
    with pytest.raises(ScenarioError, match=r"talk\.jsonl line \d+: not readable as JSON"):
        load_scenario(copy)
    (copy / "talk.jsonl").write_bytes("{}".encode("utf-16"))
    with pytest.raises(ScenarioError, match=r"talk\.jsonl: not UTF-8"):
        load_scenario(copy)
    (copy / "scenario.toml").write_text("name = ", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"scenario\.toml: not readable as TOML"):
        load_scenario(copy)


def test_an_unknown_scenario_lists_the_known() -> None:
    with pytest.raises(ScenarioError, match="rainstorm_night"):
        load_scenario("sunny_morning")
