"""What a writer remembers between two transactions, for as long as nobody else has written.

The database tells whether somebody has (``Database.stamp``); a transaction that failed must make us forget as well. So
a lone process reads the database only for what it has never seen, and several processes are exact all the same.
"""

from collections.abc import Iterable
from itertools import chain

from sqlalchemy import Connection, bindparam, select, update

from penstock.core.limits import Subject
from penstock.store.buckets import Buckets
from penstock.store.plans import Plan, plan
from penstock.store.rows import HeldCall, find_held
from penstock.store.schema import TIME_MS, meta


class Memory:
    """Buckets, open holds and the ledger's time.

    ``now_ms`` is that of the transaction which ``enter`` began; ``behind_ms`` is how far the clock is behind it.
    """

    def __init__(self) -> None:
        self.buckets = Buckets()
        self.held: dict[str, HeldCall] = {}
        self.now_ms = 0
        self.behind_ms = 0
        self._plans: dict[str, Plan] = {}
        self._stored_ms = 0
        self._stamp: int | None = None

    def forget(self) -> None:
        """Trust nothing any more."""
        self.buckets.forget()
        self.held.clear()
        self._plans.clear()
        self._stamp = None

    def enter(self, connection: Connection, stamp: int | None, clock_ms: int) -> None:
        """Begin a transaction: forget what may have changed, and tell the time, which never runs backwards."""
        if stamp is None or stamp != self._stamp or self.buckets.is_full:
            self.forget()
            self._stamp = stamp
            self._stored_ms = int(connection.execute(_TIME).scalar_one())
        now_ms = max(clock_ms, self._stored_ms)
        self.behind_ms = now_ms - clock_ms
        # No window is shorter than a second, so no plan changes within one.
        if now_ms // 1000 != self.now_ms // 1000:
            self._plans.clear()
        self.now_ms = now_ms

    def write(self, connection: Connection) -> None:
        """Store the buckets that have changed, and the time."""
        self.buckets.write(connection)
        if self.now_ms > self._stored_ms:
            connection.execute(_ADVANCE, {"now": str(self.now_ms)})
            self._stored_ms = self.now_ms

    def prepare(self, connection: Connection, subjects: Iterable[Subject]) -> None:
        """Plan for these subjects and load what their limits read, all of them with one query."""
        new = {subject.name: plan(subject, self.now_ms) for subject in subjects if not self._is_planned(subject)}
        if not new:
            return
        touched = [key for each in new.values() for _, keys in each.touched for key in keys]
        self.buckets.load(connection, touched + [key for each in new.values() for _, keys in each.read for key in keys])
        self.buckets.create(connection, touched)
        self._plans.update(new)

    def plan(self, connection: Connection, subject: Subject) -> Plan:
        """The plan of a subject. Its limits may have changed since ``prepare``, or may differ within a batch."""
        if not self._is_planned(subject):
            self.prepare(connection, [subject])
        return self._plans[subject.name]

    def load_held(self, connection: Connection, ids: Iterable[str]) -> None:
        """Make the holds with these ids known, and their buckets; those that do not exist are not in ``held``."""
        unknown = [hold_id for hold_id in ids if hold_id not in self.held]
        if unknown:
            found = find_held(connection, unknown)
            self.held.update(found)
            self.load_buckets(connection, found.values())

    def load_buckets(self, connection: Connection, holds: Iterable[HeldCall]) -> None:
        """Make the buckets known that these holds are counted in."""
        ids = (ids for held in holds for ids in held.bucket_ids.values())
        self.buckets.load_ids(connection, dict.fromkeys(chain.from_iterable(ids)))

    def _is_planned(self, subject: Subject) -> bool:
        known = self._plans.get(subject.name)
        return known is not None and known.subject == subject


_TIME = select(meta.c.value).where(meta.c.key == TIME_MS)
_ADVANCE = update(meta).where(meta.c.key == TIME_MS).values(value=bindparam("now"))
