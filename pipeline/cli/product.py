"""The product itself: run it, look after it, move it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.console import (
    DEFAULT_HOME,
    Config,
    Json,
    out,
    report,
    settings_of,
)
from pipeline.errors import SettingsError

app = typer.Typer()

Port = Annotated[
    int | None, typer.Option(help="port of the dashboard; without it that of the settings, 8501")
]


@app.command()
def run(
    config: Config = DEFAULT_HOME,
    port: Port = None,
    drill: Annotated[str, typer.Option(help="play this scenario, e.g. rainstorm_night")] = "",
    speed: Annotated[float, typer.Option(help="drill time runs so many times faster")] = 60.0,
) -> None:
    """Run the product in the foreground; Ctrl-C ends it.

    Example: tingfeng run --config /srv/tingfeng --port 8501
    """
    from pipeline.commands.running import run_product

    run_product(settings_of(config, port=port), scenario=drill, speed=speed)


@app.command(hidden=True)
def part(name: str, config: Config = DEFAULT_HOME, port: Port = None) -> None:
    """Run one part of the product (the supervisor calls this)."""
    from pipeline.parts import run_part

    run_part(name, settings_of(config, port=port))


@app.command(hidden=True)
def warm() -> None:
    """Compile what is compiled once per machine, so that the first start is quick."""
    from nlp.annotator import Annotator

    Annotator.load().annotate(["南宁市气象台发布暴雨橙色预警信号，听说水库要泄洪是真的吗"])


@app.command()
def doctor(config: Config = DEFAULT_HOME, as_json: Json = False) -> None:
    """Say what is wrong with settings, disk, fonts, model and stores, and what to do.

    Example: tingfeng doctor --config /srv/tingfeng
    """
    from pipeline.commands.doctor import examine

    findings = examine(config)
    for finding in findings:
        if as_json:
            out(finding.as_dict())
        else:
            typer.echo(f"{finding.mark} {finding.subject}: {finding.text}")
    raise typer.Exit(0 if all(f.ok for f in findings) else 1)


@app.command()
def bench(
    what: Annotated[
        str, typer.Argument(help="annotate,peers,pipeline,board,search,click,engines or all")
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(help="labelled files for peers; none = our corpus")
    ] = None,
    n: Annotated[int, typer.Option(help="posts; 0 = the usual number")] = 0,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="engines: folder whose settings name servers that run"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure this machine. Figures are medians; never a test.

    `engines` measures Kafka, Elasticsearch and PostgreSQL. It starts three servers and ends them;
    on servers named by --config it makes topics, indices and a database of its own and removes
    them. Example: tingfeng bench annotate,search --json
    """
    from pipeline.commands.benchmarks import run_benches

    names = [w.strip() for w in what.split(",") if w.strip()]
    report(run_benches(names, n, files or (), config), as_json)


@app.command()
def reindex(config: Config = DEFAULT_HOME, as_json: Json = False) -> None:
    """Build the search index anew from what it keeps and from the kept annotated posts.

    The product may run meanwhile. Example: tingfeng reindex --config /srv/tingfeng
    """
    from pipeline.commands.reindexing import reindex as rebuild

    report(rebuild(settings_of(config)), as_json)


@app.command()
def migrate(
    what: Annotated[str, typer.Argument(help="embedded-to-distributed")],
    old: Annotated[Path, typer.Option("--from", help="the embedded folder")],
    config: Config = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Move one machine's data to the three servers; the old folder is only read.

    Posts, events, cases, audit; counts and the audit chain are checked. It may be run again after
    a failure. Example: tingfeng migrate embedded-to-distributed --from var --config /srv/tingfeng
    """
    from pipeline.commands.migrating import embedded_to_distributed

    if what != "embedded-to-distributed":
        raise SettingsError(f"cannot migrate {what!r}; there is embedded-to-distributed")
    rows = list(embedded_to_distributed(settings_of(old), settings_of(config)))
    report(rows, as_json)
    raise typer.Exit(0 if all(row["ok"] for row in rows) else 1)
