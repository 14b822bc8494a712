"""When an event needs eyes: the rules, as pure functions of an event's figures.

Nothing here knows a clock, a database or a batch. ``Facts`` are the figures of one event at the
moment a post joined it (event time); ``evaluate`` says which statements have become true, and
``propose_level`` how grave the matter looks. A person decides the level.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from pipeline.domain.event import HeatWeights, Level
from pipeline.errors import SettingsError

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


@dataclass(slots=True)
class Facts:
    """Figures of one event when a post joined it.

    ``passed_on``: times the matter was passed on (posts after the first, or the reposts that the
    platforms count, whichever is more). ``spreaders``, ``authors``: distinct accounts.
    ``window``: posts in the rule's window; ``usual``: posts in such a window at other times.
    ``per_hour``: posts in the last 60 minutes. ``claim``: "R0042" style id of a known claim.
    """

    kind: str
    title: str
    place: str = ""
    posts: int = 0
    passed_on: int = 0
    spreaders: int = 0
    questions: int = 0
    authors: int = 0
    trusted: int = 0
    consequence: str = ""
    consequence_name: str = ""
    sourced: bool = False
    claim: str = ""
    reposts_of_one: int = 0
    views_of_one: int = 0
    urgency: int = 0
    window: int = 0
    usual: float = 0.0
    per_hour: int = 0
    sources: int = 0
    counties: int = 0
    media: int = 0
    provincial_media: int = 0
    central_media: int = 0
    probability: float = 0.0
    topic_name: str = ""
    episode: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """A statement that has become true: what will be an alert. ``rung``: which step of a rule."""

    rule: str
    rung: str
    sentence: str
    figures: dict[str, Any]


def ratio_of(facts: Facts, floor: float) -> float:
    """How many times the usual pace, >= 0; the usual is never less than ``floor``."""
    return facts.window / max(facts.usual, floor)


def evaluate(facts: Facts, rules: Rules, fired: Callable[[str, str], bool]) -> list[Finding]:
    """The statements that are true now and were not made before (``fired(rule, rung)``)."""
    found: list[Finding] = []
    kind = facts.kind
    if kind == "rumour":
        _rumour(facts, rules.rumour, fired, found)
    elif kind == "help":
        if not fired("help_call", ""):
            found.append(
                Finding(
                    "help_call",
                    "",
                    f"发现求助信息（把握 {facts.probability:.0%}）"
                    + (f"，地点：{facts.place}" if facts.place else "，未说明地点")
                    + "；请在 5 分钟内转有关救援单位",
                    {"probability": round(facts.probability, 3), "urgency": facts.urgency},
                )
            )
    elif kind == "damage":
        _damage(facts, rules.damage, fired, found)
    elif kind == "complaint":
        _complaint(facts, rules.complaint, fired, found)
    if kind == "talk":
        _burst(facts, rules.talk, "talk_burst", "议论", fired, found)
    elif kind in ("rumour", "damage"):
        _burst(facts, rules.burst, "burst", "转述", fired, found)
    return found


def _tail(facts: Facts) -> str:
    parts = []
    if facts.counties >= 2:
        parts.append(f"，涉及 {facts.counties} 个区县")
    if facts.sources >= 2:
        parts.append(f"、{facts.sources} 个来源" if parts else f"，见于 {facts.sources} 个来源")
    if facts.claim:
        parts.append(f"；疑与已知说法 {facts.claim} 相同")
    return "".join(parts)


def _figures(facts: Facts, **more: Any) -> dict[str, Any]:
    return {
        "posts": facts.posts,
        "passed_on": facts.passed_on,
        "spreaders": facts.spreaders,
        "questions": facts.questions,
        "sources": facts.sources,
        "counties": facts.counties,
        **({"claim": facts.claim} if facts.claim else {}),
        **more,
    }


def _rumour(
    facts: Facts, rule: RumourRule, fired: Callable[[str, str], bool], found: list[Finding]
) -> None:
    if facts.consequence and not fired("rumour", "early"):
        high = facts.consequence in ("dam", "casualty")
        name = facts.consequence_name
        if facts.spreaders >= rule.early_spreaders:
            why = f"{facts.spreaders} 个账号在传“{name}”说法，另有 {facts.questions} 条求证"
        elif high and rule.high_at_first and facts.spreaders >= 1 and not facts.sourced:
            why = f"出现“{name}”说法，未见出处，后果严重"
        else:
            why = ""
        if why:
            found.append(
                Finding(
                    "rumour", "early", why + _tail(facts) + "；真伪待核实",
                    _figures(facts, consequence=facts.consequence),
                )
            )  # fmt: skip
    for rung in reversed(rule.rungs):
        if facts.passed_on >= rung:
            if not fired("rumour", f"r{rung}"):
                found.append(
                    Finding(
                        "rumour",
                        f"r{rung}",
                        f"未经证实的说法已被转述 {facts.passed_on} 次，"
                        f"{facts.spreaders} 个账号传播、{facts.questions} 条求证"
                        + _tail(facts)
                        + "；真伪待核实",
                        _figures(facts),
                    )
                )
            break  # lower rungs say nothing more
    over_reposts = facts.reposts_of_one >= rule.anchor_reposts
    over_views = facts.views_of_one >= rule.anchor_views
    if (over_reposts or over_views) and not fired("rumour", "anchor"):
        said = (
            f"单条转发 {facts.reposts_of_one} 次（参考线 {rule.anchor_reposts}）"
            if over_reposts
            else f"单条浏览 {facts.views_of_one} 次（参考线 {rule.anchor_views}）"
        )
        found.append(
            Finding(
                "rumour", "anchor", f"未经证实的说法{said}{_tail(facts)}；真伪待核实",
                _figures(
                    facts,
                    reposts_of_one=facts.reposts_of_one,
                    views_of_one=facts.views_of_one,
                ),
            )
        )  # fmt: skip


def _damage(
    facts: Facts, rule: DamageRule, fired: Callable[[str, str], bool], found: list[Finding]
) -> None:
    if facts.urgency < rule.urgency or fired("damage", ""):
        return
    if facts.authors < rule.authors and not facts.trusted:
        return
    who = f"{facts.authors} 个互不相关的账号" if facts.authors >= rule.authors else "媒体或政务账号"
    found.append(
        Finding(
            "damage", "",
            f"{who}报告{facts.place or '当地'}出现险情，共 {facts.posts} 条，"
            f"紧急程度 {facts.urgency} 级（最高 3 级）" + _tail(facts),
            _figures(facts, authors=facts.authors, urgency=facts.urgency),
        )
    )  # fmt: skip


def _complaint(
    facts: Facts, rule: ComplaintRule, fired: Callable[[str, str], bool], found: list[Finding]
) -> None:
    times = ratio_of(facts, rule.floor)
    if facts.window < rule.minimum or times < rule.ratio:
        return
    for rung in reversed(rule.rungs):
        if facts.window >= rung:
            name = _again(f"c{rung}", facts.episode)
            if not fired("complaint", name):
                found.append(
                    Finding(
                        "complaint", name,
                        _pace(facts, rule.window_minutes, f"抱怨{facts.topic_name}", rule.floor)
                        + _tail(facts),
                        _paced(facts, times),
                    )
                )  # fmt: skip
            break


def _burst(
    facts: Facts,
    rule: BurstRule,
    name: str,
    verb: str,
    fired: Callable[[str, str], bool],
    found: list[Finding],
) -> None:
    if facts.window < rule.minimum:
        return
    times = ratio_of(facts, rule.floor)
    for rung in reversed(rule.ratios):
        if times >= rung:
            label = _again(f"x{rung}", facts.episode)
            if not fired(name, label):
                found.append(
                    Finding(
                        name, label,
                        _pace(facts, rule.window_minutes, verb, rule.floor) + _tail(facts),
                        _paced(facts, times),
                    )
                )  # fmt: skip
            break


def _pace(facts: Facts, minutes: float, verb: str, floor: float) -> str:
    """As 10 分钟内转述 37 条，为平时（2 条）的 18.5 倍."""
    usual = max(facts.usual, floor)
    shown = f"{usual:.0f}" if usual == int(usual) else f"{usual:.1f}"
    times = ratio_of(facts, floor)
    return f"{minutes:.0f} 分钟内{verb} {facts.window} 条，为平时（{shown} 条）的 {times:.1f} 倍"


def _paced(facts: Facts, times: float) -> dict[str, Any]:
    return _figures(facts, window=facts.window, usual=facts.usual, ratio=round(times, 1))


def _again(rung: str, episode: int) -> str:
    """A rung of a later flare-up of the same event is a new statement."""
    return f"{rung}#{episode}" if episode else rung


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


def load_rules(path: Path) -> Rules:
    """The rules of a file; what it leaves out keeps its default.

    Raises: SettingsError naming the file, the table and the key.
    """
    data = _toml(path)
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


def load_levels(path: Path) -> Levels:
    """The level table. Raises: SettingsError naming the condition and the key."""
    data = _toml(path)
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


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {path.name}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}") from error
