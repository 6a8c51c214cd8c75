"""One client connection: bytes in, requests answered strictly in the order in which they came.

The parser calls back while it is fed; a complete head passes the guard and becomes a reply to be given, at once or when
those before it have ended. Two things must stay true: what is behind a refused or broken message is never read (the
connection is *deaf* from there on), and nothing that a client does or leaves undone makes us keep more than the limits.
"""

import asyncio
import socket
import struct
from math import inf

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from penstock.core.call import Inbound
from penstock.core.errors import BadRequest, GatewayError, HeadersTooLarge, Overloaded, RequestTimeout
from penstock.core.headers import Header
from penstock.wire.body import Memory, RequestBody
from penstock.wire.guard import HEAD_BYTES_MAX, CheckedHead, RawHead, check_head, find_request_id
from penstock.wire.peer import Peer, judge_peer
from penstock.wire.reply import SocketReply, answer
from penstock.wire.service import Service

_RESET = struct.pack("ii", 1, 0)  # struct linger: on, and no time at all
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.BufferedProtocol):
    """A client, as the event loop sees it; the server's timer calls ``sweep``.

    A message is between heads, in its head (``_is_in_head``) or in its body (``_body``). ``_read_by_s`` is when the
    client must have sent what it owes; nothing is owed while we answer.
    """

    __slots__ = (
        "_body", "_body_since_s", "_current", "_fields", "_has_eof", "_is_deaf", "_is_in_head", "_is_last",
        "_is_leaving", "_is_reading", "_is_surplus", "_parser", "_peer", "_progress_s", "_quiet_bytes", "_read_by_s",
        "_target", "_transport", "_unsent_bytes", "_waiting", "is_congested", "service",
    )  # fmt: skip
    _transport: asyncio.Transport
    _peer: Peer

    def __init__(self, service: Service) -> None:
        self.service = service
        self.is_congested = False
        self._parser = HttpRequestParser(self)
        self._target = b""
        self._fields: list[Header] = []
        self._body: RequestBody | None = None
        self._current: SocketReply | None = None
        self._waiting: list[SocketReply] = []
        self._is_in_head = self._is_last = self._is_surplus = False
        self._is_deaf = self._has_eof = self._is_leaving = False
        self._is_reading = True
        self._quiet_bytes = self._unsent_bytes = 0
        self._read_by_s = inf
        self._body_since_s = self._progress_s = 0.0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # loops give no other
        self._transport = transport
        service, peername = self.service, transport.get_extra_info("peername")
        address = peername[0] if isinstance(peername, tuple) else ""
        self._peer = judge_peer(address, service.rules, is_tls=transport.get_extra_info("sslcontext") is not None)
        self._is_surplus = len(service.connections) >= service.limits.connections
        service.connections.add(self)
        self._read_by_s = service.now_s() + service.limits.head_s

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self.service.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._feed(self.service.buffer[:nbytes])

    def eof_received(self) -> bool:
        """A client that has said all may still listen: it gets its answers. TLS knows no half-closed connection."""
        self._has_eof = True
        if self._body is not None:
            self._fail(BadRequest("The body ended before it was complete."))
        self._is_deaf = True
        if self._peer.is_tls:
            return False
        if self._current is None:
            self.leave()
        return not self._is_leaving

    def pause_writing(self) -> None:
        self.is_congested = True
        self._progress_s = self.service.now_s()
        if self._current is not None:
            self._current.pause()

    def resume_writing(self) -> None:
        self.is_congested = False
        if self._current is not None:
            self._current.resume()

    def connection_lost(self, _exc: Exception | None) -> None:
        current, self._current = self._current, None
        self._is_deaf = self._is_leaving = True
        self._drop_waiting()
        if self._body is not None:
            self._body.fail(BadRequest("The client left before its body was complete."))
        if current is not None:
            current.client_left()
        del self._parser  # It and the connection hold each other.
        self.service.connections.discard(self)
        self.service.on_left()

    # What the parser calls. An exception stops it where it stands.

    def on_message_begin(self) -> None:
        if self._is_deaf:
            raise BadRequest("Nothing follows the last request.")
        if self._body is None:
            self._is_in_head = True
            self._quiet_bytes = -1
            self._read_by_s = self.service.now_s() + self.service.limits.head_s

    def on_url(self, url: bytes) -> None:
        if self._body is None:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._body is not None:
            return  # A trailer: nobody here is interested in one.
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self._body is not None:
            return
        method, version = self._parser.get_method().decode(), self._parser.get_http_version()
        head = check_head(RawHead(method, self._target, version, self._fields), self._peer, self.service.rules)
        if self._is_surplus:
            raise Overloaded("There are too many connections.", retry_after_s=1)
        self._target, self._fields = b"", []
        self._is_in_head = False
        self._is_last = head.is_last
        self._read_by_s = inf
        self._body = RequestBody(head.length, self.service.memory, self._body_wanted)
        self._take(self._reply_to(head, self._body))

    def on_body(self, data: bytes) -> None:
        self._quiet_bytes = -1
        if self._body is not None:
            self._body.add(data)

    def on_message_complete(self) -> None:
        if self._body is None or self._parser.should_upgrade():
            return
        self._body.complete()
        self._body = None
        self._quiet_bytes = -1
        self._read_by_s = inf
        self._is_deaf = self._is_last

    # What replies and the server call.

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def reply_ended(self, reply: SocketReply) -> None:
        """Go on with the next request, wait for one, or hang up."""
        self._current = None
        if reply.closes or (self._is_deaf and not self._waiting):
            self.leave()
        elif self._waiting:
            self._begin(self._waiting.pop(0))
            self._update_reading()
        elif not self._is_in_head:
            self._read_by_s = self.service.now_s() + self.service.limits.idle_s

    def leave(self) -> None:
        """Hang up gently: the client gets all that was written, and is heard out until it hangs up as well.

        To close while it still sends would make its system throw our last words away.
        """
        if self._is_leaving:
            return
        self._is_leaving = self._is_deaf = True
        self._is_in_head = False
        self._drop_waiting()
        if self._has_eof or self._peer.is_tls:
            self._transport.close()
        else:
            self._transport.write_eof()
        now_s = self.service.now_s()
        self._progress_s, self._read_by_s = now_s, now_s + self.service.limits.linger_s
        self._update_reading()

    def close_if_idle(self) -> None:
        """Close where nothing is under way. A client that has not taken its last answer yet is given the time to."""
        if self._current is not None or self._is_in_head or self._is_leaving or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size():
            self.leave()
        else:
            self._transport.close()

    def cut(self) -> None:
        self._transport.abort()

    def reset(self) -> None:
        """Hang up so that the client gets an error instead of an end."""
        raw: socket.socket = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def sweep(self, now_s: float) -> None:
        """Act on what is overdue."""
        if self.is_congested or self._is_leaving:
            self._check_progress(now_s)
        if now_s >= self._read_by_s:
            self._give_up(now_s)

    def _check_progress(self, now_s: float) -> None:
        unsent_bytes = self._transport.get_write_buffer_size()
        if unsent_bytes == 0 or unsent_bytes < self._unsent_bytes:
            self._progress_s = now_s
        self._unsent_bytes = unsent_bytes
        if now_s - self._progress_s >= self.service.limits.stall_s:
            self._transport.abort()

    def _give_up(self, now_s: float) -> None:
        """The client has not sent in time what it owes."""
        limits = self.service.limits
        if self._is_leaving:
            if self._unsent_bytes == 0:
                self._transport.abort()
        elif self._body is not None:
            earned_s = self._body.received_bytes / limits.body_bytes_per_s
            self._read_by_s = self._body_since_s + limits.body_s + earned_s
            if now_s >= self._read_by_s:
                self._fail(RequestTimeout("The body took too long."))
        elif self._is_in_head:
            self._fail(RequestTimeout("The request head took too long."))
        else:
            self.close_if_idle()

    # Reading.

    def _feed(self, data: memoryview) -> None:
        if self._is_deaf:
            return
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._read_past_upgrade(data[upgrade.args[0] :])
        except HttpParserError as exc:
            if not self._is_deaf:
                self._fail(_refusal(exc))
        else:
            self._count_quiet(len(data))
        self._update_reading()

    def _read_past_upgrade(self, rest: memoryview) -> None:
        """A protocol was offered that nobody takes, and the parser has stopped before the body: go on with a new one.

        It is told the framing that the guard has read, so the body is a body and not another request.
        """
        if self._body is None:
            return
        length = self._body.announced
        framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
        self._parser = HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        self._feed(rest)

    def _count_quiet(self, size: int) -> None:
        """Bound what brings neither a body's bytes nor the end of a head: long heads, trailers, chunk extensions."""
        self._quiet_bytes = self._quiet_bytes + size if self._quiet_bytes >= 0 else 0
        if self._quiet_bytes > HEAD_BYTES_MAX and not self._is_deaf:
            message = f"More than {HEAD_BYTES_MAX} bytes came that are no body."
            self._fail(HeadersTooLarge(message) if self._is_in_head else BadRequest(message))

    def _fail(self, error: GatewayError) -> None:
        """The message is broken, and whatever comes behind it is not read."""
        body, self._body = self._body, None
        self._is_deaf, self._is_in_head = True, False
        self._read_by_s = inf
        if body is not None:
            body.fail(error)
        else:
            self._take(self._reply_of_refusal(error))

    def _body_wanted(self) -> None:
        """A handler waits for its body: from now on the client owes it."""
        if self._current is not None and self._current.wants_continue:
            self._transport.write(_CONTINUE)
        self._body_since_s = self.service.now_s()
        self._read_by_s = self._body_since_s + self.service.limits.body_s
        self._update_reading()

    def _update_reading(self) -> None:
        """Hold the client back while there is a backlog. Whoever is held back owes nothing."""
        is_backlog = bool(self._waiting) or (self._body is not None and self._body.is_full)
        if self._has_eof or self._is_reading is not is_backlog:
            return
        self._is_reading = not is_backlog
        if is_backlog:
            self._transport.pause_reading()
            self._read_by_s = inf
        else:
            self._transport.resume_reading()
            if self._is_in_head:
                self._read_by_s = self.service.now_s() + self.service.limits.head_s

    # Answering.

    def _reply_to(self, head: CheckedHead, body: RequestBody) -> SocketReply:
        inbound = Inbound(
            method=head.method,
            path=head.path,
            query=head.query,
            headers=head.headers,
            client=head.client,
            is_confidential=head.is_confidential,
            request_id=head.request_id or next(self.service.request_ids),
            received_s=self.service.now_s(),
            read_body=body.read,
            scheme=head.scheme,
        )
        reply = SocketReply(self, inbound, body, speaks_chunked=head.speaks_chunked)
        reply.closes = head.is_last
        reply.expects_continue = head.expects_continue
        return reply

    def _reply_of_refusal(self, error: GatewayError) -> SocketReply:
        """The reply to what never became a request; its body never completes, so it closes the connection."""
        body = RequestBody(0, Memory(0), lambda: None)
        body.fail(error)
        inbound = Inbound(
            method=self._parser.get_method().decode(),
            path=self._target.partition(b"?")[0].decode("latin-1"),
            query="",
            headers=(),
            client=self._peer.address,
            is_confidential=False,
            request_id=find_request_id(self._fields) or next(self.service.request_ids),
            received_s=self.service.now_s(),
            read_body=body.read,
        )
        reply = SocketReply(self, inbound, body)
        reply.error = error
        return reply

    def _take(self, reply: SocketReply) -> None:
        if self._current is None:
            self._begin(reply)
        else:
            self._waiting.append(reply)

    def _begin(self, reply: SocketReply) -> None:
        self._current = reply
        if reply.error is not None:
            reply.refuse(reply.error)
            return
        self.service.spawn(answer(reply))

    def _drop_waiting(self) -> None:
        for reply in self._waiting:
            reply.body.release()
        self._waiting.clear()


def _refusal(error: HttpParserError) -> GatewayError:
    """Why the parser stopped: what a callback raised, or its own words, which are fixed texts."""
    if isinstance(error.__context__, GatewayError):
        return error.__context__
    if isinstance(error, HttpParserCallbackError):
        raise error
    return BadRequest(f"Malformed HTTP: {error}.")
