import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from penstock.store.engine import Database, open_database
from penstock.store.errors import StoreError
from penstock.store.migrations import find_version
from penstock.store.schema import HEAD, metadata

ROOT = Path(__file__).parents[2]
OPEN = "import sys; from penstock.store.engine import open_database; open_database(sys.argv[1])"


def pragma(database: Database, name: str) -> object:
    with database.reading() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def test_the_folder_and_its_files_are_for_their_owner_alone(database: Database) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '1'")
    assert stat.S_IMODE(database.folder.stat().st_mode) == 0o700
    files = list(database.folder.iterdir())
    assert {file.name for file in files} >= {"penstock.db", "penstock.db-wal", "penstock.db-writer.lock"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    open_database(f"sqlite:///{tmp_path}/penstock.db").close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_commits_survive_a_power_cut(database: Database) -> None:
    assert pragma(database, "journal_mode") == "wal"
    assert pragma(database, "synchronous") == 2
    assert pragma(database, "foreign_keys") == 1
    assert database.is_shareable


def test_the_migrations_make_exactly_the_tables_of_the_schema(database: Database) -> None:
    with database.reading() as connection:
        assert find_version(connection) == HEAD
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_database_that_is_up_to_date_opens_without_alembic(database_url: str) -> None:
    open_database(database_url).close()
    script = f"{OPEN}; assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", script, database_url], check=True, cwd=ROOT)


def test_a_database_may_be_made_by_several_at_once(database_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        for opened in threads.map(open_database, [database_url] * 4):
            opened.close()


def test_a_killed_first_start_leaves_a_database_that_the_next_one_completes(database_url: str) -> None:
    opened = open_database(database_url)
    path = opened.path
    opened.close()
    path.write_bytes(b"")
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
    with open_database(database_url).reading() as connection:
        assert find_version(connection) == HEAD


@pytest.mark.parametrize("intact", [0, 8192], ids=["no database", "torn pages"])
def test_a_damaged_database_is_refused_with_what_to_do(database_url: str, intact: int) -> None:
    opened = open_database(database_url)
    opened.close()
    opened.path.write_bytes(opened.path.read_bytes()[:intact] + b"\xff" * 60_000)
    with pytest.raises(StoreError, match="restore a backup"):
        open_database(database_url)


def test_a_database_of_a_newer_penstock_is_refused(database: Database, database_url: str) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer penstock"):
        open_database(database_url)


@pytest.mark.parametrize(
    "url", ["penstock.db", "postgresql://localhost/x", "sqlite://", "sqlite:///:memory:", "sqlite:///x?mode=ro"]
)
def test_a_url_that_names_no_database_of_ours_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="database_url"):
        open_database(url)


def test_a_path_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open"):
        open_database(f"sqlite:///{tmp_path}/file/penstock.db")


def test_a_reader_sees_one_snapshot(database: Database) -> None:
    with database.reading() as reader:
        before = reader.exec_driver_sql("SELECT value FROM meta").scalar_one()
        with database.writing() as writer:
            writer.exec_driver_sql("UPDATE meta SET value = 'later'")
        assert reader.exec_driver_sql("SELECT value FROM meta").scalar_one() == before


def test_the_stamp_changes_when_somebody_else_commits_and_only_then(database: Database) -> None:
    with database.open_writer() as ours:
        stamps = []
        for _ in range(2):
            with ours.begin():
                stamps.append(database.stamp(ours))
                ours.exec_driver_sql("UPDATE meta SET value = value || 'x'")
        with database.writing() as other:
            other.exec_driver_sql("UPDATE meta SET value = 'theirs'")
        with ours.begin():
            stamps.append(database.stamp(ours))
    assert stamps[0] == stamps[1] != stamps[2]
