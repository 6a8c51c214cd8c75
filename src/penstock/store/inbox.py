"""What the event loop hands to the ledger's writer thread: a queue, and the sign that it should look.

Operations are taken in the order in which they were put, so that an ending is always behind its reservation. The sign
is apart from the queue, because an ending may lie there for a while without waking anybody.
"""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass

from penstock.core.call import Hold, HoldRequest
from penstock.store.batch import Conclusion


@dataclass(slots=True, eq=False)
class Reservation:
    """A request to hold, and who waits for the answer."""

    request: HoldRequest
    waiter: asyncio.Future[Hold]


@dataclass(slots=True, eq=False)
class Barrier:
    """Somebody who waits until everything that was put before has been tried."""

    waiter: asyncio.Future[None]


Operation = Reservation | Conclusion | Barrier


class Inbox:
    """One thread puts, another takes; neither waits for the other."""

    def __init__(self) -> None:
        self._operations: deque[Operation] = deque()
        self._sign = threading.Event()

    def __len__(self) -> int:
        return len(self._operations)

    def put(self, operation: Operation) -> None:
        self._operations.append(operation)

    def wake(self) -> None:
        """Make the writer look now."""
        self._sign.set()

    def wait(self, timeout_s: float) -> None:
        """Return when somebody has called ``wake``, or in so many seconds."""
        self._sign.wait(timeout_s)
        self._sign.clear()

    def take(self, count: int) -> list[Operation]:
        """The oldest operations, at most so many; if some are left, the next ``wait`` returns at once."""
        taken = [self._operations.popleft() for _ in range(min(count, len(self._operations)))]
        if self._operations and len(taken) == count:
            self._sign.set()
        return taken
