"""Names of divisions, towns and sites as they are said, read from the tables beside this file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from nlp.lexicon import read_table

# Peoples named in the full names of self-governing areas; in daily speech they are left out.
_PEOPLES = (
    "维吾尔|壮族|回族|蒙古族?|藏族|苗族|瑶族|侗族|彝族|白族|傣族|景颇族|傈僳族|哈尼族|布依族|土家族|"
    "朝鲜族|哈萨克族?|柯尔克孜族?|羌族|黎族|仫佬族|毛南族|畲族|满族|拉祜族|佤族|纳西族|水族|"
    "仡佬族|布朗族|普米族|怒族|独龙族|东乡族|保安族|撒拉族|土族|裕固族|锡伯族?|塔吉克族?|"
    "达斡尔族?|鄂温克族|鄂伦春|各族"
)
_SUFFIX = re.compile(
    rf"(?:(?:{_PEOPLES})*(?:自治区|自治州|自治县|自治旗)|特别行政区|省|市|地区|盟|县|区|林区|旗)$"
)
_TOWN_SUFFIX = re.compile(rf"(?:(?:{_PEOPLES})*[镇乡]|街道|经济开发区|管理委员会|经济技术开发区)$")


_ORDINARY = {"城区", "矿区", "郊区", "老城区", "新区", "市区", "东区", "西区", "南区", "北区"}
"""Full names of districts that are plain words everywhere else."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One way of saying one place. ``weak``: said so only where the text gives a reason to think
    of a place; ``old``: the ways that are former names."""

    said: str
    name: str
    adcode: str
    level: str
    weak: bool = False
    old: tuple[str, ...] = ()


def _level(code: str) -> str:
    if code.endswith("0000"):
        return "province"
    # counties run directly by a province stand where cities stand
    return "city" if code.endswith("00") or code[2:4] == "90" else "county"


@cache
def _divisions() -> dict[str, tuple[str, tuple[str, ...]]]:
    rows = read_table("divisions.tsv", 3)
    return {code: (name, tuple(filter(None, others.split("|")))) for code, name, others in rows}


@cache
def _towns() -> dict[str, str]:
    return {row[0]: row[1] for row in read_table("towns.tsv", 2)}


def division_name(code: str) -> str:
    """Name of a division by its 6- or 9-digit code, empty when we do not know it."""
    known = _divisions().get(code)
    return known[0] if known is not None else _towns().get(code, "")


def _former(name: str, other: str) -> bool:
    """武鸣县 for 武鸣区 is a former name; 武鸣 is a short one, 邕城 a nickname."""
    return other != name and other[-1] in "县市区" and other != _SUFFIX.sub("", name)


def _division_entries() -> Iterator[Entry]:
    for code, (name, others) in _divisions().items():
        # the four cities under the centre stand twice in the table, as province and as city
        if code[2:] == "0100" and code[:2] in {"11", "12", "31", "50"}:
            continue
        level = _level(code)
        old = tuple(other for other in others if _former(name, other))
        said = {name, *others}
        short = _SUFFIX.sub("", name)
        # districts of Taiwan's cities are called 山上, 三重, 大树: with their ending only
        if len(short) >= 2 and not (code[:2] == "71" and level == "county"):
            said.add(short)
            # 融水县 for 融水苗族自治县
            if name.endswith(("自治县", "自治州")):
                said.add(short + name[-1])
        for word in said - _ORDINARY:
            yield Entry(word, name, code, level, False, old)


def _town_entries() -> Iterator[Entry]:
    for code, name in _towns().items():
        level = "street" if name.endswith("街道") else "town"
        yield Entry(name, name, code, level)
        short = _TOWN_SUFFIX.sub("", name)
        if short == name or len(short) < 2:
            continue
        # 三塘 is said for 三塘镇 in Nanning; elsewhere the word alone needs a reason
        yield Entry(short, name, code, level, weak=level == "street" or code[:4] != "4501")
        if name.endswith("族乡"):
            yield Entry(short + "乡", name, code, level)


def _site_entries() -> Iterator[Entry]:
    for name, level, code, others in read_table("sites.tsv", 4):
        for word in (name, *filter(None, others.split("|"))):
            yield Entry(word, name, code, level)


def all_entries() -> list[Entry]:
    """Every way of saying every place we hold, the likeliest reading of a word first."""
    order = {"province": 0, "city": 1, "foreign": 1, "region": 2, "sea": 2, "river": 2}

    def likelihood(entry: Entry) -> tuple[bool, bool, int, bool, bool, int]:
        home = entry.adcode.startswith("4501")
        in_province = entry.adcode.startswith("45")
        level = order.get(entry.level, 3)
        return (
            entry.weak,
            level > 2 and not home,
            level if level <= 2 else 3,
            not home,
            not in_province,
            len(entry.adcode),
        )

    entries = [*_division_entries(), *_site_entries(), *_town_entries()]
    entries.sort(key=likelihood)
    return entries
