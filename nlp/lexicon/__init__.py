"""Word lists and tables, shipped as plain text and reviewed like code.

Every table is UTF-8, one row a line, columns parted by TAB, lines beginning with ``#`` are
comments. Rows are read on first use and kept; importing this package opens nothing.

====================  =====================================================================
``terms.tsv``         word, category, hazard (one of ``nlp.types.HAZARDS`` or empty)
``signals.tsv``       national warning signals: type, colour, grade, hazard, criterion
``event_codes.tsv``   warning event code, number, name, hazard; unknown codes pass through
``divisions.tsv``     6-digit code, name, other names parted by ``|``
``towns.tsv``         9-digit code, name (Guangxi)
``sites.tsv``         name, level, division code, other names
``homonyms.txt``      short place names that are also words
``not_places.txt``    phrases that hold a place name without meaning the place
``common_sites.txt``  names of parks and squares that many cities have
``background.tsv``    character n-gram, number of background posts that hold it
``rumours.jsonl``     the starting library of debunked weather rumours
====================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files

from nlp.lexicon.scan import WordScanner
from nlp.types import HAZARDS

__all__ = [
    "WordScanner",
    "event_hazard",
    "hazard_pairs",
    "hazards_in",
    "read_lines",
    "read_table",
    "signal_hazards",
    "weather_words",
]

_HAZARD_RANK = {name: rank for rank, name in enumerate(HAZARDS)}


def read_lines(name: str) -> list[str]:
    """Lines of one data file of this package, without comments and blank lines."""
    text = (files(__package__) / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def read_table(name: str, columns: int) -> list[tuple[str, ...]]:
    """Rows of one TSV file, each padded with empty strings to ``columns``."""
    rows: list[tuple[str, ...]] = []
    for line in read_lines(name):
        cells = line.split("\t")
        rows.append(tuple(cells + [""] * (columns - len(cells))))
    return rows


@cache
def _terms() -> dict[str, str]:
    return {word: hazard for word, _category, hazard in read_table("terms.tsv", 3)}


@cache
def _hazard_words() -> tuple[WordScanner, dict[str, str]]:
    """Scanner of the longer words, and hazards of single characters (雨, 雹, 霾)."""
    terms = _terms()
    single = {word: hazard for word, hazard in terms.items() if len(word) == 1 and hazard}
    return WordScanner(terms), single


@cache
def weather_words() -> list[str]:
    """Words for the segmenter's user dictionary, sorted, no duplicates."""
    return sorted(
        word
        for word, category, _hazard in read_table("terms.tsv", 3)
        if category != "harmless" and len(word) > 1
    )


@cache
def signal_hazards() -> dict[str, str]:
    """Name of a warning type (暴雨, 雷雨大风, 地质灾害气象风险 ...) -> hazard."""
    named = {row[2]: row[3] for row in read_table("event_codes.tsv", 4)}
    named.update({row[0]: row[3] for row in read_table("signals.tsv", 5)})
    return named


@cache
def _event_table() -> dict[str, tuple[str, str]]:
    return {row[0]: (row[2], row[3]) for row in read_table("event_codes.tsv", 4) if row[0]}


def event_hazard(code: str, name: str = "") -> tuple[str, str]:
    """(type name, hazard) of a warning event code such as ``11B03``.

    An unknown code is no error: the name that came with it is kept, or the code itself, and the
    hazard is looked up by that name, ``other`` where it says nothing.
    """
    known = _event_table().get(code.strip().upper())
    if known is not None:
        return known
    shown = name or code
    return shown, signal_hazards().get(shown, "other")


def hazard_pairs() -> Iterable[str]:
    """The first two characters of every word ``hazards_in`` looks for (see ``nlp.pairs``)."""
    return _hazard_words()[0].pairs


def hazards_in(text: str, starts: Sequence[int] | None = None) -> tuple[str, ...]:
    """Hazards whose words are in the text, in the order of ``HAZARDS``.

    Words only: 淹 is waterlogging, but the river's where the text speaks of a flood as well.
    ``starts``: where ``hazard_pairs`` may stand, if it is known already.
    """
    terms = _terms()
    scanner, single = _hazard_words()
    found: set[str] = set()
    rest = text
    for word in dict.fromkeys([word for _start, word in scanner.find(text, starts=starts)]):
        found.add(terms[word])
        rest = rest.replace(word, " ")
    for sign, hazard in single.items():
        if sign in rest:
            found.add(hazard)
    found.discard("")
    if "waterlog" not in found and "flood" not in found and "淹" in rest:
        found.add("waterlog")
    return tuple(sorted(found, key=_HAZARD_RANK.__getitem__))
