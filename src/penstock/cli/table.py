"""Tables in a terminal: columns as wide as what stands in them, and where that is too wide, text in several lines.

A word is never broken: what is copied from a table, such as a key's id, must be whole.
"""

import sys
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from penstock.cli.output import Column

_GAP = 2


def terminal_width() -> int | None:
    """In signs; None where there is no terminal: whoever reads lines from a pipe wants whole ones."""
    console = _console()
    return console.width if console.is_terminal else None


def fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[int] | None:
    """The width of each column in a table that is at most so wide; None if there is no such table."""
    cells = [(column.title, *(row[place] for row in rows)) for place, column in enumerate(columns)]
    widths = [_widest(column) for column in cells]
    if width is None:
        return widths
    room = width - _GAP * (len(columns) - 1)
    least = [
        full if column.is_number else _widest(word for cell in found for word in cell.split())
        for column, found, full in zip(columns, cells, widths, strict=True)
    ]
    if sum(least) > room:
        return None
    while sum(widths) > room:
        shrinkable = (place for place in range(len(columns)) if widths[place] > least[place])
        widths[max(shrinkable, key=widths.__getitem__)] -= 1
    return widths


def print_grid(columns: Sequence[Column], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    """A table with columns of these widths, on standard output."""
    grid = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        grid.add_column(column.title, justify="right" if column.is_number else "left", width=width)
    for row in rows:
        grid.add_row(*row)
    console = _console()
    console.width = sum(widths) + _GAP * (len(columns) - 1)
    console.print(grid)


def _widest(cells: Iterable[str]) -> int:
    return max(map(cell_len, cells), default=0)


def _console() -> Console:
    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
