"""Proof that the ledger adds up, in one consistent snapshot, and the arithmetic behind a single entry.

For every bucket the entries sum to what is settled and the open holds to what is held; every entry can be recomputed
from what is stored with it to the same integer (money.md, "The ledger"). Nothing is trusted that can be recomputed.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, exists, func, select

from penstock.core.call import Basis, Ending
from penstock.core.limits import LimitUnit
from penstock.core.pricing import AT_MOST, FIXED, recompute
from penstock.core.usage import Unit, Usage
from penstock.core.windows import DAY
from penstock.store.charges import Charge, charge
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
    """Why an entry costs what it does. ``cost`` and ``at_most`` are nano-USD.

    The arithmetic gives the truth about the call; an adjustment's ``cost`` is that less ``cost_before``, which the
    entries before it came to.
    """

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
    cost_before: int = 0


def verify(database: Database) -> VerifyReport:
    """Check everything; reads the whole ledger once."""
    report = VerifyReport()
    settled: dict[int, int] = defaultdict(int)
    held: dict[int, int] = defaultdict(int)
    with database.reading() as connection:
        _check_entries(connection, report, settled)
        _check_holds(connection, report, held)
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
        earlier = select(entry.c.cost).where(entry.c.hold_id == row.hold_id, entry.c.number < row.number)
        cost_before = sum(connection.scalars(earlier))
    usage, rates = _usage(row.usage), _rates(row.rates)
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
        cost_before=cost_before,
    )


def _check_entries(connection: Connection, report: VerifyReport, settled: dict[int, int]) -> None:
    # Only where a hold has several entries must the earlier ones be remembered.
    adjusted = set(connection.scalars(select(entry.c.hold_id).where(entry.c.kind == ADJUST)))
    totals: dict[str, Charge] = {}
    for row in map(_Line._make, connection.execute(_LINES, execution_options={"yield_per": 5000})):
        report.entries += 1
        total = added = Charge(row.cost, row.tokens_in, row.tokens_out, row.requests)
        for unit, numbers in _bucket_ids(row.buckets).items():
            for number in numbers:
                settled[number] += added.of(unit)
        if row.hold_id in adjusted:
            total = totals[row.hold_id] = totals.get(row.hold_id, Charge()).plus(added)
        problem = _problem(row, total)
        if problem is not None:
            report.note(f"entry {row.seq}: {problem}")
    missing = connection.execute(select(func.count()).select_from(entry)).scalar_one() - report.entries
    if missing:
        report.note(f"{missing} entries have no hold")


def _problem(row: "_Line", total: Charge) -> str | None:
    """What is wrong with an entry, where ``total`` is what its hold's entries come to up to this one."""
    if row.state == OPEN:
        return "its hold is still open"
    if (row.number == 0) != (row.kind == FINAL):
        return f"it is number {row.number} of its hold and says that it is {row.kind}"
    if row[_COPIES] != row[_COPIED] or row.day != DAY.period(row.admitted_at_ms):
        return "who called what, and when, differs from its hold"
    held = Charge(row.held_usd, row.held_tokens_in, row.held_tokens_out, row.held_requests)
    try:
        usage, cost = _usage(row.usage), recompute(_usage(row.usage), _rates(row.rates), row.reported_pico)
        # Whether a void call was sent is known from nothing else.
        expected = charge(held, Ending(Basis(row.basis), cost, usage, was_sent=total.requests > 0))
    except (ValueError, msgspec.DecodeError) as exc:
        return str(exc)
    return None if expected == total else f"{total} is booked, but its usage and rates come to {expected}"


def _check_holds(connection: Connection, report: VerifyReport, held: dict[int, int]) -> None:
    for row in connection.execute(select(hold).where(hold.c.state == OPEN)):
        report.open_holds += 1
        amounts = Charge(row.usd, row.tokens_in, row.tokens_out, row.requests)
        for unit, numbers in _bucket_ids(row.buckets).items():
            for number in numbers:
                held[number] += 1 if unit is LimitUnit.CONCURRENT else amounts.of(unit)
    final = exists().where(entry.c.hold_id == hold.c.id, entry.c.number == 0)
    for hold_id in connection.scalars(select(hold.c.id).where(hold.c.state != OPEN, ~final)):
        report.note(f"hold {hold_id} is closed and has no entry")


class _Line(NamedTuple):
    """An entry beside its hold."""

    seq: int
    hold_id: str
    kind: str
    number: int
    cost: int
    tokens_in: int
    tokens_out: int
    requests: int
    usage: str
    rates: str
    basis: str
    reported_pico: int | None
    day: str
    person_id: int | None
    key_id: int | None
    provider: str
    model: str
    endpoint: str
    held_person_id: int | None
    held_key_id: int | None
    held_provider: str
    held_model: str
    held_endpoint: str
    state: str
    buckets: str
    held_usd: int
    held_tokens_in: int
    held_tokens_out: int
    held_requests: int
    admitted_at_ms: int


_COPIES, _COPIED = slice(13, 18), slice(18, 23)
_LINES = (
    select(
        *(entry.c[name] for name in _Line._fields[:18]),
        *(hold.c[name.removeprefix("held_")] for name in _Line._fields[18:]),
    )
    .join(hold, entry.c.hold_id == hold.c.id)
    .order_by(entry.c.seq)
)


@lru_cache(maxsize=4096)
def _bucket_ids(text: str) -> dict[LimitUnit, list[int]]:
    """None where the text was spoilt: then the sums of its buckets tell."""
    try:
        return msgspec.json.decode(text, type=dict[LimitUnit, list[int]])
    except msgspec.DecodeError:
        return {}


@lru_cache(maxsize=4096)
def _rates(text: str) -> dict[str, object]:
    return msgspec.json.decode(text, type=dict[str, object])


def _usage(text: str) -> Usage:
    return msgspec.json.decode(text, type=Usage)


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
