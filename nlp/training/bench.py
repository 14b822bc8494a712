"""How fast the annotator is here. Figures, never a test: machines differ and neighbours talk."""

from __future__ import annotations

import gc
import json
import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from nlp.annotator import BATCH, Annotator, to_json_line
from nlp.heads import HEADS, chosen_labels
from nlp.text import search_tokens
from nlp.training.card import hard_examples

ROUNDS = 5


def bench_annotate(
    n: int = 20_000, *, texts: Sequence[str] | None = None, model: Path | None = None
) -> dict[str, Any]:
    """Posts per second of one thread: heads and sketch, tokens, everything, JSON to JSON.

    ``texts``: posts to measure with (their mean length is reported, as it decides the figures);
    without any, our hard examples are repeated to ``n``. The median of five rounds.
    """
    posts = list(islice(cycle(texts or [row.text for row in hard_examples()]), n))
    began = time.perf_counter()
    annotator = Annotator.load(model)
    annotator.annotate(posts[:1])
    cold = time.perf_counter() - began
    gc.freeze()
    some = posts[: min(n, 4_000)]
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(some)]
    try:
        return {
            "n": n,
            "mean_characters": round(statistics.fmean(map(len, posts)), 1),
            "heads_and_sketch_per_s": _rate(len(posts), lambda: annotator.score(posts)),
            "search_tokens_per_s": _rate(len(some), lambda: [search_tokens(t) for t in some]),
            "annotate_per_s": _rate(len(some), lambda: _in_batches(annotator, some, True)),
            "annotate_without_reasons_per_s": _rate(
                len(some), lambda: _in_batches(annotator, some, False)
            ),
            "json_to_json_per_s": _rate(len(lines), lambda: _json_to_json(annotator, lines)),
            "json_to_labels_per_s": _rate(len(lines), lambda: _json_to_labels(annotator, lines)),
            "one_post_us": round(1e6 / _rate(1, lambda: annotator.score(posts[:1]), 200), 1),
            "first_answer_s": round(cold, 2),
            "two_processes_times": _two_processes(posts, model),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "model": annotator.model_version,
            "machine": f"{platform.machine()} {platform.system()}, one thread",
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("numpy", "numba", "rjieba")},
            },
        }
    finally:
        gc.unfreeze()


class _In(msgspec.Struct):
    id: int
    text: str


class _Labels(msgspec.Struct):
    id: int
    kind: str
    sentiment: str
    urgency: int
    rumour: str
    scores: list[float]
    sketch: str
    exact: str


_decode = msgspec.json.Decoder(list[_In]).decode
_encode_lines = msgspec.json.Encoder().encode_lines


def _json_to_labels(annotator: Annotator, lines: Sequence[str]) -> None:
    """Labels, probabilities and sketch of every line: what a program needs that only counts."""
    for start in range(0, len(lines), BATCH):
        rows = _decode(("[" + ",".join(lines[start : start + BATCH]) + "]").encode())
        said = annotator.score([row.text for row in rows])
        kind, sentiment, urgency, rumour = (
            [head.labels[n] for n in numbers]
            for head, numbers in zip(HEADS, chosen_labels(said.scores).T.tolist(), strict=True)
        )
        scores = np.round(said.scores.astype(np.float64), 4).tolist()
        sketches, exacts = said.sketches.tobytes().hex(), said.exacts.tobytes().hex()
        _encode_lines(
            [
                _Labels(
                    row.id, kind[i], sentiment[i], int(urgency[i]), rumour[i], scores[i],
                    sketches[i * 512 : i * 512 + 512], exacts[i * 16 : i * 16 + 16],
                )
                for i, row in enumerate(rows)
            ]
        )  # fmt: skip


def _two_processes(posts: Sequence[str], model: Path | None) -> float:
    """How much more two processes do at once than one alone, heads and sketch."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, _load_for, (model,)) as pool:
        pool.map(_score_for, [(posts, 1), (posts, 1)], chunksize=1)  # both are loaded
        alone = min(pool.map(_score_for, [(posts, ROUNDS)], chunksize=1))
        both = pool.map(_score_for, [(posts, ROUNDS), (posts, ROUNDS)], chunksize=1)
    return round(sum(alone / took for took in both), 2)


_mine: list[Annotator] = []


def _load_for(model: Path | None) -> None:
    _mine.append(Annotator.load(model))


def _score_for(work: tuple[Sequence[str], int]) -> float:
    """Seconds of ``rounds`` passes over the posts."""
    posts, rounds = work
    began = time.perf_counter()
    for _ in range(rounds):
        _mine[0].score(posts)
    return time.perf_counter() - began


def _rate(count: int, run: Callable[[], object], rounds: int = ROUNDS) -> int:
    run()
    took: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return round(count / statistics.median(took))


def _in_batches(annotator: Annotator, texts: Sequence[str], reasons: bool) -> None:
    for start in range(0, len(texts), BATCH):
        annotator.annotate(texts[start : start + BATCH], reasons=reasons)


def _json_to_json(annotator: Annotator, lines: Sequence[str]) -> None:
    for start in range(0, len(lines), BATCH):
        rows = [json.loads(line) for line in lines[start : start + BATCH]]
        for row, said in zip(rows, annotator.annotate([r["text"] for r in rows]), strict=True):
            json.dumps(to_json_line(row["id"], said), ensure_ascii=False)
