"""The providers' own keys: found in NAME_API_KEY or a file that NAME_API_KEY_FILE names, else in the section.

A key found for a name belongs to that name's origin alone, the built-in one or the section's ``base_url``: variables
such as OPENAI_BASE_URL are not read, since clients export them to point at us, and the key would follow.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from penstock.core.identity import KEY_PREFIX
from penstock.settings.merge import UNFILLED, Merged
from penstock.settings.schema import Found, ProviderSection, Source, SourceKind
from penstock.settings.sources import read_text

Variables = Mapping[SourceKind, Mapping[str, str]]


def key_names(provider: str) -> tuple[str, ...]:
    """The variables of a provider that is not built in: ``my-lab`` has its key in MY_LAB_API_KEY."""
    return (f"{provider.upper().replace('-', '_')}_API_KEY",)


def find_key(provider: str, names: tuple[str, ...], variables: Variables, merged: Merged) -> Found | None:
    """The first key there is: the environment's before that of ``.env`` before the section's.

    Raises SettingsError for a file that cannot be read, and for what cannot be a provider's key.
    """
    for value, source in _candidates(provider, names, variables, merged):
        return _checked(Found(("providers", provider, "api_key"), value.strip(), source))
    return None


def find_address(provider: str, name: str, base_path: str, variables: Variables) -> Found | None:
    """The base URL of a provider where each account has an address of its own, which the variable ``name`` holds."""
    for kind in (SourceKind.ENVIRONMENT, SourceKind.DOTENV):
        if value := variables[kind].get(name, "").strip().rstrip("/"):
            base_url = value.removesuffix(base_path) + base_path
            return Found(("providers", provider, "base_url"), base_url, Source(kind, name))
    return None


def _candidates(
    provider: str, names: tuple[str, ...], variables: Variables, merged: Merged
) -> Iterator[tuple[str, Source]]:
    for kind in (SourceKind.ENVIRONMENT, SourceKind.DOTENV):
        for name in names:
            if value := variables[kind].get(name, "").strip():
                yield value, Source(kind, name)
            if path := variables[kind].get(f"{name}_FILE", "").strip():
                yield read_text(Path(path)), Source(kind, f"{name}_FILE")
    section = merged.written.providers.get(provider, ProviderSection())
    if section.api_key is not None:
        yield section.api_key, merged.at("providers", provider, "api_key").source
    if section.api_key_file is not None:
        yield read_text(Path(section.api_key_file)), merged.at("providers", provider, "api_key_file").source


def _checked(found: Found) -> Found:
    key = str(found.value)
    if key.startswith(KEY_PREFIX):
        raise found.error("is a key of penstock's own; set the one that the provider gave you")
    if "$(" in key:
        raise found.error(UNFILLED)
    if not key or not all("!" <= sign <= "~" for sign in key):
        raise found.error("must be one line of visible ASCII without spaces")
    return found
