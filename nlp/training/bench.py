"""How fast the annotator is here. Figures, never a test: machines differ and neighbours talk."""

from __future__ import annotations

import gc
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from nlp.annotator import BATCH, Annotator, to_json_line
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
            "one_post_us": round(1e6 / _rate(1, lambda: annotator.score(posts[:1]), 200), 1),
            "first_answer_s": round(cold, 2),
            "model": annotator.model_version,
            "machine": f"{platform.machine()} {platform.system()}, one thread",
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("numpy", "numba", "rjieba")},
            },
        }
    finally:
        gc.unfreeze()


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
