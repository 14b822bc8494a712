"""The bench of the servers says what it lacks instead of measuring something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.commands.benchmarks import run_benches
from pipeline.errors import SettingsError


def test_a_folder_without_servers_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="make bench-engines"):
        list(run_benches(["engines"], config=tmp_path))


def test_an_unknown_bench_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="board, click, engines or all"):
        list(run_benches(["speed"]))
