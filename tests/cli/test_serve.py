"""`penstock serve` runs the gateway, and the other commands work on its database while it does."""

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.installation import COMMAND, Installation


def test_a_key_made_while_it_runs_is_good_until_it_is_disabled(place: Installation) -> None:
    with serving(place, "--port", "0") as port:
        token = place.make_key("--policy", "staff")
        assert status(port, token) == 200
        other = place.make_key("--policy", "staff")
        place.ok("keys", "disable", other)
        assert status(port, other) == 401
        assert place.ok("ledger", "verify").out.endswith("everything adds up.\n")


def test_the_first_key_is_kept_in_a_file_where_there_is_no_terminal(place: Installation) -> None:
    with serving(place, "--host", "127.0.0.1", "--port", "0") as port:
        file = place.folder / "data" / "admin-key"
        assert file.stat().st_mode & 0o777 == 0o600
        assert status(port, file.read_text().strip()) == 200


def test_a_port_that_is_taken_is_one_line(place: Installation) -> None:
    place.make_key("--admin")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = serve(place, "--port", str(port))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert f"penstock: cannot serve at 127.0.0.1:{port}: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_first_start_that_fails_leaves_the_first_key_to_the_next(place: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert serve(place, "--port", str(taken.getsockname()[1])).returncode == 1
    assert place.ok("keys", "list", "--json").json == []


def test_an_address_that_cannot_be_is_one_line(place: Installation) -> None:
    assert place.refuse("serve", "--host", "no host").startswith(
        "PENSTOCK_LISTEN (environment): listen must be HOST:PORT"
    )


def test_a_damaged_database_or_master_key_is_one_line(place: Installation) -> None:
    data = place.folder / "data"
    data.mkdir()
    for name, told in (("penstock.db", "restore a backup"), ("master.key", "is not a master key")):
        (data / name).write_bytes(b"no such thing" * 999)
        ended = serve(place)
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
        assert told in ended.stderr


def serve(place: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A start that must fail."""
    return subprocess.run(
        [*COMMAND, "serve", *arguments], capture_output=True, text=True, cwd=place.folder, timeout=60, check=False
    )


@contextmanager
def serving(place: Installation, *arguments: str) -> Iterator[int]:
    """A gateway in a process of its own; gives its port, and ends it as an admin does."""
    command = [*COMMAND, "serve", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=place.folder) as process:
        try:
            yield started_at(process)
            process.terminate()
            process.communicate(timeout=30)
            assert process.returncode == 0
        finally:
            process.kill()


def started_at(process: subprocess.Popen[bytes]) -> int:
    """The port, once the log says that the gateway has started."""
    assert process.stderr is not None
    lines = (json.loads(line) for line in process.stderr)
    return next(int(line["port"]) for line in lines if line["event"] == "started")


def status(port: int, token: str) -> int:
    """What a caller with this key is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {token}"})
    answered = connection.getresponse().status
    connection.close()
    return answered
