"""What every command shares: its options, its output, its logs.

``--json`` prints JSON lines and nothing else on standard output; progress goes to standard error.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import structlog
import typer
from structlog.tracebacks import ExceptionDictTransformer

from pipeline.settings import Settings, load_settings

Config = Annotated[Path, typer.Option("--config", help="folder of settings and data")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines on standard output, nothing else")]
When = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Beijing time")
]

DEFAULT_HOME = Path("var")


def out(record: Any) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")


def say(text: str) -> None:
    """A line for a person, on standard error."""
    typer.echo(text, err=True)


def report(rows: Iterable[dict[str, Any]], as_json: bool) -> None:
    """Rows of figures, one a line."""
    for row in rows:
        if as_json:
            out(row)
        else:
            typer.echo("  ".join(f"{k}={_short(v)}" for k, v in row.items()))


def _short(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


class _LogFile:
    """Standard error that never raises: a full disk must not end a part over a log line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def configure_logs(level: str) -> None:
    """Structured lines on standard error, for the operator at 3 a.m."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=False),
            # values of variables are left out: texts, authors, passwords
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _LogFile(sys.stderr))),
    )
    logging.basicConfig(level=number, format="%(message)s", stream=sys.stderr, force=True)
    for noisy in (
        "apprise", "alembic", "scrapy", "twisted", "httpx", "PIL", "matplotlib", "elastic_transport"
    ):  # fmt: skip
        logging.getLogger(noisy).setLevel(logging.WARNING)


def settings_of(config: Path, port: int | None = None) -> Settings:
    """The settings of a folder, with logs set up. ``port``: when given, stands above them."""
    settings = load_settings(config, **({} if port is None else {"port": port}))
    configure_logs(settings.log_level)
    return settings


def aware(at: datetime | None) -> datetime | None:
    """A time typed on the command line is Beijing time."""
    from pipeline.clock import BEIJING

    return at.replace(tzinfo=BEIJING) if at is not None and at.tzinfo is None else at
