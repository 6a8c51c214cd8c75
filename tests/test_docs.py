"""docs/reference names everything that one can set, call, send or be told; whoever adds something adds it there.

What there is is read off the program. A part that does not exist yet fails here by name.
"""

import ast
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import typer
import typer.main

from penstock.core.call import Basis
from penstock.core.errors import GatewayError
from penstock.core.headers import CORS
from penstock.core.provider import EndpointKind
from penstock.core.routing import UNIFIED_PREFIX
from penstock.observe.access_log import AccessLine
from penstock.providers import BUILT_IN, DIALECTS
from penstock.settings.schema import all_keys, dotted
from tests.settings.place import Place

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "penstock"
OUR_HEADER = re.compile(r"x-penstock-[a-z-]*[a-z]")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def settings() -> Iterator[str]:
    for key in all_keys():
        yield dotted(key)


def commands() -> Iterator[str]:
    cli = import_module("penstock.cli")
    yield from _commands("penstock", typer.main.get_command(_typer_app(cli)))


def error_codes() -> Iterator[str]:
    for error in _subclasses(GatewayError):
        yield error.code


def response_headers() -> Iterator[str]:
    exposed = dict(CORS)[b"access-control-expose-headers"].decode()
    yield from exposed.split(", ")
    for path in SOURCE.rglob("*.py"):
        yield from OUR_HEADER.findall(path.read_text(encoding="utf-8"))


def routes() -> Iterator[str]:
    for dialect in DIALECTS.values():
        for endpoint in dialect.endpoints:
            yield f"/{{provider}}{endpoint.path}"
            if endpoint.kind is EndpointKind.CALL and "{model}" not in endpoint.path:
                yield UNIFIED_PREFIX + endpoint.path
    for path in (SOURCE / "web").rglob("*.py"):
        yield from _page_paths(path)


def providers() -> Iterator[str]:
    yield "demo"
    for name, provider in BUILT_IN.items():
        yield name
        yield from provider.key_names


def log_fields() -> Iterator[str]:
    yield from AccessLine.__struct_fields__


def bases() -> Iterator[str]:
    for basis in Basis:
        yield basis.value


@pytest.mark.parametrize(
    "kind",
    [settings, commands, error_codes, response_headers, routes, providers, log_fields, bases],
    ids=lambda kind: kind.__name__,
)
def test_the_reference_names_every_one(kind: Callable[[], Iterator[str]]) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md"))
    missing = [name for name in dict.fromkeys(kind()) if not _is_named(name, text)]
    assert not missing, f"docs/reference/*.md must name these {kind.__name__}: {', '.join(missing)}"


def test_every_link_between_documents_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in LINK.findall(document.read_text(encoding="utf-8"))
        if not (document.parent / target).exists()
    ]
    assert not broken


def test_the_example_settings_are_good(tmp_path: Path) -> None:
    place = Place(tmp_path)
    toml, dotenv = ((ROOT / name).read_text(encoding="utf-8") for name in ("penstock.example.toml", ".env.example"))
    assert place.load(toml, dotenv=dotenv).warnings == ()
    # What is commented out is meant to be switched on.
    switched_on = re.sub(r"^# (?=PENSTOCK_)", "", dotenv, flags=re.MULTILINE)
    assert place.load(toml, dotenv=switched_on).warnings == ()


def _is_named(name: str, text: str) -> bool:
    """Whether it stands there as a whole: ``/models`` does not name ``/models/{model}``."""
    return re.search(rf"(?<![\w{{}}/-]){re.escape(name)}(?![\w{{}}/-])", text) is not None


def _typer_app(cli: ModuleType) -> typer.Typer:
    apps = [value for value in vars(cli).values() if isinstance(value, typer.Typer)]
    assert apps, "penstock.cli must hold its typer.Typer at the top of the module"
    return apps[0]


def _commands(path: str, command: object) -> Iterator[str]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path
        return
    for name, child in children.items():
        yield from _commands(f"{path} {name}", child)


def _subclasses(error: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield error
    for child in error.__subclasses__():
        yield from _subclasses(child)


def _page_paths(path: Path) -> Iterator[str]:
    kinds = ("OpenPage", "CallersPage", "OperatorsPage", "Route", "Mount")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value.replace(":path}", "}")
