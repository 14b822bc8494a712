"""Character 1-3-grams of a clause with the weight of rare ones: how claims are compared.

Weights come from ``lexicon/background.tsv``: in how many of some 34,000 weather posts a gram was
seen. What everybody writes about a rainstorm weighs little, 移花接木 and 风雨桥 weigh much.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain, repeat
from operator import add

from nlp.lexicon import read_table

MIN_CLAUSE = 12
MAX_CLAUSE = 40

_LEAST_SEEN = {1: 20, 2: 40, 3: 80}
"""Background posts that must hold a gram of each length for it to stand in the table."""

_NOISE = re.compile(r"https?://\S+|@[^\s:：@]{1,30}[:：]?|\[[^\[\]]{1,8}\]|#([^#]{1,40})#")
_CUTS = re.compile(r"[^一-龥0-9a-z.·]+|(?<![0-9])[.·]|[.·](?![0-9])")
_CONTENT = re.compile(r"[一-龥0-9a-zA-Z]")


@cache
def _background() -> tuple[dict[str, float], float]:
    counts = {gram: int(seen) for gram, seen in read_table("background.tsv", 2)}
    total = counts.pop("")
    weights = {gram: math.log(total / (1 + seen)) ** 2 for gram, seen in counts.items()}
    return weights, math.log(total / 12) ** 2


def weight(gram: str) -> float:
    """Squared inverse document frequency of a gram."""
    weights, rare = _background()
    return weights.get(gram, rare)


def content_length(text: str) -> int:
    """Number of characters that say something."""
    return len(_CONTENT.findall(text))


def pieces(text: str) -> list[str]:
    """Parts of a text between punctuation, lower case, without links, mentions, faces."""
    clean = _NOISE.sub(lambda m: f" {m.group(1) or ''} ", text).lower()
    return [part for part in _CUTS.split(clean) if part]


def clauses(text: str) -> list[str]:
    """Clauses of 12 to 40 characters, and the whole when it is not much longer than one.

    Punctuation cuts; short parts are joined with what follows, each start once, so that a claim
    of two short parts in the middle of chatter is found whole.
    """
    return list(runs(pieces(text)))


def runs(parts: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The clauses of ``clauses`` with the parts each is made of: ``parts[first:end]``."""
    made: dict[str, tuple[int, int]] = {}
    for first in range(len(parts)):
        joined = ""
        end = first
        for part in parts[first:]:
            if joined and len(joined) + len(part) > MAX_CLAUSE:
                break
            joined += part
            end += 1
            if len(joined) >= MIN_CLAUSE:
                made.setdefault(joined[: MAX_CLAUSE * 2], (first, end))
        if len(joined) < MIN_CLAUSE and first == 0:
            made["".join(parts)[: MAX_CLAUSE * 2]] = (0, len(parts))
    whole = "".join(parts)
    if parts and len(whole) <= MAX_CLAUSE * 2:
        made.setdefault(whole, (0, len(parts)))
    return made


def grams(clause: str) -> frozenset[str]:
    """Character 1-, 2- and 3-grams of a clause."""
    pairs = [*map(add, clause, clause[1:])]
    return frozenset(chain(clause, pairs, map(add, pairs, clause[2:])))


def mass(found: frozenset[str]) -> float:
    """Sum of squared weights: the squared length of the vector."""
    weights, rare = _background()
    return sum(map(weights.get, found, repeat(rare)))


def background_counts(texts: Iterable[str]) -> dict[str, int]:
    """How ``lexicon/background.tsv`` is made: gram -> number of distinct posts that hold it.

    The empty gram holds the number of posts. Only counts are kept, of grams of at most three
    characters that many posts share, so that no post can be read back from the table.
    """
    counts: Counter[str] = Counter()
    total = 0
    for text in set(texts):
        if content_length(text) < MIN_CLAUSE:
            continue
        total += 1
        counts.update(frozenset().union(*map(grams, pieces(text))))
    kept = {gram: seen for gram, seen in counts.items() if seen >= _LEAST_SEEN[len(gram)]}
    return {"": total, **kept}
