import asyncio
import itertools
from dataclasses import replace

from penstock.core.money import NANO_PER_USD
from penstock.core.windows import parse_window
from penstock.store.engine import Database
from penstock.store.ledger import SqlLedger
from penstock.store.usage import UsageQueries, by_day, by_model, last_entries, standings
from tests.store.calls import Clock, person, request, used, void

YEAR = ("2026-01-01", "2026-12-31")
numbers = itertools.count()


async def spend(ledger: SqlLedger, *tokens: int, model: str = "small", person_id: int = 1, key_id: int = 7) -> None:
    for each in tokens:
        hold_id = f"h{next(numbers)}"
        asked = request(hold_id, person(number=person_id), tokens=each)
        await ledger.reserve(replace(asked, model=model, person_id=person_id, key_id=key_id))
        ledger.end(hold_id, used(each, 1))
    await ledger.flushed()


async def test_days_sum_up_the_calls_that_were_admitted_on_them(
    database: Database, ledger: SqlLedger, clock: Clock
) -> None:
    await spend(ledger, 2, 3)
    clock.set("2026-11-23T00:00:00+00:00")
    await spend(ledger, 4)
    with database.reading() as connection:
        days = by_day(connection, "person:1", *YEAR)
        assert [(each.day, each.cost // NANO_PER_USD, each.calls) for each in days] == [
            ("2026-11-21", 7, 2),
            ("2026-11-23", 5, 1),
        ]
        assert [each.day for each in by_day(connection, "person:1", "2026-11-22", "2026-11-23")] == ["2026-11-23"]


async def test_models_are_summed_apart_the_dearest_first(database: Database, ledger: SqlLedger) -> None:
    await spend(ledger, 1, 1)
    await spend(ledger, 9, model="large")
    with database.reading() as connection:
        models = by_model(connection, "person:1", *YEAR)
    assert [(each.model, each.cost // NANO_PER_USD, each.calls) for each in models] == [
        ("large", 10, 1),
        ("small", 4, 2),
    ]
    assert (models[1].tokens_in, models[1].tokens_out) == (2, 2)


async def test_nobody_sees_the_calls_of_others(database: Database, ledger: SqlLedger) -> None:
    await spend(ledger, 1)
    await spend(ledger, 2, person_id=2, key_id=8)
    with database.reading() as connection:
        for subject, tokens in (("person:1", [1]), ("key:8", [2]), ("person:3", []), (None, [2, 1])):
            assert [line.tokens_in for line in last_entries(connection, subject, 9)] == tokens
            assert sum(each.calls for each in by_day(connection, subject, *YEAR)) == len(tokens)
            assert sum(each.calls for each in by_model(connection, subject, *YEAR)) == len(tokens)


async def test_the_last_calls_come_page_by_page_the_newest_first(
    database: Database, ledger: SqlLedger, clock: Clock
) -> None:
    await spend(ledger, 1, 2, 3)
    clock.now_ms += 86_400_000
    await spend(ledger, 4, 5)
    seen: list[int] = []
    before: int | None = None
    with database.reading() as connection:
        while page := last_entries(connection, "person:1", 2, before):
            seen += [line.tokens_in for line in page]
            before = page[-1].seq
    assert seen == [5, 4, 3, 2, 1]


async def test_a_line_tells_how_the_call_went(database: Database, ledger: SqlLedger, clock: Clock) -> None:
    await ledger.reserve(request("a"))
    ledger.end("a", replace(void(was_sent=True), status=500, latency_ms=31, is_stream=True))
    await ledger.flushed()
    with database.reading() as connection:
        (line,) = last_entries(connection, "key:7", 1)
    assert (line.basis, line.status, line.latency_ms, line.is_stream) == ("void", 500, 31, True)
    assert (line.at_ms, line.kind, line.endpoint) == (clock.now_ms, "final", "chat.completions")


async def test_standings_show_what_is_settled_held_and_left(
    database: Database, ledger: SqlLedger, clock: Clock
) -> None:
    subject = person("10 usd / 7 days", "20 requests / minute")
    await ledger.reserve(request("a", subject, tokens=3))
    ledger.end("a", used(2))
    await ledger.flushed()
    clock.now_ms += 86_400_000
    await ledger.reserve(request("b", subject, tokens=4))
    with database.reading() as connection:
        usd, requests = standings(connection, [subject], clock.now_ms)
    assert [amount // NANO_PER_USD for amount in (usd.settled, usd.held, usd.left)] == [2, 4, 4]
    assert (requests.settled, requests.held, requests.left) == (0, 1, 19)
    assert usd.resets_at_ms(clock.now_ms) == parse_window("7 days").leaves_at_ms("2026-11-21")


async def test_standings_of_somebody_new_are_whole(database: Database, clock: Clock) -> None:
    with database.reading() as connection:
        (standing,) = standings(connection, [person("10 usd / month")], clock.now_ms)
    assert (standing.settled, standing.held) == (0, 0)


async def test_a_query_waits_for_what_was_queued_before_it(database: Database, ledger: SqlLedger) -> None:
    queries = UsageQueries(database, ledger.flushed)
    for number in range(50):
        await ledger.reserve(request(f"q{number}"))
        ledger.end(f"q{number}", used(1))
        days = await queries.run(lambda connection: by_day(connection, "person:1", *YEAR))
        assert days[0].calls == number + 1
    queries.close()


async def test_queries_run_beside_each_other(database: Database) -> None:
    queries = UsageQueries(database)
    runs = [queries.run(lambda connection: last_entries(connection, None, 5)) for _ in range(20)]
    assert await asyncio.gather(*runs) == [[]] * 20
    queries.close()
