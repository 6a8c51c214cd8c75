"""The ledger: reserve before, settle after, exactly once each, durable before anybody is told.

The event loop only appends to a queue. One writer thread gathers what waits and commits it in one transaction; a
reservation wakes it at once, an ending may wait a few milliseconds for company. If a batch fails, each operation is
tried alone: a reservation fails fast, an ending stays owed until it succeeds (money.md, "The ledger").
"""

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from penstock.core.call import Ending, Hold, HoldRequest
from penstock.core.errors import GatewayError, StoreUnavailable
from penstock.core.observations import Observations, learn
from penstock.store.batch import Answer, Batch, Conclusion
from penstock.store.charges import Charge, worst_case
from penstock.store.engine import Database
from penstock.store.instances import Instance
from penstock.store.observing import load_observations, save_observations
from penstock.store.schema import OPEN, hold, meta

COMPANY_S = 0.005
BATCH_MAX = 512
BEAT_MS = 5_000
OWED_RETRY_S = 0.25
_CLOCK = "latest_ms"


@dataclass(slots=True)
class _Asked:
    """A reservation and who waits for it; or, without a request, somebody who waits for all that was queued before."""

    request: HoldRequest | None
    waiter: asyncio.Future[Answer | None]
    answer: Answer | StoreUnavailable | None = None


class SqlLedger:
    """A ``core.call.Ledger``. ``clock`` gives epoch milliseconds; ``observations`` what metered calls have taught."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self.observations = Observations()
        self._database = database
        self._clock = clock
        self._instance = Instance(database.folder, secrets.token_hex(8))
        # The loop appends on the right, the writer takes from the left: an ending is always behind its reservation.
        self._queue: deque[_Asked | Conclusion] = deque()
        self._owed: list[Conclusion] = []
        self._something = threading.Event()
        self._urgent = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._connection: Connection | None = None
        self._next_beat_ms = 0

    async def start(self) -> None:
        """Take part: sweep what dead processes left, then accept operations. Raises StoreError or SQLAlchemyError."""
        self._loop = asyncio.get_running_loop()
        await self._loop.run_in_executor(None, self._open)
        self._thread.start()

    async def stop(self) -> None:
        """Write everything that is queued, and end."""
        self._is_stopping = True
        self._wake()
        await self._loop.run_in_executor(None, self._thread.join)

    async def reserve(self, request: HoldRequest) -> Hold:
        """Raises LimitExceeded, or StoreUnavailable."""
        answer = await self._ask(request)
        if answer is None or isinstance(answer, GatewayError):
            raise answer or StoreUnavailable("The ledger has stopped.")
        return answer

    async def flushed(self) -> None:
        """Returns when everything that was queued before is durable, or as durable as the disk lets it be."""
        await self._ask(None)

    def end(self, hold_id: str, ending: Ending) -> None:
        """Queue an ending. It is written as soon as the disk lets it be; until then its hold counts in full."""
        self._queue.append(Conclusion(hold_id, ending))
        self._something.set()

    def _ask(self, request: HoldRequest | None) -> asyncio.Future[Answer | None]:
        waiter: asyncio.Future[Answer | None] = self._loop.create_future()
        self._queue.append(_Asked(request, waiter))
        self._wake()
        return waiter

    def _wake(self) -> None:
        self._urgent.set()
        self._something.set()

    # From here on, the writer thread.

    def _open(self) -> None:
        self._instance.begin()
        with self._database.writing() as connection:
            self._instance.register(connection, self._clock())
            self.observations.publish(load_observations(connection))
        self._sweep()

    def _run(self) -> None:
        while not (self._is_stopping and not self._queue and not self._owed):
            is_due = self._something.wait(OWED_RETRY_S if self._owed else BEAT_MS / 1000)
            if is_due and not self._urgent.is_set():
                self._urgent.wait(COMPANY_S)
            self._something.clear()
            self._urgent.clear()
            self._write([self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))])
            if self._queue:
                self._wake()
            self._beat()
        self._close()

    def _write(self, taken: Sequence[_Asked | Conclusion]) -> None:
        asked = [each for each in taken if isinstance(each, _Asked)]
        endings = [*self._owed, *(each for each in taken if isinstance(each, Conclusion))]
        self._owed = []
        if not self._try(asked, endings):
            # One bad operation must not take the others with it; endings first, as in every batch.
            self._owed = [ending for ending in endings if not self._try([], [ending])]
            for one in asked:
                self._try([one], [])
        if asked:
            self._loop.call_soon_threadsafe(_answer, asked)

    def _try(self, asked: Sequence[_Asked], endings: Sequence[Conclusion]) -> bool:
        """One transaction: all of it is durable, or nothing of it happened and the reservations are answered so."""
        requests = [one.request for one in asked if one.request is not None]
        if not requests and not endings:
            return True
        try:
            batch = self._commit(requests, endings)
        except (SQLAlchemyError, OSError):
            self._drop_connection()
            for one in asked:
                one.answer = StoreUnavailable("The ledger cannot be written.", retry_after_s=5)
            return False
        for one in asked:
            one.answer = None if one.request is None else batch.answers[one.request.id]
        return True

    def _commit(self, requests: Sequence[HoldRequest], endings: Sequence[Conclusion]) -> Batch:
        with self._database.turn():
            connection = self._connection = self._connection or self._database.open_writer()
            with connection.begin():
                batch = Batch(connection, self._instance.id, self._now_ms(connection))
                batch.apply(requests, endings)
                news = save_observations(connection, learn(self.observations.seen, batch.learned))
        self.observations.publish(news)
        return batch

    def _now_ms(self, connection: Connection) -> int:
        """The one time of a transaction. It never runs backwards, whatever the clock does."""
        latest = connection.execute(_LATEST).scalar_one_or_none()
        now_ms = max(self._clock(), int(latest or 0))
        if latest is None:
            connection.execute(insert(meta).values(key=_CLOCK, value=str(now_ms)))
        elif now_ms > int(latest):
            connection.execute(_ADVANCE, {"now": str(now_ms)})
        return now_ms

    def _beat(self) -> None:
        now_ms = self._clock()
        if now_ms < self._next_beat_ms:
            return
        self._next_beat_ms = now_ms + BEAT_MS
        try:
            with self._database.writing() as connection:
                self._instance.beat(connection, now_ms)
            self._sweep()
        except (SQLAlchemyError, OSError):
            self._drop_connection()

    def _sweep(self) -> None:
        """Close the holds of processes that are dead, at what was held."""
        with self._database.reading() as connection:
            owners = connection.execute(_OWNERS).scalars().all()
        for owner in owners:
            if self._instance.is_dead(owner):
                while found := self._open_holds(owner):
                    self._commit([], found)
                with self._database.writing() as connection:
                    self._instance.forget(connection, owner)

    def _open_holds(self, owner: str) -> list[Conclusion]:
        with self._database.reading() as connection:
            rows = connection.execute(_OPEN_OF.limit(BATCH_MAX), {"owner": owner})
            return [
                Conclusion(
                    row.id, worst_case(Charge(row.usd, row.tokens_in, row.tokens_out, row.requests)), is_sweep=True
                )
                for row in rows
            ]

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()

    def _close(self) -> None:
        self._drop_connection()
        with suppress(SQLAlchemyError, OSError), self._database.writing() as connection:
            self._instance.forget(connection, self._instance.id)
        self._instance.end()


def _answer(asked: Sequence[_Asked]) -> None:
    for one in asked:
        if not one.waiter.done():
            if isinstance(one.answer, StoreUnavailable):
                one.waiter.set_exception(one.answer)
            else:
                one.waiter.set_result(one.answer)


_LATEST = select(meta.c.value).where(meta.c.key == _CLOCK)
_ADVANCE = update(meta).where(meta.c.key == _CLOCK).values(value=bindparam("now"))
_OWNERS = select(hold.c.owner).where(hold.c.state == OPEN).distinct()
_OPEN_OF = select(hold.c.id, hold.c.usd, hold.c.tokens_in, hold.c.tokens_out, hold.c.requests).where(
    (hold.c.owner == bindparam("owner")) & (hold.c.state == OPEN)
)
