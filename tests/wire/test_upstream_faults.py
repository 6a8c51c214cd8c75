"""Every transport row of the upstream fault matrix once a request has gone up (reliability.md 3.1)."""

import asyncio
import gzip

import pytest

from penstock.core.call import FaultKind
from penstock.wire.upstream import Upstream
from tests.wire.raw_upstream import (
    CHUNKED,
    LARGE,
    LENGTH_10,
    OK,
    Peer,
    RawUpstream,
    Sink,
    answers,
    call,
    outbound,
    then,
    until,
)

BEFORE_A_HEAD = {
    "closed": then(b"", ending="close"),
    "reset": then(b"", ending="reset"),
    "closed in the status line": then(b"HTTP/1.1 2", ending="close"),
    "closed in the head": then(b"HTTP/1.1 200 OK\r\nx: y\r\n", ending="close"),
    "closed behind an interim head": then(b"HTTP/1.1 100 Continue\r\n\r\n", ending="close"),
}

IN_THE_BODY = {
    "length closed": then(LENGTH_10 + b"hello", ending="close"),
    "chunk closed": then(CHUNKED + b"a\r\nhello", ending="close"),
    "no last chunk": then(CHUNKED + b"5\r\nhello\r\n", ending="close"),
    "no end of trailers": then(CHUNKED + b"5\r\nhello\r\n0\r\nx: y\r\n", ending="close"),
}

RESET_IN_THE_BODY = {
    "length": LENGTH_10 + b"hello",
    "chunks": CHUNKED + b"5\r\nhello\r\n",
    "no length": b"HTTP/1.1 200 OK\r\n\r\nhello",
}

BAD_FRAMING = {
    "length beside chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 2\r\n\r\nok",
    "not HTTP": b"SSH-2.0-x\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nok",
    "bad chunk": CHUNKED + b"5\r\nhello\r\nzz\r\n",
}


@pytest.mark.parametrize("name", BEFORE_A_HEAD)
async def test_a_connection_lost_before_the_head_is_lost(upstream: Upstream, name: str) -> None:
    async with RawUpstream(BEFORE_A_HEAD[name]) as server:
        sink = await call(upstream, outbound(server.origin))
        assert sink.status == 0
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.LOST, True)
        assert len(server.requests) == 1
        await until(lambda: upstream.open_sockets == 0)


async def test_an_end_while_nobody_reads_our_request_closes_the_socket(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write_eof()

    async with RawUpstream(script) as server:
        sink = await call(upstream, outbound(server.origin, body=LARGE))
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.LOST, False)
        await until(lambda: upstream.open_sockets == 0)


async def test_a_reset_before_the_request_is_written_was_not_sent(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.reset()

    async with RawUpstream(script) as server:
        sink = await call(upstream, outbound(server.origin, body=LARGE))
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.LOST, False)
        assert len(server.peers) == 1


@pytest.mark.parametrize("name", IN_THE_BODY)
async def test_an_answer_that_stops_short_is_truncated(upstream: Upstream, name: str) -> None:
    async with RawUpstream(IN_THE_BODY[name]) as server:
        sink = await call(upstream, outbound(server.origin))
        assert (sink.status, sink.body) == (200, b"hello")
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.TRUNCATED, True)


@pytest.mark.parametrize("name", RESET_IN_THE_BODY)
async def test_a_reset_in_the_body_truncates_it(upstream: Upstream, name: str) -> None:
    has_arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(RESET_IN_THE_BODY[name])
        await has_arrived.wait()
        peer.reset()

    async with RawUpstream(script) as server:
        sink = Sink()
        await upstream.send(outbound(server.origin), sink)
        await sink.until(lambda: sink.body == b"hello")
        has_arrived.set()
        await sink.ended()
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.TRUNCATED, True)


@pytest.mark.parametrize("name", BAD_FRAMING)
async def test_bad_framing_ends_the_answer_and_the_connection(upstream: Upstream, name: str) -> None:
    async with RawUpstream(answers(BAD_FRAMING[name])) as server:
        sink = await call(upstream, outbound(server.origin))
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.BAD_FRAMING, True)
        assert sink.fault.detail
        assert sink.body == (b"hello" if name == "bad chunk" else b"")
        await until(lambda: upstream.open_sockets == 0)


async def test_a_bomb_ends_the_answer(upstream: Upstream) -> None:
    data = gzip.compress(bytes(50_000_000))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(data)
    async with RawUpstream(answers(head + data)) as server:
        sink = await call(upstream, outbound(server.origin))
    assert sink.fault is not None
    assert sink.fault.kind is FaultKind.BAD_FRAMING
    assert len(sink.body) <= 100 * len(data)


async def test_a_compressed_body_that_ends_with_its_connection_must_be_whole(upstream: Upstream) -> None:
    data = gzip.compress(b"hello")[:-1]
    script = then(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + data, ending="close")
    async with RawUpstream(script) as server:
        sink = await call(upstream, outbound(server.origin))
    assert sink.fault is not None
    assert sink.fault.kind is FaultKind.BAD_FRAMING


@pytest.mark.parametrize("failing", ["answer_started", "answer_data"])
async def test_a_sink_that_fails_hears_the_end_all_the_same(upstream: Upstream, failing: str) -> None:
    class Failing(Sink):
        def answer_data(self, data: bytes) -> None:
            raise RuntimeError(failing)

    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context.get("exception")))
    async with RawUpstream(answers(OK)) as server:
        sink = Failing()
        await upstream.send(outbound(server.origin), sink)
        await sink.ended()
        assert sink.fault is not None
        await until(lambda: upstream.open_sockets == 0)
    assert [str(error) for error in errors] == [failing]
