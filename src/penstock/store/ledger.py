"""The ledger as the event loop sees it: reserve before, settle after, exactly once each.

The loop only appends to a queue. A reservation wakes the writer thread at once, an ending may wait a few milliseconds
for company. Nobody waits for longer than a second: whoever is told that the ledger is unavailable may still be held
for, if the disk answers later, and frees that hold by the ending that every call queues (money.md, "The ledger").
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from penstock.core.call import Ending, Hold, HoldRequest
from penstock.core.errors import GatewayError, Overloaded
from penstock.core.observations import Observations
from penstock.store.batch import Conclusion
from penstock.store.engine import Database
from penstock.store.inbox import Barrier, Inbox, Reservation
from penstock.store.instances import BEAT_S
from penstock.store.writer import Writer, unavailable

COMPANY_S = 0.005
PATIENCE_S = 1.0
WATCH_S = 0.25
STOP_GRACE_S = 10.0
QUEUE_MAX = 20_000
FAILURES_MAX = 3
_log = logging.getLogger(__name__)


class SqlLedger:
    """A ``core.call.Ledger``. ``clock`` gives epoch milliseconds; ``observations`` what metered calls have taught."""

    def __init__(self, database: Database, clock: Callable[[], int], *, beat_s: float = BEAT_S) -> None:
        self._inbox = Inbox()
        self._writer = Writer(database, clock, self._inbox, self._deliver_soon, beat_s=beat_s)
        self._thread = threading.Thread(target=self._writer.run, name="ledger", daemon=True)
        self._waiting: deque[tuple[float, asyncio.Future[Hold]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._watch_timer: asyncio.TimerHandle | None = None
        self._is_stopping = False

    @property
    def observations(self) -> Observations:
        return self._writer.observations

    @property
    def is_ready(self) -> bool:
        """Whether the writer lives and the last transactions did not all fail."""
        return self._thread.is_alive() and self._writer.failures < FAILURES_MAX

    async def start(self) -> None:
        """Take part: sweep what dead processes left, then accept operations. Raises StoreError."""
        self._loop = asyncio.get_running_loop()
        await self._loop.run_in_executor(None, self._writer.open)
        self._thread.start()
        self._watch()

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Write everything that is queued, and end. An ending that cannot be written in time is left to a sweep."""
        self._is_stopping = True
        self._writer.stop(grace_s)
        await self._loop.run_in_executor(None, self._thread.join, grace_s + PATIENCE_S)
        if self._thread.is_alive():
            _log.error("the ledger's writer does not end; its open holds will be swept")
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        self._give_up(float("inf"))

    async def reserve(self, request: HoldRequest) -> Hold:
        """Raises LimitExceeded, StoreUnavailable, or Overloaded."""
        if self._is_stopping:
            raise unavailable()
        if len(self._inbox) >= QUEUE_MAX:
            raise Overloaded("Too many calls are waiting for the ledger.", retry_after_s=1)
        waiter: asyncio.Future[Hold] = self._loop.create_future()
        self._waiting.append((self._loop.time(), waiter))
        self._inbox.put(Reservation(request, waiter))
        self._inbox.wake()
        return await waiter

    def end(self, hold_id: str, ending: Ending) -> None:
        """Queue an ending. It is written as soon as the disk lets it be; until then its hold counts in full."""
        self._inbox.put(Conclusion(hold_id, ending))
        if self._timer is None:
            self._timer = self._loop.call_later(COMPANY_S, self._wake)

    async def flushed(self) -> None:
        """Returns when everything that was queued before is durable, or the disk has just refused it again."""
        if self._is_stopping:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._inbox.put(Barrier(waiter))
        self._inbox.wake()
        await waiter

    def _wake(self) -> None:
        self._timer = None
        self._inbox.wake()

    def _watch(self) -> None:
        self._give_up(self._loop.time() - PATIENCE_S)
        self._watch_timer = self._loop.call_later(WATCH_S, self._watch)

    def _give_up(self, before_s: float) -> None:
        """Refuse the reservations that have been waiting since before then."""
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= before_s):
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(unavailable())

    def _deliver_soon(
        self, answered: Sequence[tuple[Reservation, Hold | GatewayError]], barriers: Sequence[Barrier]
    ) -> None:
        # A loop that is closed has nobody left who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_deliver, answered, barriers)


def _deliver(answered: Sequence[tuple[Reservation, Hold | GatewayError]], barriers: Sequence[Barrier]) -> None:
    for reservation, answer in answered:
        if reservation.waiter.done():
            continue
        if isinstance(answer, GatewayError):
            reservation.waiter.set_exception(answer)
        else:
            reservation.waiter.set_result(answer)
    for barrier in barriers:
        if not barrier.waiter.done():
            barrier.waiter.set_result(None)
