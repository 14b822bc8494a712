"""The rules a scenario file must keep, each with an error that says what to write instead."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from crawlers.drill.posts import COUNT_NAMES
from nlp.types import HAZARDS, KINDS, RUMOURS, SENTIMENTS
from pipeline.errors import SettingsError

_OFFSET = re.compile(r"(\d{1,2}):([0-5]\d):([0-5]\d)")
_ADCODE = re.compile(r"\d{6}(\d{3}(\d{3})?)?")


class ScenarioError(SettingsError):
    """A scenario file cannot be used; the text names file and line and says what to write."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")


def check_labels(value: dict[str, Any], where: str, *, partial: bool = False) -> None:
    """Check the labels against the annotation guide; ``partial`` for the changes of a comment."""
    allowed: dict[str, tuple[Any, ...]] = {
        "kind": KINDS,
        "sentiment": SENTIMENTS,
        "urgency": (0, 1, 2, 3),
        "rumour": RUMOURS,
    }
    check_known(
        value, set(allowed) if partial else {*allowed, "hazards", "places", "matter"}, where
    )
    for name, labels in allowed.items():
        if (name in value or not partial) and value.get(name) not in labels:
            choice = ", ".join(map(str, labels))
            raise ScenarioError(where, f"truth '{name}' must be one of {choice}")
    if partial:
        return
    for hazard in value.setdefault("hazards", []):
        if hazard not in HAZARDS:
            raise ScenarioError(where, f"no hazard '{hazard}'; use one of {', '.join(HAZARDS)}")
    if value["kind"] == "irrelevant" and value["hazards"]:
        raise ScenarioError(where, "an irrelevant text has no hazards; write []")
    for place in value.setdefault("places", []):
        if not place.get("name") or not _ADCODE.fullmatch(place.get("adcode", "")):
            raise ScenarioError(where, 'a place is {"adcode": "450103", "name": "..."}')
    check_text(value, "matter", where)


def check_known(row: dict[str, Any], names: set[str], where: str) -> None:
    if unknown := sorted(set(row) - names):
        raise ScenarioError(
            where, f"unknown field '{unknown[0]}'; known: {', '.join(sorted(names))}"
        )


def check_text(row: dict[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ScenarioError(where, f"'{name}' is missing or empty; write a text")
    return value


def check_one_of(row: dict[str, Any], name: str, allowed: tuple[str, ...], where: str) -> str:
    value = row.get(name)
    if value not in allowed:
        raise ScenarioError(where, f"'{name}' must be one of {', '.join(allowed)}")
    return str(value)


def check_whole(value: Any, name: str, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ScenarioError(where, f"'{name}' must be a whole number, 0 or more")
    return value


def check_counts(value: dict[str, Any], where: str) -> dict[str, int]:
    check_known(value, set(COUNT_NAMES), where)
    return {name: check_whole(value.get(name, 0), name, where) for name in COUNT_NAMES}


def read_offset(value: Any, where: str, name: str) -> timedelta:
    match = _OFFSET.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ScenarioError(where, f"'{name}' must be an offset from the start such as 02:05:00")
    hours, minutes, seconds = map(int, match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)
