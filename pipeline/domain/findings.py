"""When an event needs eyes: the rules, as pure functions of an event's figures.

Nothing here knows a clock, a database or a batch. ``Facts`` are the figures of one event at the
moment a post joined it (event time); ``evaluate`` says which statements have become true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.domain.rules import BurstRule, ComplaintRule, DamageRule, Rules, RumourRule


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
