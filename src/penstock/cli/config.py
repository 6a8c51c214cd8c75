"""``penstock config check``: the settings in effect, and where each of them was found. No secret is shown."""

import msgspec
import typer

from penstock.cli.options import AsJson, ConfigFile
from penstock.cli.output import print_json, print_note, print_table, text
from penstock.cli.workplace import read_settings
from penstock.settings import Shown
from penstock.settings.show import MASK

app = typer.Typer(no_args_is_help=True, help="Look at the settings.")


@app.command()
def check(*, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check the settings, and print each one in effect, masked where it is secret, with its source."""
    settings = read_settings(config)
    if as_json:
        print_json({"settings": [_json_row(line) for line in settings.shown], "warnings": settings.warnings})
        return
    rows = [[line.key, line.value, str(line.source)] for line in settings.shown]
    print_table([text("setting"), text("value"), text("source")], rows, none="No settings.")
    for warning in settings.warnings:
        print_note(f"warning: {warning}")


def _json_row(line: Shown) -> dict[str, object]:
    value = MASK if line.value == MASK else msgspec.json.decode(line.value)
    return {"key": line.key, "value": value, "source": str(line.source)}
