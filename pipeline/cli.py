"""One command per thing an operator does. Each is a few lines over a stage or desk function.

Exit codes: 0 done, 1 it failed (the text says why), 2 it was called wrongly. ``--json`` prints
JSON lines and nothing else on standard output; progress goes to standard error.
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

from pipeline.errors import SettingsError, TingfengError, UnstorableText
from pipeline.settings import Settings, load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tingfeng (听风): the desk for weather public opinion, from post to review.",
)
dead_app = typer.Typer(no_args_is_help=True, help="Dead letters: what could not be read, and why.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit: prove that no line was changed.")
user_app = typer.Typer(no_args_is_help=True, help="People and their roles.")
app.add_typer(dead_app, name="dead")
app.add_typer(audit_app, name="audit")
app.add_typer(user_app, name="user")
claims_app = typer.Typer(no_args_is_help=True, help="Known claims: import, set thresholds anew.")
app.add_typer(claims_app, name="claims")
model_app = typer.Typer(no_args_is_help=True, help="Which trained model judges.")
app.add_typer(model_app, name="model")

Config = Annotated[Path, typer.Option("--config", help="folder of settings and data")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines on standard output, nothing else")]
Port = Annotated[
    int | None, typer.Option(help="port of the dashboard; without it that of the settings, 8501")
]
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
        _report([made], as_json)
        _compared(rows, as_json)
        return
    if not files:
        raise SettingsError("name labelled files to train from, or add --with-corrections")
    from nlp.semantic import EncoderProcess
    from nlp.training.train import train_model

    encoder = EncoderProcess(timeout_s=120) if semantic else None
    report = train_model(files, out_file, seed=seed, encoder=encoder)
    _report(report, as_json)


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
        _report(evaluate_model(files, model), as_json)
        return
    encoder = EncoderProcess(timeout_s=120)
    try:
        beside = model.with_name("semantic.npz") if model is not None else None
        blend = load_blend(beside if beside is not None and beside.exists() else None)
        _report(evaluate_model(files, model, encoder, blend), as_json)
    finally:
        encoder.close()


def _report(rows: Iterable[dict[str, Any]], as_json: bool) -> None:
    for row in rows:
        if as_json:
            out(row)
        else:
            typer.echo("  ".join(f"{k}={_short(v)}" for k, v in row.items()))


def _compared(rows: list[dict[str, Any]], as_json: bool) -> None:
    """The model in use beside another one, in one table."""
    from nlp.training.challenge import as_table

    if as_json:
        _report(rows, as_json)
    elif rows:
        typer.echo("\n".join(as_table(rows)))
    else:
        say("nothing to compare on: no correction is held back yet, name labelled files")


def _short(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


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
def reindex(config: Config = DEFAULT_HOME, as_json: Json = False) -> None:
    """Build the search index anew from what it keeps and from the kept annotated posts.

    The product may run meanwhile. Example: tingfeng reindex --config /srv/tingfeng
    """
    from pipeline.commands.reindexing import reindex as rebuild

    _report(rebuild(settings_of(config)), as_json)


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
    _report(run_benches(names, n, files or (), config), as_json)


@dead_app.command("list")
def dead_list(
    config: Config = DEFAULT_HOME,
    handled: Annotated[bool, typer.Option("--all", help="handled ones too")] = False,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first. Example: tingfeng dead list --config DIR"""
    from pipeline.app import open_bus

    with open_bus(settings_of(config)) as bus:
        for letter in bus.dead(include_handled=handled):
            record = {
                "id": letter.id,
                "topic": letter.topic,
                "stage": letter.stage,
                "error": letter.error,
                "tries": letter.tries,
                "at": letter.at,
                "handled_at": letter.handled_at,
            }
            if as_json:
                out(record)
            else:
                typer.echo(
                    f"{letter.id}\t{letter.at:%Y-%m-%d %H:%M}\t{letter.stage}\t{letter.error}"
                )


@dead_app.command("show")
def dead_show(letter_id: int, config: Config = DEFAULT_HOME) -> None:
    """Show the raw bytes of one. Example: tingfeng dead show 12 --config DIR"""
    from pipeline.app import open_bus

    with open_bus(settings_of(config)) as bus:
        letter = next((d for d in bus.dead(include_handled=True) if d.id == letter_id), None)
        if letter is None:
            raise TingfengError(f"no dead letter {letter_id}; see: tingfeng dead list")
        say(f"{letter.stage}: {letter.error} (tried {letter.tries} times)")
        sys.stdout.buffer.write(letter.value + b"\n")


@dead_app.command("retry")
def dead_retry(
    letter_ids: Annotated[list[int], typer.Argument()], config: Config = DEFAULT_HOME
) -> None:
    """Put dead letters back to work. Example: tingfeng dead retry 12 13 --config DIR"""
    from pipeline.app import make_clock, open_bus

    settings = settings_of(config)
    with open_bus(settings) as bus:
        for letter_id in letter_ids:
            bus.retry(letter_id, make_clock(settings).now())
            typer.echo(f"{letter_id}: sent again")


@audit_app.command("verify")
def audit_verify(
    config: Config = DEFAULT_HOME,
    expect: Annotated[str, typer.Option(help="hash of the last line you noted earlier")] = "",
    as_json: Json = False,
) -> None:
    """Prove the chain: no line missing, none changed.

    Example: tingfeng audit verify --config DIR
    """
    from pipeline.commands.exporting import verify_chain

    report = verify_chain(settings_of(config), expect)
    if as_json:
        out(report)
    else:
        typer.echo(
            f"audit chain holds: {report['lines']} lines, head {report['head']}"
            if report["ok"]
            else f"audit chain BROKEN at line {report['bad_seq']}: {report['problem']}"
        )
    raise typer.Exit(0 if report["ok"] else 1)


@user_app.command("add")
def user_add(
    name: str,
    role: Annotated[str, typer.Option(help="duty, leader, office, checker, secrecy, signer, ...")],
    office: Annotated[str, typer.Option(help="科室, for role office")] = "",
    display: str = "",
    config: Config = DEFAULT_HOME,
) -> None:
    """Add a person; prints a one-time password. Example: tingfeng user add lisi --role duty"""
    from pipeline.commands.people import admin_users

    password = admin_users(settings_of(config)).add(name, role, office, display)
    typer.echo(f"{name}: one-time password {password}")


@user_app.command("disable")
def user_disable(name: str, config: Config = DEFAULT_HOME) -> None:
    """Lock a person out at once. Example: tingfeng user disable lisi"""
    from pipeline.commands.people import admin_users

    admin_users(settings_of(config)).disable(name)
    typer.echo(f"{name}: disabled; open sessions are closed")


@user_app.command("reset")
def user_reset(name: str, config: Config = DEFAULT_HOME) -> None:
    """Give a new one-time password. Example: tingfeng user reset lisi"""
    from pipeline.commands.people import admin_users

    password = admin_users(settings_of(config)).reset(name)
    typer.echo(f"{name}: one-time password {password}")


@model_app.command("list")
def model_list(config: Config = DEFAULT_HOME, as_json: Json = False) -> None:
    """The shipped model and those trained here. Example: tingfeng model list"""
    from pipeline.app import build
    from pipeline.commands import models

    _report(models.listed(build(settings_of(config))), as_json)


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
    _report(rows, as_json)
    raise typer.Exit(0 if all(row["ok"] for row in rows) else 1)


By = Annotated[str, typer.Option("--by", help="account of the person who decides")]
Reason = Annotated[str, typer.Option("--reason", help="why; it stays in the audit")]


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

    _report([calibrate_claims(settings_of(config), files)], as_json)


def main() -> None:
    """Entry point: our own errors become one clear line and exit code 1."""
    from nlp.errors import NlpError

    configure_logs("warning")  # before any settings are read: logs never go to standard output
    try:
        app()
    except UnstorableText as error:
        say(f"tingfeng: {error.english}")
        raise SystemExit(1) from None
    except (TingfengError, NlpError) as error:
        say(f"tingfeng: {error}")
        raise SystemExit(1) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
    except OSError as error:
        say(
            f"tingfeng: {error.filename or 'the system'}: {error.strerror or error};"
            " run: tingfeng doctor"
        )
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
