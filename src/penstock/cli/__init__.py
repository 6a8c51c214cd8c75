"""The command line: one file for each group of commands, what they share in output.py, options.py and workplace.py.

A command answers on standard output and exits with 0; what an admin can mend is one line on standard error and exits
with 1; a command that is used wrongly exits with 2.
"""

from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from sqlalchemy.exc import DBAPIError

from penstock import __version__
from penstock.cli import config, keys, ledger, limits, people, prices
from penstock.cli.models import list_models
from penstock.cli.output import CommandError, print_line, print_note
from penstock.cli.serve import serve
from penstock.cli.usage import show_usage
from penstock.installation import InstallationError
from penstock.settings import SettingsError
from penstock.store.errors import StoreError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: it needs no rich, and looks the same in a file
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve)
app.add_typer(keys.app, name="keys")
app.add_typer(people.app, name="people")
app.add_typer(limits.app, name="limits")
app.command("usage")(show_usage)
app.command("models")(list_models)
app.add_typer(prices.app, name="prices")
app.add_typer(ledger.app, name="ledger")
app.add_typer(config.app, name="config")


def show_version(*, is_wanted: bool) -> None:
    """Print the version, if that was asked for, and end."""
    if is_wanted:
        print_line(f"penstock {__version__}")
        raise typer.Exit


@app.callback()
def penstock(
    *,
    is_version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A gateway between apps and LLM providers: who may call what, and what every call costs."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command, by default that of this process, and exit."""
    try:
        app(arguments, prog_name="penstock")
    except (CommandError, InstallationError, SettingsError, StoreError) as exc:
        _fail(str(exc))
    except DBAPIError as exc:
        _fail(f"the database cannot be used: {exc.orig}; is its disk full, or does another program hold it?")


def _fail(problem: str) -> NoReturn:
    print_note(f"penstock: {problem}")
    raise SystemExit(1)
