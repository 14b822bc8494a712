"""Weather warning signals spoken of in a text: type, colour, what happened to it, who and when.

Every wording in use is read: 暴雨橙色预警, 暴雨四级（蓝色）预警, 台风三级预警信号, 大风Ⅲ级预警,
暴雨预警升级为红色. Levels and colours are one scale (National Response Law, article 63): grade
4 blue, 3 yellow, 2 orange, 1 red. A response level (应急响应) is another scale and never read as a
warning. A colour is only ever given when the text names it or its grade.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from itertools import islice

from nlp.lexicon import signal_hazards
from nlp.types import Colour, WarningAction, WarningMention
from nlp.warning_source import read_source

MOST_TEXT = 4000
MOST_MENTIONS = 12
"""Bounds, so that no text is slow: characters and mentions read."""

_COLOURS: dict[str, Colour] = {"蓝": "blue", "黄": "yellow", "橙": "orange", "红": "red"}
_GRADES: dict[str, Colour] = {
    "一": "red",
    "二": "orange",
    "三": "yellow",
    "四": "blue",
    "Ⅰ": "red",
    "Ⅱ": "orange",
    "Ⅲ": "yellow",
    "Ⅳ": "blue",
    "I": "red",
    "II": "orange",
    "III": "yellow",
    "IV": "blue",
    "1": "red",
    "2": "orange",
    "3": "yellow",
    "4": "blue",
}

_LEVEL = (
    r"(?:(?P<{p}colour>[蓝黄橙红])色?|(?P<{p}grade>[一二三四]|[Ⅰ-Ⅳ]|I{{1,3}}|IV|[1-4])级)"
    r"(?:[（(【\[](?:(?P<{p}inner>[蓝黄橙红])色?|[一二三四Ⅰ-ⅣIV]+级?)[)）】\]])?"
)

_TO = (
    r"(?:继续)?(?:升级|提升|升格|上调|调升|调整|变更|更新|降级|降低|下调|降|升|改发|改)"
    r"(?:为|至|到|成)?"
)

_LIFTED = re.compile(r"解除|取消|撤销|终止|失效")
_ISSUED = re.compile(r"发布|发出|签发|启动|拉响|挂出|挂起|生效|升起")
_CHANGED = re.compile(
    r"变更|更新|升级|提升|升格|上调|调升|调整|降级|降为|降至|下调|改发|升为|升至|升到|升[蓝黄橙红]|转[蓝黄橙红]"
)
_GOING_ON = re.compile(r"继续|维持|持续|仍在|生效中|目前")


@cache
def _types() -> dict[str, str]:
    """Type names with the short ways of saying them -> hazard."""
    types = {name: hazard for name, hazard in signal_hazards().items() if len(name) <= 14}
    types.update(
        {
            "雷雨强对流": "thunder",
            "地灾": "geo",
            "山洪": "flood",
            "山洪灾害": "flood",
            "雨雪冰冻": "snow",
            "低温雨雪冰冻": "snow",
            "强季风": "wind",
            "沙尘": "sand",
            "浓雾": "fog",
            "大雾": "fog",
            "海雾": "fog",
            "灰霾": "haze",
            "冰冻": "cold",
            "寒冷": "cold",
            "道路冰雪": "snow",
            "风暴潮": "wind",
            "海浪": "wind",
            "结冰": "cold",
            "凝冻": "cold",
            "降雹": "hail",
            "霾": "haze",
            "强降水": "rain",
            "空气重污染": "haze",
            "龙卷": "wind",
        }
    )
    types.pop("其他", None)
    return types


@cache
def _mention() -> re.Pattern[str]:
    names = "|".join(sorted(map(re.escape, _types()), key=len, reverse=True))
    gap = r"(?:灾害|天气|气象风险|气象|风险|等级)?"
    before = _LEVEL.format(p="a_")
    after = _LEVEL.format(p="b_")
    tail = _LEVEL.format(p="c_")
    mark = r"[“”\"'【】（）()\[\]]?"
    word = r"(?:预警|警报|警告)"
    return re.compile(
        rf"(?P<type>{names}){gap}(?:[“「『‘\"][一-龥]{{1,5}}[”」』’\"])?{mark}\s*{mark}(?:"
        rf"{before}{mark}的?{gap}(?P<word>{word})?(?:信号)?"
        rf"|(?P<word2>{word})(?:信号)?(?:[，, ]?等级)?(?:[由从]?{mark}{after})?"
        rf"|(?=(?P<word3>{_TO})))"
        rf"(?:\s*[，,]?\s*{_TO}{mark}(?:{names})?{gap}{mark}{tail}(?:{word})?(?:信号)?)?"
    )


_JOINT_WORD = re.compile(r"[双两三四五六]个?(?:[蓝黄橙红]色)?预警")


@cache
def _joint_name() -> re.Pattern[str]:
    return re.compile("|".join(sorted(map(re.escape, _types()), key=len, reverse=True)))


@cache
def _joint() -> re.Pattern[str]:
    """Several types under one word: 大风寒潮双预警, 暴雨、雷电双黄色预警."""
    return re.compile(
        rf"(?P<types>(?:(?:{_joint_name().pattern})[、，和 ]?){{2,5}})"
        r"[双两三四五六]个?(?:(?P<colour>[蓝黄橙红])色)?预警"
    )


_GATE = re.compile(rf"预警|警报|信号|{_TO}[蓝黄橙红]色")


def find_warning(text: str, published_at: datetime | None = None) -> WarningMention | None:
    """The warning a text speaks of first, or None. See ``find_warnings``."""
    found = find_warnings(text, published_at)
    return found[0] if found else None


def find_warnings(text: str, published_at: datetime | None = None) -> tuple[WarningMention, ...]:
    """Every warning signal a text speaks of, in the order of the text, each type and colour once.

    ``flags``: ``unsourced`` when the text names no station or no time; ``stale`` when its stated
    time lies more than a day before ``published_at`` (aware; needed for this flag).
    """
    text = text[:MOST_TEXT]
    if _GATE.search(text) is None:
        return ()
    station, time_text, stale = "", "", False
    found: dict[tuple[str, Colour | None], WarningMention] = {}
    for kind, colour, action in _signals(text):
        if not found:
            station, time_text, stale = read_source(text, published_at)
        known = found.get((kind, colour))
        if known is not None and (known.action != "in_force" or action == "in_force"):
            continue  # headline and first sentence tell it twice
        flags = () if station and time_text else ("unsourced",)
        if stale:
            flags = (*flags, "stale")
        hazard = _types()[kind]
        found[kind, colour] = WarningMention(
            hazard, kind, colour, action, station, time_text, flags
        )
    return tuple(found.values())


def _signals(text: str) -> Iterator[tuple[str, Colour | None, WarningAction]]:
    """Type, colour and action of each mention."""
    for match in islice(_mention().finditer(text), MOST_MENTIONS):
        if _is_warning(text, match):
            yield match.group("type"), _colour(match), _action(text, match, bool(_changes(match)))
    if _JOINT_WORD.search(text) is None:
        return
    for match in islice(_joint().finditer(text), MOST_MENTIONS):  # 暴雨、雷电双黄色预警
        colour = _COLOURS.get(match.group("colour") or "")
        for name in _joint_name().findall(match.group("types")):
            yield name, colour, _action(text, match, False)


def _changes(match: re.Match[str]) -> str | None:
    return match.group("c_colour") or match.group("c_grade")


def _is_warning(text: str, match: re.Match[str]) -> bool:
    """Whether the words are about a warning signal, not a response level or a saying."""
    tail = text[match.end() : match.end() + 4]
    if "响应" in tail:
        return False
    if match.group("word") or match.group("word2"):
        return True
    if match.group("word3"):  # 暴雨升红色: no word for a signal, so the colour must be there
        return bool(_changes(match))
    # 暴雨红色, 台风三级: only with the word close by
    return "预警" in text[max(0, match.start() - 8) : match.end() + 8] or "信号" in tail


def _colour(match: re.Match[str]) -> Colour | None:
    """The colour at the end of the change: 由蓝色升级为黄色 is yellow."""
    for prefix in ("c_", "b_", "a_"):
        inner = match.group(prefix + "inner") or match.group(prefix + "colour")
        if inner:
            return _COLOURS[inner]
        grade = match.group(prefix + "grade")
        if grade:
            return _GRADES.get(grade)
    return None


def _action(text: str, match: re.Match[str], changes: bool) -> WarningAction:
    """What happened to the signal, by the words of its own clause."""
    start, end = match.span()
    left = max((text.rfind(mark, 0, start) for mark in "。！？!?;；\n】"), default=-1) + 1
    right = min(
        (i for i in (text.find(mark, end) for mark in "。！？!?;；\n，,") if i >= 0),
        default=len(text),
    )
    near = text[max(left, start - 24) : min(right, end + 12)]
    if _LIFTED.search(near):
        return "lifted"
    if changes or _CHANGED.search(near):
        return "changed"
    if _GOING_ON.search(near):
        return "in_force"
    if _ISSUED.search(near) or _ISSUED.search(text, end, min(len(text), end + 40)):
        return "issued"
    return "in_force"
