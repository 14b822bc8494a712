"""Which clauses of a text are worth comparing with which claims, the most promising first.

Comparing is what costs: a clause's n-grams, then one intersection for each form of each claim.
A usual post has few clauses that share rare pairs with few claims, and all of them are compared.
A text made of claims would have hundreds; there the work is a fixed number of comparisons, chosen
by the share of a claim's rare pairs that stands in a clause against the clause's length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import nlargest
from itertools import accumulate
from operator import add

from nlp import grams

GATE_SHARE = 0.10
"""Share of a claim's pair weight that a text must hold to be compared at all."""
GATE_HITS = 3
GATE_MOST = 16
"""Claims compared with one text at most."""
MOST_HITS = 100
"""Rare pairs of claims looked at in one text (39,000 real posts: at most 49)."""
MOST_PIECES = 96
"""Parts between punctuation joined to clauses, from the first one that holds a hit."""
MOST_CLAUSES = 8
MOST_COMPARED = 40
"""Clauses, and clauses times forms, up to which everything is compared; beyond that so many
clauses in all, the ``BEST_CLAUSES`` of each of the ``BEST_CLAIMS`` nearest claims. On our test
posts, with chatter too, no figure changes against looking at everything."""
BEST_CLAUSES = 2
BEST_CLAIMS = 4
_LONG = grams.MAX_CLAUSE
_WINDOW = 20
"""A part longer than this is read in windows, so that no claim hides in a text without commas."""

Postings = Mapping[str, tuple[tuple[int, float], ...]]
Hits = dict[str, None]
Plan = dict[str, list[int]]
"""Clause -> numbers of the claims to compare it with."""


def find_hits(text: str, postings: Postings, starts: Sequence[int] | None) -> tuple[Hits, int]:
    """Pairs of claims that stand in the text, in its order, and up to where it was read.

    ``starts``: where pairs may stand, if it is known already (see ``nlp.pairs``).
    """
    hits: Hits = {}
    found = map(add, text, text[1:]) if starts is None else (text[s : s + 2] for s in starts)
    for number, pair in enumerate(found):
        if pair in postings and pair not in hits:
            hits[pair] = None
            if len(hits) == MOST_HITS:
                return hits, (number if starts is None else starts[number]) + 2
    return hits, len(text)


def candidates(hits: Hits, postings: Postings) -> list[int]:
    """Numbers of the claims worth comparing; for most posts there is none."""
    shares: dict[int, float] = {}
    for pair in hits:
        for number, share in postings[pair]:
            shares[number] = shares.get(number, 0.0) + share
    worth = [number for number, share in shares.items() if share >= GATE_SHARE]
    if len(worth) > GATE_MOST:
        worth = nlargest(GATE_MOST, worth, key=lambda number: (shares[number], -number))
    return worth


def plan(
    text: str, hits: Hits, postings: Postings, worth: Sequence[int], forms: Sequence[int]
) -> Plan:
    """Which clause to compare with which claims. ``forms``: how many forms each of ``worth`` has.

    At most ``MOST_CLAUSES`` clauses, whatever the text.
    """
    parts = _parts(text)
    held = [hits.keys() & set(map(add, part, part[1:])) for part in parts]
    first = next((n for n, pairs in enumerate(held) if pairs), 0)
    first = max(0, first - 2)  # short parts before it may be its beginning
    parts, held = parts[first : first + MOST_PIECES], held[first : first + MOST_PIECES]
    runs = grams.runs(parts)
    counts = [0, *accumulate(map(len, held))]
    promising = {c: (a, b) for c, (a, b) in runs.items() if counts[b] - counts[a] >= 2}
    if len(promising) <= MOST_CLAUSES and len(promising) * sum(forms) <= MOST_COMPARED:
        return {clause: list(worth) for clause in promising}
    return _best_first(promising, held, postings, worth)


def _parts(text: str) -> list[str]:
    parts: list[str] = []
    times: Counter[str] = Counter()
    for piece in grams.pieces(text):
        times[piece] += 1
        if times[piece] > 2:
            continue  # said over and over: nothing new stands in it, nor at its seams
        if len(piece) <= _LONG:
            parts.append(piece)
        else:
            parts.extend(piece[at : at + _WINDOW] for at in range(0, len(piece), _WINDOW))
    return parts


def _best_first(
    runs: Mapping[str, tuple[int, int]],
    held: Sequence[set[str]],
    postings: Postings,
    worth: Sequence[int],
) -> Plan:
    """For each claim the clauses that hold most of its pairs for their length."""
    rising = {number: [0.0] for number in worth}
    for pairs in held:
        here: dict[int, float] = {}
        for pair in pairs:
            for number, share in postings[pair]:
                here[number] = here.get(number, 0.0) + share
        for number, sums in rising.items():
            sums.append(sums[-1] + here.get(number, 0.0))
    lengths = [(clause, a, b, len(clause)) for clause, (a, b) in runs.items()]
    ranked: list[tuple[float, int, list[tuple[float, str]]]] = []
    for number in nlargest(BEST_CLAIMS, worth, key=lambda n: (rising[n][-1], -n)):
        sums = rising[number]
        best = nlargest(
            BEST_CLAUSES,
            (
                ((sums[b] - sums[a]) ** 2 / length, clause)
                for clause, a, b, length in lengths
                if sums[b] > sums[a]
            ),
        )
        if best:
            ranked.append((best[0][0], number, best))
    made: Plan = {}
    for _, number, best in sorted(ranked, reverse=True):
        for _, clause in best:
            if clause in made:
                made[clause].append(number)
            elif len(made) < MOST_CLAUSES:
                made[clause] = [number]
    return made
