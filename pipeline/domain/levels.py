"""How grave a matter looks: the level table of ``levels.toml``. A person decides the level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.domain.event import Level
from pipeline.errors import SettingsError
from pipeline.toml_file import read_toml


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of the level table: every figure of ``needs`` must be reached."""

    level: Level
    needs: Mapping[str, float]
    reason: str
    kinds: tuple[str, ...] = ()
    why: str = ""


FIGURES = (
    "posts", "posts_per_hour", "ratio", "reposts_of_one", "views_of_one", "sources", "counties",
    "media", "provincial_media", "central_media", "casualty", "dam", "complaints", "urgency",
    "help",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Levels:
    """``levels.toml``: conditions, highest level first."""

    conditions: tuple[Condition, ...] = ()
    provincial_sources: frozenset[str] = frozenset()
    central_sources: frozenset[str] = frozenset()


def propose_level(
    kind: str, figures: Mapping[str, float], levels: Levels
) -> tuple[Level, tuple[str, ...]]:
    """The highest level of which a condition holds, with every reason for it."""
    best = Level.GENERAL
    reasons: list[str] = []
    for condition in levels.conditions:
        if condition.level < best:
            break  # sorted: nothing higher follows
        if condition.kinds and kind not in condition.kinds:
            continue
        for name, least in condition.needs.items():
            if figures.get(name, 0) < least:
                break
        else:
            best = condition.level
            reasons.append(condition.reason.format_map(_Shown(figures)))
    return best, tuple(reasons)


class _Shown(dict[str, float]):
    """Figures as a reason shows them: 50, 3.5."""

    def __getitem__(self, name: str) -> Any:
        value = self.get(name, 0)
        return int(value) if value == int(value) else f"{value:.1f}"


def load_levels(path: Path) -> Levels:
    """The level table. Raises: SettingsError naming the condition and the key."""
    data = read_toml(path)
    unknown = set(data) - {"condition", "provincial_sources", "central_sources", "why"}
    if unknown:
        raise SettingsError(f"{path.name}: unknown key {', '.join(sorted(unknown))}")
    made: list[Condition] = []
    for number, row in enumerate(data.get("condition", ()), start=1):
        where = f"{path.name}: condition {number}"
        unknown = set(row) - {"level", "needs", "reason", "kinds", "why"}
        if unknown:
            raise SettingsError(f"{where} has unknown keys {', '.join(sorted(unknown))}")
        if row.get("level") not in (1, 2, 3, 4):
            raise SettingsError(f"{where}: level must be 1, 2, 3 or 4")
        needs = row.get("needs")
        if not isinstance(needs, dict) or not needs:
            raise SettingsError(f"{where}: needs must name at least one figure")
        for figure, least in needs.items():
            if figure not in FIGURES or not isinstance(least, int | float):
                raise SettingsError(
                    f"{where}: needs.{figure} is not possible; figures: {', '.join(FIGURES)}"
                )
        reason = str(row.get("reason", ""))
        try:
            reason.format(**dict.fromkeys(FIGURES, 0))
        except (KeyError, IndexError, ValueError) as error:
            raise SettingsError(f"{where}: reason names an unknown figure {error}") from error
        made.append(
            Condition(
                level=Level(row["level"]),
                needs=dict(needs),
                reason=reason,
                kinds=tuple(row.get("kinds", ())),
                why=str(row.get("why", "")),
            )
        )
    made.sort(key=lambda c: -c.level)
    return Levels(
        tuple(made),
        frozenset(data.get("provincial_sources", ())),
        frozenset(data.get("central_sources", ())),
    )
