"""The log says where something failed, and never what was being handled."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from pipeline.cli import configure_logs


@pytest.fixture
def as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("as_before")
def test_a_traceback_names_lines_and_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    def handle(text: str) -> None:
        raise ValueError("refused")

    configure_logs("info")
    try:
        handle("求助，电话 13800000000")
    except ValueError:
        structlog.get_logger("t").exception("a round failed")
    line = capsys.readouterr().err
    said = json.loads(line)
    assert said["exception"][0]["exc_value"] == "refused"
    assert [frame["name"] for frame in said["exception"][0]["frames"]][-1] == "handle"
    assert "求助" not in line and "13800000000" not in line
