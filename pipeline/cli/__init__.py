"""One command per thing an operator does. Each is a few lines over a stage or desk function.

Exit codes: 0 done, 1 it failed (the text says why), 2 it was called wrongly.
"""

from __future__ import annotations

import sys

import typer

from pipeline.cli import desk, judging, posts, product
from pipeline.cli.console import configure_logs, say
from pipeline.errors import TingfengError, UnstorableText

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tingfeng (听风): the desk for weather public opinion, from post to review.",
)
for part in (product, posts, judging):
    app.add_typer(part.app)
app.add_typer(desk.dead_app, name="dead")
app.add_typer(desk.audit_app, name="audit")
app.add_typer(desk.user_app, name="user")
app.add_typer(judging.claims_app, name="claims")
app.add_typer(judging.model_app, name="model")


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
