"""``penstock limits show``: what somebody has spent, what is held by calls in flight, and what is left."""

from typing import Annotated

import typer

from penstock.cli.callers import Caller, get_caller
from penstock.cli.options import AsJson, ConfigFile
from penstock.cli.output import number, print_json, print_line, print_table, text
from penstock.cli.wording import measured, moment
from penstock.cli.workplace import opened
from penstock.core.limits import Standing
from penstock.store.usage import standings
from penstock.web.usage_api import limit_row

app = typer.Typer(no_args_is_help=True, help="Show limits, and what is left of them.")


@app.command()
def show(
    who: Annotated[str, typer.Argument(metavar="WHO", help="An e-mail address, or a key's kid or id.")],
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show every limit of a person or a key: spent, held, left, and when it resets."""
    with opened(config) as workplace:
        caller = get_caller(workplace, who)
        with workplace.stores.database.reading() as connection:
            found = standings(connection, caller.subjects, workplace.now_ms)
    if as_json:
        rows = [limit_row(standing, workplace.now_ms) for standing in found]
        print_json({"who": caller.label, "policy": caller.policy.name, "limits": rows})
        return
    print_line(f"{caller.label}, policy {caller.policy.name}")
    columns = [text("limit"), text("whose"), *map(number, ("spent", "held", "left")), text("resets (UTC)")]
    print_table(columns, [_row(standing, caller, workplace.now_ms) for standing in found], none="No limits.")


def _row(standing: Standing, caller: Caller, now_ms: int) -> list[str]:
    limit = standing.limit
    return [
        str(limit),
        "its own" if standing.subject == caller.subject else "its person's",
        measured(limit, standing.settled),
        measured(limit, standing.held),
        measured(limit, standing.left),
        moment(standing.resets_at_ms(now_ms)),
    ]
