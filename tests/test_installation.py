import stat
from pathlib import Path

import pytest

from penstock.installation import (
    MASTER_BYTES,
    MASTER_FILE,
    PEPPER,
    PSEUDONYM,
    InstallationError,
    derive,
    make_master_key,
    read_master_key,
    write_private,
)

EXPECTED_PEPPER = "a9d94838849ebc53f46a308a5e3ca557f18a8100ceec031899b130efe292305b"


def test_a_master_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert read_master_key(folder) is None
    master = make_master_key(folder)
    assert len(master) == MASTER_BYTES
    assert read_master_key(folder) == make_master_key(folder) == master
    assert stat.S_IMODE((folder / MASTER_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [MASTER_FILE]


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_file_that_is_no_master_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MASTER_FILE).write_bytes(content)
    with pytest.raises(InstallationError, match="not a master key"):
        read_master_key(tmp_path)


def test_each_purpose_has_a_key_of_its_own() -> None:
    master = bytes(range(MASTER_BYTES))
    assert len({derive(master, PEPPER), derive(master, PSEUDONYM), derive(bytes(MASTER_BYTES), PEPPER), master}) == 4
    # RFC 5869 with an empty salt, as another implementation gives it.
    assert derive(master, PEPPER).hex() == EXPECTED_PEPPER


def test_of_two_first_starts_one_file_stands(tmp_path: Path) -> None:
    write_private(tmp_path / "secret", b"first")
    write_private(tmp_path / "secret", b"second")
    assert (tmp_path / "secret").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
