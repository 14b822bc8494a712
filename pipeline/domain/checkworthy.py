"""Which claim that nobody has looked into yet should be looked into first (查证优先次序).

Claims spoken for the first time have no verdict to be compared with; there may be dozens in a
night and one officer. The order adds up four questions an editor asks, 100 points in all:

- *consequence* (40): what happens if people act on it, or if it is true and nobody acts;
- *spread* (25): posts in the last hour, accounts, reposts, each on a logarithmic scale, so that
  ten times as much counts the same at every size;
- *who says it* (20): reach and standing of the best-known account;
- *no source* (15): nobody is named who could have known.

An official answer halves the sum: somebody is at it. No authority gives such weights; they are
ours, and follow the topics for which RULES.md §3 asks for a look at the first post.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

NO_SOURCE = 15.0
MOST_CONSEQUENCE = 40.0
MOST_WHO = 20.0
MOST_SPREAD = 25.0
ANSWERED = 0.5

CONSEQUENCES: tuple[tuple[str, float, re.Pattern[str]], ...] = (
    (
        "溃坝泄洪",
        34.0,
        re.compile(r"溃坝|溃堤|决堤|决口|垮坝|炸坝|泄洪|放水|开闸|(?:水库|大坝|堤).{0,8}[裂漏垮塌险]"),
    ),
    (
        "人员伤亡",
        34.0,
        re.compile(r"死了|死亡|遇难|失踪|失联|淹死|冲走|被埋|丧生|出人命|死人|触电|电死|[砸压]死|\d+死"),
    ),
    ("撤离转移", 28.0, re.compile(r"撤离|转移|疏散|逃命|快跑|往高处|连夜[走搬撤]")),
    (
        "学校停课",
        20.0,
        re.compile(r"停课|停学|不(?:用)?上学|(?:学校|幼儿园|校车|学生).{0,8}[淹埋困塌]"),
    ),
    ("停水停电", 18.0, re.compile(r"停水|断水|停电|断电|停气|断网|自来水.{0,6}(?:毒|污染|不能喝)")),
    ("抢购物资", 18.0, re.compile(r"抢购|抢光|囤(?:货|粮|水|米|菜)|储备.{0,4}(?:水|粮|米)")),
    ("交通中断", 14.0, re.compile(r"封路|封桥|封城|停运|停航|断路|桥.{0,6}[塌垮断]")),
    (
        "夸大预报",
        10.0,
        re.compile(r"[百千]年一遇|史上最|有史以来|1[5-9]级|正面登陆|特大(?:暴雨|洪水|台风)"),
    ),
)  # fmt: skip
"""(words on the screen, points, pattern), the gravest first."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is known of a claim that is not in the library.

    ``texts``: its title and typical posts. ``posts``, ``authors``: in all; ``last_hour``: posts
    of the last 60 minutes; ``reposts``: of all its posts. ``followers``: the most of any account
    seen, -1 unknown. ``is_verified``, ``is_organisation``: whether such an account says it.
    ``names_source``: a text says from whom it has it. ``is_answered``: an office or a medium has
    denied or confirmed it. ``max_urgency``: 0-3.
    """

    event_id: str
    title: str
    texts: tuple[str, ...]
    first_at: datetime
    last_at: datetime
    posts: int
    authors: int
    last_hour: int
    reposts: int = 0
    followers: int = -1
    is_verified: bool = False
    is_organisation: bool = False
    names_source: bool = False
    is_answered: bool = False
    max_urgency: int = 0


@dataclass(frozen=True, slots=True)
class Worth:
    """How much a claim wants checking: 0-100, and why, the weightiest reason first."""

    spoken: Spoken
    score: float
    reasons: tuple[str, ...]


def worth(spoken: Spoken) -> Worth:
    """The points of one claim with their reasons, in a few Chinese words each.

    >>> from datetime import UTC, datetime
    >>> at = datetime(2026, 6, 1, tzinfo=UTC)
    >>> worth(Spoken("E", "网传水库溃坝", (), at, at, posts=1, authors=1, last_hour=1)).reasons[:2]
    ('涉溃坝泄洪', '未说来源')
    """
    parts = [_consequence(spoken), _who(spoken), *_spread(spoken)]
    if not spoken.names_source:
        parts.append((NO_SOURCE, "未说来源"))
    parts = [part for part in parts if part[0] > 0]
    score = sum(points for points, _ in parts)
    reasons = [text for points, text in sorted(parts, key=lambda p: -p[0]) if text]
    if spoken.is_answered:
        score *= ANSWERED
        reasons.append("已有官方或媒体回应")
    return Worth(spoken, round(score, 2), tuple(reasons))


def most_worth(spoken: Iterable[Spoken], most: int = 5) -> list[Worth]:
    """The claims to look into first. Equal points: the newer one, then by id."""
    ranked = sorted(
        map(worth, spoken),
        key=lambda w: (-w.score, -w.spoken.last_at.timestamp(), w.spoken.event_id),
    )
    return ranked[:most]


def _consequence(spoken: Spoken) -> tuple[float, str]:
    said = "\n".join((spoken.title, *spoken.texts))
    found = [(points, name) for name, points, pattern in CONSEQUENCES if pattern.search(said)]
    if not found:
        return (3.0 * spoken.max_urgency, "用语紧急" if spoken.max_urgency >= 2 else "")
    points = max(p for p, _ in found) + 2.0 * (len(found) - 1) + spoken.max_urgency
    return min(points, MOST_CONSEQUENCE), "涉" + "、".join(name for _, name in found[:2])


def _who(spoken: Spoken) -> tuple[float, str]:
    reach = 0.0
    if spoken.followers > 100:  # 1,000: 4 points, 10,000: 8, a million: 16
        reach = min(16.0, 4.0 * (math.log10(spoken.followers) - 2))
    standing = 6.0 if spoken.is_verified or spoken.is_organisation else 0.0
    said = []
    if spoken.is_organisation:
        said.append("机构或媒体账号发布")
    elif spoken.is_verified:
        said.append("认证账号发布")
    if spoken.followers >= 10_000:
        said.append(f"粉丝 {spoken.followers // 10_000} 万以上")
    return min(reach + standing, MOST_WHO), "，".join(said)


def _spread(spoken: Spoken) -> list[tuple[float, str]]:
    """Pace 10, accounts 8, reposts 7 points; full marks at 100 an hour, 100 accounts, 1,000."""
    pace = min(10.0, 5.0 * math.log10(1 + spoken.last_hour))
    authors = min(8.0, 4.0 * math.log10(1 + max(0, spoken.authors - 1)))
    reposts = min(7.0, 7.0 / 3 * math.log10(1 + spoken.reposts))
    return [
        (pace, f"近 1 小时 {spoken.last_hour} 条" if spoken.last_hour >= 3 else ""),
        (authors, f"{spoken.authors} 个账号在说" if spoken.authors >= 3 else ""),
        (reposts, f"转发 {spoken.reposts} 次" if spoken.reposts >= 10 else ""),
    ]
