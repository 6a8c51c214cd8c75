"""What commands say: an answer on standard output, as tables for people or as JSON for programs; the rest beside it.

Nothing but the answer reaches standard output. Names come from callers and providers, so signs that a terminal would
obey are made visible first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import typer

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class CommandError(Exception):
    """Why a command cannot do what it was told; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class Column:
    """Text breaks between words where the terminal is narrow, numbers never do and stand at the right."""

    title: str
    is_number: bool = False


def text(title: str) -> Column:
    """A column of text."""
    return Column(title)


def number(title: str) -> Column:
    """A column of numbers."""
    return Column(title, is_number=True)


def print_json(value: object) -> None:
    """A value as JSON, with amounts as exact numbers."""
    typer.echo(msgspec.json.format(_ENCODER.encode(value)).decode())


def print_line(line: str = "") -> None:
    """A line of the answer."""
    typer.echo(visible(line))


def print_note(line: str) -> None:
    """A line beside the answer, on standard error."""
    typer.echo(visible(line), err=True)


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, none: str) -> None:
    """A table; where the terminal is too narrow for it, a block for each row; ``none`` where there is no row."""
    from penstock.cli import table  # noqa: PLC0415 - rich takes a while, and most commands do without

    if not rows:
        print_line(none)
        return
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = table.fit(columns, shown, table.terminal_width())
    if widths is not None:
        table.print_grid(columns, shown, widths)
        return
    for place, row in enumerate(shown):
        if place:
            print_line()
        print_facts({column.title: cell for column, cell in zip(columns, row, strict=True)})


def print_facts(facts: Mapping[str, str]) -> None:
    """Named values, one on each line."""
    width = max(map(len, facts))
    for name, value in facts.items():
        print_line(f"{name:<{width}}  {value}".rstrip())


def visible(words: str) -> str:
    """The text with a question mark in a diamond for every sign that a terminal would obey, line ends too."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in words)
