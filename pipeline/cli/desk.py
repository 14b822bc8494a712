"""What people did and what nobody could read: accounts, audit, dead letters."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pipeline.cli.console import (
    DEFAULT_HOME,
    Config,
    Json,
    out,
    say,
    settings_of,
)
from pipeline.errors import TingfengError

dead_app = typer.Typer(no_args_is_help=True, help="Dead letters: what could not be read, and why.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit: prove that no line was changed.")
user_app = typer.Typer(no_args_is_help=True, help="People and their roles.")


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
