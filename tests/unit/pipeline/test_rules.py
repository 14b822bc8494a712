"""Rules as pure functions: what fires, at which figures, with which sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.domain.event import Level
from pipeline.domain.findings import Facts, Finding, evaluate
from pipeline.domain.levels import Levels, load_levels, propose_level
from pipeline.domain.rules import Rules, load_rules
from pipeline.errors import SettingsError

DEFAULTS = Path(__file__).parents[3] / "pipeline" / "defaults"
RULES = Rules()


def fire(facts: Facts, *done: tuple[str, str]) -> list[Finding]:
    return evaluate(facts, RULES, lambda rule, rung: (rule, rung) in done)


def names(found: list[Finding]) -> list[tuple[str, str]]:
    return [(f.rule, f.rung) for f in found]


def rumour(**more: object) -> Facts:
    return Facts(kind="rumour", title="网传：水库泄洪", **more)  # type: ignore[arg-type]


def test_the_shipped_file_is_the_default() -> None:
    assert load_rules(DEFAULTS / "rules.toml") == RULES


def test_a_grave_rumour_without_source_fires_at_its_first_post() -> None:
    facts = rumour(spreaders=1, consequence="dam", consequence_name="水库泄洪、溃坝")
    (found,) = fire(facts)
    assert (found.rule, found.rung) == ("rumour", "early")
    assert "未见出处" in found.sentence
    assert "真伪待核实" in found.sentence
    assert fire(rumour(spreaders=1, consequence="dam", sourced=True)) == []
    assert fire(rumour(spreaders=1, consequence="school")) == []
    assert fire(rumour(spreaders=0, questions=5, consequence="dam")) == []


def test_any_consequence_fires_at_three_spreaders() -> None:
    assert fire(rumour(spreaders=2, consequence="school")) == []
    (found,) = fire(rumour(spreaders=3, questions=2, consequence="school", consequence_name="停课"))
    assert found.sentence.startswith("3 个账号在传“停课”说法，另有 2 条求证")


@pytest.mark.parametrize(
    ("passed_on", "rung"), [(9, ""), (10, "r10"), (49, "r10"), (50, "r50"), (500, "r500")]
)
def test_rungs_of_spreading(passed_on: int, rung: str) -> None:
    found = fire(rumour(passed_on=passed_on, spreaders=passed_on))
    assert names(found) == ([("rumour", rung)] if rung else [])


def test_a_rung_fires_once_and_lower_ones_not_after_it() -> None:
    facts = rumour(passed_on=60)
    assert names(fire(facts)) == [("rumour", "r50")]
    assert fire(facts, ("rumour", "r50")) == []


@pytest.mark.parametrize(
    ("reposts", "views", "said"),
    [(499, 4999, ""), (500, 0, "转发 500 次"), (0, 5000, "浏览 5000 次")],
)
def test_the_reference_number_of_one_post(reposts: int, views: int, said: str) -> None:
    found = fire(rumour(reposts_of_one=reposts, views_of_one=views))
    assert names(found) == ([("rumour", "anchor")] if said else [])
    assert not said or said in found[0].sentence


def test_a_burst_says_how_many_times_the_usual() -> None:
    facts = rumour(window=37, usual=2.0, counties=2, claim="R0042")
    (found,) = fire(facts)
    assert found.sentence == (
        "10 分钟内转述 37 条，为平时（2 条）的 18.5 倍，涉及 2 个区县；疑与已知说法 R0042 相同"
    )
    assert (found.rung, found.figures["ratio"]) == ("x10", 18.5)
    assert fire(rumour(window=14, usual=0.0)) == []
    assert fire(rumour(window=20, usual=7.0)) == []


def test_a_later_flare_up_is_a_new_statement() -> None:
    facts = rumour(window=37, usual=2.0, episode=1)
    assert names(fire(facts, ("burst", "x10"))) == [("burst", "x10#1")]


def test_every_help_call_fires_once() -> None:
    facts = Facts(kind="help", title="求助", probability=0.41, place="葛村路")
    (found,) = fire(facts)
    assert "41%" in found.sentence
    assert "葛村路" in found.sentence
    assert fire(facts, ("help_call", "")) == []


@pytest.mark.parametrize(
    ("urgency", "authors", "trusted", "fires"),
    [(2, 2, 0, True), (1, 9, 3, False), (3, 1, 0, False), (2, 1, 1, True)],
)
def test_damage_needs_danger_and_two_voices_or_a_trusted_one(
    urgency: int, authors: int, trusted: int, fires: bool
) -> None:
    facts = Facts(kind="damage", title="", urgency=urgency, authors=authors, trusted=trusted)
    assert bool(fire(facts)) is fires


def test_a_wave_of_complaints_needs_number_and_growth() -> None:
    def wave(window: int, usual: float) -> list[tuple[str, str]]:
        facts = Facts(kind="complaint", title="", topic_name="天气预报", window=window, usual=usual)
        return names(fire(facts))

    assert wave(9, 0.0) == []
    assert wave(10, 0.0) == [("complaint", "c10")]
    assert wave(10, 4.0) == []
    assert wave(30, 4.0) == [("complaint", "c30")]


LEVELS = load_levels(DEFAULTS / "levels.toml")


@pytest.mark.parametrize(
    ("kind", "figures", "level"),
    [
        ("talk", {"posts_per_hour": 49, "ratio": 9}, 1),
        ("talk", {"posts_per_hour": 50, "ratio": 3}, 2),
        ("rumour", {"reposts_of_one": 500}, 2),
        ("complaint", {"reposts_of_one": 500}, 1),
        ("rumour", {"dam": 1, "posts": 1}, 1),
        ("rumour", {"dam": 1, "posts": 3}, 3),
        ("help", {"help": 1}, 2),
        ("damage", {"counties": 2, "posts_per_hour": 50}, 3),
        ("rumour", {"central_media": 1, "dam": 1, "posts": 9}, 4),
    ],
)
def test_proposed_levels(kind: str, figures: dict[str, float], level: int) -> None:
    proposed, reasons = propose_level(kind, figures, LEVELS)
    assert proposed == level
    assert bool(reasons) is (level > 1)


def test_reasons_carry_their_figures() -> None:
    _, reasons = propose_level("talk", {"posts_per_hour": 60, "ratio": 4.25}, LEVELS)
    assert reasons == ("1 小时 60 条，为平时的 4.2 倍",)
    assert propose_level("talk", {}, Levels()) == (Level.GENERAL, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[rumour]\nrung = [1]", ("rumour", "rung")),
        ("[rumour]\nrungs = []", ("rumour", "rungs")),
        ('[burst]\nminimum = "many"', ("burst", "minimum")),
        ("[help]\nthreshold = -1", ("help", "threshold")),
        ("[rumours]\nx = 1", ("rumours",)),
        ("[rumour", ("TOML",)),
    ],
)
def test_a_bad_rule_file_names_table_and_key(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        load_rules(file)
    assert all(word in str(error.value) for word in (*words, "rules.toml"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('level = 5\nneeds = {posts = 1}\nreason = "x"', "level"),
        ('level = 2\nneeds = {fame = 1}\nreason = "x"', "fame"),
        ('level = 2\nneeds = {posts = 1}\nreason = "{fame}"', "fame"),
        ('level = 2\nreason = "x"', "needs"),
        ('level = 2\nneeds = {posts = 1}\nreason = "x"\ncolour = 1', "colour"),
    ],
)
def test_a_bad_level_file_names_the_condition(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "levels.toml"
    file.write_text(f"[[condition]]\n{text}", encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        load_levels(file)
    assert word in str(error.value)
    assert "condition 1" in str(error.value)


def test_every_shipped_threshold_says_why() -> None:
    import tomllib

    rules = tomllib.loads((DEFAULTS / "rules.toml").read_text(encoding="utf-8"))
    levels = tomllib.loads((DEFAULTS / "levels.toml").read_text(encoding="utf-8"))
    tables = [*rules.values(), *levels["condition"]]
    assert all(len(table["why"]) > 20 for table in tables)
