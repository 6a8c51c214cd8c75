"""Calls as the ledger sees them, small enough to add up by hand: a dollar a token unless a test says otherwise."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import select

from penstock.core.call import Basis, Ending, HoldRequest
from penstock.core.limits import Subject, WorstCase, parse_limit
from penstock.core.money import NANO_PER_USD, PICO_PER_USD
from penstock.core.usage import Usage
from penstock.store.engine import Database
from penstock.store.schema import bucket, entry

NOON = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1000)
DAY = "2026-11-21"


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self, now_ms: int = NOON) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def set(self, text: str) -> None:
        self.now_ms = int(datetime.fromisoformat(text).timestamp() * 1000)


def person(*limits: str, number: int = 1) -> Subject:
    return Subject(f"person:{number}", tuple(parse_limit(limit) for limit in limits))


def request(hold_id: str, *subjects: Subject, tokens: int = 1, output: int = 0, usd: int | None = None) -> HoldRequest:
    """A call that may read so many tokens and write so many more, for a dollar each; or for so many dollars in all."""
    fixed = tokens if usd is None else usd
    rate = PICO_PER_USD if usd is None else 0
    return HoldRequest(
        id=hold_id,
        request_id=f"request-{hold_id}",
        key_id=7,
        person_id=1,
        subjects=subjects or (person(),),
        provider="lab",
        model="small",
        endpoint="chat.completions",
        price_book="book",
        worst=WorstCase(fixed * PICO_PER_USD, rate, tokens, output),
    )


def used(tokens: int, output: int = 0, *, usd: int | None = None, basis: Basis = Basis.PROVIDER) -> Ending:
    """An ending that charges a dollar a token, or so many dollars in all."""
    fixed = tokens + output if usd is None else usd
    rates: Mapping[str, object] = {"input": 0, "output": 0, "fixed": fixed * PICO_PER_USD}
    return Ending(basis, fixed * NANO_PER_USD, Usage(input=tokens, output=output), was_sent=True, rates=rates)


def void(*, was_sent: bool) -> Ending:
    return Ending(Basis.VOID, 0, Usage(), was_sent=was_sent)


def dollars(nanousd: int) -> float:
    return nanousd / NANO_PER_USD


def counted(database: Database, subject: str, unit: str, period: str) -> tuple[int, int]:
    """(settled, held) of a bucket; dollars where it counts them."""
    query = select(bucket.c.settled, bucket.c.held).where(
        bucket.c.subject == subject, bucket.c.unit == unit, bucket.c.period == period
    )
    with database.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return 0, 0
    scale = NANO_PER_USD if unit == "usd" else 1
    assert row.settled % scale == row.held % scale == 0
    return row.settled // scale, row.held // scale


def entries(database: Database) -> list[tuple[str, str, str, int]]:
    """(hold, kind, basis, dollars) of every entry, in order."""
    query = select(entry.c.hold_id, entry.c.kind, entry.c.basis, entry.c.cost).order_by(entry.c.seq)
    with database.reading() as connection:
        return [
            (hold_id, kind, basis, cost // NANO_PER_USD) for hold_id, kind, basis, cost in connection.execute(query)
        ]
