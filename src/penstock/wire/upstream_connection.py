"""One socket to a provider. It carries one answer at a time and tells its owner when it can carry no more.

``is_flushed`` decides about money: a request that has not left us whole cannot be billed (reliability.md 3.1). So the
write buffer's limits make the transport report the first byte that it has to keep, and when the last one has left.
"""

import asyncio
from typing import Protocol

from penstock.wire.pool import PoolKey


class Receiver(Protocol):
    """Whose answer comes in."""

    def received(self, data: bytes) -> None: ...

    def closed(self, *, is_end: bool) -> None:
        """No more bytes will come. ``is_end``: the peer ended its side in order, rather than vanished."""


class ConnectionOwner(Protocol):
    def connection_closing(self, connection: "UpstreamConnection") -> None:
        """It can carry no other request."""

    def connection_gone(self, connection: "UpstreamConnection") -> None:
        """Its socket is closed."""


class UpstreamConnection(asyncio.Protocol):
    """``is_reused``: it has been idle, so the peer may have closed it just now."""

    __slots__ = (
        "_is_tls",
        "_owner",
        "_receiver",
        "_transport",
        "idle_since_s",
        "is_flushed",
        "is_open",
        "is_reused",
        "key",
    )

    def __init__(self, key: PoolKey, owner: ConnectionOwner) -> None:
        self.key = key
        self.idle_since_s = 0.0
        self.is_open = False
        self.is_flushed = True
        self.is_reused = False
        self._is_tls = key[0].scheme != "http"
        self._owner = owner
        self._receiver: Receiver | None = None
        self._transport: asyncio.Transport

    def send(self, receiver: Receiver, head: bytes, body: bytes) -> None:
        """Write a request and hand what comes back to the receiver."""
        self._receiver = receiver
        if self._is_tls and len(body) > 1:
            # TLS takes everything at once and reports only what waits behind bytes that the socket did not take. So the
            # last byte goes alone: it is what waits.
            self._transport.writelines((head, memoryview(body)[:-1]))
            self._transport.write(body[-1:])
        else:
            self._transport.writelines((head, body))
        if self._transport.is_closing():
            # The write itself failed; nothing of it is kept, so nothing will be reported.
            self.is_flushed = False

    def release(self) -> None:
        """The answer is complete; nobody is waiting any more."""
        self._receiver = None
        self.is_reused = True
        self._transport.resume_reading()

    def discard(self) -> None:
        """Close the socket now. The receiver hears nothing of it."""
        self._receiver = None
        self._stop()
        self._transport.abort()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP or TLS, always
        self._transport = transport
        self.is_open = True
        # TLS compares with "at least", TCP with "more than".
        transport.set_write_buffer_limits(high=1 if self._is_tls else 0)

    def data_received(self, data: bytes) -> None:
        if self._receiver is None:
            # Nobody asked: it would be taken for the answer to the next request.
            self.discard()
        else:
            self._receiver.received(data)

    def eof_received(self) -> None:
        # With TLS this is the peer's goodbye (close_notify); plain asyncio also comes here where it is missing.
        self._tell_closed(is_end=True)
        self.discard()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._stop()
        self._tell_closed(is_end=False)
        self._owner.connection_gone(self)

    def pause_writing(self) -> None:
        self.is_flushed = False

    def resume_writing(self) -> None:
        self.is_flushed = True

    def _stop(self) -> None:
        if self.is_open:
            self.is_open = False
            self._owner.connection_closing(self)

    def _tell_closed(self, *, is_end: bool) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.closed(is_end=is_end)
