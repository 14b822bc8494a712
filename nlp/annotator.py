"""The one door of this package: texts in, annotations out.

A batch goes through the kernel once (heads and sketch, columns of numpy), and only then becomes
objects. Places, hazards, warnings, claims and cues are looked up for texts that speak of weather
or of a claim; an irrelevant text costs the kernel and its words.
"""

from __future__ import annotations

import threading
import warnings as python_warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nlp import weights as model_file
from nlp.claims import ClaimIndex, KnownClaim, Thresholds, load_library
from nlp.cues import find_cues
from nlp.garbage import uncollected
from nlp.heads import HEAD, HEADS, SPANS, best_scores, chosen_labels, probabilities
from nlp.lexicon import hazard_pairs, hazards_in
from nlp.pairs import PairTable
from nlp.places import Gazetteer
from nlp.text import MARKERS, READ_LIMIT, Segmenter, segmenter
from nlp.types import KINDS, RUMOURS, SENTIMENTS, Annotation, Kind, Rumour, Sentiment
from nlp.warnings import find_warning

BATCH = 512
LOOK_LIMIT = 600
"""Characters of a text in which places, hazards, warnings, claims, cues and reasons are looked
for: twice what 99 of 100 posts have. The heads read ``READ_LIMIT``."""
LOOK_WORDS = 150  # shorter lists are not cut: words have two characters, seldom four
CERTAINLY_NO_CLAIM = 0.995
"""P(rumour = none) from which a text is not compared with known claims. On held-out posts about
claims .985 lost 8 of 142 (.873 right first, .17 false suggestions per 200 posts of a stream),
.995 loses 2 (.915, .42); no gate .930, .70."""

_SHOWN = dict(zip(MARKERS, ("链接", "@", "//@", "数字"), strict=True))
_NAMES = tuple(head.name for head in HEADS)
_LABELS = tuple((head.name, head.labels, head.columns) for head in HEADS)
_BITS = 1 << np.arange(len(_NAMES))
_SUBSETS = tuple(
    tuple(name for bit, name in enumerate(_NAMES) if number >> bit & 1)
    for number in range(1 << len(_NAMES))
)
"""Every set of heads by its bits: which are unsure."""
_NO_RUMOUR = HEAD["rumour"].start + HEAD["rumour"].labels.index("none")
_IRRELEVANT = HEAD["kind"].start + HEAD["kind"].labels.index("irrelevant")


@dataclass(frozen=True, slots=True)
class Scores:
    """One batch as columns. ``scores`` (n, 18): probabilities of all heads side by side;
    ``sketches`` (n, 64); ``exacts``, ``contents`` (n,): hash and number of content characters."""

    scores: NDArray[np.float32]
    sketches: NDArray[np.uint32]
    exacts: NDArray[np.uint64]
    contents: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.scores)

    def of(self, head: str) -> NDArray[np.float32]:
        """Probabilities of one head, ``(n, labels)``, rows sum to 1."""
        return self.scores[:, HEAD[head].columns]


class Annotator:
    """A model with the word lists and claims beside it. Load once per process."""

    def __init__(
        self,
        weights: model_file.Weights,
        claims: Sequence[KnownClaim],
        levels: Mapping[str, float] | None = None,
    ) -> None:
        self.model_version = weights.version
        self.card: dict[str, Any] = weights.card
        self.levels = own_levels(weights.card) | dict(levels or {})
        self._irrelevant: float = self.levels["irrelevant"]
        self._unsure = np.array([self.levels[f"unsure.{name}"] for name in _NAMES], np.float32)
        self._kernel, self._clean = _fastest_kernel(weights)
        self._gazetteer = Gazetteer.load()
        self.use_claims(claims)
        self._segmenter: Segmenter = segmenter()
        self._turn = threading.Lock()  # the kernel keeps scratch marks

    @classmethod
    def load(
        cls,
        model_path: Path | None = None,
        claims: Sequence[KnownClaim] | None = None,
        levels: Mapping[str, float] | None = None,
    ) -> Annotator:
        """The shipped model and claim library, or others. ``levels``: thresholds to use instead
        of the model's own, named as in ``own_levels``.

        Raises ModelMissing or ModelUnreadable: without a model nothing is guessed.
        """
        weights = model_file.load(model_path)
        return cls(weights, load_library() if claims is None else claims, levels)

    def use_claims(
        self, claims: Sequence[KnownClaim], thresholds: Thresholds | None = None
    ) -> None:
        """Compare texts with these claims from now on. Call it between batches, not during one."""
        self._claims = ClaimIndex(claims, self._gazetteer, thresholds=thresholds)
        self._pairs = PairTable((hazard_pairs(), self._gazetteer.pairs, self._claims.pairs))

    def score(self, texts: Sequence[str]) -> Scores:
        """Heads and sketch only, as columns: the fast path, no object per text."""
        with self._turn:
            logits, sketches, exacts, contents = self._kernel.score(texts)
        return Scores(probabilities(logits), sketches, exacts, contents)

    def annotate(
        self,
        texts: Sequence[str],
        *,
        place_hints: Sequence[str | None] | None = None,
        published: Sequence[datetime | None] | None = None,
        reasons: bool = True,
    ) -> list[Annotation]:
        """One annotation per text, in order.

        ``place_hints``: the accounts' shown places; ``published``: aware times, for warnings that
        are past their time and for claims; ``reasons``: also the words that weighed.
        """
        done: list[Annotation] = []
        with uncollected():
            for start in range(0, len(texts), BATCH):
                part = slice(start, start + BATCH)
                done += self._annotate_batch(
                    texts[part],
                    place_hints[part] if place_hints is not None else None,
                    published[part] if published is not None else None,
                    reasons,
                )
        return done

    def _annotate_batch(
        self,
        texts: Sequence[str],
        hints: Sequence[str | None] | None,
        published: Sequence[datetime | None] | None,
        reasons: bool,
    ) -> list[Annotation]:
        texts = [text[:READ_LIMIT] for text in texts]
        batch = self.score(texts)
        chosen = chosen_labels(batch.scores)
        unsure = ((best_scores(batch.scores) < self._unsure) @ _BITS).tolist()
        relevant = (batch.scores[:, _IRRELEVANT] < self._irrelevant).tolist()
        checkable = (batch.scores[:, _NO_RUMOUR] < CERTAINLY_NO_CLAIM).tolist()
        rounded = np.round(batch.scores.astype(np.float64), 4).tolist()
        cleaned = self._clean(texts)
        words = [self._segmenter.cut(text) for text in cleaned]
        why = self._reasons(texts, words, chosen) if reasons else [{} for _ in texts]
        sketches = batch.sketches.astype(">u4").tobytes().hex()
        exacts = batch.exacts.astype(">u8").tobytes().hex()
        contents = batch.contents.tolist()
        numbers = chosen.tolist()
        spoken = [yes or row[3] != 0 for yes, row in zip(relevant, numbers, strict=True)]
        looked = [text[:LOOK_LIMIT] if yes else "" for text, yes in zip(texts, spoken, strict=True)]
        of_hazards, of_places, of_claims = self._pairs.starts(looked)

        annotations: list[Annotation] = []
        for i, (k, s, u, r) in enumerate(numbers):
            text, clean, row, speaks = looked[i], cleaned[i], rounded[i], spoken[i]
            rumour = RUMOURS[r]
            tokens = self._segmenter.search_tokens_of(words[i], clean)
            at = published[i] if published is not None else None
            hint = hints[i] if hints is not None else None
            places = self._gazetteer.find(text, hint, of_places[i]) if speaks else ()
            annotations.append(
                Annotation(
                    model=self.model_version,
                    relevant=relevant[i],
                    kind=cast(Kind, KINDS[k]),
                    sentiment=cast(Sentiment, SENTIMENTS[s]),
                    urgency=u,
                    rumour=cast(Rumour, rumour),
                    scores={n: dict(zip(ls, row[c], strict=True)) for n, ls, c in _LABELS},
                    reasons=why[i],
                    unsure=_SUBSETS[unsure[i]],
                    hazards=hazards_in(text, of_hazards[i]) if speaks else (),
                    places=places,
                    claims=self._claims.match(text, tokens, rumour, at, of_claims[i], places)
                    if speaks and checkable[i]
                    else (),
                    warning=find_warning(text, at) if speaks else None,
                    cues=find_cues(clean[:LOOK_LIMIT]) if speaks else (),
                    sketch=sketches[i * 512 : i * 512 + 512]
                    if contents[i] >= model_file.MIN_CONTENT
                    else "",
                    exact=exacts[i * 16 : i * 16 + 16],
                    tokens=tokens,
                )
            )
        return annotations

    def _reasons(
        self, texts: Sequence[str], words: Sequence[list[str]], chosen: NDArray[np.int64]
    ) -> list[dict[str, list[tuple[str, float]]]]:
        words = [_first(said) if len(said) > LOOK_WORDS else said for said in words]
        with self._turn:
            top, weight = self._kernel.explain(texts, chosen, words, SPANS)
        values = np.round(weight.astype(np.float64), 3).tolist()
        found = (top >= 0).sum(axis=2).tolist()
        reasons: list[dict[str, list[tuple[str, float]]]] = []
        for said, numbers, weights, counts in zip(words, top.tolist(), values, found, strict=True):
            if not _SHOWN.keys().isdisjoint(said):
                said = [_SHOWN.get(word, word) for word in said]
            reasons.append(
                {
                    name: [(said[n], w) for n, w in zip(ns[:count], ws, strict=False)]
                    for name, ns, ws, count in zip(_NAMES, numbers, weights, counts, strict=True)
                }
            )
        return reasons


def _first(words: list[str]) -> list[str]:
    """The words that lie within the first ``LOOK_LIMIT`` characters."""
    reach = 0
    for n, word in enumerate(words):
        reach += len(word)
        if reach > LOOK_LIMIT:
            return words[:n]
    return words


def own_levels(card: Mapping[str, Any]) -> dict[str, float]:
    """The thresholds a model came with: ``irrelevant``, ``unsure.kind`` and so on."""
    given = card["thresholds"]
    return {
        "irrelevant": float(given["irrelevant"]),
        **{f"unsure.{name}": float(given["unsure"][name]) for name in _NAMES},
    }


def _fastest_kernel(weights: model_file.Weights) -> tuple[Any, Any]:
    """The compiled kernel and cleaner, or the portable ones where numba cannot be imported."""
    try:
        from nlp import kernel
    except ImportError as error:
        from nlp import portable

        python_warnings.warn(
            f"numba cannot be imported ({error}); the annotator runs about thirty times slower. "
            "Install numba to get its speed back; the answers are the same.",
            RuntimeWarning,
            stacklevel=3,
        )
        return portable.Kernel(weights), portable.clean_texts
    return kernel.Kernel(weights), kernel.clean_texts


def to_json_line(id: Any, annotation: Annotation) -> dict[str, Any]:  # noqa: A002
    """One annotation as ``tingfeng annotate --json`` prints it."""
    return {
        "id": id,
        "relevant": annotation.relevant,
        "kind": annotation.kind,
        "sentiment": annotation.sentiment,
        "urgency": annotation.urgency,
        "rumour": annotation.rumour,
        "hazards": list(annotation.hazards),
        "places": [{"adcode": p.adcode, "name": p.name} for p in annotation.places],
        "claims": [
            {"id": c.id, "similarity": round(c.similarity, 4), "level": c.level}
            for c in annotation.claims
        ],
        "scores": annotation.scores,
        "reasons": {
            head: [[word, weight] for word, weight in words]
            for head, words in annotation.reasons.items()
        },
    }
