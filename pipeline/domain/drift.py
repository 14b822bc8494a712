"""Has the talk changed since the model was trained? Last week against the month before.

Three signs per source: the share of *unsure*, the mix of labels, the words. Distances are
Jensen-Shannon divergences in bits (0 = the same, 1 = nothing in common; Lin, 1991). Words are
counted in hashed buckets, which needs a known number of places and keeps no text; what chance
alone gives at that many posts is taken off. Under ``ENOUGH`` posts on either side nothing is said.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from nlp.types import Annotation

BUCKETS = 256
ENOUGH = 100
COMMON = 50  # of a day's words are kept by name, so that a change can be told
COMMON_IN = 3  # posts a word must stand in to be kept: nobody's own words
RISEN = 5  # words named
HEADS = ("kind", "sentiment", "urgency", "rumour")


@dataclass(frozen=True, slots=True)
class DayCounts:
    """``labels``: head -> label -> posts. ``unsure``: head -> posts. ``words``: posts that hold a
    word of the bucket, ``BUCKETS`` of them; ``common``: commonest words -> posts; ``models``:
    model version -> posts. All but the labels are counted on ``sampled`` posts."""

    posts: int = 0
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    sampled: int = 0
    unsure: dict[str, int] = field(default_factory=dict)
    words: list[int] = field(default_factory=list)
    common: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drift:
    """One source, or all of them (``source`` empty). ``unsure``: head -> (share now, share
    before); ``mix``: head -> bits; ``words``: bits; ``heads``: those that passed the limits;
    ``risen``: the words whose share grew most. ``other_model``: another model judges than before,
    so labels may have moved without the talk. ``judged`` False: too few posts."""

    source: str
    posts: int
    posts_before: int
    judged: bool
    unsure: dict[str, tuple[float, float]] = field(default_factory=dict)
    mix: dict[str, float] = field(default_factory=dict)
    words: float = 0.0
    heads: tuple[str, ...] = ()
    words_moved: bool = False
    risen: tuple[str, ...] = ()
    other_model: bool = False

    @property
    def notable(self) -> bool:
        return bool(self.heads) or self.words_moved


def count(annotations: Sequence[Annotation]) -> DayCounts:
    """The counts of some posts of one source and day, all of them sampled."""
    labels: dict[str, Counter[str]] = {head: Counter() for head in HEADS}
    unsure: Counter[str] = Counter()
    said: Counter[str] = Counter()
    models: Counter[str] = Counter()
    words = [0] * BUCKETS
    for annotation in annotations:
        for head in HEADS:
            labels[head][str(getattr(annotation, head))] += 1
        unsure.update(annotation.unsure)
        models[annotation.model] += 1
        own = set(annotation.tokens.split())
        said.update(own)
        for bucket in {crc32(w.encode()) % BUCKETS for w in own}:
            words[bucket] += 1
    told = [(w, n) for w, n in said.items() if n >= COMMON_IN and len(w) > 1]
    common = dict(sorted(told, key=lambda pair: (-pair[1], pair[0]))[:COMMON])
    n = len(annotations)
    return DayCounts(
        n, {h: dict(c) for h, c in labels.items()}, n, dict(unsure), words, common, dict(models)
    )


def joined(days: Iterable[DayCounts]) -> DayCounts:
    """The sum of several days, or of several sources."""
    posts = sampled = 0
    labels: dict[str, Counter[str]] = {head: Counter() for head in HEADS}
    unsure: Counter[str] = Counter()
    common: Counter[str] = Counter()
    models: Counter[str] = Counter()
    words = [0] * BUCKETS
    for day in days:
        posts += day.posts
        sampled += day.sampled
        for head, counts in day.labels.items():
            labels[head].update(counts)
        unsure.update(day.unsure)
        common.update(day.common)
        models.update(day.models)
        for bucket, n in enumerate(day.words):
            words[bucket] += n
    return DayCounts(
        posts,
        {h: dict(c) for h, c in labels.items()},
        sampled,
        dict(unsure),
        words,
        dict(common),
        dict(models),
    )


def compare(
    source: str, now: DayCounts, before: DayCounts, *, unsure_by: float, mix_by: float
) -> Drift:
    """``unsure_by``: a rise of the unsure share that is worth a notice; ``mix_by``: bits."""
    if min(now.posts, before.posts, now.sampled, before.sampled) < ENOUGH:
        return Drift(source, now.posts, before.posts, judged=False)
    unsure = {
        head: (now.unsure.get(head, 0) / now.sampled, before.unsure.get(head, 0) / before.sampled)
        for head in HEADS
    }
    mix = {
        head: divergence(now.labels.get(head, {}), before.labels.get(head, {})) for head in HEADS
    }
    words = divergence(dict(enumerate(now.words)), dict(enumerate(before.words)))
    heads = tuple(
        head
        for head in HEADS
        if unsure[head][0] - unsure[head][1] > unsure_by or mix[head] > mix_by
    )
    return Drift(
        source,
        now.posts,
        before.posts,
        True,
        unsure,
        mix,
        words,
        heads,
        words > mix_by,
        _risen(now, before) if words > mix_by else (),
        _other_model(now.models, before.models),
    )


def _risen(now: DayCounts, before: DayCounts) -> tuple[str, ...]:
    """Common words of now by how much larger a share of posts holds them, at least a fiftieth."""
    grown = {
        word: n / now.sampled - before.common.get(word, 0) / before.sampled
        for word, n in now.common.items()
    }
    best = sorted(grown.items(), key=lambda pair: (-pair[1], pair[0]))[:RISEN]
    return tuple(word for word, growth in best if growth >= 0.02)


def _other_model(now: Mapping[str, int], before: Mapping[str, int]) -> bool:
    """Whether the model that judged most posts now judged less than half of those before."""
    if not now or not before:
        return False
    model = max(now, key=now.__getitem__)
    return 2 * before.get(model, 0) < sum(before.values())


def divergence(one: Mapping[Any, int], other: Mapping[Any, int]) -> float:
    """Jensen-Shannon divergence in bits, less what chance gives, never below 0.

    >>> divergence({"a": 500}, {"a": 900})
    0.0
    >>> round(divergence({"a": 100000}, {"b": 100000}), 3)
    1.0
    """
    n, m = sum(one.values()), sum(other.values())
    if not n or not m:
        return 0.0
    keys = one.keys() | other.keys()
    bits = 0.0
    for key in keys:
        p, q = one.get(key, 0) / n, other.get(key, 0) / m
        middle = (p + q) / 2
        bits += sum(x * math.log2(x / middle) for x in (p, q) if x) / 2
    used = sum(1 for key in keys if one.get(key, 0) + other.get(key, 0))
    chance = (used - 1) / (8 * math.log(2)) * (1 / n + 1 / m)
    return max(0.0, bits - chance)
