"""Which idle connections wait for a request: bookkeeping only, no I/O and no clock.

The last one put back is the first one taken, so that after a busy hour the others expire. A connection is in here while
it is idle, and only then; at most ``idle_per_origin`` are kept under one key.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from penstock.core.provider import Origin

# A connection that was dialled with leave to reach private addresses must not serve a provider without it. A provider's
# key is no part of this: it rides in the headers of each request, and the connection itself knows no caller.
PoolKey = tuple[Origin, bool]


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Connections in all, idle ones per origin, and how many seconds one may be idle."""

    connections_max: int = 10_000
    idle_per_origin: int = 1024
    idle_s: float = 60.0


class Poolable(Protocol):
    """``idle_since_s`` is the clock at the time it was put in."""

    key: PoolKey
    idle_since_s: float


C = TypeVar("C", bound=Poolable)


class Pool(Generic[C]):
    """Shelves of idle connections, each in the order in which they became idle."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._shelves: dict[PoolKey, dict[C, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._shelves.values()))

    def __iter__(self) -> Iterator[C]:
        for shelf in self._shelves.values():
            yield from shelf

    def take(self, key: PoolKey) -> C | None:
        """The connection that became idle last."""
        shelf = self._shelves.get(key)
        return shelf.popitem()[0] if shelf else None

    def put(self, connection: C, now_s: float) -> C | None:
        """Keep a connection; gives the one that must be closed for it, if the shelf was full."""
        connection.idle_since_s = now_s
        shelf = self._shelves.get(connection.key)
        if shelf is None:
            shelf = self._shelves[connection.key] = {}
        shelf[connection] = None
        if len(shelf) <= self._limits.idle_per_origin:
            return None
        oldest = next(iter(shelf))
        del shelf[oldest]
        return oldest

    def remove(self, connection: C) -> None:
        """Forget a connection; nothing happens if it is not idle."""
        shelf = self._shelves.get(connection.key)
        if shelf is not None:
            shelf.pop(connection, None)

    def take_expired(self, now_s: float) -> list[C]:
        """Those that have been idle for too long, and no longer kept."""
        idle_before_s = now_s - self._limits.idle_s
        expired = [connection for connection in self if connection.idle_since_s <= idle_before_s]
        for connection in expired:
            self.remove(connection)
        self._shelves = {key: shelf for key, shelf in self._shelves.items() if shelf}
        return expired

    def take_oldest(self) -> C | None:
        """The connection that has been idle for the longest time, under whatever key."""
        oldest = min(self, key=lambda connection: connection.idle_since_s, default=None)
        if oldest is not None:
            self.remove(oldest)
        return oldest
