"""Every test of the command line has a folder of its own, and stands in it."""

from pathlib import Path

import pytest

from tests.cli.installation import Installation


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.chdir(tmp_path)
    return Installation(tmp_path)
