"""The ledger's writer thread: gathers what waits, commits it, answers; beats, and sweeps what the dead have left.

Nobody is answered before COMMIT has returned. If a batch fails, each operation is tried alone, in the order of arrival,
so that one bad operation harms nobody: a reservation that fails is refused, an ending stays owed until it succeeds.
"""

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from penstock.core.call import Hold
from penstock.core.errors import GatewayError, StoreUnavailable
from penstock.core.observations import Observations, learn
from penstock.store.batch import Conclusion
from penstock.store.engine import Database
from penstock.store.errors import StoreError
from penstock.store.inbox import Barrier, Inbox, Operation, Reservation
from penstock.store.instances import Instance
from penstock.store.observing import load_observations, save_observations
from penstock.store.rows import find_open_of, find_open_owners
from penstock.store.transactions import NotBegun, Transactions

BATCH_MAX = 512
RETRY_S = 0.05
RETRY_MAX_S = 5.0
CLOCK_BEHIND_MAX_MS = 60_000
_AT_ONCE = 0.0

Deliver = Callable[[Sequence[tuple[Reservation, Hold | GatewayError]], Sequence[Barrier]], None]
_Written = Reservation | Conclusion
_STORE_FAULTS = (NotBegun, SQLAlchemyError, OSError)
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Owed:
    """An ending that could not be written yet."""

    conclusion: Conclusion
    due_s: float
    delay_s: float = RETRY_S


class Writer:
    """Runs in one thread, all but ``stop``; there it calls ``deliver`` with answers and the barriers it has reached.

    ``failures`` counts the failed transactions since the last good one.
    """

    def __init__(
        self, database: Database, clock: Callable[[], int], inbox: Inbox, deliver: Deliver, *, beat_s: float
    ) -> None:
        self.observations = Observations()
        self.failures = 0
        self._instance = Instance(database.folder, secrets.token_hex(8))
        self._transactions = Transactions(database, self._instance.id, clock)
        self._inbox = inbox
        self._deliver = deliver
        self._beat_s = beat_s
        self._owed: list[_Owed] = []
        self._next_beat_s = _AT_ONCE
        self._stop_at_s: float | None = None

    def open(self) -> None:
        """Take part, and sweep what dead processes have left. Raises StoreError."""
        fault = self._attempt(self._begin)
        if fault is not None:
            self._transactions.close()
            self._instance.end()
            reason = fault.__cause__ or fault
            raise StoreError(f"the ledger cannot be opened ({reason}); see `penstock ledger verify`") from fault

    def run(self) -> None:
        """Write until ``stop``, and then until nothing is owed or the grace is over."""
        while not self._is_done():
            self._inbox.wait(self._pause_s())
            if time.monotonic() >= self._next_beat_s:
                self._attempt(self._beat)
            self._write(self._inbox.take(BATCH_MAX))
        self._leave()

    def stop(self, grace_s: float) -> None:
        """Make ``run`` return, from another thread."""
        self._stop_at_s = time.monotonic() + grace_s
        self._inbox.wake()

    def _is_done(self) -> bool:
        return (
            self._stop_at_s is not None and not self._inbox and (not self._owed or time.monotonic() >= self._stop_at_s)
        )

    def _pause_s(self) -> float:
        due_s = [self._next_beat_s, *(owed.due_s for owed in self._owed)]
        if self._stop_at_s is not None:
            due_s.append(self._stop_at_s)
        return max(0.0, min(due_s) - time.monotonic())

    def _write(self, operations: Sequence[Operation]) -> None:
        barriers = [each for each in operations if isinstance(each, Barrier)]
        failed = self._try([each for each in operations if not isinstance(each, Barrier)])
        refused = [each for each in failed if isinstance(each, Reservation)]
        self._owed += [_Owed(each, time.monotonic() + RETRY_S) for each in failed if isinstance(each, Conclusion)]
        is_urgent = barriers or self._stop_at_s is not None
        self._pay([owed for owed in self._owed if is_urgent or owed.due_s <= time.monotonic()])
        self._answer([(each, unavailable()) for each in refused], barriers)

    def _pay(self, due: Sequence[_Owed]) -> None:
        """Try again what is owed; what fails again waits twice as long."""
        failed = set(self._try([owed.conclusion for owed in due]))
        for owed in due:
            if owed.conclusion in failed:
                owed.delay_s = min(2 * owed.delay_s, RETRY_MAX_S)
                owed.due_s = time.monotonic() + owed.delay_s
            else:
                self._owed.remove(owed)

    def _try(self, operations: Sequence[_Written]) -> list[_Written]:
        """Commit together; if that fails, halves apart, until each bad operation is alone. Gives those that failed."""
        fault = self._attempt(lambda: self._commit(operations)) if operations else None
        if fault is None:
            return []
        if isinstance(fault, NotBegun) or len(operations) == 1:
            return list(operations)
        half = len(operations) // 2
        return [*self._try(operations[:half]), *self._try(operations[half:])]

    def _attempt(self, work: Callable[[], None]) -> Exception | None:
        """Do a transaction's work; what goes wrong is counted, and the first fault of a row logged."""
        try:
            work()
        except Exception as exc:  # noqa: BLE001  nothing may end the writer, and who waits must be told
            self.failures += 1
            if self.failures == 1:
                _log.warning("a ledger transaction failed", exc_info=exc)
            return exc
        self.failures = 0
        return None

    def _commit(self, operations: Sequence[_Written]) -> None:
        endings = [each for each in operations if isinstance(each, Conclusion)]
        with self._transactions.begin() as batch:
            # Beginning may have taken a while: who was told meanwhile that it takes too long must not be held for.
            asked = [each for each in operations if isinstance(each, Reservation) and not each.waiter.done()]
            answers = batch.apply([each.request for each in asked], endings)
            news = save_observations(batch.connection, learn(self.observations.seen, batch.learned))
        self.failures = 0  # before anybody is told, who may ask at once
        self.observations.publish(news)
        self._answer(list(zip(asked, answers, strict=True)), [])

    def _answer(self, answered: Sequence[tuple[Reservation, Hold | GatewayError]], barriers: Sequence[Barrier]) -> None:
        if answered or barriers:
            self._deliver(answered, barriers)

    def _begin(self) -> None:
        self._instance.begin()
        self._beat()
        while self._next_beat_s == _AT_ONCE:
            self._beat()

    def _beat(self) -> None:
        """Say that we live, learn what others have learned, sweep; again at once if there is more to sweep."""
        self._next_beat_s = time.monotonic() + self._beat_s
        with self._transactions.begin() as batch:
            connection, memory = batch.connection, batch.memory
            if memory.behind_ms > CLOCK_BEHIND_MAX_MS:
                _log.warning("the clock is %d s behind the ledger, whose time waits", memory.behind_ms // 1000)
            self._instance.beat(connection, memory.now_ms)
            seen = load_observations(connection)
            dead = self._instance.find_dead(connection, find_open_owners(connection), memory.now_ms)
            orphans = find_open_of(connection, dead, BATCH_MAX)
            batch.sweep(orphans)
            has_more = len(orphans) == BATCH_MAX
            if not has_more:
                self._instance.forget(connection, dead)
        self.observations.publish(seen)
        if has_more:
            self._next_beat_s = _AT_ONCE

    def _leave(self) -> None:
        """Our row and lock file go; a hold of ours that is still open will be swept."""
        if self._owed:
            _log.error("%d endings could not be written; their holds will be swept", len(self._owed))
        with suppress(*_STORE_FAULTS), self._transactions.begin() as batch:
            self._instance.forget(batch.connection, [self._instance.id])
        self._transactions.close()
        self._instance.end()


def unavailable() -> StoreUnavailable:
    """What a caller is told whose reservation cannot be made durable."""
    return StoreUnavailable("The ledger cannot be written to at the moment.", retry_after_s=5)
