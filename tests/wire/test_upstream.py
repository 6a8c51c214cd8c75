"""Answers through wire/upstream from a scripted raw socket: what goes up, what comes down, what is used again."""

import asyncio
import gzip

import pytest

from penstock.core.call import FaultKind
from penstock.core.errors import AddressNotAllowed, Overloaded, ShuttingDown
from penstock.wire.pool import PoolLimits
from penstock.wire.upstream import Upstream
from tests.wire.raw_upstream import (
    CHUNKED,
    OK,
    Clock,
    Peer,
    RawUpstream,
    Sink,
    answers,
    call,
    closing,
    outbound,
    silent,
    until,
)


async def test_the_request_goes_up_whole_with_host_and_length(upstream: Upstream) -> None:
    async with RawUpstream(answers(OK)) as server:
        sink = await call(upstream, outbound(server.origin, body=b'{"a":1}'))
    assert server.requests == [
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nauthorization: Bearer sk-x\r\n"
        b'accept-encoding: identity\r\ncontent-length: 7\r\n\r\n{"a":1}' % server.origin.port
    ]
    assert (sink.status, sink.body, sink.fault) == (200, b"ok", None)


async def test_a_stream_is_handed_on_as_it_comes(upstream: Upstream) -> None:
    may_go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(CHUNKED + b"5\r\nfirst\r\n")
        await may_go_on.wait()
        await peer.write(b"6\r\nsecond\r\n0\r\n\r\n")

    async with RawUpstream(script) as server:
        sink = Sink()
        await upstream.send(outbound(server.origin), sink)
        await sink.until(lambda: sink.pieces)
        assert (sink.pieces, sink.is_ended) == ([b"first"], False)
        may_go_on.set()
        await sink.ended()
    assert (sink.pieces, sink.fault) == ([b"first", b"second"], None)


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, 200, b"ok"),
        (CHUNKED + b"2;x=y\r\nok\r\n0\r\nx-sum: 1\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", 302, b""),
        (b"HTTP/1.1 429 Slow\r\ncontent-length: 2\r\n\r\nno", 429, b"no"),
    ],
)
async def test_one_connection_serves_call_after_call(
    upstream: Upstream, answer: bytes, status: int, body: bytes
) -> None:
    async with RawUpstream(answers(answer)) as server:
        for _ in range(3):
            sink = await call(upstream, outbound(server.origin))
            assert (sink.status, sink.body, sink.fault) == (status, body, None)
        assert len(server.peers) == 1
        assert (upstream.open_sockets, upstream.idle_connections) == (1, 1)


async def test_an_answer_to_head_has_no_body(upstream: Upstream) -> None:
    async with RawUpstream(answers(OK.removesuffix(b"ok"))) as server:
        sink = await call(upstream, outbound(server.origin, method="HEAD"))
        assert (sink.status, sink.body, sink.fault) == (200, b"", None)
        assert b"content-length" not in server.requests[0]


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"x",
        OK + OK,
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
    ids=["a byte behind it", "an answer behind it", "close", "1.0"],
)
async def test_such_an_answer_is_the_last_of_its_connection(upstream: Upstream, answer: bytes) -> None:
    async with RawUpstream(answers(answer)) as server:
        for _ in range(2):
            sink = await call(upstream, outbound(server.origin))
            assert (sink.body, sink.fault) == (b"ok", None)
        assert len(server.peers) == 2
        await until(lambda: upstream.open_sockets == 0)


async def test_a_body_may_end_with_the_connection(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        peer.end()

    async with RawUpstream(script) as server:
        sink = await call(upstream, outbound(server.origin))
    assert (sink.body, sink.fault) == (b"hello", None)


async def test_an_answer_before_the_end_of_its_request_closes_the_connection(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")

    async with RawUpstream(script) as server:
        sink = await call(upstream, outbound(server.origin, body=bytes(16_000_000)))
        assert (sink.status, sink.body, sink.fault) == (413, b"no", None)
        assert upstream.idle_connections == 0


async def test_the_last_connection_put_back_is_the_first_taken(upstream: Upstream) -> None:
    turns = [asyncio.Event(), asyncio.Event()]

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await turns[server.peers.index(peer)].wait()
        await peer.write(OK)
        await answers(OK)(peer)

    async with RawUpstream(script) as server:
        sinks = [Sink(), Sink()]
        for sink in sinks:
            await upstream.send(outbound(server.origin), sink)
        await until(lambda: len(server.requests) == 2)
        for turn, sink in zip(turns, sinks, strict=True):
            turn.set()
            await sink.ended()
        for _ in range(3):
            await call(upstream, outbound(server.origin))
        assert [len(peer.requests) for peer in server.peers] == [1, 4]


@pytest.mark.parametrize("ending", ["byte", "close", "reset"])
async def test_what_happens_on_an_idle_connection_removes_it(upstream: Upstream, ending: str) -> None:
    async with RawUpstream(answers(OK)) as server:
        await call(upstream, outbound(server.origin))
        peer = server.peers[0]
        if ending == "byte":
            peer.writer.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        elif ending == "close":
            peer.end()
        else:
            peer.reset()
        await until(lambda: upstream.open_sockets == 0)
        assert upstream.idle_connections == 0
        assert (await call(upstream, outbound(server.origin))).fault is None


async def test_idle_connections_are_closed_in_time(clock: Clock) -> None:
    async with (
        closing(Upstream(clock=clock, limits=PoolLimits(idle_s=60))) as upstream,
        RawUpstream(answers(OK)) as server,
    ):
        await call(upstream, outbound(server.origin))
        upstream.sweep(clock.now_s + 59.9)
        assert upstream.idle_connections == 1
        upstream.sweep(clock.now_s + 60)
        assert upstream.idle_connections == 0
        await until(lambda: upstream.open_sockets == 0)


async def test_connections_are_bounded_and_idle_ones_make_room(clock: Clock) -> None:
    hold = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.read_request()
        await hold.wait()

    limits = PoolLimits(connections_max=2)
    async with (
        closing(Upstream(clock=clock, limits=limits)) as upstream,
        RawUpstream(answers(OK)) as quick,
        RawUpstream(slow) as server,
    ):
        await call(upstream, outbound(quick.origin))
        for _ in range(2):
            await upstream.send(outbound(server.origin), Sink())
        assert upstream.idle_connections == 0
        with pytest.raises(Overloaded):
            await upstream.send(outbound(server.origin), Sink())
        await until(lambda: upstream.open_sockets == 2)


async def test_only_so_many_idle_connections_are_kept(clock: Clock) -> None:
    async with (
        closing(Upstream(clock=clock, limits=PoolLimits(idle_per_origin=2))) as upstream,
        RawUpstream(answers(OK)) as server,
    ):
        await asyncio.gather(*(call(upstream, outbound(server.origin)) for _ in range(5)))
        await until(lambda: upstream.open_sockets == 2)
        assert upstream.idle_connections == 2


async def test_a_connection_to_a_private_address_serves_only_who_may_reach_it(upstream: Upstream) -> None:
    async with RawUpstream(answers(OK)) as server:
        await call(upstream, outbound(server.origin))
        with pytest.raises(AddressNotAllowed):
            await upstream.send(outbound(server.origin, allow_private=False), Sink())
        assert upstream.idle_connections == 1


async def test_back_pressure_stops_reading_and_loses_nothing(upstream: Upstream) -> None:
    size = 24_000_000
    is_written = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))
        is_written.set()

    async with RawUpstream(script) as server:
        sink = Sink()
        exchange = await upstream.send(outbound(server.origin), sink)
        await sink.until(lambda: sink.pieces)
        exchange.pause()
        held = len(sink.body)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(sink.body) == held < 2_000_000
        assert not is_written.is_set()
        exchange.resume()
        await sink.ended()
        assert (len(sink.body), sink.fault) == (size, None)
        assert upstream.idle_connections == 1


async def test_a_connection_paused_at_its_last_byte_is_watched_when_idle(upstream: Upstream) -> None:
    class Pausing(Sink):
        def answer_data(self, data: bytes) -> None:
            super().answer_data(data)
            exchange.pause()

    async with RawUpstream(answers(OK)) as server:
        sink = Pausing()
        exchange = await upstream.send(outbound(server.origin), sink)
        await sink.ended()
        server.peers[0].end()
        await until(lambda: upstream.open_sockets == 0)


async def test_a_compressed_answer_arrives_plain(upstream: Upstream) -> None:
    data = gzip.compress(b"hello" * 100)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    async with RawUpstream(answers(head % len(data) + data[:30], data[30:])) as server:
        sink = await call(upstream, outbound(server.origin))
    assert (sink.headers, sink.body, sink.fault) == ([(b"content-type", b"text/plain")], b"hello" * 100, None)


async def test_a_thousand_cancelled_calls_leave_no_socket_behind(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        while True:
            if b"cancel" in await peer.read_request():
                await peer.write(CHUNKED + b"2\r\nok\r\n")
            else:
                await peer.write(OK)

    async def cancelled(server: RawUpstream, *, is_late: bool) -> Sink:
        sink = Sink()
        exchange = await upstream.send(outbound(server.origin, body=b"cancel"), sink)
        if is_late:
            await sink.started()
        exchange.cancel()
        exchange.cancel()
        return sink

    async with RawUpstream(script) as server:
        await call(upstream, outbound(server.origin))
        for batch in range(20):
            sinks = await asyncio.gather(*(cancelled(server, is_late=bool(batch % 2)) for _ in range(50)))
            assert {sink.fault and sink.fault.kind for sink in sinks} == {FaultKind.CANCELLED}
        assert (await call(upstream, outbound(server.origin))).body == b"ok"
        await until(lambda: upstream.open_sockets == 1)


@pytest.mark.parametrize("moment", ["answer_started", "answer_data"])
async def test_a_sink_may_cancel_from_within_its_calls(upstream: Upstream, moment: str) -> None:
    class Impatient(Sink):
        def answer_started(self, *args: object) -> None:
            super().answer_started(*args)  # type: ignore[arg-type]  # passed through
            if moment == "answer_started":
                exchange.cancel()

        def answer_data(self, data: bytes) -> None:
            super().answer_data(data)
            exchange.cancel()

    async with RawUpstream(answers(OK)) as server:
        sink = Impatient()
        exchange = await upstream.send(outbound(server.origin), sink)
        await sink.ended()
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.CANCELLED, True)
        assert sink.body == (b"" if moment == "answer_started" else b"ok")
        await until(lambda: upstream.open_sockets == 0)


async def test_a_send_that_is_cancelled_while_it_dials_leaves_nothing(upstream: Upstream) -> None:
    async with RawUpstream(silent) as server:
        for turns in range(12):
            task = asyncio.create_task(upstream.send(outbound(server.origin), Sink()))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not task.done():
                task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            if not isinstance(result, BaseException):
                result.cancel()
            await until(lambda: upstream.open_sockets == 0)


async def test_close_ends_every_exchange_and_every_socket(clock: Clock) -> None:
    upstream = Upstream(clock=clock)
    async with RawUpstream(silent) as server, RawUpstream(answers(OK)) as quick:
        await call(upstream, outbound(quick.origin))
        sinks = [Sink() for _ in range(5)]
        for sink in sinks:
            await upstream.send(outbound(server.origin), sink)
        dialling = asyncio.create_task(upstream.send(outbound(server.origin), Sink()))
        await asyncio.sleep(0)
        await upstream.close()
        assert upstream.open_sockets == 0
        assert {sink.fault and sink.fault.kind for sink in sinks} == {FaultKind.CANCELLED}
        with pytest.raises(ShuttingDown):
            await dialling
        with pytest.raises(ShuttingDown):
            await upstream.send(outbound(quick.origin), Sink())


async def test_close_ends_a_send_wherever_its_dial_is(clock: Clock) -> None:
    async with RawUpstream(silent) as server:
        for turns in range(12):
            async with closing(Upstream(clock=clock)) as upstream:
                sink = Sink()
                sending = asyncio.create_task(upstream.send(outbound(server.origin), sink))
                for _ in range(turns):
                    await asyncio.sleep(0)
            result = (await asyncio.gather(sending, return_exceptions=True))[0]
            assert isinstance(result, ShuttingDown) or (sink.fault and sink.fault.kind is FaultKind.CANCELLED)


async def test_proxies_of_the_environment_are_not_used(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with RawUpstream(answers(OK)) as server:
        assert (await call(upstream, outbound(server.origin))).body == b"ok"
