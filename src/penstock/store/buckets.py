"""The bucket rows that a writer reads, changes and writes back.

What was read stays here from one transaction to the next, so that a lone process reads nothing twice. Whoever keeps it
that long must ``forget`` when somebody else has committed, and whenever a transaction failed: what stands here is then
not what is stored.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection, Executable, bindparam, insert, select, update

from penstock.core.limits import LimitUnit, Standing
from penstock.store.bulk import Bulk
from penstock.store.plans import Key, Plan
from penstock.store.schema import bucket

REMEMBERED_MAX = 200_000
_CHUNK = 500
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Bucket:
    """What is settled and held of one unit, for one subject in one period."""

    id: int
    settled: int
    held: int


class Buckets:
    """The buckets that are known."""

    def __init__(self) -> None:
        self._by_id: dict[int, Bucket] = {}
        # None: known not to exist. Past periods stay that way, since time never runs backwards.
        self._by_key: dict[Key, Bucket | None] = {}
        self._changed: set[Bucket] = set()

    @property
    def is_full(self) -> bool:
        """Whether so much is remembered that it is time to ``forget``."""
        return len(self._by_key) > REMEMBERED_MAX or len(self._by_id) > REMEMBERED_MAX

    def forget(self) -> None:
        self._by_id.clear()
        self._by_key.clear()
        self._changed.clear()

    def load(self, connection: Connection, keys: Iterable[Key]) -> None:
        """Make the buckets of these keys known, or known not to exist."""
        for chunk in _chunks(key for key in keys if key not in self._by_key):
            self._by_key.update(dict.fromkeys(chunk))
            subjects, units, periods = (list(set(part)) for part in zip(*chunk, strict=True))
            self._remember(connection, _BY_KEY, {"subjects": subjects, "units": units, "periods": periods})

    def load_ids(self, connection: Connection, ids: Iterable[int]) -> None:
        """Make the buckets with these ids known."""
        for chunk in _chunks(bucket_id for bucket_id in ids if bucket_id not in self._by_id):
            self._remember(connection, _BY_ID, {"ids": chunk})

    def create(self, connection: Connection, keys: Iterable[Key]) -> None:
        """Make the buckets of these keys exist; ``load`` was asked for them before."""
        missing = [key for key in dict.fromkeys(keys) if self._by_key[key] is None]
        if missing:
            empty = {"settled": 0, "held": 0}
            connection.execute(_INSERT, [dict(zip(_KEY, key, strict=True)) | empty for key in missing])
            for key in missing:
                del self._by_key[key]
            self.load(connection, missing)

    def at(self, ids: Iterable[int]) -> list[Bucket]:
        """The buckets with these ids; ``load_ids`` was asked for them. Raises KeyError if the row of one is gone."""
        return [self._by_id[bucket_id] for bucket_id in ids]

    def touched(self, plan: Plan) -> list[tuple[LimitUnit, list[Bucket]]]:
        """The buckets that a call of the plan is counted in; ``create`` was asked for them before."""
        by_key = self._by_key
        return [(unit, [found for key in keys if (found := by_key[key]) is not None]) for unit, keys in plan.touched]

    def standings(self, plan: Plan) -> list[Standing]:
        """Where a subject stands against each of its limits; ``load`` was asked for what the plan reads."""
        by_key = self._by_key
        return [
            Standing(
                plan.subject.name,
                limit,
                {key[2]: (found.settled, found.held) for key in keys if (found := by_key[key]) is not None},
            )
            for limit, keys in plan.read
        ]

    def add(self, counted: Iterable[Bucket], settled: int, held: int) -> None:
        """Add to what is settled and held in each; an amount below 0 is taken away."""
        for each in counted:
            each.settled += settled
            each.held += held
            self._changed.add(each)

    def write(self, connection: Connection) -> None:
        """Store what has changed since the last ``write``."""
        if self._changed:
            rows = [{"bucket_id": row.id, "to_settled": row.settled, "to_held": row.held} for row in self._changed]
            _UPDATE.run(connection, rows)
            self._changed.clear()

    def _remember(self, connection: Connection, query: Executable, wanted: dict[str, list[T]]) -> None:
        for bucket_id, subject, unit, period, settled, held in connection.execute(query, wanted):
            # One object for each bucket, by whichever name it was loaded first: it may have changed since.
            known = self._by_id.setdefault(bucket_id, Bucket(bucket_id, settled, held))
            self._by_key[subject, unit, period] = known


_KEY = ("subject", "unit", "period")
_SELECT = select(bucket.c.id, bucket.c.subject, bucket.c.unit, bucket.c.period, bucket.c.settled, bucket.c.held)
_BY_ID = _SELECT.where(bucket.c.id.in_(bindparam("ids", expanding=True)))
# Three short lists take fewer parameters than one list of triples; what their product gives too much is true as well.
_BY_KEY = _SELECT.where(
    bucket.c.subject.in_(bindparam("subjects", expanding=True)),
    bucket.c.unit.in_(bindparam("units", expanding=True)),
    bucket.c.period.in_(bindparam("periods", expanding=True)),
)
_INSERT = insert(bucket)
_UPDATE = Bulk(
    update(bucket)
    .where(bucket.c.id == bindparam("bucket_id"))
    .values(settled=bindparam("to_settled"), held=bindparam("to_held")),
    ["bucket_id", "to_settled", "to_held"],
)


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
