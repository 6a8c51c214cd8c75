"""Runs Alembic. Imported only where there is something to do: the import is a good part of a start."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from penstock.store.errors import StoreError


def upgrade(connection: Connection, version: str | None) -> None:
    """Apply every migration behind this version; raises StoreError for one that only a newer penstock knows."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise StoreError(f"the database was made by a newer penstock (its schema is {version}): use that one, or newer")
    command.upgrade(config, "head")
