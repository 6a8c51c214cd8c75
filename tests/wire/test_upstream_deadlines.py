"""Deadlines of an exchange, on a clock that the test turns."""

import asyncio

from penstock.core.call import FaultKind
from penstock.core.provider import Timeouts
from penstock.wire.upstream import Upstream
from tests.wire.raw_upstream import (
    CHUNKED,
    LARGE,
    LENGTH_10,
    Clock,
    Peer,
    RawUpstream,
    Sink,
    outbound,
    silent,
    then,
    until,
)


async def test_a_head_that_does_not_come_in_time(upstream: Upstream, clock: Clock) -> None:
    async with RawUpstream(then(b"HTTP/1.1 200", ending="")) as server:
        sink = Sink()
        await upstream.send(outbound(server.origin, timeouts=Timeouts(head_s=600)), sink)
        await until(lambda: server.requests)
        upstream.sweep(clock.now_s + 599.9)
        assert not sink.is_ended
        upstream.sweep(clock.now_s + 600)
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.HEAD_TIMEOUT, True)
        await until(lambda: upstream.open_sockets == 0)


async def test_silence_between_two_bytes(upstream: Upstream, clock: Clock) -> None:
    async with RawUpstream(then(LENGTH_10 + b"hello", ending="")) as server:
        sink = Sink()
        exchange = await upstream.send(outbound(server.origin, timeouts=Timeouts(head_s=5, idle_s=300)), sink)
        clock.now_s += 4
        await sink.until(lambda: sink.body == b"hello")
        clock.now_s += 299.9
        upstream.sweep(clock.now_s)
        assert not sink.is_ended
        exchange.pause()
        clock.now_s += 1000
        upstream.sweep(clock.now_s)
        assert not sink.is_ended, "the silence is ours while we are paused"
        exchange.resume()
        upstream.sweep(clock.now_s + 299.9)
        assert not sink.is_ended
        upstream.sweep(clock.now_s + 300)
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.IDLE_TIMEOUT, True)


async def test_an_answer_that_never_ends(upstream: Upstream, clock: Clock) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(CHUNKED)
        while True:
            await peer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0)

    async with RawUpstream(script) as server:
        sink = Sink()
        await upstream.send(outbound(server.origin, timeouts=Timeouts(total_s=3600)), sink)
        for _ in range(16):
            seen = len(sink.pieces)
            await sink.until(lambda seen=seen: len(sink.pieces) > seen)  # type: ignore[misc]  # bound now, on purpose
            clock.now_s += 240 - 15
            upstream.sweep(clock.now_s)
        assert sink.fault is not None
        assert sink.fault.kind is FaultKind.TOTAL_TIMEOUT
        assert clock.now_s == 1000 + 3600


async def test_a_request_that_nobody_reads_was_not_sent(upstream: Upstream, clock: Clock) -> None:
    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads

    async with RawUpstream(script) as server:
        sink = Sink()
        await upstream.send(outbound(server.origin, body=LARGE), sink)
        await until(lambda: server.peers)
        upstream.sweep(clock.now_s + 600)
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.HEAD_TIMEOUT, False)


async def test_the_sweep_comes_by_itself_again_and_again(upstream: Upstream, clock: Clock) -> None:
    async with RawUpstream(silent) as server:
        for _ in range(2):
            sink = Sink()
            await upstream.send(outbound(server.origin), sink)
            clock.now_s += 600
            await sink.ended()
            assert sink.fault is not None
            assert sink.fault.kind is FaultKind.HEAD_TIMEOUT
