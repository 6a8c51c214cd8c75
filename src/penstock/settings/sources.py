"""Where settings stand: ``penstock.toml``, ``.env`` and the environment, each read into a list of found values.

Nothing is interpreted here but the names: an unknown key in the file is an error with a hint, an unknown variable a
warning, since an environment holds names that are not for us (design.md, "Settings, as an admin writes them").
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from penstock.settings.schema import (
    SECTIONS,
    Found,
    Key,
    SettingsError,
    Source,
    SourceKind,
    Written,
    dotted,
    is_leaf,
    known_names,
)

PREFIX = "PENSTOCK_"
CONFIG_VARIABLE = "PENSTOCK_CONFIG"

# Kubernetes makes PENSTOCK_SERVICE_HOST, PENSTOCK_PORT_8787_TCP_ADDR... in every pod beside a service named penstock.
_INJECTED = re.compile(r"PENSTOCK_SERVICE_.*|PENSTOCK_PORT.*")
_DOTENV_LINE = re.compile(r"""(?:export\s+)?(\w+)\s*=\s*(?:'([^']*)'|"([^"]*)"|([^'"\s#].*?)?)(?:\s+\#.*)?""")


def read_file(path: Path) -> list[Found]:
    """Everything that the file says, in its order. Raises SettingsError."""
    try:
        tree = tomllib.loads(read_text(path), parse_float=Decimal)
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"{path}: not valid TOML: {exc}") from exc
    return list(_from_tree(tree, Source(SourceKind.FILE, path.name)))


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a ``.env`` file. Raises SettingsError."""
    return parse_dotenv(read_text(path), path.name)


def read_text(path: Path) -> str:
    """A whole file, without the byte order mark that some editors put in front. Raises SettingsError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"{path}: is not UTF-8 text") from exc


def parse_dotenv(text: str, name: str) -> dict[str, str]:
    """Read lines of ``NAME=value``, with or without quotes, ``export`` and comments.

    A value is taken as it stands: no escapes and no ``${...}``, so that a secret may hold any sign but its own quote.
    Raises SettingsError with the line's number, and without the line.
    """
    variables = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _DOTENV_LINE.fullmatch(stripped)
        if match is None:
            raise SettingsError(f"{name}: line {number} must be NAME=value, a comment, or empty")
        variable, *values = match.groups()
        variables[variable] = next((value for value in values if value is not None), "")
    return variables


def from_variables(variables: Mapping[str, str], kind: SourceKind, sections: Iterable[Key]) -> Iterator[Found]:
    """Our settings among the variables: ``PENSTOCK_LISTEN``, ``PENSTOCK_PROVIDERS__LAB__BASE_URL``.

    ``sections`` are those of the file, which a variable may spell in its own way (``my-lab`` as ``MY_LAB``). An empty
    value counts as not set, as container tools have no other way to leave one out.
    """
    spelled = {(key[0], _spell(key[1])): key[1] for key in sections}
    for variable in _ours(variables):
        key = _variable_key(variable, spelled)
        text = variables[variable].strip()
        if text and is_leaf(key):
            yield Found(key, text, Source(kind, variable), is_text=True)


def unknown_variables(variables: Mapping[str, str], kind: SourceKind) -> list[str]:
    """A warning for each variable that looks like a setting of ours and is none."""
    return [
        f"{variable} ({kind.value}) is no setting{_variable_hint(variable)}"
        for variable in _ours(variables)
        if not is_leaf(_variable_key(variable, {}))
    ]


def _ours(variables: Iterable[str]) -> Iterator[str]:
    for variable in variables:
        if variable.startswith(PREFIX) and variable != CONFIG_VARIABLE and not _INJECTED.fullmatch(variable):
            yield variable


def _from_tree(tree: Mapping[str, object], source: Source) -> Iterator[Found]:
    for name, value in tree.items():
        if name == "policies":
            yield from _from_policies(value, source)
        elif name in SECTIONS:
            if not isinstance(value, dict):
                raise Found((name,), value, source).error(f"must be tables: [{name}.NAME]")
            for section, entries in value.items():
                yield from _from_section((name, section), entries, source)
        else:
            _check_known((name,), source)
            yield Found((name,), value, source)


def _from_policies(value: object, source: Source) -> Iterator[Found]:
    """``[[policies]]``, an array because its order matters to a reader; each is known by its name."""
    found = Found(("policies",), value, source)
    if not isinstance(value, list):
        raise found.error("must be written as [[policies]], one for each")
    names = set()
    for policy in value:
        name = policy.get("name") if isinstance(policy, dict) else None
        if not isinstance(name, str) or not name:
            raise found.error("must each have a name")
        if name in names:
            raise found.error(f"must have different names: {name!r} is there twice")
        names.add(name)
        yield from _from_section(("policies", name), {k: v for k, v in policy.items() if k != "name"}, source)


def _from_section(section: Key, entries: object, source: Source) -> Iterator[Found]:
    if not isinstance(entries, dict):
        raise Found(section, entries, source).error("must be a table")
    # The section itself counts, even if it is empty: [providers.groq] switches groq on.
    yield Found(section, {}, source)
    for name, value in entries.items():
        _check_known((*section, name), source)
        yield Found((*section, name), value, source)


def _check_known(key: Key, source: Source) -> None:
    if not is_leaf(key):
        raise SettingsError(f"{source}: unknown key {dotted(key)}{_hint(key[-1], known_names(key))}")


def _hint(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else f"; known here: {', '.join(sorted(known))}"


def _variable_key(variable: str, spelled: Mapping[tuple[str, str], str]) -> Key:
    head, *rest = variable.removeprefix(PREFIX).split("__")
    if not rest:
        return (head.lower(),)
    section = spelled.get((head.lower(), rest[0]), rest[0].lower())
    return (head.lower(), section, *(part.lower() for part in rest[1:]))


def _variable_hint(variable: str) -> str:
    """The nearest name, with the section's name as it was written."""
    head, *rest = variable.removeprefix(PREFIX).split("__")
    section = SECTIONS.get(head.lower())
    if section is not None and len(rest) != 2:
        return f"; write {PREFIX}{head}__NAME__KEY"
    start = f"{PREFIX}{head}__{rest[0]}__" if section else PREFIX
    names = section.__struct_fields__ if section else set(Written.__struct_fields__) - set(SECTIONS)
    nearest = difflib.get_close_matches((rest[1] if section else head).lower(), names, n=1)
    return f"; did you mean {start}{nearest[0].upper()}?" if nearest else ""


def _spell(name: str) -> str:
    """A section's name as a variable can hold it."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())
