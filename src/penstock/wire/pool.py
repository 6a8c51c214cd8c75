"""Which idle connections wait for a request: bookkeeping only, no I/O and no clock.

The last one put back is the first one taken, so that after a busy hour the others expire. A connection is in here while
it is idle, and only then; at most ``idle_per_origin`` are kept under one key. One that must rest is kept, but not taken
for ``rest_s``: some servers (llama.cpp) promise to keep a connection, and close it behind the last byte of a stream. A
request that met that end could have been billed, and would be lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from penstock.core.provider import Origin

# A connection that was dialled with leave to reach private addresses must not serve a provider without it. A provider's
# key is no part of this: it rides in the headers of each request, and the connection itself knows no caller.
PoolKey = tuple[Origin, bool]


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Connections in all, idle ones per origin, and how many seconds one may be idle, or must rest."""

    connections_max: int = 10_000
    idle_per_origin: int = 1024
    idle_s: float = 60.0
    rest_s: float = 0.1


class Poolable(Protocol):
    """``idle_since_s`` is the clock at the time it was put in."""

    key: PoolKey
    idle_since_s: float


C = TypeVar("C", bound=Poolable)


@dataclass(frozen=True, slots=True)
class _Shelf(Generic[C]):
    """The idle connections of one key, in the order in which they became ready, or went to rest."""

    ready: dict[C, None] = field(default_factory=dict)
    resting: dict[C, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ready) + len(self.resting)

    def __iter__(self) -> Iterator[C]:
        yield from self.ready
        yield from self.resting

    def remove(self, connection: C) -> None:
        self.ready.pop(connection, None)
        self.resting.pop(connection, None)

    def wake(self, idle_before_s: float) -> None:
        """Let those be taken that have rested since then."""
        while self.resting:
            first = next(iter(self.resting))
            if first.idle_since_s > idle_before_s:
                return
            del self.resting[first]
            self.ready[first] = None


class Pool(Generic[C]):
    """Shelves of idle connections."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._shelves: dict[PoolKey, _Shelf[C]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._shelves.values()))

    def __iter__(self) -> Iterator[C]:
        for shelf in self._shelves.values():
            yield from shelf

    def take(self, key: PoolKey, now_s: float) -> C | None:
        """The connection that became idle last, of those that need not rest."""
        shelf = self._shelves.get(key)
        if shelf is None:
            return None
        shelf.wake(now_s - self._limits.rest_s)
        return shelf.ready.popitem()[0] if shelf.ready else None

    def put(self, connection: C, now_s: float, *, must_rest: bool = False) -> C | None:
        """Keep a connection; gives the one that must be closed for it, if the shelf was full."""
        connection.idle_since_s = now_s
        shelf = self._shelves.get(connection.key)
        if shelf is None:
            shelf = self._shelves[connection.key] = _Shelf()
        (shelf.resting if must_rest else shelf.ready)[connection] = None
        if len(shelf) <= self._limits.idle_per_origin:
            return None
        oldest = next(iter(shelf))
        shelf.remove(oldest)
        return oldest

    def remove(self, connection: C) -> None:
        """Forget a connection; nothing happens if it is not idle."""
        shelf = self._shelves.get(connection.key)
        if shelf is not None:
            shelf.remove(connection)

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
