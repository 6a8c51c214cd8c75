"""Stored price books: kept for ever, never changed, one of them active."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from penstock.core.model_match import Equals
from penstock.core.price_book import BookModel, BookProvider, DatedRates, PriceBook, make_book
from penstock.core.pricing import Rate
from penstock.core.usage import Unit
from penstock.store.engine import Database, open_database
from penstock.store.errors import StoreError
from penstock.store.prices import PriceBooks, StoredBook
from penstock.store.schema import price_book

NOW_MS = 1_800_000_000_000


def book(pico: int) -> PriceBook:
    model = BookModel("tiny", Equals("tiny"), (DatedRates({Unit.INPUT: Rate(pico)}),))
    return make_book([BookProvider("lab", (model,))])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path}/penstock.db")
    yield database
    database.close()


@pytest.fixture
def books(database: Database) -> PriceBooks:
    return PriceBooks(database)


def active_id(books: PriceBooks) -> str | None:
    active = books.find_active()
    return None if active is None else active.id


def test_before_the_first_import_no_book_is_active(books: PriceBooks) -> None:
    assert books.find_active() is None
    assert books.books() == ()
    assert books.find("0" * 64) is None


def test_a_saved_book_comes_back_as_it_was(books: PriceBooks) -> None:
    books.save(book(5), "genai-prices 0.2.3", NOW_MS, activate=True)
    loaded = books.find_active()
    assert loaded is not None
    assert (loaded.id, loaded.content) == (book(5).id, book(5).content)
    assert books.books() == (StoredBook(book(5).id, "genai-prices 0.2.3", NOW_MS, is_active=True),)


def test_a_book_can_be_kept_without_being_active(books: PriceBooks) -> None:
    books.save(book(5), "first", NOW_MS, activate=True)
    books.save(book(6), "second", NOW_MS + 1, activate=False)
    assert active_id(books) == book(5).id
    assert [stored.source for stored in books.books()] == ["second", "first"]


def test_one_book_is_active_and_the_others_stay(books: PriceBooks) -> None:
    for number in (5, 6, 7):
        books.save(book(number), f"file {number}", NOW_MS + number, activate=True)
    assert active_id(books) == book(7).id
    books.activate(book(5).id)
    assert active_id(books) == book(5).id
    assert [stored.is_active for stored in books.books()] == [False, False, True]
    kept = books.find(book(6).id)
    assert kept is not None
    assert kept.content == book(6).content


def test_saving_a_book_again_changes_nothing_but_which_is_active(books: PriceBooks) -> None:
    books.save(book(5), "first", NOW_MS, activate=True)
    books.save(book(6), "second", NOW_MS + 1, activate=True)
    books.save(book(5), "again", NOW_MS + 2, activate=True)
    assert books.books()[1] == StoredBook(book(5).id, "first", NOW_MS, is_active=True)


def test_a_book_that_is_not_there_cannot_become_active(books: PriceBooks) -> None:
    books.save(book(5), "first", NOW_MS, activate=True)
    with pytest.raises(StoreError, match="no price book"):
        books.activate("0" * 64)
    assert active_id(books) == book(5).id


@pytest.mark.parametrize("content", [b"[]", b"not a book", book(6).content])
def test_a_book_that_was_changed_in_the_database_is_not_used(
    database: Database, books: PriceBooks, content: bytes
) -> None:
    books.save(book(5), "first", NOW_MS, activate=True)
    with database.writing() as connection:
        connection.execute(update(price_book).values(content=content))
    with pytest.raises(StoreError, match="import prices anew"):
        books.find_active()
    with pytest.raises(StoreError, match="import prices anew"):
        books.find(book(5).id)


def test_another_process_sees_the_active_book_after_it_was_changed(database: Database, books: PriceBooks) -> None:
    other = open_database(f"sqlite:///{database.path}")
    try:
        books.save(book(5), "first", NOW_MS, activate=True)
        assert active_id(PriceBooks(other)) == book(5).id
        with other.reading() as connection:
            assert connection.execute(select(func.count()).select_from(price_book)).scalar_one() == 1
    finally:
        other.close()
