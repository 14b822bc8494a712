"""What ``rules.toml`` may set: the figures at which an event needs eyes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from pipeline.domain.event import HeatWeights
from pipeline.errors import SettingsError
from pipeline.toml_file import read_toml

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClusterRules:
    """How close posts must be to be one matter. Gaps: minutes of event time."""

    open_hours: float = 72
    copy_similarity: float = 0.6
    wording_similarity: float = 0.42
    topic_similarity: float = 0.28
    wide_topic_gap_minutes: float = 180
    damage_gap_minutes: float = 180
    complaint_gap_minutes: float = 120
    help_gap_minutes: float = 180
    talk_gap_minutes: float = 120


@dataclass(frozen=True, slots=True)
class HelpRule:
    """``threshold``: probability from which a post is a call for help, 0-1."""

    threshold: float = 0.35


@dataclass(frozen=True, slots=True)
class RumourRule:
    """``early_spreaders``: distinct accounts; ``rungs``: times passed on."""

    early_spreaders: int = 3
    high_at_first: bool = True
    rungs: tuple[int, ...] = (10, 50, 200, 500)
    anchor_reposts: int = 500
    anchor_views: int = 5000


@dataclass(frozen=True, slots=True)
class BurstRule:
    """``minimum``: posts in the window; ``floor``: least usual posts per window."""

    window_minutes: float = 10
    minimum: int = 15
    floor: float = 2.0
    ratios: tuple[int, ...] = (3, 10, 30)


@dataclass(frozen=True, slots=True)
class ComplaintRule:
    """A wave of complaints about one service in one city."""

    window_minutes: float = 30
    minimum: int = 10
    floor: float = 2.0
    ratio: float = 3.0
    rungs: tuple[int, ...] = (10, 30, 100)


@dataclass(frozen=True, slots=True)
class DamageRule:
    """Danger at a named place, told by people who do not know each other."""

    urgency: int = 2
    authors: int = 2


@dataclass(frozen=True, slots=True)
class CalmRule:
    """An unclaimed alert is calmed when its event did not grow for so long."""

    after_minutes: float = 120


@dataclass(frozen=True, slots=True)
class GroupingRule:
    """Alertmanager's meanings, in seconds."""

    group_wait_s: float = 30
    group_interval_s: float = 300
    repeat_interval_s: float = 14400


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of ``rules.toml``."""

    cluster: ClusterRules = field(default_factory=ClusterRules)
    help: HelpRule = field(default_factory=HelpRule)
    rumour: RumourRule = field(default_factory=RumourRule)
    burst: BurstRule = field(default_factory=BurstRule)
    talk: BurstRule = field(
        default_factory=lambda: BurstRule(window_minutes=30, minimum=20, floor=4.0)
    )
    complaint: ComplaintRule = field(default_factory=ComplaintRule)
    damage: DamageRule = field(default_factory=DamageRule)
    calm: CalmRule = field(default_factory=CalmRule)
    grouping: GroupingRule = field(default_factory=GroupingRule)
    heat: HeatWeights = field(default_factory=HeatWeights)


def load_rules(path: Path) -> Rules:
    """The rules of a file; what it leaves out keeps its default.

    Raises: SettingsError naming the file, the table and the key.
    """
    data = read_toml(path)
    made: dict[str, Any] = {}
    known = {f.name: f for f in fields(Rules)}
    for name, table in data.items():
        if name not in known:
            raise SettingsError(
                f"{path.name}: no rule is called [{name}]; known: {', '.join(known)}"
            )
        if not isinstance(table, dict):
            raise SettingsError(f"{path.name}: {name} must be a table, as [{name}]")
        default = getattr(Rules(), name)
        made[name] = _fill(path, name, default, table)
    return Rules(**made)


def _fill(path: Path, name: str, default: T, table: dict[str, Any]) -> T:
    values: dict[str, Any] = {f.name: getattr(default, f.name) for f in fields(default)}  # type: ignore[arg-type]
    for key, value in table.items():
        if key == "why":
            continue
        if key not in values:
            raise SettingsError(
                f"{path.name}: [{name}] has no setting {key}; known: {', '.join(values)}"
            )
        old = values[key]
        if isinstance(old, bool):
            good = isinstance(value, bool)
        elif isinstance(old, tuple):
            good = (
                isinstance(value, list)
                and bool(value)
                and all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in value)
            )
            value = tuple(sorted(value)) if good else value
        else:
            good = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            value = type(old)(value) if good else value
        if not good:
            raise SettingsError(
                f"{path.name}: [{name}] {key} = {value!r} is not possible; write it like {old!r}"
            )
        values[key] = value
    return type(default)(**values)
