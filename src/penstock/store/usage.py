"""What was used, by whom, on what: sums over ledger entries, and where somebody stands against each limit.

Queries run on a few reader threads, each on one consistent snapshot, never on the event loop. A caller's own query
waits for what this process has queued, so that whoever asks right after an answer sees that answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Row, case, func, select, true, tuple_

from penstock.core.limits import Standing, Subject
from penstock.store.buckets import Buckets
from penstock.store.engine import Database
from penstock.store.plans import plan
from penstock.store.schema import FINAL, entry

READERS = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DaySum:
    """The calls of one UTC day; ``cost`` is nano-USD."""

    day: str
    cost: int
    calls: int


@dataclass(frozen=True, slots=True)
class ModelSum:
    """The calls of one model at one provider; ``cost`` is nano-USD."""

    provider: str
    model: str
    cost: int
    calls: int
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One line of the ledger; ``cost`` is nano-USD."""

    seq: int
    kind: str
    at_ms: int
    provider: str
    model: str
    endpoint: str
    cost: int
    tokens_in: int
    tokens_out: int
    basis: str
    status: int
    latency_ms: int
    is_stream: bool


class UsageQueries:
    """The queries of a database. A subject is ``person:ID`` or ``key:ID``; None stands for everybody."""

    def __init__(self, database: Database, flushed: Callable[[], Awaitable[None]] | None = None) -> None:
        self._database = database
        self._flushed = flushed
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="usage")

    async def run(self, query: Callable[[Connection], T]) -> T:
        """Run a query of this module in a reader thread, behind everything that was queued before."""
        if self._flushed is not None:
            await self._flushed()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, query)

    def close(self) -> None:
        self._readers.shutdown()

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self._database.reading() as connection:
            return query(connection)


def by_day(connection: Connection, subject: str | None, first_day: str, last_day: str) -> list[DaySum]:
    """The days with calls, in order; both ends included."""
    query = (
        select(entry.c.day, func.sum(entry.c.cost), _calls())
        .where(_of(subject), entry.c.day.between(first_day, last_day))
        .group_by(entry.c.day)
        .order_by(entry.c.day)
    )
    return [DaySum(day, int(cost), int(calls)) for day, cost, calls in connection.execute(query)]


def by_model(connection: Connection, subject: str | None, first_day: str, last_day: str) -> list[ModelSum]:
    """The models that were called, the dearest first."""
    cost = func.sum(entry.c.cost)
    sums = (cost, _calls(), func.sum(entry.c.tokens_in), func.sum(entry.c.tokens_out))
    query = (
        select(entry.c.provider, entry.c.model, *sums)
        .where(_of(subject), entry.c.day.between(first_day, last_day))
        .group_by(entry.c.provider, entry.c.model)
        .order_by(cost.desc(), entry.c.provider, entry.c.model)
    )
    return [ModelSum(provider, model, *map(int, rest)) for provider, model, *rest in connection.execute(query)]


def last_entries(
    connection: Connection, subject: str | None, count: int, before_seq: int | None = None
) -> list[EntryLine]:
    """The entries of the newest days, the newest first; ``before_seq`` is the last entry of the page before."""
    columns = [entry.c[name] for name in EntryLine.__dataclass_fields__]
    query = select(*columns).where(_of(subject)).order_by(entry.c.day.desc(), entry.c.seq.desc()).limit(count)
    if before_seq is not None:
        day = select(entry.c.day).where(entry.c.seq == before_seq).scalar_subquery()
        query = query.where(tuple_(entry.c.day, entry.c.seq) < tuple_(day, before_seq))
    return [_line(row) for row in connection.execute(query)]


def standings(connection: Connection, subjects: Sequence[Subject], now_ms: int) -> list[Standing]:
    """Where the subjects stand against each of their limits, in the order in which these stand there."""
    buckets = Buckets()
    plans = [plan(subject, now_ms) for subject in subjects]
    buckets.load(connection, [key for each in plans for _, keys in each.read for key in keys])
    return [standing for each in plans for standing in buckets.standings(each)]


def _calls() -> ColumnElement[int]:
    # An adjustment belongs to a call that was counted already.
    return func.sum(case((entry.c.kind == FINAL, 1), else_=0))


def _of(subject: str | None) -> ColumnElement[bool]:
    if subject is None:
        return true()
    kind, _, number = subject.partition(":")
    return {"person": entry.c.person_id, "key": entry.c.key_id}[kind] == int(number)


def _line(row: Row[tuple[object, ...]]) -> EntryLine:
    return EntryLine(**row._asdict())
