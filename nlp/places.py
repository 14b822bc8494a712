"""Place names in a text, told apart and given their division codes.

The post's own words come first, then the place of its account. A name that several places share,
or that is also a word (江南, 资源, 大塘), is decided by what else the text names, then by the
account's place, then by the home city; the reason is kept in ``Place.why``, the places that lost
in ``Place.alternatives``.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from nlp.lexicon import WordScanner, read_lines
from nlp.lexicon.divisions import Entry, all_entries, division_name
from nlp.types import Place
from nlp.unlisted import unlisted_places

HOME_CITY = "4501"
HOME_PROVINCE = "45"

MOST_TEXT = 4000
MOST_HINT = 60
MOST_NAMES = 32
"""Bounds, so that no text is slow: characters read of a text and of an account's place, names."""

# How much a level says about where: the most telling place of a text comes first.
_RANK = {
    "flood_point": 9,
    "bridge": 9,
    "road": 9,
    "reservoir": 9,
    "facility": 9,
    "station": 9,
    "landmark": 8,
    "village": 8,
    "street": 8,
    "town": 8,
    "county": 7,
    "lake": 6,
    "city": 5,
    "river": 4,
    "region": 2,
    "province": 2,
    "sea": 1,
    "foreign": 0,
}

# A city's name before these is a road or street of that name, somewhere else as a rule.
_STREET = re.compile(r"(?:[东西南北中]|[一二三四五六]|\d)?(?:路|大道|大街|街(?!道)|巷)")
# Text around a word of everyday language that makes it a place.
_BEFORE = re.compile(r"(?:[在到去回从往离于至住]|位于|来自|我们|咱们?)$")
_AFTER = re.compile(
    r"(?:县城|城区|人民|老家|境内|全[县区市]|各[乡镇]|气象|消防|交警|公安|应急|水文|[县区市])"
)
_AFTER_LOCAL = re.compile(r"(?:这边|那边|一带|本地|[又也]?下[大暴]?[雨雪]|[又也]?打雷|[多有降]雨)")
# Roads and towns bear the same names everywhere; a landmark only beside another city's name.
_ANYWHERE = {"road", "town", "street"}
_BESIDE = {"landmark", "bridge", "lake", "station", "flood_point", "facility"}


@dataclass(frozen=True, slots=True)
class _Found:
    start: int
    end: int
    name: str
    entries: tuple[Entry, ...]


class _Sure(NamedTuple):
    """A name that points at one place by itself."""

    start: int
    end: int
    adcode: str
    name: str


def _within(code: str, area: str) -> bool:
    """Whether division ``code`` lies in ``area`` (province, city or county code)."""
    if not code or not area:
        return False
    if area.endswith("0000"):
        return code[:2] == area[:2]
    if area[:6].endswith("00"):
        return code[:4] == area[:4]
    return code.startswith(area)


class Gazetteer:
    """The names we know. Build it once with ``load`` and share it: it never changes."""

    def __init__(
        self,
        entries: Iterable[Entry],
        homonyms: Iterable[str],
        shields: Iterable[str],
        common_sites: Iterable[str] = (),
    ) -> None:
        """``homonyms``, ``shields``, ``common_sites``: the lists of those kinds in ``lexicon``."""
        self._homonyms = frozenset(homonyms)
        self._shields = frozenset(shields)
        self._common_sites = frozenset(common_sites)
        by_name: dict[str, list[Entry]] = {}
        for entry in entries:
            if entry.said not in self._shields:
                by_name.setdefault(entry.said, []).append(entry)
        self._by_name = {name: tuple(found) for name, found in by_name.items()}
        doubtful = {name for name, found in by_name.items() if all(e.weak for e in found)}
        self._scanner = WordScanner(
            [*self._by_name, *self._shields], yielding=doubtful | self._homonyms
        )
        self._plain = frozenset(
            name
            for name, (first, *more) in self._by_name.items()
            if not more
            and not (first.weak or name in first.old)
            and first.level not in _ANYWHERE | _BESIDE
            and name not in self._homonyms | self._common_sites
        )
        """Names of one place that nothing else in a text could move elsewhere."""
        self._hints: OrderedDict[str, tuple[Place, ...]] = OrderedDict()

    @classmethod
    def load(cls) -> Gazetteer:
        """The shipped gazetteer; built once per process."""
        return _shipped()

    @property
    def pairs(self) -> Iterable[str]:
        """The first two characters of every name (see ``nlp.pairs``)."""
        return self._scanner.pairs

    def find(
        self, text: str, place_hint: str | None = None, starts: Sequence[int] | None = None
    ) -> tuple[Place, ...]:
        """Places of one text, the most telling first.

        ``place_hint`` is the account's own place (广西 南宁, or a division code); it decides
        between places of one name, and comes last itself with ``start = end = -1``. ``starts``:
        where ``pairs`` may stand in the text, if it is known already.
        """
        hint = self._read_hint(place_hint[:MOST_HINT]) if place_hint else ()
        if len(text) > MOST_TEXT:
            text = text[:MOST_TEXT]
        found = self._mentions(text, starts)
        places = self._settle(text, found, hint) if found else []
        places += unlisted_places(text, places, hint[0].adcode if hint else "")
        if len(places) > 1:
            places.sort(key=lambda p: (-_score(p), p.start))
        if not hint:
            return tuple(places)
        return (*places, *(h for h in hint if all(h.adcode != p.adcode for p in places)))

    # -- finding -----------------------------------------------------------------------------

    def _mentions(self, text: str, starts: Sequence[int] | None) -> list[_Found]:
        """Names in the text, each twice at most: one in doubt may be clear further on."""
        found: list[_Found] = []
        times: dict[str, int] = {}
        names = self._scanner.find(text, MOST_NAMES * 8, starts)
        for start, name in names:
            seen = times.get(name, 0)
            if seen == 2 or len(found) == MOST_NAMES:
                continue
            mention = self._extend(text, start, name)
            if mention is None:
                continue
            if found and start < found[-1].end:
                # what looked like a street of that name goes on as a place of its own
                before = found[-1].start
                short = next(n for s, n in names if s == before)
                found[-1] = _Found(before, before + len(short), short, self._by_name[short])
            times[name] = seen + 1
            found.append(mention)
        return found

    def _extend(self, text: str, start: int, name: str) -> _Found | None:
        """The name as it stands in the text, or nothing where it is part of another word."""
        if name in self._shields:
            return None
        end = start + len(name)
        entries = self._by_name[name]
        if entries[0].level in ("province", "city", "county") and end < len(text):
            if text[end] in "镇乡村" and not name.endswith(("县", "区", "市")):
                return None  # 石楼镇 is a town somewhere, not the county 石楼
            street = _STREET.match(text, end)
            if street is not None:
                said = text[start : street.end()]
                return _Found(start, street.end(), said, (Entry(said, said, "", "road"),))
        return _Found(start, end, name, entries)

    def _read_hint(self, place_hint: str) -> tuple[Place, ...]:
        known = self._hints.get(place_hint)
        if known is not None:
            return known
        if place_hint.isdigit() and division_name(place_hint):
            name = division_name(place_hint)
            read: tuple[Place, ...] = (Place(place_hint, name, why="发帖账号的所在地"),)
        else:
            words = self._scanner.find(place_hint)
            found = [
                _Found(s, s + len(n), n, self._by_name[n]) for s, n in words if n in self._by_name
            ]
            settled = self._settle(place_hint, found, (), strict=False)
            settled.sort(key=lambda p: (-_score(p), p.start))
            read = tuple(
                Place(p.adcode, p.name, level=p.level, why="发帖账号的所在地") for p in settled[:1]
            )
        self._hints[place_hint] = read
        if len(self._hints) > 4096:  # accounts name a few hundred places; the rest is noise
            self._hints.popitem(last=False)
        return read

    # -- deciding ----------------------------------------------------------------------------

    def _settle(
        self, text: str, found: list[_Found], hint: tuple[Place, ...], strict: bool = True
    ) -> list[Place]:
        """Choose one place for each name."""
        if not found:
            return []
        sure = [
            _Sure(f.start, f.end, f.entries[0].adcode, f.name)
            for f in found
            if f.name not in self._homonyms and _stands_alone(f.entries)
        ]
        settled: list[Place] = []
        taken: set[str] = set()
        for f in found:
            if f.name in taken:
                continue
            place = self._choose(text, f, sure, hint, strict)
            if place is not None:
                taken.add(f.name)
                settled.append(place)
        return settled

    def _choose(
        self,
        text: str,
        f: _Found,
        sure: list[_Sure],
        hint: tuple[Place, ...],
        strict: bool,
    ) -> Place | None:
        entries = f.entries
        first = entries[0]
        if f.name in self._plain:
            return Place(first.adcode, first.name, f.start, f.end, first.level)
        others = [other for other in sure if other.start != f.start]
        if first.level == "road" and not first.adcode:
            return self._street(f, others, hint)
        codes = {o.adcode for o in others}
        near = [e for e in entries if any(_related(e.adcode, code) for code in codes)]
        by_hint = [e for e in entries if hint and _related(e.adcode, hint[0].adcode)]
        if first.level in ("province", "city"):
            # 江西 is the province even where Nanning is named as well; 江南区江西 is the town
            by_hint = []
            beside = {o.adcode for o in others if 0 <= f.start - o.end <= 1}
            near = [e for e in near if e is first or any(_related(e.adcode, c) for c in beside)]
            if first.level == "city":  # 湖南长沙 is the city, not the county of its name within it
                near = [e for e in near if e is first or e.adcode[:4] != first.adcode[:4]]
            near.sort(key=lambda e: e is first)
        doubtful = f.name in self._homonyms or all(e.weak for e in entries)
        why = ""
        if near:
            chosen = near[0]
            if len(entries) > 1 or doubtful:
                why = f"同一段文字里提到{self._witness(chosen, others)}"
        elif strict and doubtful and not self._placed(text, f, bool(by_hint)):
            return None
        elif by_hint:
            chosen = by_hint[0]
            if len(entries) > 1 or doubtful:
                why = f"账号所在地是{hint[0].name}"
        else:
            chosen = first
            elsewhere = self._elsewhere(f, others, hint)
            if elsewhere is not None:
                code, told_by = elsewhere
                why = f"与{_full_name(first)}同名，{told_by}"
                return Place(code, first.name, f.start, f.end, first.level, why, _listed(entries))
            if doubtful:
                why = "前后的字表明是地名"
            elif len(entries) > 1:
                why = (
                    "同名地点中取本市的" if chosen.adcode.startswith(HOME_CITY) else "同名取常指的"
                )
        if chosen.said in chosen.old:
            why = f"{chosen.said}今为{chosen.name}" + (f"；{why}" if why else "")
        rest = _listed(e for e in entries if e is not chosen)
        return Place(chosen.adcode, chosen.name, f.start, f.end, chosen.level, why, rest)

    def _elsewhere(
        self, f: _Found, others: list[_Sure], hint: tuple[Place, ...]
    ) -> tuple[str, str] | None:
        """Code of the other city a common name lies in, and why: 青岛长沙路, 佛山三水大塘镇."""
        level = f.entries[0].level
        common = level in _ANYWHERE or f.name in self._common_sites
        reach = 40 if common else 1 if level in _BESIDE else -1
        before = [
            other
            for other in others
            if 0 <= f.start - other.end <= reach and other.adcode != "100000"
        ]
        if before:
            last = max(before)
            return last.adcode, f"文中提到{last.name}"
        if common and hint and hint[0].adcode and not hint[0].adcode.startswith(HOME_PROVINCE):
            return hint[0].adcode, f"账号所在地是{hint[0].name}"
        return None

    def _street(self, f: _Found, others: list[_Sure], hint: tuple[Place, ...]) -> Place:
        """A road named after a city: it lies where the words before it or the account say."""
        before = [(other.end, other.adcode) for other in others if other.end <= f.start]
        where = max(before)[1] if before else hint[0].adcode if hint else ""
        name = division_name(where) if where else ""
        why = f"是路名，不是城市；{'在' + name if name else '所在城市未知'}"
        return Place(where, f.name, f.start, f.end, "road", why)

    @staticmethod
    def _placed(text: str, f: _Found, at_home: bool) -> bool:
        """Whether the words around a doubtful name use it as a place."""
        if _AFTER.match(text, f.end):
            return True
        if not at_home and not f.entries[0].adcode.startswith(HOME_PROVINCE):
            return False
        if _AFTER_LOCAL.match(text, f.end):
            return True
        return _BEFORE.search(text, max(0, f.start - 3), f.start) is not None

    @staticmethod
    def _witness(chosen: Entry, others: list[_Sure]) -> str:
        related = [other for other in others if _related(chosen.adcode, other.adcode)]
        return max(related, key=lambda other: len(other.adcode.rstrip("0"))).name


@lru_cache(maxsize=65_536)
def _related(code: str, other: str) -> bool:
    return bool(code and other) and (_within(code, other) or _within(other, code))


def _stands_alone(entries: tuple[Entry, ...]) -> bool:
    """Whether a name points at one place well enough to speak for its neighbours."""
    first = entries[0]
    if first.weak or not first.adcode or first.adcode == "100000":
        return False
    return len(entries) == 1 or first.level in ("province", "city", "county")


def _listed(entries: Iterable[Entry]) -> tuple[str, ...]:
    return tuple(f"{entry.adcode} {_full_name(entry)}" for entry in entries)[:6]


def _score(place: Place) -> int:
    """Home first among equals, a place without a code last."""
    known = 20 if place.adcode and place.adcode != "100000" else 0
    home = 2 if place.adcode.startswith(HOME_PROVINCE) else 0
    return known + home * 10 + _RANK.get(place.level, 3)


def _full_name(entry: Entry) -> str:
    parent = division_name(entry.adcode[:6]) if len(entry.adcode) > 6 else ""
    city = division_name(entry.adcode[:4] + "00") if entry.adcode else ""
    return "".join(
        part for part in (city, parent, entry.name) if part != city or city != entry.name
    )


@cache
def _shipped() -> Gazetteer:
    return Gazetteer(
        all_entries(),
        read_lines("homonyms.txt"),
        read_lines("not_places.txt"),
        read_lines("common_sites.txt"),
    )
