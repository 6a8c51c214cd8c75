"""Settings: penstock.toml, .env and the environment, validated once at the start and then handed around as values.

Only app.py and cli read them. An unknown key in the file is an error with a hint, an unknown PENSTOCK_ variable a
warning; every value knows where it was found; a key of a provider is bound to that provider's address (design.md,
"Settings, as an admin writes them" and "Paths and keys").
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from penstock.settings import resolve
from penstock.settings.merge import Merged, merge
from penstock.settings.provider_keys import Variables
from penstock.settings.resolve_providers import (
    BuiltIns,
    find_addresses,
    find_keys,
    homeless,
    keyless,
    resolve_providers,
)
from penstock.settings.schema import Found, SettingsError, Source, SourceKind
from penstock.settings.show import shown
from penstock.settings.sources import CONFIG_VARIABLE, from_variables, read_dotenv, read_file, unknown_variables
from penstock.settings.values import Address, BuiltIn, ProviderSettings, Settings, Shown

__all__ = [
    "DOTENV_NAME",
    "Address",
    "BuiltIn",
    "ProviderSettings",
    "Settings",
    "SettingsError",
    "Shown",
    "Source",
    "SourceKind",
    "find_file",
    "load",
]

FILE_NAME = "penstock.toml"
DOTENV_NAME = ".env"


def find_file(environ: Mapping[str, str], folder: Path) -> Path | None:
    """The file that PENSTOCK_CONFIG names, which must exist, else penstock.toml in the folder if there is one."""
    named = environ.get(CONFIG_VARIABLE, "").strip()
    if named:
        return folder / named
    path = folder / FILE_NAME
    return path if path.is_file() else None


def load(
    file: Path | None,
    environ: Mapping[str, str],
    dotenv: Path | None,
    built_in: BuiltIns,
    dialects: Collection[str],
) -> Settings:
    """Read everything once. A ``dotenv`` that does not exist is none. Raises SettingsError for what an admin must mend.

    ``built_in`` are the providers known by name, in their order; ``dialects`` the names that ``dialect`` may have.
    """
    variables: Variables = {
        SourceKind.DOTENV: read_dotenv(dotenv) if dotenv is not None and dotenv.is_file() else {},
        SourceKind.ENVIRONMENT: environ,
    }
    found = read_file(file) if file is not None else []
    sections = [entry.key for entry in found if len(entry.key) == 2]
    for kind, values in variables.items():
        found.extend(from_variables(values, kind, sections))
    merged = merge(found)
    keys, addresses = find_keys(merged, variables, built_in), find_addresses(variables, built_in)
    warnings = [text for kind, values in variables.items() for text in unknown_variables(values, kind)]
    warnings += [*keyless(merged, keys, built_in), *homeless(merged, keys, addresses, built_in)]
    return _resolve(merged, keys, resolve_providers(merged, keys, addresses, built_in, dialects), warnings)


def _resolve(
    merged: Merged, keys: Mapping[str, Found], providers: tuple[ProviderSettings, ...], warnings: Sequence[str]
) -> Settings:
    written = merged.written
    listen = resolve.listen_address(merged)
    settings = Settings(
        listen=listen,
        public_url=resolve.public_url(merged, listen),
        database_url=resolve.database_url(merged),
        data_dir=Path(written.data_dir),
        admins=resolve.admins(merged),
        demo=written.demo,
        providers=providers,
        policies=resolve.policies(merged),
        trusted_proxies=resolve.networks(merged),
        allow_plain_http=written.allow_plain_http,
        hosts=resolve.hosts(merged),
        allow_private=resolve.private_hosts(merged),
        body_max_bytes=written.body_max_bytes,
        request_buffer_max_bytes=written.request_buffer_max_bytes,
        connections_max=written.connections_max,
        drain_delay_s=resolve.drain_delay_s(merged, listen),
        drain_grace_s=written.drain_grace_s,
        metrics_token=written.metrics_token,
        log_level=written.log_level,
        warnings=tuple(warnings),
    )
    return replace(settings, shown=tuple(shown(merged, settings, keys.values())))
