"""Proof that the ledger adds up, in one consistent snapshot, and the arithmetic behind a single entry.

For every bucket the entries sum to what is settled and the open holds to what is held; every entry can be recomputed
from what is stored with it to the same integer (money.md, "The ledger"). Nothing is trusted that can be recomputed.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Connection, Row, select

from penstock.core.limits import LimitUnit
from penstock.core.pricing import AT_MOST, FIXED, recompute
from penstock.core.usage import Unit, Usage
from penstock.store.charges import Charge
from penstock.store.engine import Database
from penstock.store.errors import StoreError
from penstock.store.schema import ADJUST, FINAL, OPEN, bucket, entry, hold

PROBLEMS_MAX = 100


@dataclass(slots=True)
class VerifyReport:
    """How much was checked and what does not add up; only the first ``PROBLEMS_MAX`` problems are kept."""

    entries: int = 0
    open_holds: int = 0
    buckets: int = 0
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.problem_count

    def note(self, problem: str) -> None:
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)


@dataclass(frozen=True, slots=True)
class Term:
    """One product of an entry's arithmetic: so many of a unit, at pico-USD for each ``per`` of them."""

    unit: str
    count: int
    pico: int
    per: int = 1


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an entry costs what it does. ``cost`` and ``at_most`` are nano-USD."""

    seq: int
    kind: str
    provider: str
    model: str
    endpoint: str
    basis: str
    price_book: str
    cost: int
    reported_pico: int | None
    at_most: int | None
    fixed_pico: int
    terms: tuple[Term, ...]
    flags: tuple[str, ...]


def verify(database: Database) -> VerifyReport:
    """Check everything; reads the whole ledger once."""
    report = VerifyReport()
    settled: dict[int, int] = defaultdict(int)
    held: dict[int, int] = defaultdict(int)
    with database.reading() as connection:
        _check_entries(connection, report, settled)
        _check_open_holds(connection, report, held)
        for row in connection.execute(select(bucket).order_by(bucket.c.id)):
            report.buckets += 1
            name = f"bucket {row.id} ({row.subject}, {row.unit}, {row.period})"
            for what, stored, summed in (("settled", row.settled, settled), ("held", row.held, held)):
                if stored != summed.pop(row.id, 0):
                    report.note(f"{name}: {what} is {stored}, which is not what its entries and holds sum to")
        for number in sorted({*settled, *held}):
            report.note(f"bucket {number} is missing")
    return report


def explain(database: Database, seq: int) -> Explanation:
    """The arithmetic of one entry. Raises StoreError if there is none."""
    query = select(entry, hold.c.price_book).join(hold, entry.c.hold_id == hold.c.id).where(entry.c.seq == seq)
    with database.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise StoreError(f"there is no entry {seq}")
    usage, rates = _parts(row)
    return Explanation(
        seq=row.seq,
        kind=row.kind,
        provider=row.provider,
        model=row.model,
        endpoint=row.endpoint,
        basis=row.basis,
        price_book=row.price_book,
        cost=row.cost,
        reported_pico=row.reported_pico,
        at_most=_number(rates, AT_MOST),
        fixed_pico=_number(rates, FIXED) or 0,
        terms=tuple(_terms(usage, rates)),
        flags=tuple(msgspec.json.decode(row.flags)),
    )


def _check_entries(connection: Connection, report: VerifyReport, settled: dict[int, int]) -> None:
    query = select(entry, hold.c.buckets, hold.c.state).join(hold, entry.c.hold_id == hold.c.id).order_by(entry.c.seq)
    charged: dict[str, int] = {}
    for row in connection.execution_options(yield_per=5000).execute(query):
        report.entries += 1
        amounts = Charge(row.cost, row.tokens_in, row.tokens_out, row.requests)
        for unit, numbers in msgspec.json.decode(row.buckets).items():
            for number in numbers:
                settled[number] += amounts.of(LimitUnit(unit))
        if row.state == OPEN:
            report.note(f"entry {row.seq}: its hold is still open")
        # An adjustment says what is true; with the final entry it sums to that.
        total = row.cost + charged.pop(row.hold_id, 0) if row.kind == ADJUST else row.cost
        if row.basis == "worst_case" and row.kind == FINAL:
            charged[row.hold_id] = row.cost
        _recheck(report, row, total)


def _recheck(report: VerifyReport, row: Row[tuple[object, ...]], total: int) -> None:
    usage, rates = _parts(row)
    try:
        recomputed = recompute(usage, rates, row.reported_pico)
    except ValueError as exc:
        report.note(f"entry {row.seq}: {exc}")
        return
    if recomputed != total:
        report.note(f"entry {row.seq}: cost is {total} nano-USD, recomputed {recomputed}")


def _check_open_holds(connection: Connection, report: VerifyReport, held: dict[int, int]) -> None:
    for row in connection.execute(select(hold).where(hold.c.state == OPEN)):
        report.open_holds += 1
        amounts = Charge(row.usd, row.tokens_in, row.tokens_out, row.requests)
        for unit, numbers in msgspec.json.decode(row.buckets).items():
            for number in numbers:
                held[number] += 1 if unit == LimitUnit.CONCURRENT else amounts.of(LimitUnit(unit))


def _parts(row: Row[tuple[object, ...]]) -> tuple[Usage, dict[str, object]]:
    return msgspec.json.decode(row.usage, type=Usage), msgspec.json.decode(row.rates, type=dict[str, object])


def _terms(usage: Usage, rates: dict[str, object]) -> Iterator[Term]:
    for unit in Unit:
        count: int = getattr(usage, unit)
        if unit.value in rates and (count or unit is Unit.REQUESTS):
            match rates[unit.value]:
                case [int(pico), int(per)]:
                    yield Term(unit.value, count or 1, pico, per)
                case int(pico):
                    yield Term(unit.value, count or 1, pico)


def _number(rates: dict[str, object], name: str) -> int | None:
    value = rates.get(name)
    return value if isinstance(value, int) else None
