"""A missing piece skips a test on a laptop and fails it under CI."""

import socket

import pytest

from tests.needs import require, require_command, require_module, require_port


def test_what_is_there_changes_nothing() -> None:
    require(is_there=True, what="air")
    assert require_module("json").__name__ == "json"
    assert require_command("sh").name == "sh"


def test_a_laptop_skips_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="this machine lacks the program no-such-program"):
        require_command("no-such-program")
    with pytest.raises(pytest.skip.Exception, match="the Python package no_such_package"):
        require_module("no_such_package")


def test_ci_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="lacks the program no-such-program"):
        require_command("no-such-program")


def test_a_port_is_there_while_something_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        require_port("127.0.0.1", port, "a listener")
    with pytest.raises(pytest.skip.Exception, match=f"a listener on 127.0.0.1:{port}"):
        require_port("127.0.0.1", port, "a listener")
