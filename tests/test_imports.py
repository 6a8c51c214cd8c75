"""What import-linter cannot say: its contracts list what is forbidden, this one lists all that is allowed.

The arrows between our own parts are contracts in pyproject.toml, checked by ``make check``.
"""

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "penstock"
PURE = ("core", "providers")
# Reading the clock, the environment, a file or a socket, or waiting, is the business of others.
IMPURE = {
    "asyncio", "concurrent", "logging", "multiprocessing", "os", "pathlib", "select", "selectors", "shutil", "signal",
    "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip


@pytest.mark.parametrize("part", PURE)
def test_the_pure_parts_import_only_the_standard_library_and_msgspec(part: str) -> None:
    allowed = {"penstock", "msgspec", *sys.stdlib_module_names} - IMPURE
    found = {
        f"{path.relative_to(SOURCE)}: {module}"
        for path in sorted((SOURCE / part).rglob("*.py"))
        for module in _imports(path)
        if module.partition(".")[0] not in allowed
    }
    assert not found


@pytest.mark.parametrize("part", PURE)
def test_the_pure_parts_never_wait(part: str) -> None:
    waiting = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in sorted((SOURCE / part).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith)
    ]
    assert not waiting


def _imports(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    return modules
