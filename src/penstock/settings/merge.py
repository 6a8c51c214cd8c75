"""One value for each key: what was found is checked against its key's type, and the later source wins.

The order is file, ``.env``, environment. Whatever is wrong is said with the place where it stands.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from penstock.settings.schema import SECTIONS, Found, Key, SettingsError, Source, SourceKind, Written, allowed, type_of

UNFILLED = "holds '$(': the start of a shell command or variable that nothing has filled in"
_SECRETS = {"api_key", "database_url"}


@dataclass(frozen=True, slots=True)
class Merged:
    """``found`` holds the winner of each key that was set; the rest are defaults."""

    written: Written
    found: Mapping[Key, Found]

    def at(self, *key: str) -> Found:
        """Where a key was set; its default if it was not."""
        return self.found.get(key, Found(key, None, Source(SourceKind.DEFAULT)))


def merge(found: Iterable[Found]) -> Merged:
    """Raises SettingsError for a value that is not of its key's type."""
    winners: dict[Key, Found] = {}
    tree: dict[str, object] = {}
    sections: dict[str, dict[str, dict[str, object]]] = {kind: {} for kind in SECTIONS}
    for entry in found:
        read = entry if len(entry.key) == 2 else _read(entry)
        winners[read.key] = read
        match read.key:
            case (name,):
                tree[name] = read.value
            case (kind, name):
                sections[kind].setdefault(name, {})
            case (kind, name, field):
                sections[kind].setdefault(name, {})[field] = read.value
    return Merged(msgspec.convert({**tree, **sections}, Written), winners)


def refusal(found: Found) -> SettingsError:
    """The error for a value that its key does not allow. A secret is not shown, and neither is a list or table."""
    is_shown = found.key[-1] not in _SECRETS and isinstance(found.value, str | int | Decimal)
    return found.error(f"must be {allowed(found.key)}" + (f", not {str(found.value)!r}" if is_shown else ""))


def _read(found: Found) -> Found:
    """The same with its value as plain lists, tables, texts and numbers of its key's type."""
    if "$(" in str(found.value):
        raise found.error(UNFILLED)
    expected = type_of(found.key)
    try:
        value = _parse(str(found.value), expected) if found.is_text else found.value
        converted = msgspec.convert(value, expected, strict=not found.is_text)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as exc:
        raise refusal(found) from exc
    return Found(found.key, msgspec.to_builtins(converted), found.source)


def _parse(text: str, expected: object) -> object:
    """A variable's text: a list is separated by commas, a table is written as TOML's ``{...}``."""
    if _is_list(expected):
        return [part.strip() for part in text.split(",") if part.strip()]
    if text.startswith("{"):
        return tomllib.loads(f"value = {text}", parse_float=Decimal)["value"]
    return text


def _is_list(expected: object) -> bool:
    info = msgspec.inspect.type_info(expected)
    if isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    return isinstance(info, msgspec.inspect.VarTupleType)
