"""The one place that opens databases, and the one that knows what is particular to SQLite.

A Database gives readers, each a consistent snapshot, and writers, each one durable transaction that nobody else's can
interleave with. SQLite's own waiting for a lock polls and may starve; so processes that write to one file take turns by
a blocking lock on a file beside it.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from penstock.store.errors import StoreError
from penstock.store.migrations import find_version, migrate
from penstock.store.schema import HEAD

BUSY_MS = 1000
"""How long anybody waits for SQLite's own lock; longer is StoreUnavailable (money.md, "The ledger")."""

# Before this version several processes could corrupt a write-ahead log that they share.
_SAFE_SQLITE = (3, 51, 3)
_CHECKED_BYTES_MAX = 16 * 2**20
_WRITES = {"penstock_writes": True}


class Database:
    """An open database. ``folder`` holds the files beside it: lock files, keys of the installation."""

    def __init__(self, engine: Engine, folder: Path, path: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.path = path
        self._turns = path.with_name(f"{path.name}-writer.lock")

    @property
    def is_shareable(self) -> bool:
        """Whether several processes may write to it: an old SQLite carries one only."""
        version = self.engine.dialect.server_version_info
        return version is not None and version >= _SAFE_SQLITE

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent snapshot."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that is durable when this returns."""
        with self.turn(), self.open_writer() as connection, connection.begin():
            yield connection

    def open_writer(self) -> Connection:
        """A connection whose transactions take the write lock when they begin. Whoever opens it closes it."""
        return self.engine.connect().execution_options(**_WRITES)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait, without polling, until no other process or thread writes; begin and commit inside."""
        lock = os.open(self._turns, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def stamp(self, connection: Connection) -> int | None:
        """A number that stays the same on one connection until somebody else commits; None: cannot be told."""
        return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Open the database at a URL such as ``sqlite:///data/penstock.db``; make it, or bring it up to date, if needed.

    Raises StoreError for a database that is damaged, made by a newer penstock, or not reachable.
    """
    path = _sqlite_path(url)
    try:
        _create(path)
        engine = _sqlite_engine(path)
    except OSError as exc:
        raise StoreError(f"cannot open the database {path}: {exc.strerror}") from exc
    database = Database(engine, path.parent, path)
    try:
        # The first connection of all makes the file what it is (see _set_up); two at once would be in each other's way.
        with database.turn(), database.reading() as connection:
            version = find_version(connection)
        with database.reading() as connection:
            _check(connection, path)
        if version != HEAD:
            with database.writing() as connection:
                migrate(connection)
    except SQLAlchemyError as exc:
        database.close()
        raise StoreError(_damaged(path, str(exc.orig) if isinstance(exc, DBAPIError) else str(exc))) from exc
    except OSError as exc:
        database.close()
        raise StoreError(
            f"cannot write beside the database {path}: {exc.strerror}; make its folder writable for whoever runs "
            "penstock, or set another data_dir"
        ) from exc
    except StoreError:
        database.close()
        raise
    return database


def _sqlite_path(url: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError("database_url is not a URL; write sqlite:///data/penstock.db") from None
    if parsed.get_backend_name() != "sqlite":
        raise StoreError(f"database_url: {parsed.get_backend_name()} is not supported yet; use sqlite:///PATH")
    if not parsed.database or parsed.database == ":memory:" or parsed.query:
        raise StoreError("database_url must name a file: sqlite:///data/penstock.db")
    return Path(parsed.database).absolute()


def _create(path: Path) -> None:
    """Make the folder and the file for the owner alone; SQLite gives its other files the same mode."""
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _sqlite_engine(path: Path) -> Engine:
    url = URL.create("sqlite", database=str(path))
    # Parameters stay out of error messages, which may end up in a log.
    engine = create_engine(url, module=_driver(), hide_parameters=True, connect_args={"timeout": BUSY_MS / 1000})
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _driver() -> ModuleType:
    """The bundled SQLite, else the system's (design.md, "Dependencies")."""
    try:
        return import_module("pysqlite3.dbapi2")
    except ImportError:
        return sqlite3


def _set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: DDL and reads belong into ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -16384"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("penstock_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _check(connection: Connection, path: Path) -> None:
    """Look for damage before the first call does; a large file is left to ``ledger verify``, or start-up would wait."""
    if path.stat().st_size > _CHECKED_BYTES_MAX:
        return
    finding = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    if finding != "ok":
        raise StoreError(_damaged(path, finding))


def _damaged(path: Path, reason: str) -> str:
    return f"the database {path} cannot be used ({reason}); restore a backup, or move it away to begin anew"
