"""Routes: who answers what, and what a wrong file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.domain.event import Level
from pipeline.domain.routing import Route, Routes, load_routes
from pipeline.errors import SettingsError

SHIPPED = Path(__file__).parents[3] / "pipeline" / "defaults" / "routes.toml"
ROUTES = load_routes(SHIPPED)
PLAN = {
    "办公室", "业务科", "气象台", "科技服务中心", "政策法规科", "防雷中心", "人事科", "财务中心",
    "重点办", "值班台",
}  # fmt: skip


@pytest.mark.parametrize(
    ("hazard", "kind", "level", "lead"),
    [
        ("flood", "rumour", 1, "气象台"),
        ("thunder", "damage", 1, "防雷中心"),
        ("rain", "help", 2, "值班台"),
        ("rain", "complaint", 2, "气象台"),
        ("", "source", 1, "业务科"),
        ("rain", "talk", 1, "气象台"),
    ],
)
def test_the_shipped_routes(hazard: str, kind: str, level: int, lead: str) -> None:
    assert ROUTES.who_would_get(hazard, "450103", kind, Level(level)).lead == lead


def test_offices_are_those_of_the_plan() -> None:
    assert set(ROUTES.offices()) <= PLAN


def test_a_grave_matter_adds_helpers_and_nobody_twice() -> None:
    low = ROUTES.who_would_get("flood", "450100", "rumour", Level.GENERAL)
    high = ROUTES.who_would_get("flood", "450100", "rumour", Level.MAJOR)
    assert set(low.copies) < set(high.copies)
    told = [high.lead, *high.helpers, *high.copies]
    assert len(told) == len(set(told))


def test_first_that_fits_decides_and_places_are_prefixes() -> None:
    routes = Routes(
        (
            Route("east", lead="甲", places=("4501",), asked="去看", within="1 小时内"),
            Route("all", lead="乙"),
        )
    )
    routing, asked = routes.choose("rain", "450103", "damage", Level.GENERAL)
    assert (routing.lead, routing.rule, asked) == ("甲", "east", "去看；1 小时内")
    assert routes.who_would_get("rain", "450300", "damage", Level.GENERAL).lead == "乙"
    assert Routes().who_would_get("rain", "", "talk", Level.GENERAL).lead == "办公室"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[route]]\nname="a"\nlead="x"\nhazard=["rain"]\n[default]\nlead="y"', ("a", "hazard")),
        ('[[route]]\nname="a"\nlead="x"\nkinds=["gossip"]\n[default]\nlead="y"', ("a", "gossip")),
        ('[[route]]\nname="a"\nlead="x"\nplaces=["南宁"]\n[default]\nlead="y"', ("a", "places")),
        ('[[route]]\nname="a"\n[default]\nlead="y"', ("a", "lead")),
        ('[[route]]\nname="a"\nlead="x"\nalso=true\n[default]\nlead="y"', ("a", "also")),
        ('[[route]]\nname="a"\nlead="x"\nmin_level=7\n[default]\nlead="y"', ("a", "min_level")),
        ('[[route]]\nname="a"\nlead="x"\nhelpers="y"\n[default]\nlead="y"', ("a", "helpers")),
        ('[[route]]\nlead="x"\n[default]\nlead="y"', ("route 1", "name")),
        ('[[route]]\nname="a"\nlead="x"', ("default",)),
        ('[[route]\nname="a"', ("TOML",)),
        ('[route]\nname="a"\n[default]\nlead="y"', ("[[route]]",)),
    ],
)
def test_a_bad_file_names_the_line_and_the_key(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        load_routes(file)
    assert all(word in str(error.value) for word in (*words, "routes.toml"))
