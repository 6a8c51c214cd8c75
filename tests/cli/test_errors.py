"""What an admin can mend is said in one line, on every command, with no traceback; exit codes tell failures apart."""

import os
import subprocess

import pytest

from penstock import __version__
from tests.cli.installation import ANN, COMMAND, Installation

COMMANDS = [
    ("serve",),
    ("keys", "create"),
    ("keys", "list"),
    ("keys", "disable", "1"),
    ("people", "list"),
    ("people", "set", ANN),
    ("limits", "show", "1"),
    ("usage",),
    ("models",),
    ("prices", "import"),
    ("prices", "show"),
    ("ledger", "verify"),
    ("ledger", "explain", "1"),
    ("config", "check"),
]
# What serve says of a database stands in test_serve.py, as it needs a process of its own.
OPENING = [command for command in COMMANDS if command not in {("serve",), ("config", "check")}]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_mistake_in_the_settings_is_one_line(place: Installation, command: tuple[str, ...]) -> None:
    place.write('listn = "127.0.0.1:8787"')
    assert place.refuse(*command) == "penstock.toml: unknown key listn; did you mean listen?"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_settings_file_that_is_not_there_is_one_line(place: Installation, command: tuple[str, ...]) -> None:
    assert place.refuse(*command, "--config", "gone.toml") == "gone.toml: cannot be read: No such file or directory"


@pytest.mark.parametrize("command", OPENING, ids=" ".join)
def test_a_damaged_database_is_one_line(place: Installation, command: tuple[str, ...]) -> None:
    (place.folder / "data").mkdir()
    (place.folder / "data" / "penstock.db").write_bytes(b"this is no database, and is longer than its header" * 99)
    assert "cannot be used (file is not a database); restore a backup" in place.refuse(*command)


@pytest.mark.parametrize("command", OPENING, ids=" ".join)
def test_a_damaged_master_key_is_one_line(place: Installation, command: tuple[str, ...]) -> None:
    (place.folder / "data").mkdir()
    (place.folder / "data" / "master.key").write_bytes(b"short")
    assert place.refuse(*command) == "data/master.key is not a master key; restore it from your backup"


def test_a_lost_master_key_is_not_replaced_in_silence(place: Installation) -> None:
    place.run("keys", "create", "--email", "ann@example.com")
    (place.folder / "data" / "master.key").unlink()
    assert "every key in the database depends on it" in place.refuse("keys", "list")
    assert not (place.folder / "data" / "master.key").exists()


def test_a_database_that_another_program_holds_is_one_line(place: Installation) -> None:
    place.make_key("--admin")
    database = place.open()
    # Whoever does not take turns, such as a shell of SQLite.
    with database.open_writer() as holder, holder.begin():
        assert "database is locked" in place.refuse("people", "set", ANN)
    database.close()


def test_a_new_installation_is_told_of_once(place: Installation) -> None:
    first, second = place.ok("usage", "--json"), place.ok("usage", "--json")
    assert first.err == f"This is a new installation, in {place.folder / 'data'}.\n"
    assert second.err == ""
    assert first.json == second.json


def test_no_command_is_a_usage_error_that_shows_the_commands(place: Installation) -> None:
    outcome = place.run()
    assert outcome.code == 2
    assert "penstock [OPTIONS] COMMAND" in outcome.out + outcome.err


def test_an_unknown_command_is_a_usage_error(place: Installation) -> None:
    assert "No such command 'key'" in place.misuse("key", "list")


def test_the_version_is_told(place: Installation) -> None:
    assert place.ok("--version").out == f"penstock {__version__}\n"


def test_a_reader_that_leaves_is_no_traceback(place: Installation) -> None:
    place.make_key("--admin")
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        ended = subprocess.run(
            [*COMMAND, "prices", "show", "--provider", "openrouter"],
            stdout=write_end, stderr=subprocess.PIPE, cwd=place.folder, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(write_end)
    assert ended.stderr == b""


def test_a_start_loads_nothing_that_it_does_not_need(place: Installation) -> None:
    script = "import sys, penstock.cli; print({'alembic', 'genai_prices', 'rich', 'structlog'} & set(sys.modules))"
    loaded = subprocess.run([COMMAND[0], "-c", script], capture_output=True, cwd=place.folder, timeout=60, check=True)
    assert loaded.stdout == b"set()\n"
