"""The buckets of one transaction: read once, changed in memory, written back once.

A bucket counts one unit of one subject in one period: what is settled and what is held. Deciding on values in memory
is what makes a batch cheap, and each reservation of it sees the one before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, insert, or_, select, update

from penstock.core.limits import Amounts, Limit, LimitUnit, Standing, Subject
from penstock.core.windows import DAY, LIFETIME
from penstock.store.schema import bucket

Key = tuple[str, str, str]
"""Subject, unit, period."""


@dataclass(slots=True)
class Bucket:
    """``id`` is None until the row is written for the first time."""

    key: Key
    settled: int = 0
    held: int = 0
    id: int | None = None
    is_changed: bool = False

    def add(self, *, settled: int = 0, held: int = 0) -> None:
        self.settled += settled
        self.held += held
        self.is_changed = True


@dataclass(frozen=True, slots=True)
class _Account:
    """The buckets of some subjects: those that a hold touches, by unit, and those that each limit looks at."""

    subjects: Sequence[Subject]
    touched: dict[str, list[Bucket]]
    watched: list[tuple[str, Limit, list[Bucket]]]


class Buckets:
    """Those that a batch may touch. ``load`` reads them, ``save`` writes what has changed and numbers the new ones."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._by_key: dict[Key, Bucket] = {}
        self._by_id: dict[int, Bucket] = {}
        self._accounts: dict[int, _Account] = {}

    def load(self, subjects: Iterable[Subject], now_ms: int) -> None:
        """Read every bucket that the limits of these subjects look at, and those that each hold touches."""
        periods: set[str] = set()
        first_day = last_day = DAY.period(now_ms)
        names = set()
        for subject in subjects:
            names.add(subject.name)
            for window in (DAY, LIFETIME, *(limit.window for limit in subject.limits)):
                first, last = window.span(now_ms)
                if last == last_day:
                    first_day = min(first_day, first)
                else:
                    periods.add(last)
        if names:
            days = bucket.c.period.between(first_day, last_day)
            wanted = bucket.c.subject.in_(names) & or_(days, bucket.c.period.in_(periods))
            self._read(wanted)

    def load_ids(self, ids: Iterable[int]) -> None:
        """Read the buckets of these numbers that are not here yet."""
        missing = [number for number in ids if number not in self._by_id]
        if missing:
            self._read(bucket.c.id.in_(missing))

    def standings(self, subjects: Sequence[Subject], now_ms: int) -> list[Standing]:
        """Where the subjects stand against each of their limits."""
        return [
            Standing(name, limit, {row.key[2]: (row.settled, row.held) for row in rows})
            for name, limit, rows in self._account(subjects, now_ms).watched
        ]

    def hold(self, subjects: Sequence[Subject], amounts: Amounts, now_ms: int) -> dict[str, list[Bucket]]:
        """Add the amounts to every bucket that counts them; the buckets by unit."""
        touched = self._account(subjects, now_ms).touched
        for unit, rows in touched.items():
            amount = amounts.of(LimitUnit(unit))
            for row in rows:
                row.add(held=amount)
        return touched

    def find(self, number: int) -> Bucket:
        return self._by_id[number]

    def save(self) -> None:
        """Write what has changed. New rows get their numbers."""
        changed = [row for row in self._by_key.values() if row.is_changed]
        old = [{"b_id": row.id, "settled": row.settled, "held": row.held} for row in changed if row.id is not None]
        if old:
            self._connection.execute(_UPDATE, old)
        for row in changed:
            if row.id is None:
                values = dict(zip(("subject", "unit", "period"), row.key, strict=True))
                result = self._connection.execute(insert(bucket).values(**values, settled=row.settled, held=row.held))
                for number in result.inserted_primary_key or ():
                    row.id = number
                    self._by_id[number] = row
            row.is_changed = False

    def _account(self, subjects: Sequence[Subject], now_ms: int) -> _Account:
        """Found once a batch for the same subjects; the next of their calls costs one look-up by identity."""
        found = self._accounts.get(id(subjects))
        if found is None:
            touched = {unit: [self._get(key) for key in keys] for unit, keys in _keys(subjects, now_ms).items()}
            watched = [
                (subject.name, limit, self._window(subject.name, limit, now_ms))
                for subject in subjects
                for limit in subject.limits
            ]
            found = self._accounts[id(subjects)] = _Account(subjects, touched, watched)
        return found

    def _window(self, subject: str, limit: Limit, now_ms: int) -> list[Bucket]:
        first, last = limit.window.span(now_ms)
        unit = limit.unit.value
        return [
            row for key, row in self._by_key.items() if key[0] == subject and key[1] == unit and first <= key[2] <= last
        ]

    def _get(self, key: Key) -> Bucket:
        row = self._by_key.get(key)
        if row is None:
            row = self._by_key[key] = Bucket(key)
        return row

    def _read(self, wanted: ColumnElement[bool]) -> None:
        for number, subject, unit, period, settled, held in self._connection.execute(_SELECT.where(wanted)):
            if (key := (subject, unit, period)) not in self._by_key:
                row = self._by_key[key] = Bucket(key, settled, held, number)
                self._by_id[number] = row


_SELECT = select(bucket.c.id, bucket.c.subject, bucket.c.unit, bucket.c.period, bucket.c.settled, bucket.c.held)
_UPDATE = (
    update(bucket).where(bucket.c.id == bindparam("b_id")).values(settled=bindparam("settled"), held=bindparam("held"))
)


def _keys(subjects: Sequence[Subject], now_ms: int) -> Mapping[str, list[Key]]:
    """The buckets that a hold of these subjects touches, by unit."""
    keys: dict[str, dict[Key, None]] = {}
    for subject in subjects:
        windows = [(LimitUnit.USD, DAY), (LimitUnit.USD, LIFETIME)]
        windows += [(limit.unit, limit.window) for limit in subject.limits]
        for unit, window in windows:
            keys.setdefault(unit.value, {})[subject.name, unit.value, window.period(now_ms)] = None
    return {unit: list(found) for unit, found in keys.items()}
