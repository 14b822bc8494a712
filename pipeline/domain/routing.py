"""Who answers: hazard x place x kind x level -> lead office, helpers, copies.

The first route that fits decides the lead; ``also`` routes after it add helpers and copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.domain.alert import Routing
from pipeline.domain.event import EVENT_KIND_NAMES, HAZARD_NAMES, Level
from pipeline.errors import SettingsError
from pipeline.toml_file import read_toml

KINDS = (*EVENT_KIND_NAMES, "source")


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table. An empty condition fits all.

    ``places``: beginnings of adcodes (``4501`` is Nanning and its counties). ``also``: the line
    only adds helpers and copies to whatever leads.
    """

    name: str
    lead: str = ""
    helpers: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    hazards: frozenset[str] = frozenset()
    places: tuple[str, ...] = ()
    min_level: Level = Level.GENERAL
    also: bool = False
    asked: str = ""
    within: str = ""

    def fits(self, hazard: str, adcode: str, kind: str, level: Level) -> bool:
        """True when all its conditions hold."""
        return (
            (not self.kinds or kind in self.kinds)
            and (not self.hazards or hazard in self.hazards)
            and (not self.places or adcode.startswith(self.places))
            and level >= self.min_level
        )


@dataclass(frozen=True, slots=True)
class Routes:
    """``routes.toml``: lines in order, and who leads when none fits."""

    routes: tuple[Route, ...] = ()
    default: Route = Route(name="default", lead="办公室")

    def who_would_get(self, hazard: str, adcode: str, kind: str, level: Level) -> Routing:
        """The offices of an event like this, and which line decided."""
        return self.choose(hazard, adcode, kind, level)[0]

    def choose(self, hazard: str, adcode: str, kind: str, level: Level) -> tuple[Routing, str]:
        """The offices, and what is asked of the lead office by when (Chinese)."""
        fitting = [r for r in self.routes if r.fits(hazard, adcode, kind, level)]
        first = next((r for r in fitting if not r.also), self.default)
        helpers = dict.fromkeys(first.helpers)
        copies = dict.fromkeys(first.copies)
        for route in fitting:
            if route.also:
                helpers.update(dict.fromkeys(route.helpers))
                copies.update(dict.fromkeys(route.copies))
        helpers.pop(first.lead, None)
        for office in (first.lead, *helpers):
            copies.pop(office, None)
        asked = "；".join(p for p in (first.asked, first.within) if p)
        return Routing(first.lead, tuple(helpers), tuple(copies), first.name), asked

    def offices(self) -> tuple[str, ...]:
        """Every office named anywhere, in order of first naming."""
        found: dict[str, None] = {}
        for route in (*self.routes, self.default):
            found.update(dict.fromkeys(o for o in (route.lead, *route.helpers, *route.copies) if o))
        return tuple(found)


def load_routes(path: Path) -> Routes:
    """Routes of a file. Raises: SettingsError naming the file, the line's name and the key."""
    data = read_toml(path)
    unknown = set(data) - {"route", "default"}
    if unknown:
        raise SettingsError(
            f"{path.name}: unknown key {', '.join(sorted(unknown))}; "
            "write [[route]] lines and one [default]"
        )
    rows = data.get("route", [])
    if not isinstance(rows, list):
        raise SettingsError(f"{path.name}: write [[route]] with two brackets")
    routes = tuple(_route(path, n, row) for n, row in enumerate(rows, start=1))
    names = [r.name for r in routes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"{path.name}: two routes are called {', '.join(twice)}")
    if "default" not in data:
        raise SettingsError(f"{path.name}: [default] is missing; name the office that leads then")
    default = _route(path, 0, {"name": "default", **data["default"]})
    return Routes(routes, default)


_KEYS = frozenset(
    [
        "name",
        "lead",
        "helpers",
        "copies",
        "kinds",
        "hazards",
        "places",
        "min_level",
        "also",
        "asked",
        "within",
    ]
)


def _route(path: Path, number: int, row: dict[str, Any]) -> Route:
    where = f"{path.name}: route {number} ({row.get('name', 'no name')})"
    unknown = set(row) - _KEYS
    if unknown:
        raise SettingsError(
            f"{where} has unknown keys {', '.join(sorted(unknown))}; "
            f"known: {', '.join(sorted(_KEYS))}"
        )
    for key in ("name", "lead", "asked", "within"):
        if not isinstance(row.get(key, ""), str):
            raise SettingsError(f"{where}: {key} must be a text in quotes")
    if not row.get("name"):
        raise SettingsError(f"{where}: name is missing")
    lists: dict[str, tuple[str, ...]] = {}
    for key in ("helpers", "copies", "kinds", "hazards", "places"):
        value = row.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise SettingsError(f'{where}: {key} must be a list of texts, as ["…"]')
        lists[key] = tuple(value)
    for key, allowed in (("kinds", KINDS), ("hazards", tuple(HAZARD_NAMES))):
        for value in lists[key]:
            if value not in allowed:
                raise SettingsError(f"{where}: {key} has {value!r}; known: {', '.join(allowed)}")
    for value in lists["places"]:
        if not value.isdigit():
            raise SettingsError(
                f"{where}: places has {value!r}; write the first digits of an adcode"
            )
    also = row.get("also", False)
    if not isinstance(also, bool):
        raise SettingsError(f"{where}: also must be true or false")
    if bool(row.get("lead")) == also:
        raise SettingsError(
            f"{where}: an additional line (also = true) names no lead"
            if also
            else f"{where}: lead is missing"
        )
    level = row.get("min_level", 1)
    if level not in (1, 2, 3, 4):
        raise SettingsError(f"{where}: min_level must be 1, 2, 3 or 4")
    return Route(
        name=row["name"],
        lead=row.get("lead", ""),
        helpers=lists["helpers"],
        copies=lists["copies"],
        kinds=frozenset(lists["kinds"]),
        hazards=frozenset(lists["hazards"]),
        places=lists["places"],
        min_level=Level(level),
        also=also,
        asked=row.get("asked", ""),
        within=row.get("within", ""),
    )
