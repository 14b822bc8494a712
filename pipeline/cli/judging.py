"""What judges posts: the annotator, trained models, known claims."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.console import (
    DEFAULT_HOME,
    Config,
    Json,
    out,
    report,
    say,
    settings_of,
)
from pipeline.errors import SettingsError

app = typer.Typer()
claims_app = typer.Typer(no_args_is_help=True, help="Known claims: import, set thresholds anew.")
model_app = typer.Typer(no_args_is_help=True, help="Which trained model judges.")

By = Annotated[str, typer.Option("--by", help="account of the person who decides")]
Reason = Annotated[str, typer.Option("--reason", help="why; it stays in the audit")]


@app.command()
def annotate(
    file: Annotated[
        Path | None, typer.Argument(help="JSON lines {id, text}; default stdin")
    ] = None,
    claims: Annotated[
        Path | None, typer.Option(help="JSON lines {id, claim, verdict, place, hazard}")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="model file instead of the shipped")] = None,
    as_json: Json = False,
) -> None:
    """Judge texts: kind, sentiment, urgency, rumour, hazards, places, claims, with reasons.

    Example: echo '{"id":"1","text":"南宁暴雨，白沙大道积水"}' | tingfeng annotate --json
    """
    from pipeline.commands.annotating import annotate_lines

    stream = file.open("rb") if file else sys.stdin.buffer
    with stream:
        for line in annotate_lines(stream, claims=claims, model=model):
            if as_json:
                sys.stdout.write(line)
            else:
                record = json.loads(line)
                typer.echo(
                    "{id}\t{kind}\t{sentiment}\t{urgency}\t{rumour}".format(**record)
                    if "kind" in record
                    else f"{record['id']}\t{record['error']}"
                )


@app.command()
def train(
    files: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, help="labelled JSON lines, .gz too"),
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="default: the shipped model")
    ] = None,
    with_corrections: Annotated[
        bool, typer.Option(help="learn from officers' corrections; makes a challenger")
    ] = False,
    config: Config = DEFAULT_HOME,
    semantic: Annotated[
        bool, typer.Option(help="also fit the sentence encoder's part (10 minutes more)")
    ] = False,
    seed: int = 7,
    as_json: Json = False,
) -> None:
    """Train the annotator from labelled files and write its model card.

    With --with-corrections the result is a challenger in the data folder that judges nothing
    until `tingfeng model use` or a person on the admin page puts it to work. Without files the
    model in use is moved by the corrections.

    Examples: tingfeng train gold.jsonl.gz written/*.jsonl --out model.npz;
    tingfeng train --with-corrections --config var
    """
    if with_corrections:
        from pipeline.app import build
        from pipeline.commands.models import train_challenger

        made, *rows = train_challenger(build(settings_of(config)), files or [], seed=seed)
        report([made], as_json)
        _compared(rows, as_json)
        return
    if not files:
        raise SettingsError("name labelled files to train from, or add --with-corrections")
    from nlp.semantic import EncoderProcess
    from nlp.training.train import train_model

    encoder = EncoderProcess(timeout_s=120) if semantic else None
    report(train_model(files, out_file, seed=seed, encoder=encoder), as_json)


@app.command()
def evaluate(
    files: Annotated[
        list[Path] | None, typer.Argument(exists=True, help="labelled JSON lines, .gz too")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="default: the shipped model")] = None,
    challenger: Annotated[
        str, typer.Option(help="version of a trained model to compare with the one in use")
    ] = "",
    semantic: Annotated[
        bool, typer.Option(help="also with the sentence encoder's second look (slow)")
    ] = False,
    config: Config = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Score the annotator per head and file: accuracy, macro-F1, calibration error, n.

    With --challenger: the model in use beside another one, on the files and on the corrections
    that were held back from training: both scores, the 95 % interval of the difference, and
    better, worse, mixed, no clear difference or too few. Files must not have taught either.

    Examples: tingfeng evaluate dev/*.jsonl.gz --json;
    tingfeng evaluate --challenger 2026-11-24-1a2b3c4d --config var
    """
    if challenger:
        from pipeline.app import build
        from pipeline.commands.models import compare

        _compared(compare(build(settings_of(config)), challenger, files or []), as_json)
        return
    if not files:
        raise SettingsError("name labelled files to score on, or a --challenger")
    from nlp.semantic import EncoderProcess, load_blend
    from nlp.training.evaluate import evaluate_model

    if not semantic:
        report(evaluate_model(files, model), as_json)
        return
    encoder = EncoderProcess(timeout_s=120)
    try:
        beside = model.with_name("semantic.npz") if model is not None else None
        blend = load_blend(beside if beside is not None and beside.exists() else None)
        report(evaluate_model(files, model, encoder, blend), as_json)
    finally:
        encoder.close()


def _compared(rows: list[dict[str, Any]], as_json: bool) -> None:
    """The model in use beside another one, in one table."""
    from nlp.training.challenge import as_table

    if as_json:
        report(rows, as_json)
    elif rows:
        typer.echo("\n".join(as_table(rows)))
    else:
        say("nothing to compare on: no correction is held back yet, name labelled files")


@model_app.command("list")
def model_list(config: Config = DEFAULT_HOME, as_json: Json = False) -> None:
    """The shipped model and those trained here. Example: tingfeng model list"""
    from pipeline.app import build
    from pipeline.commands import models

    report(models.listed(build(settings_of(config))), as_json)


@model_app.command("use")
def model_use(version: str, by: By, reason: Reason, config: Config = DEFAULT_HOME) -> None:
    """Let another model judge; workers take it up within seconds.

    Example: tingfeng model use 2026-11-24-1a2b3c4d --by zhangsan --reason 传言判读明显更好
    """
    from pipeline.app import build
    from pipeline.commands import models

    name = models.use(build(settings_of(config)), version, by, reason)
    typer.echo(f"in use: {name}; the way back: tingfeng model back")


@model_app.command("back")
def model_back(by: By, reason: Reason, config: Config = DEFAULT_HOME) -> None:
    """Return to the model before. Example: tingfeng model back --by zhangsan --reason 误报增多"""
    from pipeline.app import build
    from pipeline.commands import models

    typer.echo(f"in use: {models.back(build(settings_of(config)), by, reason)}")


@claims_app.command("import")
def claims_import(
    origins: Annotated[list[str], typer.Argument(help="files or addresses with ClaimReview")],
    config: Config = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Take in what others have looked into (schema.org ClaimReview, JSON-LD).

    Example: tingfeng claims import https://example.org/claimreview.json --config DIR
    """
    from pipeline.commands.claims import import_claims

    failed = False
    for one in import_claims(settings_of(config), origins):
        failed = failed or bool(one.problem) or (one.refused > 0 and one.refused == one.read)
        if as_json:
            out(one.as_dict())
        else:
            typer.echo(
                f"{one.origin}: read {one.read}, added {one.added}, known {one.known},"
                f" refused {one.refused}" + (f"; {one.problem}" if one.problem else "")
            )
        for reason in one.reasons:
            say(f"{one.origin}: {reason}")
    raise typer.Exit(1 if failed else 0)


@claims_app.command("calibrate")
def claims_calibrate(
    files: Annotated[
        list[Path], typer.Argument(exists=True, help="JSON lines: {text} and {text, claim, role}")
    ],
    config: Config = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Set the thresholds of claim matching anew, from ordinary posts and from known repeats.

    Example: tingfeng claims calibrate ordinary.jsonl repeats.jsonl --config DIR
    """
    from pipeline.commands.claims import calibrate_claims

    report([calibrate_claims(settings_of(config), files)], as_json)
