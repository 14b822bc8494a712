"""Dates, figures and places that a claim names, and where a text contradicts them.

A true event may read like an old rumour word for word, but for its day, its place or its figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Literal

from nlp.lexicon.divisions import division_name
from nlp.places import Gazetteer
from nlp.types import Place

_DIGITS = {"零": 0, "〇": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7,
           "八": 8, "九": 9}  # fmt: skip
_TENS = {"十": 10, "百": 100, "千": 1000, "万": 10000, "亿": 100000000}
_NUMBER = r"(?:(?<!\d)\d{1,9}(?:\.\d{1,4})?[万亿千百]?|[零〇一二两三四五六七八九十百千万]{1,7})"
_UNITS = (
    r"毫米|厘米|公里|千米|米|级|度|℃|°c|摄氏度|立方|个小时|小时|分钟|天|人|名|个人|个|辆|栋|户|架|艘|层|"
    r"死|伤|失踪|死亡|遇难|岁|倍|%|年一遇|号台风|年|万|点|时|mm|cm|m|km"
)
_FIGURE = re.compile(rf"({_NUMBER})\s*余?多?({_UNITS})", re.IGNORECASE)
_LEADING = re.compile(rf"(死亡|死|伤|失踪|遇难|受伤)(?:了|的)?({_NUMBER})")
_DATE = re.compile(r"(?:(20\d\d|19\d\d)年)?(\d{1,2})月(\d{1,2})[日号]|(?<!\d)(\d{1,2})[日号](?!线)")
_YEAR = re.compile(r"(?<!\d)(20\d\d|19\d\d)(?:年|[-/.]\d)")
_SAME_UNIT = {
    "℃": "度", "°c": "度", "摄氏度": "度", "名": "人", "个人": "人", "死亡": "死", "遇难": "死",
    "千米": "公里", "km": "公里", "mm": "毫米", "cm": "厘米", "m": "米", "个小时": "小时",
    "点": "时", "受伤": "伤",
}  # fmt: skip
_KINDS = {"号台风", "年"}
_SPOTS = {"town", "street", "village", "road", "reservoir", "bridge"}
_SPOT_END = re.compile(r"(?:街道|[镇乡村])$")


def number(said: str) -> float | None:
    """Value of a figure in Arabic or Chinese digits: 1.5, 30万, 一百二十, 两千; None if none."""
    arabic = re.fullmatch(r"(\d+(?:\.\d+)?)([万亿千百]?)", said)
    if arabic is not None:
        return float(arabic.group(1)) * _TENS.get(arabic.group(2), 1)
    total = section = digit = 0
    for sign in said:
        if sign in _DIGITS:
            digit = _DIGITS[sign]
        elif sign in ("万", "亿"):
            total = (total + section + digit) * _TENS[sign] or _TENS[sign]
            section = digit = 0
        elif sign in _TENS:
            section += (digit or 1) * _TENS[sign]
            digit = 0
        else:
            return None
    return float(total + section + digit)


@dataclass(frozen=True, slots=True)
class Particulars:
    """What a text commits itself to.

    ``figures``: unit -> values; ``days``: (month or 0, day); ``places``: 6-digit codes;
    ``spots``: names below the county, without their ending (石楼 for 石楼镇).
    """

    figures: dict[str, frozenset[float]]
    days: frozenset[tuple[int, int]]
    years: frozenset[int]
    places: frozenset[str]
    spots: frozenset[str] = frozenset()


def read_particulars(
    text: str, gazetteer: Gazetteer, places_found: Iterable[Place] | None = None
) -> Particulars:
    """Figures, dates and division codes of a text.

    ``places_found``: what the gazetteer found in this very text, if that is known already;
    a place that stands in no text (an account's) says nothing about a claim.
    """
    figures: dict[str, set[float]] = {}
    for match in _FIGURE.finditer(text):
        value = number(match.group(1))
        unit = match.group(2).lower()
        if value is not None and unit not in _KINDS:
            figures.setdefault(_SAME_UNIT.get(unit, unit), set()).add(value)
    for match in _LEADING.finditer(text):
        value = number(match.group(2))
        if value is not None:
            figures.setdefault(_SAME_UNIT.get(match.group(1), match.group(1)), set()).add(value)
    days: set[tuple[int, int]] = set()
    years = {int(match.group(1)) for match in _YEAR.finditer(text)}
    for match in _DATE.finditer(text):
        if match.group(4):
            days.add((0, int(match.group(4))))
        else:
            days.add((int(match.group(2)), int(match.group(3))))
    places: set[str] = set()
    spots: set[str] = set()
    for place in gazetteer.find(text) if places_found is None else places_found:
        if place.start < 0:
            continue
        if place.adcode == "100000" or place.level == "region":
            continue
        if place.adcode:
            places.add(place.adcode[:6])
        if place.level in _SPOTS:
            spots.add(_SPOT_END.sub("", place.name))
    return Particulars(
        {unit: frozenset(values) for unit, values in figures.items()},
        frozenset(days),
        frozenset(years),
        _narrowest(places),
        frozenset(spots),
    )


@dataclass(frozen=True, slots=True)
class Spot:
    """A place, date or number where it stands: ``text[start:end]``. ``unit``: of a number, empty
    otherwise. ``values``: division codes, ``month-day`` or the year, or the figure, as text."""

    start: int
    end: int
    kind: Literal["place", "date", "number"]
    unit: str
    values: frozenset[str]


def mentions(text: str, gazetteer: Gazetteer) -> list[Spot]:
    """Places, dates and numbers of a text, each where it stands, for showing."""
    spots: list[Spot] = []
    for match in _DATE.finditer(text):
        month, day = match.group(2) or "", match.group(4) or match.group(3)
        values = {f"{int(month)}-{int(day)}"} if month else {f"-{int(day)}"}
        spots.append(Spot(match.start(), match.end(), "date", "day", frozenset(values)))
    for match in _YEAR.finditer(text):
        span = (match.start(1), match.end(1))
        spots.append(Spot(*span, "date", "year", frozenset((match.group(1),))))
    dated = [(spot.start, spot.end) for spot in spots]
    for match in chain(_FIGURE.finditer(text), _LEADING.finditer(text)):
        said, unit = match.groups()
        value = number(said)
        if value is None:  # 死亡3: the unit leads
            value, unit = number(unit), said
        unit = unit.lower()
        if value is None or unit in _KINDS:
            continue
        if not any(a < match.end() and match.start() < b for a, b in dated):
            unit = _SAME_UNIT.get(unit, unit)
            values = {f"{value:g}"}
            spots.append(Spot(match.start(), match.end(), "number", unit, frozenset(values)))
    for place in gazetteer.find(text):
        if place.start >= 0 and place.adcode and place.adcode != "100000":
            codes = frozenset((place.adcode[:6],))
            spots.append(Spot(place.start, place.end, "place", "", codes))
    return spots


def _narrowest(codes: set[str]) -> frozenset[str]:
    """Without divisions that hold another one of them: 河南夏邑 is about 夏邑."""
    holders = {f"{code[:size]:0<6}" for code in codes for size in (2, 4)}
    return frozenset(
        code
        for code in codes
        if code not in holders
        or not any(
            other != code and other.startswith(code[: 2 if code.endswith("0000") else 4])
            for other in codes
        )
    )


@lru_cache(maxsize=65_536)
def related(code: str, other: str) -> bool:
    """Whether one division lies in the other."""
    for area, part in ((code, other), (other, code)):
        if area.endswith("0000"):
            if part[:2] == area[:2]:
                return True
        elif area.endswith("00"):
            if part[:4] == area[:4]:
                return True
        elif part == area:
            return True
    return False


def _shown(values: frozenset[float], unit: str) -> str:
    return "、".join(f"{value:g}{unit}" for value in sorted(values))


def differences(claim: Particulars, post: Particulars, claim_area: str) -> tuple[str, ...]:
    """Where a post contradicts a claim, each as one Chinese phrase for the officer."""
    said: list[str] = []
    areas = claim.places or (frozenset((claim_area,)) if claim_area else frozenset())
    if areas and post.places:
        strange = sorted(
            code for code in post.places if not any(related(code, area) for area in areas)
        )
        if strange:
            there = "、".join(division_name(code) or code for code in strange)
            here = "、".join(division_name(code) or code for code in sorted(areas))
            said.append(f"地点：帖文{there}，库中{here}")
    if claim.spots and post.spots and not claim.spots & post.spots:
        said.append(
            f"地点：帖文{'、'.join(sorted(post.spots))}，库中{'、'.join(sorted(claim.spots))}"
        )
    for month, day in sorted(post.days):
        if claim.days and not any(
            day == other_day and (not month or not other_month or month == other_month)
            for other_month, other_day in claim.days
        ):
            told = f"{month}月{day}日" if month else f"{day}日"
            here = "、".join(f"{m}月{d}日" if m else f"{d}日" for m, d in sorted(claim.days))
            said.append(f"日期：帖文{told}，库中{here}")
    if claim.years and post.years and not claim.years & post.years:
        said.append(
            f"年份：帖文{_shown(frozenset(map(float, post.years)), '年')}，"
            f"库中{_shown(frozenset(map(float, claim.years)), '年')}"
        )
    for unit, values in claim.figures.items():
        told_values = post.figures.get(unit)
        if told_values and not told_values <= values:
            said.append(f"数字：帖文{_shown(told_values, unit)}，库中{_shown(values, unit)}")
    return tuple(said)
