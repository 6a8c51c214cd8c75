"""One request causes at most one attempt that could have been billed (M10): when a request is sent again."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Sequence

import pytest

from penstock.core.call import Exchange, FaultKind
from penstock.core.provider import Origin
from penstock.wire.exchange import may_retry
from penstock.wire.upstream import Upstream
from tests.wire.raw_upstream import (
    LARGE,
    OK,
    PATIENCE_S,
    Clock,
    Peer,
    RawUpstream,
    Script,
    Sink,
    answers,
    call,
    closing,
    outbound,
    until,
)

STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("is_reused", [True, False])
@pytest.mark.parametrize("has_answer", [True, False])
@pytest.mark.parametrize("was_sent", [True, False])
def test_only_what_cannot_have_been_billed_is_sent_again(
    *, method: str, is_reused: bool, has_answer: bool, was_sent: bool
) -> None:
    allowed = is_reused and not has_answer and (method in {"GET", "HEAD"} or not was_sent)
    assert may_retry(method, is_reused=is_reused, has_answer=has_answer, was_sent=was_sent) is allowed


def _closing_at_reuse(server: list[RawUpstream], *, survivors: int = 99) -> Script:
    """Each connection answers once and ends at its second request; from ``survivors`` on they end at their first."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if server[0].peers.index(peer) >= survivors:
            peer.end()
            return
        await peer.write(OK)
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.requests.append(b"again")
        peer.reset()

    return script


async def _call_twice(upstream: Upstream, *, method: str, body: bytes, survivors: int = 99) -> tuple[Sink, int]:
    servers: list[RawUpstream] = []
    async with RawUpstream(_closing_at_reuse(servers, survivors=survivors)) as server:
        servers.append(server)
        assert (await call(upstream, outbound(server.origin, method=method))).fault is None
        sink = await call(upstream, outbound(server.origin, method=method, body=body))
        return sink, len(server.peers)


async def test_a_sent_post_is_not_sent_again(upstream: Upstream) -> None:
    sink, connections = await _call_twice(upstream, method="POST", body=b"{}")
    assert sink.fault is not None
    assert (sink.fault.kind, sink.fault.was_sent, connections) == (FaultKind.LOST, True, 1)


async def test_a_post_that_did_not_leave_us_is_sent_again(upstream: Upstream) -> None:
    sink, connections = await _call_twice(upstream, method="POST", body=LARGE)
    assert (sink.fault, sink.body, connections) == (None, b"ok", 2)


async def test_a_get_is_sent_again(upstream: Upstream) -> None:
    sink, connections = await _call_twice(upstream, method="GET", body=b"")
    assert (sink.fault, sink.body, connections) == (None, b"ok", 2)


async def test_a_call_right_after_a_stream_does_not_meet_the_end_of_its_connection(
    upstream: Upstream, clock: Clock
) -> None:
    # llama.cpp promises to keep the connection, and closes it behind the last byte of every stream.
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(STREAM)
        await peer.reader.readexactly(1)
        peer.reset()

    async with RawUpstream(script) as server:
        assert (await call(upstream, outbound(server.origin))).fault is None
        assert (await call(upstream, outbound(server.origin))).fault is None
        assert len(server.peers) == 2


async def test_a_connection_that_carried_a_stream_is_used_again_later(upstream: Upstream, clock: Clock) -> None:
    async with RawUpstream(answers(STREAM)) as server:
        await call(upstream, outbound(server.origin))
        clock.now_s += 1
        await call(upstream, outbound(server.origin))
        assert len(server.peers) == 1


async def test_nothing_is_sent_a_third_time(upstream: Upstream) -> None:
    sink, connections = await _call_twice(upstream, method="GET", body=b"", survivors=1)
    assert sink.fault is not None
    assert (sink.fault.kind, connections) == (FaultKind.LOST, 2)


async def test_an_answer_that_has_begun_is_not_asked_for_again(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(OK)
        await peer.read_request()
        await peer.write(b"HTTP/1.1 2")
        peer.end()

    async with RawUpstream(script) as server:
        await call(upstream, outbound(server.origin, method="GET"))
        sink = await call(upstream, outbound(server.origin, method="GET"))
        assert sink.fault is not None
        assert (sink.fault.kind, len(server.peers)) == (FaultKind.LOST, 1)


async def test_a_write_that_fails_at_once_is_made_again(upstream: Upstream) -> None:
    # A blocking socket, so that its reset is there before the loop has turned once.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        origin = Origin("http", "127.0.0.1", listener.getsockname()[1])
        sinks = [Sink(), Sink()]
        for sink in sinks:
            await upstream.send(outbound(origin), sink)
            peer = (await asyncio.to_thread(listener.accept))[0]
            await asyncio.to_thread(peer.recv, 65536)
            peer.sendall(OK)
            await sink.ended()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
    assert [sink.fault for sink in sinks] == [None, None]


class _SlowSecondDial:
    """A resolver that lets the second connection wait."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_go_on = asyncio.Event()
        self.addresses = ["127.0.0.1"]

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        if self.asked > 1:
            await self.may_go_on.wait()
        return self.addresses


@contextlib.asynccontextmanager
async def _redialling(clock: Clock) -> AsyncIterator[tuple[Upstream, RawUpstream, Sink, Exchange, _SlowSecondDial]]:
    """A GET whose pooled connection has closed under it, while its second connection is being made."""
    resolve = _SlowSecondDial()
    servers: list[RawUpstream] = []
    async with (
        closing(Upstream(clock=clock, resolve=resolve)) as upstream,
        RawUpstream(_closing_at_reuse(servers)) as server,
    ):
        servers.append(server)
        await call(upstream, outbound(server.origin, method="GET"))
        sink = Sink()
        exchange = await upstream.send(outbound(server.origin, method="GET"), sink)
        await until(lambda: resolve.asked == 2)
        yield upstream, server, sink, exchange, resolve


async def test_a_call_cancelled_while_it_is_made_again_is_not_sent(clock: Clock) -> None:
    async with _redialling(clock) as (upstream, server, sink, exchange, resolve):
        exchange.cancel()
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.CANCELLED, True)
        resolve.may_go_on.set()
        await until(lambda: upstream.idle_connections)
        assert server.requests[1:] == [b"again"]


async def test_a_call_that_cannot_be_made_again_remembers_that_it_was_sent(clock: Clock) -> None:
    async with _redialling(clock) as (_, _, sink, _, resolve):
        resolve.addresses = []
        resolve.may_go_on.set()
        await sink.ended()
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.UNREACHABLE, True)


async def test_a_call_refused_when_it_is_made_again_ends(clock: Clock) -> None:
    async with _redialling(clock) as (_, _, sink, _, resolve):
        resolve.addresses = ["169.254.169.254"]
        resolve.may_go_on.set()
        await sink.ended()
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.detail) == (FaultKind.UNREACHABLE, "address_not_allowed")


async def test_deadlines_run_on_while_a_call_is_made_again(clock: Clock) -> None:
    async with _redialling(clock) as (upstream, _, sink, _, _):
        upstream.sweep(clock.now_s + 600)
        assert sink.fault is not None
        assert sink.fault.kind is FaultKind.HEAD_TIMEOUT


async def test_a_call_paused_while_it_is_made_again_stays_paused(clock: Clock) -> None:
    async with _redialling(clock) as (_, server, sink, exchange, resolve):
        exchange.pause()
        resolve.may_go_on.set()
        await until(lambda: len(server.requests) == 3)
        for _ in range(100):
            await asyncio.sleep(0)
        assert sink.status == 0
        exchange.resume()
        await sink.ended()
        assert (sink.body, sink.fault) == (b"ok", None)
