"""Several processes on one database, some of which die: whatever happens to them, the sums are exact (M4)."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from penstock.store.engine import Database
from penstock.store.instances import DEAD_AFTER_MS
from penstock.store.ledger import SqlLedger
from penstock.store.verify import verify
from tests.store.calls import DAY, Clock, counted, entries, person, request, used

KILLS = 10
ROOT = Path(__file__).parents[2]
SPEND = """
import asyncio, sys
from penstock.core.errors import BudgetExceeded, BudgetHeld
from penstock.store.engine import open_database
from penstock.store.ledger import SqlLedger
from tests.store.calls import Clock, person, request, used

async def spend(ledger, prefix, numbers, limit):
    for number in numbers:
        hold_id = f"{prefix}-{number}"
        try:
            await ledger.reserve(request(hold_id, person(limit), tokens=3))
        except BudgetHeld:
            continue
        except BudgetExceeded:
            return
        print(hold_id, flush=True)
        ledger.end(hold_id, used(number % 3))

async def main(url, prefix, limit):
    ledger = SqlLedger(open_database(url), Clock())
    await ledger.start()
    numbers = iter(range(1_000_000))
    await asyncio.gather(*(spend(ledger, prefix, numbers, limit) for _ in range(8)))
    await ledger.stop()

asyncio.run(main(*sys.argv[1:]))
"""


@asynccontextmanager
async def spender(url: str, prefix: str, limit: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that spends and prints the id of each hold that it has been given."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SPEND, url, prefix, limit, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_two_processes_spend_exactly_what_there_is(database: Database, database_url: str) -> None:
    async with spender(database_url, "a", "90 usd / day") as one, spender(database_url, "b", "90 usd / day") as two:
        await asyncio.gather(one.communicate(), two.communicate())
        assert (one.returncode, two.returncode) == (0, 0)
    settled, held = counted(database, "person:1", "usd", DAY)
    assert held == 0
    assert 90 - 3 < settled <= 90  # a call needs 3: what is left is too little for another one
    report = verify(database)
    assert report.is_clean, report.problems


async def test_after_each_kill_the_next_process_charges_what_was_in_flight(
    database: Database, database_url: str
) -> None:
    acknowledged: list[str] = []
    for round_number in range(KILLS):
        async with spender(database_url, f"r{round_number}", "1000000 usd / day") as process:
            assert process.stdout is not None
            lines = [await process.stdout.readline() for _ in range(random.Random(round_number).randint(1, 60))]
            process.send_signal(signal.SIGKILL)
            lines += (await process.stdout.read()).splitlines(keepends=True)
            acknowledged += [line.decode().strip() for line in lines if line.endswith(b"\n")]
        assert verify(database).is_clean
    ledger = SqlLedger(database, Clock())
    await ledger.start()
    await ledger.stop()
    report = verify(database)
    assert report.is_clean, report.problems
    assert report.open_holds == 0
    assert set(acknowledged) <= {hold_id for hold_id, *_ in entries(database)}
    assert not list(database.folder.glob("instance-*"))


async def test_a_living_process_is_never_swept_however_long_it_is_silent(
    database: Database, ledger: SqlLedger, clock: Clock
) -> None:
    await ledger.reserve(request("a", tokens=5))
    clock.now_ms += 100 * DEAD_AFTER_MS
    other = SqlLedger(database, clock)
    await other.start()
    assert counted(database, "person:1", "usd", DAY) == (0, 5)
    await other.stop()


async def test_a_process_without_a_lock_file_is_dead_when_it_no_longer_beats(
    database: Database, ledger: SqlLedger, clock: Clock
) -> None:
    await ledger.reserve(request("a", tokens=5))
    _remove_lock_files(database)
    for silent_ms, state in ((DEAD_AFTER_MS - 1, (0, 5)), (1, (5, 0))):
        clock.now_ms += silent_ms
        other = SqlLedger(database, clock)
        await other.start()
        assert counted(database, "person:1", "usd", DAY) == state
        await other.stop()


async def test_the_late_truth_of_a_process_that_was_taken_for_dead_becomes_one_adjustment(
    database: Database, ledger: SqlLedger, clock: Clock
) -> None:
    subject = person("9 requests / day", "99 tokens / day", "9 concurrent")
    await ledger.reserve(request("a", subject, tokens=5))
    _remove_lock_files(database)
    clock.now_ms += DEAD_AFTER_MS
    other = SqlLedger(database, clock)
    await other.start()
    await other.stop()
    ledger.end("a", used(2))
    ledger.end("a", used(4))
    await ledger.flushed()
    ledger.end("a", used(4))
    await ledger.flushed()
    assert entries(database) == [("a", "final", "worst_case", 5), ("a", "adjust", "provider", -3)]
    assert counted(database, "person:1", "usd", DAY) == (2, 0)
    assert counted(database, "person:1", "tokens", DAY) == (2, 0)
    assert counted(database, "person:1", "requests", DAY) == (1, 0)
    assert counted(database, "person:1", "concurrent", "open") == (0, 0)
    report = verify(database)
    assert report.is_clean, report.problems


async def test_nobody_ends_the_hold_of_another_process(database: Database, ledger: SqlLedger, clock: Clock) -> None:
    await ledger.reserve(request("a", tokens=5))
    other = SqlLedger(database, clock)
    await other.start()
    other.end("a", used(1))
    await other.stop()
    assert counted(database, "person:1", "usd", DAY) == (0, 5)


@pytest.mark.parametrize("holds", [3, 600])
async def test_a_running_process_sweeps_what_another_leaves(
    database: Database, database_url: str, clock: Clock, holds: int
) -> None:
    living = SqlLedger(database, clock, beat_s=0.01)
    await living.start()
    leaving = SqlLedger(database, clock)
    await leaving.start()
    await asyncio.gather(*(leaving.reserve(request(f"h{number}")) for number in range(holds)))
    await leaving.stop()
    while counted(database, "person:1", "usd", DAY)[1]:
        await living.flushed()
    await living.stop()
    assert counted(database, "person:1", "usd", DAY) == (holds, 0)


def _remove_lock_files(database: Database) -> None:
    for file in database.folder.glob("instance-*.lock"):
        file.unlink()
