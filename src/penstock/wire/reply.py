"""An answer on its way to a client: the head's bytes, the body's framing, and who must know how the client takes it.

A reply is started once and ended or aborted once. What it writes has exactly the length that its head promised, or the
connection is cut, so that a client never takes half an answer for a whole one.
"""

import asyncio
import logging
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

from penstock.core.call import Inbound, ReplyListener
from penstock.core.errors import GatewayError, ShuttingDown
from penstock.core.headers import Header
from penstock.wire.body import RequestBody
from penstock.wire.service import Service

_log = logging.getLogger(__name__)
_BODILESS = frozenset({204, 304})
_CHUNKED = b"transfer-encoding: chunked\r\n"
_CLOSE = b"connection: close\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Outlet(Protocol):
    """What a reply needs of its connection."""

    @property
    def service(self) -> Service: ...

    @property
    def is_congested(self) -> bool: ...

    def send(self, data: bytes) -> None: ...

    def reply_ended(self, reply: "SocketReply") -> None: ...

    def reset(self) -> None: ...

    def leave(self) -> None: ...


def encode_head(status: int, headers: Sequence[Header], *lines: bytes) -> bytes:
    """The bytes of a response head; ``lines`` are complete header lines, or empty.

    Raises ValueError if a header holds a line break: what a provider or an app put there must not end our head.
    """
    parts = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    parts += [b"%b: %b\r\n" % header for header in headers]
    head = b"".join(parts)
    if not head.count(b"\n") == head.count(b"\r") == len(parts):
        raise ValueError("a response header holds a line break")
    return b"%b%b\r\n" % (head, b"".join(lines))


def date_line(now_s: float) -> bytes:
    """The Date header for a wall clock's seconds since the epoch (RFC 9110, 6.6.1)."""
    return f"date: {formatdate(now_s, usegmt=True)}\r\n".encode()


async def answer(reply: "SocketReply") -> None:
    """Run the handler, and make sure that its reply has an end. Nothing that it raises goes any further."""
    try:
        await reply.service.handler(reply.inbound, reply)
        if not (reply.has_ended or reply.is_gone):
            raise RuntimeError("a handler has returned without ending its reply")
    except GatewayError as error:
        reply.refuse(error)
    except Exception:  # noqa: BLE001 # the outermost place: a fault in one request must not end the others
        _log.exception("a handler failed")
        reply.refuse(GatewayError("Something went wrong here."))
    except asyncio.CancelledError:
        reply.refuse(ShuttingDown("The gateway is shutting down."))
        raise
    finally:
        reply.body.release()


class SocketReply:
    """The core's Reply on a connection, beside the request that it answers.

    ``error`` is what to answer if the request was refused before any handler saw it. ``closes``: the connection ends
    with this reply. After ``is_gone`` nothing is written any more.
    """

    __slots__ = (
        "_ends_with_connection", "_head", "_is_bare", "_is_chunked", "_left", "_listener", "_outlet",
        "_speaks_chunked", "body", "closes", "error", "expects_continue", "has_ended", "has_started", "inbound",
        "is_gone", "service",
    )  # fmt: skip

    def __init__(self, outlet: Outlet, inbound: Inbound, body: RequestBody, *, speaks_chunked: bool = True) -> None:
        self._outlet = outlet
        self.service = outlet.service
        self.inbound = inbound
        self.body = body
        self._speaks_chunked = speaks_chunked
        self.error: GatewayError | None = None
        self.closes = self.expects_continue = False
        self.has_started = self.has_ended = self.is_gone = False
        self._listener: ReplyListener | None = None
        self._head = b""
        self._is_bare = self._is_chunked = self._ends_with_connection = False
        self._left: int | None = None

    @property
    def wants_continue(self) -> bool:
        """The client waits for our word before it sends its body (RFC 9110, 10.1.1)."""
        return self.expects_continue and not self.has_started and self.body.received_bytes == 0

    def attach(self, listener: ReplyListener) -> None:
        self._listener = listener
        if self._outlet.is_congested:
            listener.pause()

    def start(self, status: int, headers: Sequence[Header], *, length: int | None) -> None:
        """See the core's Reply. ``headers`` hold neither Date nor what frames the message: those are ours.

        The head waits for the first bytes of the body, or at most until the loop's next turn if these may take long.
        """
        if self.has_started:
            raise RuntimeError("a reply is started once")
        self.body.release()
        if not self.is_gone:
            self.closes = self.closes or self.service.is_draining or not self.body.is_complete
            framing = self._frame(status, length)
            self._head = encode_head(status, headers, self.service.date_line, framing, _CLOSE if self.closes else b"")
            if length is None:
                asyncio.get_running_loop().call_soon(self._flush)
        self.has_started = True

    def write(self, data: bytes) -> None:
        if not self.has_started or self.has_ended:
            raise RuntimeError("a reply is written between its start and its end")
        if self.is_gone or self._is_bare or not data:
            return
        if self._is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.abort()
                raise RuntimeError("a reply is longer than its head promised")
        if self._head:
            data, self._head = self._head + data, b""
        self._outlet.send(data)

    def end(self) -> None:
        if not self.has_started or self.has_ended:
            raise RuntimeError("a reply is ended once, after its start")
        if self._left and not self._is_bare and not self.is_gone:
            self.abort()
            raise RuntimeError("a reply is shorter than its head promised")
        self.has_ended = True
        if self.is_gone:
            return
        if self._is_chunked and not self._is_bare:
            self._outlet.send(self._head + _LAST_CHUNK)
        else:
            self._flush()
        self._head = b""
        self._outlet.reply_ended(self)

    def abort(self) -> None:
        if self.is_gone or self.has_ended:
            return
        self._flush()
        self.is_gone = True
        self._listener = None
        if self._ends_with_connection:
            # The client would take any other end for the body's.
            self._outlet.reset()
        else:
            self._outlet.leave()

    def refuse(self, error: GatewayError) -> None:
        """Answer with an error, or cut what has been begun."""
        if self.has_started:
            self.abort()
            return
        status, headers, body = self.service.refuse(error, self.inbound.path, self.inbound.request_id)
        self.start(status, headers, length=len(body))
        self.write(body)
        self.end()

    def pause(self) -> None:
        """The client is slow; the connection says so."""
        if self._listener is not None:
            self._listener.pause()

    def resume(self) -> None:
        if self._listener is not None:
            self._listener.resume()

    def client_left(self) -> None:
        """The connection is lost."""
        self.is_gone = True
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.client_left()

    def _frame(self, status: int, length: int | None) -> bytes:
        """How the client will know where the body ends: a header line, or none where the connection's end says it."""
        if status in _BODILESS:
            self._is_bare = True
            return b""
        self._is_bare = self.inbound.method == "HEAD"
        self._left = length
        if length is not None:
            return b"content-length: %d\r\n" % length
        if self._speaks_chunked:
            self._is_chunked = True
            return _CHUNKED
        self.closes = self._ends_with_connection = True
        return b""

    def _flush(self) -> None:
        if self._head and not self.is_gone:
            self._outlet.send(self._head)
        self._head = b""
