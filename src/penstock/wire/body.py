"""A request's body on its way in: kept until its handler asks for it, and never more of it than was agreed.

Until it is asked for, little is kept and the client is held back; from then on it is read up to the handler's limit.
What all connections keep together is bounded as well. The parser adds, the handler reads, and ``release`` gives back.
"""

import asyncio
import sys
from collections.abc import Callable

from penstock.core.errors import BadRequest, BodyTooLarge, GatewayError, Overloaded

UNASKED_BYTES_MAX = 64 * 1024
# Clients cut bodies where their buffers end; a body in crumbs is there to cost us a callback per crumb.
_CRUMBS_FREE = 4096
_CRUMB_BYTES = 16


class Memory:
    """How many request bytes a process keeps. Whoever would pass the bound is refused, and nobody else."""

    __slots__ = ("_bytes_max", "held_bytes")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.held_bytes = 0

    def take(self, size: int) -> None:
        """Raises Overloaded where there is no room for ``size`` more bytes."""
        if self.held_bytes + size > self._bytes_max:
            raise Overloaded("Too many request bodies are under way.", retry_after_s=1)
        self.held_bytes += size

    def give_back(self, size: int) -> None:
        self.held_bytes -= size


class RequestBody:
    """The body of one request. ``announced`` is its content length, None where it is chunked.

    ``on_wanted`` is called when somebody begins to wait for it.
    """

    __slots__ = (
        "_bytes_max", "_data", "_error", "_has_ended", "_held_bytes", "_is_taken", "_is_unwanted", "_memory",
        "_on_wanted", "_pieces", "_waiter", "announced", "received_bytes",
    )  # fmt: skip

    def __init__(self, announced: int | None, memory: Memory, on_wanted: Callable[[], None]) -> None:
        self.announced = announced
        self._memory = memory
        self._on_wanted = on_wanted
        self._bytes_max = sys.maxsize
        self._data: bytes | bytearray = b""
        self._held_bytes = self._pieces = self.received_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: GatewayError | None = None
        self._is_taken = self._is_unwanted = self._has_ended = False

    @property
    def is_complete(self) -> bool:
        """All of it has come and was taken, so the connection can go on with another request."""
        return self._has_ended and self._error is None

    @property
    def is_full(self) -> bool:
        """As much has come as is kept for somebody who has not asked yet."""
        return not self._is_taken and self._held_bytes >= UNASKED_BYTES_MAX

    async def read(self, bytes_max: int) -> bytes:
        """The whole body, once. Raises BodyTooLarge, RequestTimeout, Overloaded, or BadRequest for a broken one."""
        if self._is_taken:
            raise RuntimeError("a request body is read once")
        self._is_taken = True
        self._bytes_max = bytes_max
        if max(self.announced or 0, self.received_bytes) > bytes_max:
            self._error = self._too_large()
        if self._error is None and not self._has_ended:
            self._waiter = asyncio.get_running_loop().create_future()
            self._on_wanted()
            await self._waiter
        if self._error is not None:
            raise self._error
        data, self._data = self._data, b""
        return bytes(data)

    def add(self, data: bytes) -> None:
        """Keep what has arrived. Raises what ``read`` will raise as well, once the connection has called ``fail``."""
        self.received_bytes += len(data)
        self._pieces += 1
        if self.received_bytes > self._bytes_max:
            raise self._too_large()
        if self._pieces > _CRUMBS_FREE and self._pieces * _CRUMB_BYTES > self.received_bytes:
            raise BadRequest("The body comes in too many, too small chunks.")
        if self._is_unwanted:
            return
        self._memory.take(len(data))
        self._held_bytes += len(data)
        if not self._data:
            self._data = data
        else:
            self._data = bytearray(self._data) if isinstance(self._data, bytes) else self._data
            self._data += data

    def complete(self) -> None:
        self._has_ended = True
        self._wake()

    def fail(self, error: GatewayError) -> None:
        """The body will never be complete; the first reason stands."""
        if self._error is None and not self._has_ended:
            self._error = error
            self._wake()

    def release(self) -> None:
        """Nobody needs the bytes any more: they no longer count, and what still arrives is not kept."""
        self._is_unwanted = True
        self._memory.give_back(self._held_bytes)
        self._held_bytes = 0
        self._data = b""

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body is larger than {self._bytes_max} bytes.")
