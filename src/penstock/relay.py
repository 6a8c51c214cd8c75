"""One answer on its way from a provider to a client, and what is learned from it.

A Relay is called from the event loop by both connections: bytes that arrive are metered and written to the client in
the same breath. A client that leaves does not end the exchange: the provider bills on, so the rest is read without it
(money.md, "What an answer costs"). The relay decides nothing about money; it ends with an Outcome.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.core.annotations import cost_comment, cost_headers
from penstock.core.array_meter import ArrayMeter
from penstock.core.call import Ending, Exchange, Fault, FaultKind, Header, Hold, Reply
from penstock.core.error_bodies import error_event
from penstock.core.errors import GatewayError, ShuttingDown
from penstock.core.headers import CORS, UPSTREAM_REQUEST_IDS, answer_headers, find_header
from penstock.core.meter import BodyMeter, StreamMeter
from penstock.core.provider import Endpoint, Provider
from penstock.core.settlement import AnswerKind, Outcome, answer_kind, failure_of, is_quota_error

HELD_BYTES_MAX = 4 * 1024 * 1024
ERROR_BYTES_MAX = 1024 * 1024
_STREAM_HEADERS: tuple[Header, ...] = (
    (b"x-accel-buffering", b"no"),
    (b"cache-control", b"no-store, no-transform"),
)


@dataclass(frozen=True, slots=True)
class Passage:
    """What a relay must know of the call: who answers, in which format, and what to say beside the answer."""

    request_id: str
    provider: Provider
    endpoint: Endpoint
    drops_usage: bool
    has_comment: bool
    drain_s: float
    headers: tuple[Header, ...] = ()


class Relay:
    """The AnswerSink of the exchange and the ReplyListener of the client's connection."""

    __slots__ = (
        "_announced", "_drain", "_exchange", "_fault", "_head", "_held", "_held_bytes", "_is_cut", "_is_pumping",
        "_kind", "_loop", "_meter", "_passage", "_reply", "_status", "_was_left", "_was_shut_down", "ended",
        "first_byte_s", "upstream_request_id",
    )  # fmt: skip

    def __init__(self, passage: Passage, reply: Reply, loop: asyncio.AbstractEventLoop) -> None:
        self._passage = passage
        self._reply = reply
        self._loop = loop
        self._exchange: Exchange | None = None
        self._meter: StreamMeter | ArrayMeter | BodyMeter | None = None
        self._kind = AnswerKind.NONE
        self._status = 0
        self._head: list[Header] = []
        self._announced: int | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._is_cut = self._is_pumping = self._was_left = self._was_shut_down = False
        self._drain: asyncio.TimerHandle | None = None
        self._fault: Fault | None = None
        self.ended: asyncio.Future[None] = loop.create_future()
        self.first_byte_s: float | None = None
        self.upstream_request_id: str | None = None
        reply.attach(self)

    def carry(self, exchange: Exchange) -> None:
        """From here on the exchange is under way, unless it was cut meanwhile; a client that left starts the drain."""
        self._exchange = exchange
        if self._is_cut:
            exchange.cancel()
        elif self._was_left:
            self._read_on_alone()

    def answer_started(self, status: int, headers: Sequence[Header]) -> None:
        """Decide from the head how the body will be treated."""
        self.first_byte_s = self._loop.time()
        self._status = status
        self.upstream_request_id = find_header(headers, *UPSTREAM_REQUEST_IDS)
        self._kind = answer_kind(status, find_header(headers, b"content-type"))
        self._head = answer_headers(headers)
        length = find_header(headers, b"content-length")
        self._announced = int(length) if length is not None and length.isdigit() else None
        dialect = self._passage.provider.dialect
        if self._kind is AnswerKind.STREAM:
            self._meter = StreamMeter(dialect, self._passage.endpoint, drops_usage=self._passage.drops_usage)
            self._start_pumping(_STREAM_HEADERS, None)
        elif self._kind is AnswerKind.BODY and self._passage.endpoint.streams_array:
            self._meter = ArrayMeter(dialect, self._passage.endpoint)
            self._start_pumping(_STREAM_HEADERS, self._announced)
        elif self._kind is AnswerKind.BODY:
            self._meter = BodyMeter(dialect)
        elif self._kind is not AnswerKind.ERROR:
            self._cancel()

    def answer_data(self, data: bytes) -> None:
        """Meter the bytes and write them, or hold them where the whole answer is needed first."""
        if self._meter is not None:
            data = self._meter.feed(data)
        if self._is_pumping:
            if data:
                self._reply.write(data)
        elif self._kind in (AnswerKind.BODY, AnswerKind.ERROR):
            self._hold(data)

    def answer_ended(self, fault: Fault | None) -> None:
        """The exchange is over, one way or the other."""
        self._fault = fault
        if self._drain is not None:
            self._drain.cancel()
        if not self.ended.done():
            self.ended.set_result(None)

    def pause(self) -> None:
        """The client is slow: stop reading upstream, unless nobody waits for it any more."""
        if self._exchange is not None and not self._was_left:
            self._exchange.pause()

    def resume(self) -> None:
        """The client has caught up."""
        if self._exchange is not None:
            self._exchange.resume()

    def client_left(self) -> None:
        """Nobody reads any more, but the provider bills on: read the rest for a while, to learn what it costs."""
        self._was_left = True
        if self._exchange is not None:
            self._read_on_alone()

    def shut_down(self) -> None:
        """The process ends: close upstream at once; the client gets its dialect's error."""
        self._was_shut_down = True
        self._cancel()

    def outcome(self) -> Outcome:
        """What happened. Writes what the stream's meter still held back; an exchange still under way is cut."""
        if not self.ended.done() and self._exchange is not None:
            self._exchange.cancel()
            self._fault = self._fault or Fault(FaultKind.CANCELLED, was_sent=True)
        metered = None
        if isinstance(self._meter, StreamMeter):
            rest, metered = self._meter.finish()
            if rest:
                self._reply.write(rest)
        elif self._meter is not None:
            metered = self._meter.finish(is_complete=self._fault is None)
        kind = self._kind
        if kind is AnswerKind.ERROR and is_quota_error(self._status, b"".join(self._held)):
            kind = AnswerKind.QUOTA
        return Outcome(kind=kind, status=self._status, fault=self._fault, metered=metered)

    def error_of(self, outcome: Outcome) -> GatewayError | None:
        """What the client is told instead of an answer, or at the end of one that was cut; None if all went well."""
        return ShuttingDown("The gateway is shutting down.") if self._was_shut_down else failure_of(outcome)

    def deliver(self, outcome: Outcome, ending: Ending, hold: Hold) -> GatewayError | None:
        """Write what remains: a held body under what it cost, or behind a stream a comment that says so.

        Returns the error to answer with where nothing was shown yet; an answer that has begun is cut.
        """
        error = self.error_of(outcome)
        if not self._is_pumping:
            if error is None:
                body = self._shown_body()
                headers = [*self._all_headers(), *cost_headers(ending, hold)]
                self._reply.start(self._status, headers, length=len(body))
                self._reply.write(body)
                self._reply.end()
            return error
        if self._kind is AnswerKind.STREAM and (error is not None or self._passage.has_comment):
            if outcome.metered is not None and not outcome.metered.ends_event:
                self._reply.write(b"\n\n")  # What we add must not become part of an event that was left open.
            dialect, request_id = self._passage.provider.dialect.name, self._passage.request_id
            self._reply.write(cost_comment(ending, hold) if error is None else error_event(error, dialect, request_id))
        if error is None:
            self._reply.end()
        else:
            self._reply.abort()
        return None

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._kind is AnswerKind.ERROR and self._held_bytes > ERROR_BYTES_MAX:
            self._cancel()
        elif self._held_bytes > HELD_BYTES_MAX or (self._announced or 0) > HELD_BYTES_MAX:
            self._start_pumping((), self._announced)
            self._reply.write(b"".join(self._held))
            self._held.clear()

    def _start_pumping(self, headers: Sequence[Header], length: int | None) -> None:
        self._is_pumping = True
        self._reply.start(self._status, [*self._all_headers(), *headers], length=length)

    def _all_headers(self) -> list[Header]:
        headers = [*self._head, (b"x-request-id", self._passage.request_id.encode()), *CORS, *self._passage.headers]
        if self._passage.provider.dialect.name == "anthropic":
            headers.append((b"request-id", self._passage.request_id.encode()))
        return headers

    def _shown_body(self) -> bytes:
        """The held body, unless a provider's error repeats the key that we called it with."""
        body = b"".join(self._held)
        key = self._passage.provider.key
        if self._kind is AnswerKind.ERROR and key is not None and key.encode() in body:
            return b'{"error":{"message":"The provider refused the request.","code":"upstream_error"}}'
        return body

    def _read_on_alone(self) -> None:
        if self._exchange is None or self.ended.done():
            return
        self._exchange.resume()
        if self._passage.provider.cancels_billing:
            self._exchange.cancel()
        else:
            self._drain = self._loop.call_later(self._passage.drain_s, self._exchange.cancel)

    def _cancel(self) -> None:
        # Before ``send`` has returned the exchange there is nothing to cut yet: then ``carry`` does it.
        self._is_cut = True
        if self._exchange is not None:
            self._exchange.cancel()
