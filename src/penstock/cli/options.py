"""The options that every command takes."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The settings file; by default penstock.toml in this folder."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and nothing else, to standard output.")]
