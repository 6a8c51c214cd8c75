"""The ledger's transactions: one at a time, on one connection, with what is remembered from the one before.

Whatever goes wrong, the connection is closed and everything remembered forgotten: after a failed fsync nobody knows
what an open connection would show (reliability.md 3.3).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, RootTransaction
from sqlalchemy.exc import SQLAlchemyError

from penstock.store.batch import Batch
from penstock.store.engine import Database
from penstock.store.memory import Memory


class NotBegun(Exception):
    """The database cannot be written to now, whatever the operation: locked for too long, or not to be opened."""


class Transactions:
    """For one thread. ``owner`` is the process that holds, ``clock`` gives epoch milliseconds."""

    def __init__(self, database: Database, owner: str, clock: Callable[[], int]) -> None:
        self._database = database
        self._owner = owner
        self._clock = clock
        self._connection: Connection | None = None
        self._memory = Memory()

    @contextmanager
    def begin(self) -> Iterator[Batch]:
        """A batch to apply; durable when this returns. Raises NotBegun, or whatever the batch or the commit raises."""
        try:
            with self._database.turn():
                connection, transaction = self._enter()
                with transaction:
                    stamp = self._database.stamp(connection)
                    self._memory.enter(connection, stamp, self._clock())
                    yield Batch(connection, self._memory, self._owner)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next ``begin`` opens another."""
        self._memory.forget()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()

    def _enter(self) -> tuple[Connection, RootTransaction]:
        try:
            connection = self._connection = self._connection or self._database.open_writer()
            return connection, connection.begin()
        except SQLAlchemyError as exc:
            raise NotBegun from exc
