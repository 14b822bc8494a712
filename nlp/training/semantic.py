"""Fit what sentence vectors add to sentiment, rumour and help, and measure it by the same folds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from nlp.heads import COLUMNS, HEAD, HEADS, best_scores
from nlp.second_tier import FLAGGED, FLAGGED_HELP
from nlp.semantic import FORMAT, Blend, Encoder, side_by_side
from nlp.training import metrics

PENALTY = 0.03  # LogisticRegression's C
VECTOR_WEIGHT = 0.3  # of a vector's number beside a log-probability, both of spread 1
COMMON = 5  # principal directions taken out before comparing
CHUNK = 64
HELP_RECALL = 0.95
BLENDED = ("sentiment", "rumour")

Progress = Callable[[str], None]


def encode_all(
    encoder: Encoder, texts: Sequence[str], progress: Progress = lambda _: None
) -> NDArray[np.float32]:
    """Vectors ``(n, d)`` of many texts, in parts. Raises SemanticDown."""
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), CHUNK):
        parts.append(encoder.encode(texts[start : start + CHUNK]))
        if start % (CHUNK * 16) == 0:
            progress(f"{start} of {len(texts)} texts encoded")
    return np.vstack(parts)


def fit_blend(
    vectors: NDArray[np.float32],
    scores: NDArray[np.float32],
    truth: NDArray[np.int64],
    own: NDArray[np.bool_],
    fold: NDArray[np.int64],
    unsure: NDArray[np.bool_],
    encoder: str,
) -> Blend:
    """All arguments over guide texts: first-tier probabilities ``scores`` (n, 18) of unseen texts,
    ``truth`` (n, heads), ``unsure`` (n,): whom the second tier would look at. The card holds both
    tiers' scores, everywhere and as the cascade that runs (second tier on the unsure only)."""
    said = scores.copy()
    for k in range(int(fold.max()) + 1):
        inside = fold == k
        said[inside] = _fit(vectors[~inside], scores[~inside], truth[~inside], {}).blended(
            scores[inside], vectors[inside]
        )
    cascade = np.where(unsure[:, None], said, scores)
    card = {
        "format": FORMAT,
        "encoder": encoder,
        "texts": len(truth),
        "looked_at": round(float(unsure.mean()), 4),
        "scores": {
            part: {
                way: _measure(found[mask], truth[mask])
                for way, found in (("first", scores), ("cascade", cascade), ("all", said))
            }
            for part, mask in (("real", ~own), ("own", own))
            if mask.any()
        },
    }
    return _fit(vectors, scores, truth, card)


def looked_at(scores: NDArray[np.float32], thresholds: dict[str, Any]) -> NDArray[np.bool_]:
    """Whose vector the second tier asks for (``nlp.second_tier``), known claims left out.

    ``scores`` (n, 18); ``thresholds``: of the model's card.
    """
    unsure = best_scores(scores) < [thresholds["unsure"][head.name] for head in HEADS]
    kind, rumour = HEAD["kind"], HEAD["rumour"]
    calls = scores[:, kind.start + kind.labels.index("help")]
    claims = 1 - scores[:, rumour.start + rumour.labels.index("none")]
    is_claim = scores[:, rumour.columns].argmax(axis=1) != rumour.labels.index("none")
    relevant = scores[:, kind.start + kind.labels.index("irrelevant")] < thresholds["irrelevant"]
    second = (unsure.any(axis=1) | (calls >= FLAGGED_HELP) | is_claim) & (relevant | is_claim)
    doubtful = unsure[:, [list(HEAD).index(name) for name in BLENDED]].any(axis=1)
    return np.asarray(second & (doubtful | (np.maximum(calls, claims) >= FLAGGED)))


def read_again(
    texts: Sequence[str],
    scores: NDArray[np.float32],
    thresholds: dict[str, Any],
    encoder: Encoder,
    blend: Blend,
) -> NDArray[np.float32]:
    """``scores`` (n, 18) as they are after the second tier. Raises SemanticDown."""
    at = np.flatnonzero(looked_at(scores, thresholds)).tolist()
    again = scores.copy()
    if at:
        again[at] = blend.blended(scores[at], encode_all(encoder, [texts[i] for i in at]))
    return again


def _fit(
    vectors: NDArray[np.float32],
    scores: NDArray[np.float32],
    truth: NDArray[np.int64],
    card: dict[str, Any],
) -> Blend:
    centre = vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(vectors - centre, full_matrices=False)
    both = side_by_side(scores, vectors)
    mean, spread = both.mean(axis=0), both.std(axis=0) + 1e-6
    spread[COLUMNS:] /= VECTOR_WEIGHT
    seen = (both - mean) / spread
    heads = list(HEAD)
    fitted = {name: _logistic(seen, truth[:, heads.index(name)]) for name in BLENDED}
    number = HEAD["kind"].labels.index("help")
    calls = _logistic(seen, (truth[:, heads.index("kind")] == number).astype(np.int64))
    return Blend(
        centre=centre.astype(np.float32),
        common=directions[:COMMON].astype(np.float32),
        mean=mean.astype(np.float32),
        spread=spread.astype(np.float32),
        sentiment=fitted["sentiment"],
        rumour=fitted["rumour"],
        help=calls[:, 0],
        card=card,
    )


def _logistic(seen: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weights ``(18 + d + 1, labels)``, intercept last; one column for a yes-or-no question."""
    model = LogisticRegression(C=PENALTY, max_iter=300).fit(seen, truth)
    return np.vstack([model.coef_.T, model.intercept_]).astype(np.float32)


def _measure(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for t, name in enumerate(HEAD):
        if name in BLENDED:
            measured = metrics.head_scores(scores[:, HEAD[name].columns], truth[:, t])
            found[name] = {k: measured[k] for k in ("accuracy", "macro_f1", "ece")}
    number = HEAD["kind"].labels.index("help")
    score = scores[:, HEAD["kind"].start + number]
    found["help"] = metrics.precision_at_recall(score, truth[:, 0] == number, HELP_RECALL)
    return found


def save_blend(path: Path, blend: Blend) -> None:
    """One compressed ``.npz``; the same blend gives the same bytes."""
    arrays = {name: getattr(blend, name) for name in Blend.__slots__ if name != "card"}
    text = json.dumps(blend.card, ensure_ascii=False, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays, card=np.frombuffer(text.encode(), np.uint8))
