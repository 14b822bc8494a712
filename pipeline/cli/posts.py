"""Posts: fetched, imported, searched, exported, judged again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.console import (
    DEFAULT_HOME,
    Config,
    Json,
    When,
    aware,
    out,
    settings_of,
)

app = typer.Typer()


@app.command()
def crawl(config: Config = DEFAULT_HOME, as_json: Json = False) -> None:
    """Fetch every enabled source once and say how each one did.

    Example: tingfeng crawl --config /srv/tingfeng
    """
    from pipeline.commands.crawling import crawl_round

    for line in crawl_round(settings_of(config)):
        out(line) if as_json else typer.echo(f"{line['source']}: {line['state']} {line['reason']}")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    config: Config = DEFAULT_HOME,
    file_format: Annotated[
        str, typer.Option("--format", help="auto, or a format the importer names")
    ] = "auto",
    mapping: Annotated[Path | None, typer.Option(help="column mapping (TOML)")] = None,
    wait: Annotated[bool, typer.Option(help="return when all is indexed and detected")] = False,
    as_json: Json = False,
) -> None:
    """Import a file: MediaCrawler, commercial exports, weibo-search CSV, our own JSON lines.

    Example: tingfeng import posts.jsonl --config /srv/tingfeng --wait --json
    """
    from pipeline.commands.importing import import_posts

    result = import_posts(
        settings_of(config), file, file_format=file_format, mapping=mapping, wait=wait
    )
    if as_json:
        out(result)
    else:
        typer.echo(
            "read {read}, accepted {accepted}, repeated {repeated}, dead {dead}".format(**result)
        )


@app.command()
def replay(
    config: Config = DEFAULT_HOME,
    since: When = None,
    as_json: Json = False,
) -> None:
    """Judge the kept posts again with the present model and refresh index and events.

    Example: tingfeng replay --config /srv/tingfeng --since 2026-11-20
    """
    from pipeline.commands.importing import replay_posts

    result = replay_posts(settings_of(config), aware(since))
    out(result) if as_json else typer.echo(f"judged {result['replayed']} kept posts again")


@app.command()
def export(
    what: Annotated[str, typer.Argument(help="posts,events,alerts,cases,releases,audit")],
    config: Config = DEFAULT_HOME,
    since: When = None,
    until: When = None,
    as_json: Json = False,
) -> None:
    """Export records as JSON lines, one object a line, each with its ``type``.

    Example: tingfeng export events,alerts --config /srv/tingfeng --since 2026-11-20 --json
    """
    from pipeline.commands.exporting import export_records

    kinds = [k.strip() for k in what.split(",") if k.strip()]
    for record in export_records(settings_of(config), kinds, aware(since), aware(until)):
        out(record)


@app.command()
def search(
    words: str,
    config: Config = DEFAULT_HOME,
    kind: Annotated[list[str] | None, typer.Option(help="help, impact, service, ...")] = None,
    rumour: Annotated[list[str] | None, typer.Option(help="unverified, question, debunk")] = None,
    source: Annotated[list[str] | None, typer.Option()] = None,
    adcode: Annotated[str, typer.Option(help="division code or its beginning")] = "",
    since: When = None,
    until: When = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: Json = False,
) -> None:
    """Search the posts, newest first. All words must occur.

    Example: tingfeng search "白沙大道 积水" --config /srv/tingfeng --json
    """
    from pipeline.commands.exporting import search_posts
    from pipeline.index.base import Query

    query = Query(
        words=words,
        kinds=tuple(kind or ()),
        rumours=tuple(rumour or ()),
        sources=tuple(source or ()),
        adcode=adcode,
        since=aware(since),
        until=aware(until),
        limit=limit,
    )
    for record in search_posts(settings_of(config), query):
        if as_json:
            out(record)
        else:
            typer.echo(f"{record['published_at']}  {record['source']}  {record['text'][:80]}")
