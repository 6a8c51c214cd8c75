"""The ledger when the disk, a lock or an operation is not as it should be (reliability.md 3.3)."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from penstock.core.call import Hold
from penstock.core.errors import StoreUnavailable
from penstock.store.engine import Database
from penstock.store.errors import StoreError
from penstock.store.ledger import SqlLedger
from penstock.store.verify import verify
from tests.store.calls import DAY, Clock, counted, entries, person, request, used, void

NOT_64_BITS = 2**70


@contextmanager
def full_disk(database: Database) -> Iterator[None]:
    """No file may grow, on every connection that is opened while this lasts."""
    with database.reading() as connection:
        pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())

    def limit(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.cursor().execute(f"PRAGMA max_page_count = {pages}")

    event.listen(database.engine, "connect", limit)
    database.engine.dispose()
    yield
    event.remove(database.engine, "connect", limit)
    database.engine.dispose()


@contextmanager
def refusing(database: Database, table: str, kind: str) -> Iterator[None]:
    """Every insert or update of a table fails while this lasts."""
    with database.writing() as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER refuse BEFORE {kind} ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    yield
    with database.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER refuse")


async def test_a_reservation_that_cannot_be_written_is_refused_and_nothing_is_held(
    database: Database, ledger: SqlLedger
) -> None:
    with refusing(database, "hold", "INSERT"):
        with pytest.raises(StoreUnavailable) as caught:
            await ledger.reserve(request("a", person("5 usd")))
        assert caught.value.retry_after_s == 5
    assert counted(database, "person:1", "usd", "all") == (0, 0)
    await ledger.reserve(request("b", person("1 usd")))
    assert verify(database).is_clean


async def test_an_ending_that_cannot_be_written_keeps_its_hold_until_it_can(
    database: Database, ledger: SqlLedger
) -> None:
    await ledger.reserve(request("a", tokens=5))
    with refusing(database, "entry", "INSERT"):
        ledger.end("a", used(2))
        await ledger.flushed()
        assert counted(database, "person:1", "usd", DAY) == (0, 5)
    await ledger.flushed()
    assert counted(database, "person:1", "usd", DAY) == (2, 0)
    assert entries(database) == [("a", "final", "provider", 2)]


async def test_a_full_disk_refuses_calls_until_there_is_room(database: Database, clock: Clock) -> None:
    ledger = SqlLedger(database, clock)
    held = 0
    with full_disk(database):
        await ledger.start()
        while isinstance(await _try(ledger, f"h{held}"), Hold):
            held += 1
        ledger.end("h0", used(1))
        await ledger.flushed()
        assert verify(database).is_clean
    # The writer's own connection may know of the room only when it is the next one.
    assert Hold in {type(await _try(ledger, "more")), type(await _try(ledger, "more"))}
    await ledger.stop()
    assert counted(database, "person:1", "usd", DAY) == (1, 2 * held)
    assert verify(database).is_clean


async def test_one_bad_operation_harms_no_other_of_its_batch(database: Database, ledger: SqlLedger) -> None:
    await ledger.reserve(request("good", tokens=2))
    await ledger.reserve(request("bad", tokens=3))
    ledger.end("bad", used(1, usd=NOT_64_BITS))
    ledger.end("good", used(1))
    names = ["x", "y", "y", "z"]  # the second y breaks every transaction that it is in
    answers = await asyncio.gather(*(_try(ledger, name) for name in names))
    assert [type(answer) for answer in answers].count(Hold) == 3
    assert counted(database, "person:1", "usd", DAY) == (1, 3 + 3 * 2)
    assert entries(database) == [("good", "final", "provider", 1)]
    assert verify(database).is_clean
    await ledger.stop(grace_s=0)


async def test_a_poisoned_ending_does_not_stop_the_ledger_from_ending(database: Database, clock: Clock) -> None:
    ledger = SqlLedger(database, clock)
    await ledger.start()
    await ledger.reserve(request("bad", tokens=3))
    ledger.end("bad", used(1, usd=NOT_64_BITS))
    await ledger.stop(grace_s=0.1)
    after = SqlLedger(database, clock)
    await after.start()
    await after.stop()
    assert entries(database) == [("bad", "final", "worst_case", 3)]


async def test_a_hold_that_cannot_be_swept_does_not_end_a_running_ledger(
    database: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    living = SqlLedger(database, clock, beat_s=0.01)
    await living.start()
    leaving = SqlLedger(database, clock)
    await leaving.start()
    await leaving.reserve(request("a"))
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE hold SET buckets = 'spoilt'")
    await leaving.stop()
    while not caplog.records:
        await living.flushed()
    await living.reserve(request("b"))
    await living.stop()
    with pytest.raises(StoreError, match="ledger verify"):
        await SqlLedger(database, clock).start()


async def test_who_waits_for_a_lock_is_refused_within_a_second_and_never_held_for(
    database: Database, ledger: SqlLedger
) -> None:
    with database.turn():
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await ledger.reserve(request("a", person("1 usd")))
        assert time.monotonic() - began_s < 2
        ledger.end("a", void(was_sent=False))
    await ledger.flushed()
    assert entries(database) == []
    await ledger.reserve(request("b", person("1 usd")))


async def test_who_waits_for_a_foreign_transaction_is_refused_within_a_second(
    database: Database, ledger: SqlLedger
) -> None:
    with database.open_writer() as connection, connection.begin():
        with pytest.raises(StoreUnavailable):
            await ledger.reserve(request("a"))
        ledger.end("a", void(was_sent=False))
    await ledger.flushed()
    assert counted(database, "person:1", "usd", "all") == (0, 0)


async def test_a_caller_that_was_cancelled_is_not_held_for(database: Database, ledger: SqlLedger) -> None:
    reserving = asyncio.ensure_future(ledger.reserve(request("a")))
    with database.turn():
        await asyncio.sleep(0)  # lets the task queue its request; no time passes
        reserving.cancel()
        ledger.end("a", void(was_sent=False))
    await ledger.flushed()
    assert entries(database) == []


async def test_the_ledger_is_not_ready_while_its_transactions_fail(database: Database, ledger: SqlLedger) -> None:
    assert ledger.is_ready
    with refusing(database, "hold", "INSERT"):
        for number in range(3):
            assert isinstance(await _try(ledger, f"h{number}"), StoreUnavailable)
        assert not ledger.is_ready
    await ledger.reserve(request("a"))
    assert ledger.is_ready


async def _try(ledger: SqlLedger, hold_id: str) -> Hold | StoreUnavailable:
    try:
        return await ledger.reserve(request(hold_id, tokens=2))
    except StoreUnavailable as exc:
        return exc
