"""Tables fit the terminal or become blocks, pipes get whole lines, and no name can give a terminal orders."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

from penstock.cli import table
from penstock.cli.output import number, print_facts, print_table, text, visible
from tests.cli.installation import ANN, COMMAND, Installation

STYLE = re.compile(r"\x1b\[\d*m")
COLUMNS = [text("name"), number("cost"), text("words")]
ROWS = [["laptop", "$0.10", "one two three four"], ["ci", "$100.00", "five"]]


@pytest.mark.parametrize(
    ("width", "widths"),
    [
        (None, [6, 7, 18]),
        (35, [6, 7, 18]),
        # Only words are put on the next line, where there are several.
        (34, [6, 7, 17]),
        (22, [6, 7, 5]),
        (21, None),
    ],
)
def test_text_gives_way_to_words_and_numbers_to_nothing(width: int | None, widths: list[int] | None) -> None:
    assert table.fit(COLUMNS, ROWS, width) == widths


def test_the_widest_text_gives_way_first() -> None:
    columns, row = [text("a"), text("b")], ["one two three", "one two three four five"]
    assert table.fit(columns, [row], 32) == [13, 17]


def test_wide_signs_count_as_two() -> None:
    assert table.fit([text("name")], [["日本"]], None) == [4]


def test_a_pipe_gets_whole_lines_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [*ROWS, ["x", "$1.00", "long " * 100]], none="")
    out = capsys.readouterr().out
    assert [line.rstrip() for line in out.splitlines()] == [
        "name       cost  words",
        "laptop    $0.10  one two three four",
        "ci      $100.00  five",
        ("x         $1.00  " + "long " * 100).rstrip(),
    ]


def test_signs_of_markup_and_orders_to_terminals_are_shown_as_signs(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([text("name")], [["[red]x[/red] :smile:"], ["\x1b[2Jgone\r\n"]], none="")
    out = capsys.readouterr().out
    assert "[red]x[/red] :smile:" in out
    assert "\x1b" not in out
    assert "\N{REPLACEMENT CHARACTER}[2Jgone\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}" in out


def test_a_table_without_rows_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [], none="Nothing.")
    assert capsys.readouterr().out == "Nothing.\n"


def test_facts_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"basis": "provider", "entry": "1", "at": ""})
    assert capsys.readouterr().out == "basis  provider\nentry  1\nat\n"


def test_what_can_be_printed_stays_as_it_is() -> None:
    assert visible("Ångström 日本 $1.00") == "Ångström 日本 $1.00"


@pytest.mark.parametrize("width", [120, 40])
def test_a_terminal_gets_a_table_or_blocks_that_fit(place: Installation, width: int) -> None:
    place.make_key("--email", ANN, "--name", "laptop", "--limit", "1 usd / day")
    lines = [STYLE.sub("", line) for line in in_terminal(place, width, "keys", "list")]
    assert max(map(len, lines)) <= width
    is_block = "whose          ann@example.com" in lines
    assert is_block is (width == 40)


def test_titles_are_bold_in_a_terminal(place: Installation) -> None:
    place.make_key("--admin")
    assert STYLE.search(in_terminal(place, 120, "keys", "list")[0])


def in_terminal(place: Installation, width: int, *arguments: str) -> list[str]:
    """The lines that a command shows in a terminal of this width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    environ["TERM"] = "xterm"
    with subprocess.Popen([*COMMAND, *arguments], stdin=slave, stdout=slave, cwd=place.folder, env=environ) as process:
        os.close(slave)
        shown = b"".join(iter(lambda: read_terminal(master), b""))
        os.close(master)
        assert process.wait(timeout=60) == 0
    return [line.rstrip() for line in shown.decode().splitlines()]


def read_terminal(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:
        # How Linux says that the other end is closed.
        return b""
