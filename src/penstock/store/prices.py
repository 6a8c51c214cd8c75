"""The stored price books, one of which is active.

A book is kept for ever, since holds name it, and never changes: its id is the sha256 of its content, which is checked
whenever it is read. Which one is active is changed in one transaction.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from penstock.core.price_book import PriceBook
from penstock.store.engine import Database
from penstock.store.errors import StoreError
from penstock.store.schema import price_book


@dataclass(frozen=True, slots=True)
class StoredBook:
    """What is known of a book without reading it. ``source`` says where it came from."""

    id: str
    source: str
    created_ms: int
    is_active: bool


class PriceBooks:
    """The books in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, book: PriceBook, source: str, now_ms: int, *, activate: bool) -> None:
        """Keep a book, and make it the active one if told to. One that is kept already stays as it is."""
        with self._database.writing() as connection:
            if _content(connection, book.id) is None:
                row = {"id": book.id, "source": source, "created_ms": now_ms, "is_active": False}
                connection.execute(insert(price_book).values(**row, content=book.content))
            if activate:
                _activate(connection, book.id)

    def activate(self, book_id: str) -> None:
        """Make a kept book the active one. Raises StoreError if there is none of that id."""
        with self._database.writing() as connection:
            if _content(connection, book_id) is None:
                raise StoreError(f"there is no price book {book_id}")
            _activate(connection, book_id)

    def find(self, book_id: str) -> PriceBook | None:
        """Raises StoreError for a book that was changed in the database."""
        with self._database.reading() as connection:
            content = _content(connection, book_id)
        return None if content is None else _read(content, book_id)

    def find_active(self) -> PriceBook | None:
        """The active book; None before the first import. Raises StoreError if it was changed in the database."""
        with self._database.reading() as connection:
            active = select(price_book.c.id).where(price_book.c.is_active)
            book_id = connection.execute(active).scalar_one_or_none()
            content = None if book_id is None else _content(connection, book_id)
        return None if content is None else _read(content, str(book_id))

    def books(self) -> tuple[StoredBook, ...]:
        """All of them, the newest first."""
        columns = (price_book.c.id, price_book.c.source, price_book.c.created_ms, price_book.c.is_active)
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns).order_by(price_book.c.created_ms.desc(), price_book.c.id))
            return tuple(StoredBook(*row) for row in rows)


def _content(connection: Connection, book_id: str) -> bytes | None:
    content = connection.execute(select(price_book.c.content).where(price_book.c.id == book_id)).scalar_one_or_none()
    return None if content is None else bytes(content)


def _activate(connection: Connection, book_id: str) -> None:
    connection.execute(update(price_book).values(is_active=price_book.c.id == book_id))


def _read(content: bytes, book_id: str) -> PriceBook:
    try:
        book = PriceBook(content)
    except ValueError as exc:
        raise StoreError(f"the price book {book_id} cannot be read; import prices anew") from exc
    if book.id != book_id:
        raise StoreError(f"the price book {book_id} was changed in the database; import prices anew")
    return book
