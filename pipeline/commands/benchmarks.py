"""``tingfeng bench``: figures of this machine, as docs/benchmarks.md shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import SettingsError
from pipeline.settings import load_settings

PEERS = "peers"
ENGINES = "engines"
USUAL = {
    "annotate": 20_000,
    "pipeline": 20_000,
    "search": 200_000,
    "board": 200_000,
    "click": 30_000,
}


def run_benches(
    names: Sequence[str], n: int = 0, files: Sequence[Path] = (), config: Path | None = None
) -> Iterator[dict[str, Any]]:
    """One row per bench, for ``peers`` one per question and reader. ``n``: posts, 0 = the usual
    number. ``files``: labelled texts for ``peers``, our corpus by default. ``config``: folder
    whose settings name the servers of ``engines``, which is not part of ``all`` and starts its
    own servers without.

    Raises: SettingsError, LabelledFileError.
    """
    known = [PEERS, *USUAL]
    wanted = known if "all" in names else list(names)
    for name in wanted:
        if name not in (*known, ENGINES):
            raise SettingsError(
                f"no bench {name!r}; choose from {', '.join(known)}, engines or all"
            )
    for name in wanted:
        if name == ENGINES:
            from pipeline.bench_engines import bench_engines

            settings = load_settings(config) if config is not None else None
            yield from ({"bench": name, **row} for row in bench_engines(settings, n))
        elif name == PEERS:
            yield from ({"bench": name, **row} for row in _peers(files))
        else:
            yield {"bench": name, **_bench(name)(n or USUAL[name])}


def _peers(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    from nlp.training.labelled import own_corpus
    from nlp.training.peers import compare_with_peers

    try:
        yield from compare_with_peers(list(files) or own_corpus())
    except ModuleNotFoundError as missing:
        raise SettingsError(
            f"{missing.name} is not installed; `make bench` installs what the comparison needs"
        ) from missing


def _bench(name: str) -> Callable[[int], dict[str, Any]]:
    if name == "annotate":
        from nlp.training.bench import bench_annotate

        return bench_annotate
    if name == "click":
        from pipeline.commands.live_bench import bench_click

        return bench_click
    from pipeline.bench import bench_board, bench_pipeline, bench_search

    return {"pipeline": bench_pipeline, "search": bench_search, "board": bench_board}[name]
