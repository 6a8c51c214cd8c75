"""A file is one idea and a function fits on a screen: the limits of design.md, "Layout"."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "bench", "docs")
NOT_OURS = {"vendor", "data", "__pycache__"}  # vendored code and recorded data are excepted
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
LINE_LENGTH_MAX = 120


def test_no_file_is_too_long() -> None:
    lengths = {path.relative_to(ROOT): len(_lines(path)) for path in _sources("*.py", "*.js")}
    assert not {str(path): length for path, length in lengths.items() if length > FILE_LINES_MAX}


def test_no_function_is_too_long() -> None:
    too_long = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}": length
        for path in _sources("*.py")
        for function, length in _functions(path)
        if length > FUNCTION_LINES_MAX
    }
    assert not too_long


def test_no_line_of_a_script_is_too_long() -> None:
    # ruff looks after Python.
    too_long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _sources("*.js")
        for number, line in enumerate(_lines(path), 1)
        if len(line) > LINE_LENGTH_MAX
    ]
    assert not too_long


def _sources(*patterns: str) -> Iterator[Path]:
    for folder in FOLDERS:
        for pattern in patterns:
            for path in sorted((ROOT / folder).rglob(pattern)):
                if not NOT_OURS & set(path.relative_to(ROOT).parts):
                    yield path


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _functions(path: Path) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, (node.end_lineno or node.lineno) - node.lineno + 1
