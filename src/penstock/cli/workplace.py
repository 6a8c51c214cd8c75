"""What a command works on: the settings as they stand in this folder, and the database that they name.

Commands work on the database itself, also while a gateway runs: writers take turns (store/engine.py).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock.app import Stores, now_ms, open_stores
from penstock.cli.output import CommandError, print_note
from penstock.core.limits import ADMIN_POLICY, Policy
from penstock.installation import MASTER_FILE
from penstock.providers import BUILT_IN, DIALECTS
from penstock.settings import DOTENV_NAME, Settings, find_file, load

_NO_VARIABLES: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Workplace:
    """``policies`` are those of the settings before those of the database; ``now_ms`` is the one time of a command."""

    settings: Settings
    stores: Stores
    policies: tuple[Policy, ...]
    now_ms: int

    def check_policy(self, name: str) -> None:
        """Raises CommandError for a name that no policy has."""
        names = [policy.name for policy in (*self.policies, ADMIN_POLICY)]
        if name not in names:
            raise CommandError(f"there is no policy {name!r}; use one of: {', '.join(names)}")


def read_settings(config: Path | None, variables: Mapping[str, str] = _NO_VARIABLES) -> Settings:
    """The settings of this folder and environment; ``variables`` overrule all others. Raises SettingsError."""
    environ = {**os.environ, **variables}
    folder = Path.cwd()
    return load(config or find_file(environ, folder), environ, folder / DOTENV_NAME, BUILT_IN, DIALECTS)


@contextmanager
def opened(config: Path | None) -> Iterator[Workplace]:
    """The workplace, for the time of a command. Raises SettingsError, StoreError and InstallationError."""
    settings = read_settings(config)
    is_new = not (settings.data_dir / MASTER_FILE).exists()
    stores = open_stores(settings)
    try:
        if is_new:
            # Whoever looks for last month's calls in the wrong folder should see that it is the wrong one.
            print_note(f"This is a new installation, in {settings.data_dir.absolute()}.")
        policies = (*settings.policies, *stores.accounts.policies())
        yield Workplace(settings, stores, policies, now_ms())
    finally:
        stores.database.close()
