"""Whatever is changed in the ledger by hand, verify tells; what it explains adds up."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import insert, text

from penstock.core.call import Basis, Ending
from penstock.core.money import NANO_PER_USD
from penstock.core.usage import Usage
from penstock.store.engine import Database
from penstock.store.errors import StoreError
from penstock.store.ledger import SqlLedger
from penstock.store.schema import bucket
from penstock.store.verify import PROBLEMS_MAX, Term, explain, verify
from tests.store.calls import Clock, person, request, used, void

RATES = {"input": 150_000, "output": [600_000_000, 1000]}
METERED = Ending(Basis.PROVIDER, 210_000, Usage(input=1000, output=100), was_sent=True, rates=RATES)


@pytest.fixture
async def filled(database: Database, clock: Clock) -> AsyncIterator[Database]:
    """A ledger with every kind of entry: 1 metered, 2 reported, 3 estimated, 4 void, 5 swept, 6 its adjustment."""
    ledger = SqlLedger(database, clock)
    await ledger.start()
    subject = person("100 usd / day", "9999 tokens / day", "50 requests / minute", "9 concurrent")
    for hold_id in ("metered", "reported", "estimated", "void", "swept", "open"):
        await ledger.reserve(request(hold_id, subject, tokens=9))
    ledger.end("metered", METERED)
    ledger.end("reported", Ending(Basis.REPORTED_COST, 78, Usage(input=5), was_sent=True, reported_pico=77_001))
    at_most = {"input": 10**12, "at_most": 9 * NANO_PER_USD}
    ledger.end("estimated", Ending(Basis.ESTIMATED, 9 * NANO_PER_USD, Usage(input=12), was_sent=True, rates=at_most))
    ledger.end("void", void(was_sent=True))
    await ledger.flushed()
    with database.writing() as connection:
        connection.execute(text("UPDATE hold SET owner = 'dead' WHERE id = 'swept'"))
    other = SqlLedger(database, clock)
    await other.start()
    await other.stop()
    with database.writing() as connection:
        connection.execute(text("UPDATE hold SET owner = (SELECT owner FROM hold WHERE id = 'open')"))
    ledger.end("swept", used(2))
    await ledger.flushed()
    yield database
    await ledger.stop()


async def test_an_honest_ledger_is_clean(filled: Database) -> None:
    report = verify(filled)
    assert report.problems == []
    assert (report.entries, report.open_holds, report.is_clean) == (6, 1, True)
    assert report.buckets == 5


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE entry SET cost = cost - 1 WHERE seq = 1",
        "UPDATE entry SET cost = cost + 1 WHERE seq = 6",
        "UPDATE entry SET tokens_in = tokens_in + 1, tokens_out = tokens_out - 1 WHERE seq = 1",
        "UPDATE entry SET requests = 0 WHERE seq = 2",
        """UPDATE entry SET usage = '{"input":999,"output":100}' WHERE seq = 1""",
        """UPDATE entry SET rates = '{"input":150000}' WHERE seq = 1""",
        "UPDATE entry SET rates = 'spoilt' WHERE seq = 1",
        "UPDATE entry SET reported_pico = reported_pico + 1000 WHERE seq = 2",
        "UPDATE entry SET basis = 'void' WHERE seq = 1",
        "UPDATE entry SET basis = 'guess' WHERE seq = 1",
        "UPDATE entry SET kind = 'adjust' WHERE seq = 1",
        "UPDATE entry SET person_id = 2 WHERE seq = 1",
        "UPDATE entry SET key_id = NULL WHERE seq = 4",
        "UPDATE entry SET model = 'cheaper' WHERE seq = 1",
        "UPDATE entry SET day = '2026-11-20' WHERE seq = 1",
        "DELETE FROM entry WHERE seq = 1",
        "DELETE FROM entry WHERE seq = 4",
        "DELETE FROM entry WHERE seq = 6",
        "UPDATE hold SET state = 'open' WHERE id = 'metered'",
        "UPDATE hold SET state = 'settled' WHERE id = 'open'",
        "UPDATE hold SET usd = usd + 1 WHERE id = 'open'",
        "UPDATE hold SET buckets = '{}' WHERE id = 'metered'",
        "UPDATE hold SET buckets = 'spoilt' WHERE id = 'open'",
        "PRAGMA foreign_keys = OFF; DELETE FROM hold WHERE id = 'void'",
        "UPDATE bucket SET settled = settled + 1 WHERE id = 1",
        "UPDATE bucket SET held = held - 1 WHERE unit = 'concurrent'",
        "DELETE FROM bucket WHERE id = 2",
        "INSERT INTO bucket (subject, unit, period, settled, held) VALUES ('person:9', 'usd', 'all', 1, 0)",
    ],
)
async def test_one_changed_row_is_found(filled: Database, tampering: str) -> None:
    *before, change = tampering.split("; ")
    with filled.open_writer() as connection:
        for statement in before:
            connection.connection.cursor().execute(statement)
        with connection.begin():
            assert connection.exec_driver_sql(change).rowcount == 1
        connection.invalidate()
    report = verify(filled)
    assert not report.is_clean
    assert report.problems


async def test_only_so_many_problems_are_kept(filled: Database) -> None:
    wrong = {"subject": "person:9", "unit": "usd", "settled": 1, "held": 0}
    with filled.writing() as connection:
        connection.execute(insert(bucket), [{**wrong, "period": str(number)} for number in range(PROBLEMS_MAX + 5)])
    report = verify(filled)
    assert (report.problem_count, len(report.problems)) == (PROBLEMS_MAX + 5, PROBLEMS_MAX)


async def test_a_metered_entry_is_explained_unit_by_unit(filled: Database) -> None:
    explained = explain(filled, 1)
    assert explained.terms == (Term("input", 1000, 150_000), Term("output", 100, 600_000_000, 1000))
    assert sum(term.count * term.pico // term.per for term in explained.terms) == explained.cost * 1000
    assert (explained.basis, explained.price_book, explained.cost_before) == ("provider", "book", 0)


async def test_what_is_not_arithmetic_is_explained_by_where_it_comes_from(filled: Database) -> None:
    assert explain(filled, 2).reported_pico == 77_001
    assert explain(filled, 3).at_most == 9 * NANO_PER_USD
    assert explain(filled, 5).fixed_pico == 9 * NANO_PER_USD * 1000


async def test_an_adjustment_is_the_truth_less_what_was_charged(filled: Database) -> None:
    explained = explain(filled, 6)
    assert (explained.kind, explained.flags) == ("adjust", ("late",))
    assert explained.cost_before + explained.cost == explained.fixed_pico // 1000 == 2 * NANO_PER_USD


async def test_an_entry_that_is_not_there_cannot_be_explained(filled: Database) -> None:
    with pytest.raises(StoreError, match="no entry 99"):
        explain(filled, 99)


async def test_a_flag_says_that_an_entry_exceeds_its_hold(database: Database, ledger: SqlLedger) -> None:
    await ledger.reserve(request("a", tokens=1))
    ledger.end("a", replace(used(5), flags=("usage_mismatch",)))
    await ledger.flushed()
    assert explain(database, 1).flags == ("usage_mismatch", "over_hold")
