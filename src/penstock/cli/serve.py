"""``penstock serve``: the gateway itself, until a signal says stop."""

from typing import Annotated

import typer

from penstock.cli.options import ConfigFile
from penstock.cli.output import CommandError
from penstock.cli.workplace import read_settings
from penstock.settings import Address


def serve(
    *,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Where to listen, instead of `listen`'s host.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="The same for its port; 0 for any free one.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Start the gateway. The first start prints an admin's key, and a call to try it with."""
    from penstock.serving import serve as run  # noqa: PLC0415 - structlog takes a while, and no other command logs

    settings = read_settings(config)
    if host is not None or port is not None:
        address = Address(
            settings.listen.host if host is None else host, settings.listen.port if port is None else port
        )
        # Read anew like a variable: other settings follow from this one.
        settings = read_settings(config, {"PENSTOCK_LISTEN": str(address)})
    try:
        run(settings)
    except OSError as exc:
        raise CommandError(f"cannot serve at {settings.listen}: {exc.strerror}; --host and --port change that") from exc
