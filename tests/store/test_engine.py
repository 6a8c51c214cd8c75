"""Opening a database, or saying to the admin why that cannot be."""

from pathlib import Path

import pytest

from penstock.store.engine import open_database
from penstock.store.errors import StoreError


def test_a_folder_in_which_nothing_can_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "penstock.db"
    open_database(f"sqlite:///{path}").close()
    lock = tmp_path / "penstock.db-writer.lock"
    lock.unlink()
    lock.mkdir()  # root, too, cannot open that for writing
    with pytest.raises(StoreError, match="make its folder writable"):
        open_database(f"sqlite:///{path}")
