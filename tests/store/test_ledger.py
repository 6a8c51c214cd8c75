"""What the ledger promises to a call: the contract of every database."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from penstock.core.call import Basis, Hold
from penstock.core.errors import BudgetExceeded, BudgetHeld, LimitExceeded, RateLimited, StoreUnavailable
from penstock.core.limits import Subject, WorstCase
from penstock.core.money import NANO_PER_USD, PICO_PER_USD
from penstock.core.observations import CALLS_MIN
from penstock.store.engine import Database
from penstock.store.ledger import SqlLedger
from penstock.store.verify import verify
from tests.store.calls import DAY, Clock, counted, entries, person, request, used, void


async def admitted(ledger: SqlLedger, count: int, make: Callable[[int], Subject], **amounts: int) -> int:
    """How many of so many concurrent calls get a hold."""
    calls = [ledger.reserve(request(f"h{number}", make(number), **amounts)) for number in range(count)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, Hold | LimitExceeded) for answer in answers), answers
    return sum(isinstance(answer, Hold) for answer in answers)


async def test_a_hold_is_taken_from_every_bucket_and_its_ending_settles_the_truth(
    database: Database, ledger: SqlLedger
) -> None:
    hold = await ledger.reserve(request("a", person("10 usd / month"), tokens=3, output=2))
    assert (hold.amounts.usd, hold.amounts.tokens, hold.output_cap) == (5 * NANO_PER_USD, 5, None)
    assert counted(database, "person:1", "usd", DAY) == (0, 5)
    ledger.end("a", used(3, 1))
    await ledger.flushed()
    assert counted(database, "person:1", "usd", DAY) == (4, 0)
    assert counted(database, "person:1", "usd", "all") == (4, 0)
    assert entries(database) == [("a", "final", "provider", 4)]


async def test_standings_are_those_before_the_hold(ledger: SqlLedger) -> None:
    subject = person("10 usd / day", "20 usd")
    await ledger.reserve(request("a", subject, tokens=3))
    hold = await ledger.reserve(request("b", subject, tokens=4))
    assert [standing.left for standing in hold.standings] == [7 * NANO_PER_USD, 17 * NANO_PER_USD]


async def test_of_200_concurrent_calls_exactly_those_get_a_hold_that_fit(database: Database, ledger: SqlLedger) -> None:
    assert await admitted(ledger, 200, lambda _: person("60 usd / day"), tokens=3) == 20
    assert counted(database, "person:1", "usd", DAY) == (0, 60)
    assert verify(database).is_clean


@pytest.mark.parametrize(
    ("limit", "fitting"), [("5 concurrent", 5), ("100 requests / 15 minutes", 100), ("33 tokens / minute", 11)]
)
async def test_rates_are_as_exact_as_money(database: Database, ledger: SqlLedger, limit: str, fitting: int) -> None:
    assert await admitted(ledger, 200, lambda _: person(limit), tokens=3) == fitting


async def test_a_pooled_limit_counts_everybody(ledger: SqlLedger) -> None:
    team = Subject("team:1", person("10 usd").limits)
    assert await admitted(ledger, 30, lambda _: team) == 10


async def test_an_output_cap_is_what_fits_into_half_of_what_is_left(ledger: SqlLedger) -> None:
    asked = request("a", person("1000 usd"), tokens=100)
    worst = WorstCase(100 * PICO_PER_USD, PICO_PER_USD, 100, 4096, cap_min=256)
    hold = await ledger.reserve(replace(asked, worst=worst))
    assert hold.output_cap == 400
    assert hold.amounts.usd == 500 * NANO_PER_USD


async def test_a_void_that_was_sent_counts_as_a_request_and_one_that_was_not_counts_nothing(
    database: Database, ledger: SqlLedger
) -> None:
    subject = person("9 requests / day", "9 tokens / day", "9 concurrent")
    await ledger.reserve(request("sent", subject, tokens=2))
    await ledger.reserve(request("unsent", subject, tokens=2))
    ledger.end("sent", void(was_sent=True))
    ledger.end("unsent", void(was_sent=False))
    await ledger.flushed()
    assert counted(database, "person:1", "requests", DAY) == (1, 0)
    for unit, period in (("usd", DAY), ("tokens", DAY), ("concurrent", "open")):
        assert counted(database, "person:1", unit, period) == (0, 0)
    assert entries(database) == [("sent", "final", "void", 0), ("unsent", "final", "void", 0)]


async def test_only_the_first_ending_counts(
    database: Database, ledger: SqlLedger, caplog: pytest.LogCaptureFixture
) -> None:
    await ledger.reserve(request("a", tokens=5))
    ledger.end("a", used(2))
    ledger.end("a", used(4))
    await ledger.flushed()
    ledger.end("a", void(was_sent=False))
    await ledger.flushed()
    assert entries(database) == [("a", "final", "provider", 2)]
    assert verify(database).is_clean
    assert not caplog.records  # it is not the database that must stop the second one


async def test_an_ending_is_written_soon_without_anybody_asking(database: Database, clock: Clock) -> None:
    ledger = SqlLedger(database, clock, beat_s=3600)
    await ledger.start()
    await ledger.reserve(request("a"))
    ledger.end("a", used(1))
    async with asyncio.timeout(5):
        while not await asyncio.to_thread(entries, database):
            pass
    await ledger.stop()


async def test_an_ending_that_is_queued_before_its_reservation_was_answered_ends_it(
    database: Database, ledger: SqlLedger
) -> None:
    reserving = asyncio.ensure_future(ledger.reserve(request("a", person("1 usd"))))
    await asyncio.sleep(0)  # lets the task queue its request; no time passes
    ledger.end("a", void(was_sent=False))
    await reserving
    await ledger.flushed()
    assert counted(database, "person:1", "usd", "all") == (0, 0)


async def test_the_ending_of_a_refused_call_does_nothing(database: Database, ledger: SqlLedger) -> None:
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(request("a", person("1 usd"), tokens=2))
    ledger.end("a", void(was_sent=False))
    ledger.end("never heard of", used(1))
    await ledger.flushed()
    assert entries(database) == []


async def test_a_statement_above_the_hold_is_charged_in_full_and_flagged(database: Database, ledger: SqlLedger) -> None:
    await ledger.reserve(request("a", person("5 usd"), tokens=5))
    ledger.end("a", used(9))
    await ledger.flushed()
    assert counted(database, "person:1", "usd", "all") == (9, 0)
    assert verify(database).is_clean
    with pytest.raises(BudgetExceeded) as caught:
        await ledger.reserve(request("b", person("5 usd")))
    assert caught.value.details["spent"] == "9"


async def test_an_estimate_settles_no_more_tokens_than_were_held(database: Database, ledger: SqlLedger) -> None:
    await ledger.reserve(request("a", person("10 tokens / day"), tokens=4, output=2))
    ledger.end("a", used(5, 5, usd=1, basis=Basis.ESTIMATED))
    await ledger.flushed()
    assert counted(database, "person:1", "tokens", DAY) == (6, 0)
    assert verify(database).is_clean


async def test_what_is_held_and_what_is_spent_are_refused_differently(ledger: SqlLedger) -> None:
    subject = person("3 usd / day")
    await ledger.reserve(request("a", subject, tokens=2))
    with pytest.raises(BudgetHeld):
        await ledger.reserve(request("b", subject, tokens=2))
    ledger.end("a", used(2))
    await ledger.flushed()
    with pytest.raises(BudgetExceeded) as caught:
        await ledger.reserve(request("c", subject, tokens=2))
    assert caught.value.details["resets_at"] == "2026-11-22T00:00:00Z"


async def test_a_limit_of_zero_refuses_a_free_call_too(ledger: SqlLedger) -> None:
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(request("a", person("0 usd"), tokens=0))


async def test_a_limit_that_is_set_later_knows_what_was_spent_before(ledger: SqlLedger) -> None:
    await ledger.reserve(request("a", person(), tokens=3))
    with pytest.raises(BudgetHeld):
        await ledger.reserve(request("b", person("3 usd / month")))


async def test_a_call_belongs_to_the_day_of_its_admission(database: Database, ledger: SqlLedger, clock: Clock) -> None:
    clock.set("2026-11-21T23:59:59.999+00:00")
    await ledger.reserve(request("a", person("5 usd / day"), tokens=5))
    clock.set("2026-11-22T00:00:00+00:00")
    await ledger.reserve(request("b", person("5 usd / day"), tokens=5))
    ledger.end("a", used(4))
    await ledger.flushed()
    assert counted(database, "person:1", "usd", "2026-11-21") == (4, 0)
    assert counted(database, "person:1", "usd", "2026-11-22") == (0, 5)
    with pytest.raises(BudgetHeld):
        await ledger.reserve(request("c", person("9 usd / 7 days")))
    await ledger.reserve(request("d", person("10 usd / 7 days")))


async def test_a_rate_window_ends_at_its_boundary(ledger: SqlLedger, clock: Clock) -> None:
    subject = person("1 requests / minute")
    clock.set("2026-11-21T12:00:30+00:00")
    await ledger.reserve(request("a", subject))
    with pytest.raises(RateLimited) as caught:
        await ledger.reserve(request("b", subject))
    assert caught.value.retry_after_s == 30
    clock.now_ms += 30_000
    await ledger.reserve(request("c", subject))


async def test_time_never_runs_backwards_not_even_over_a_restart(
    database: Database, ledger: SqlLedger, clock: Clock
) -> None:
    first = await ledger.reserve(request("a", person("1 usd / day")))
    clock.now_ms -= 86_400_000
    with pytest.raises(LimitExceeded):
        await ledger.reserve(request("b", person("1 usd / day")))
    later = SqlLedger(database, clock)
    await later.start()
    again = await later.reserve(request("c", person()))
    assert again.admitted_at_ms == first.admitted_at_ms
    await later.stop()


async def test_a_metered_call_raises_the_bound_at_once_and_for_the_next_process(
    database: Database, ledger: SqlLedger, clock: Clock
) -> None:
    for number in range(CALLS_MIN):
        await ledger.reserve(request(f"h{number}"))
        ledger.end(f"h{number}", replace(used(5000, 10, usd=1), input_bytes=100, bytes_out=40))
    await ledger.flushed()
    later = SqlLedger(database, clock)
    await later.start()
    for observations in (ledger.observations, later.observations):
        assert observations.overhead("lab", "small", "") == 4900
        assert observations.output_ratio("lab", "small", is_stream=False) == (40, 10)
    await later.stop()


async def test_stop_writes_everything_and_refuses_what_comes_later(database: Database, clock: Clock) -> None:
    ledger = SqlLedger(database, clock)
    await ledger.start()
    await ledger.reserve(request("a"))
    ledger.end("a", used(1))
    await ledger.stop()
    assert entries(database) == [("a", "final", "provider", 1)]
    assert not list(database.folder.glob("instance-*"))
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(request("b"))
