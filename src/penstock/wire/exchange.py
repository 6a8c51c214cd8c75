"""One request under way: the answer's way from a connection to its sink, its deadlines, and its end.

The sink hears ``answer_ended`` exactly once, whatever happens: everything that ends an exchange goes through ``end``,
which swaps the sink for one that hears nothing before it tells anybody.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from penstock.core.call import AnswerSink, Fault, FaultKind, Header, Outbound
from penstock.core.headers import find_header
from penstock.core.settlement import AnswerKind, answer_kind
from penstock.wire.decode import BadCoding, Decoder, decoded_headers, find_decoder
from penstock.wire.request import request_head
from penstock.wire.response import ResponseReader
from penstock.wire.upstream_connection import UpstreamConnection

# Sent twice, these do what they do once, and no provider bills them.
_REPEATABLE = frozenset(("GET", "HEAD"))


def may_retry(method: str, *, is_reused: bool, has_answer: bool, was_sent: bool) -> bool:
    """Whether a request whose connection closed under it may be sent once more.

    Only where the peer had closed an idle connection before it can have acted on the request (reliability.md 3.1). A
    new connection is never "reused", so there is no third attempt.
    """
    return is_reused and not has_answer and (not was_sent or method in _REPEATABLE)


class ExchangeOwner(Protocol):
    def exchange_ended(
        self, exchange: "UpstreamExchange", connection: UpstreamConnection | None, *, is_reusable: bool
    ) -> None:
        """Take the connection back. ``is_reusable``: the next request may follow on it."""

    def redial(self, exchange: "UpstreamExchange") -> None:
        """Begin the exchange again on a new connection."""


class _Nobody:
    """The sink of an exchange that has ended."""

    def answer_started(self, status: int, headers: Sequence[Header]) -> None: ...

    def answer_data(self, data: bytes) -> None: ...

    def answer_ended(self, fault: Fault | None) -> None: ...


_NOBODY = _Nobody()


class UpstreamExchange:
    """A ``core.call.Exchange``. ``cancel`` calls ``answer_ended`` before it returns.

    Raises ValueError for a request that cannot be written (see ``request_head``).
    """

    __slots__ = (
        "_began_s",
        "_clock",
        "_connection",
        "_decoder",
        "_has_bytes",
        "_has_head",
        "_head",
        "_is_paused",
        "_moved_s",
        "_owner",
        "_reader",
        "_sink",
        "_was_sent",
        "outbound",
    )

    def __init__(self, outbound: Outbound, sink: AnswerSink, owner: ExchangeOwner, clock: Callable[[], float]) -> None:
        self.outbound = outbound
        self._head = request_head(outbound)
        self._sink: AnswerSink = sink
        self._owner = owner
        self._clock = clock
        self._connection: UpstreamConnection | None = None
        self._reader: ResponseReader
        self._decoder: Decoder | None = None
        self._began_s = clock()
        self._moved_s = self._began_s
        self._has_bytes = False
        self._has_head = False
        self._is_paused = False
        self._was_sent = False

    @property
    def is_ended(self) -> bool:
        return self._sink is _NOBODY

    @property
    def was_sent(self) -> bool:
        """Whether the whole request has left us, on this connection or an earlier one."""
        return self._was_sent or (self._connection is not None and self._connection.is_flushed)

    @property
    def was_stream(self) -> bool:
        """Whether the answer was an event stream."""
        content_type = find_header(self._reader.headers, b"content-type")
        return answer_kind(self._reader.status, content_type) is AnswerKind.STREAM

    def begin(self, connection: UpstreamConnection) -> None:
        """Send the request on a free connection."""
        self._connection = connection
        self._reader = ResponseReader(self.outbound.method)
        if self._is_paused:
            connection.pause_reading()
        connection.send(self, self._head, self.outbound.body)

    def pause(self) -> None:
        self._is_paused = True
        if self._connection is not None:
            self._connection.pause_reading()

    def resume(self) -> None:
        self._is_paused = False
        if self._connection is not None:
            # The silence was ours, so the idle deadline starts anew.
            self._moved_s = self._clock()
            self._connection.resume_reading()

    def cancel(self) -> None:
        self.fail(FaultKind.CANCELLED)

    def received(self, data: bytes) -> None:
        """Bytes came in. The sink may cancel from within any of its calls: the later ones then reach nobody."""
        self._moved_s = self._clock()
        self._has_bytes = True
        reader = self._reader
        body = reader.feed(data)
        try:
            if reader.status and not self._has_head:
                self._start(reader)
            if body:
                self._deliver(body)
            if reader.is_complete:
                self._finish()
        except BadCoding as error:
            self.fail(FaultKind.BAD_FRAMING, str(error))
        if reader.error:
            self.fail(FaultKind.BAD_FRAMING, reader.error)

    def closed(self, *, is_end: bool) -> None:
        """The connection is gone, in order or not."""
        if is_end and self._is_ended_by_close():
            return
        if self._may_retry():
            self._was_sent, self._connection = self.was_sent, None
            self._owner.redial(self)
        else:
            self.fail(FaultKind.TRUNCATED if self._has_head else FaultKind.LOST)

    def fail(self, kind: FaultKind, detail: str = "") -> None:
        """End with a fault; the connection cannot be used again."""
        self.end(Fault(kind, was_sent=self.was_sent, detail=detail))

    def end(self, fault: Fault | None) -> None:
        """The only end; a second one reaches nobody. The connection goes back first: the next call may want it."""
        sink, self._sink = self._sink, _NOBODY
        connection, self._connection = self._connection, None
        # An answer may end before its request has left us: what is left of it would run into the next one.
        is_reusable = fault is None and self._reader.is_reusable and connection is not None and connection.is_flushed
        self._owner.exchange_ended(self, connection, is_reusable=is_reusable)
        sink.answer_ended(fault)

    def find_overdue(self, now_s: float) -> FaultKind | None:
        """Which deadline has passed, if any. While we are paused, silence is not the provider's."""
        timeouts = self.outbound.timeouts
        age_s = now_s - self._began_s
        if age_s >= timeouts.total_s:
            return FaultKind.TOTAL_TIMEOUT
        if not self._has_head:
            return FaultKind.HEAD_TIMEOUT if age_s >= timeouts.head_s else None
        if not self._is_paused and now_s - self._moved_s >= timeouts.idle_s:
            return FaultKind.IDLE_TIMEOUT
        return None

    def _start(self, reader: ResponseReader) -> None:
        self._has_head = True
        self._decoder = find_decoder(reader.coding)
        self._sink.answer_started(reader.status, decoded_headers(reader.headers) if self._decoder else reader.headers)

    def _deliver(self, body: bytes) -> None:
        if self._decoder is not None:
            body = self._decoder.decode(body)
        if body:
            self._sink.answer_data(body)

    def _finish(self) -> None:
        if self._decoder is not None:
            self._decoder.finish()
        self.end(None)

    def _is_ended_by_close(self) -> bool:
        self._reader.feed_eof()
        try:
            if self._reader.is_complete:
                self._finish()
        except BadCoding as error:
            self.fail(FaultKind.BAD_FRAMING, str(error))
        return self.is_ended

    def _may_retry(self) -> bool:
        connection = self._connection
        return connection is not None and may_retry(
            self.outbound.method,
            is_reused=connection.is_reused,
            has_answer=self._has_bytes,
            was_sent=connection.is_flushed,
        )
