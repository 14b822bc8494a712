"""``tingfeng bench``: figures of this machine, as docs/benchmarks.md shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeline.errors import SettingsError

USUAL = {
    "annotate": 20_000,
    "pipeline": 20_000,
    "search": 200_000,
    "board": 200_000,
    "click": 30_000,
}


def run_benches(names: Sequence[str], n: int = 0) -> Iterator[dict[str, Any]]:
    """One row per bench. ``n``: posts, 0 = the usual number. Raises: SettingsError."""
    wanted = list(USUAL) if "all" in names else list(names)
    for name in wanted:
        if name not in USUAL:
            raise SettingsError(f"no bench {name!r}; choose from {', '.join(USUAL)} or all")
    for name in wanted:
        yield {"bench": name, **_bench(name)(n or USUAL[name])}


def _bench(name: str) -> Callable[[int], dict[str, Any]]:
    if name == "annotate":
        from nlp.training.bench import bench_annotate

        return bench_annotate
    if name == "click":
        from pipeline.commands.live_bench import bench_click

        return bench_click
    from pipeline.bench import bench_board, bench_pipeline, bench_search

    return {"pipeline": bench_pipeline, "search": bench_search, "board": bench_board}[name]
