"""The other end of wire/upstream in its tests: a raw loopback socket that follows a script, a sink and a clock.

A script is an async function of one Peer, which is one accepted connection; when it returns, the connection stays open.
Nothing here waits for time to pass: tests wait for events, under one limit that only a failing test reaches.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Self

from penstock.core.call import Fault, Header, Outbound
from penstock.core.provider import Origin, Timeouts
from penstock.wire.dial import system_resolve
from penstock.wire.upstream import Upstream

PATIENCE_S = 10.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LENGTH_10 = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
# More than any socket buffer takes while nobody reads.
LARGE = bytes(24_000_000)


class Clock:
    """The loop's clock as a test turns it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Sink:
    """Keeps what an exchange tells, and complains if it tells it in a wrong order."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.pieces: list[bytes] = []
        self.fault: Fault | None = None
        self.is_ended = False
        self._changed = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def answer_started(self, status: int, headers: Sequence[Header]) -> None:
        assert not self.status
        assert not self.is_ended
        self.status, self.headers = status, list(headers)
        self._changed.set()

    def answer_data(self, data: bytes) -> None:
        assert self.status
        assert data
        assert not self.is_ended
        self.pieces.append(data)
        self._changed.set()

    def answer_ended(self, fault: Fault | None) -> None:
        assert not self.is_ended
        self.fault, self.is_ended = fault, True
        self._changed.set()

    async def until(self, is_there: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_there():
                self._changed.clear()
                await self._changed.wait()

    async def ended(self) -> None:
        await self.until(lambda: self.is_ended)

    async def started(self) -> None:
        await self.until(lambda: self.status)


class Peer:
    """One accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.requests: list[bytes] = []

    async def read_request(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next((line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")), b": 0")
        self.requests.append(head + await self.reader.readexactly(int(length.split(b": ")[1])))
        return self.requests[-1]

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def end(self) -> None:
        """Close in order."""
        self.writer.close()

    def reset(self) -> None:
        """Close such that the other side sees a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class RawUpstream:
    """Runs its script for every connection; ``peers`` are in the order in which they came."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.peers: list[Peer] = []
        self.origin: Origin
        self._script = script
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def requests(self) -> list[bytes]:
        return [request for peer in self.peers for request in peer.requests]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.origin = Origin("https" if self._tls else "http", "provider.test" if self._tls else "127.0.0.1", port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for peer in self.peers:
            peer.writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._script(peer)


def answers(*parts: bytes) -> Script:
    """Every request gets the same bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.read_request()
            for part in parts:
                await peer.write(part)

    return script


async def silent(peer: Peer) -> None:
    """Take requests and say nothing."""
    while True:
        await peer.read_request()


def then(data: bytes, *, ending: str) -> Script:
    """One request gets these bytes, and the connection its ending: close, reset, or none."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if data:
            await peer.write(data)
        if ending == "reset":
            peer.reset()
        elif ending == "close":
            peer.end()

    return script


@contextlib.asynccontextmanager
async def closing(upstream: Upstream) -> AsyncIterator[Upstream]:
    """Closes it, and fails where the loop was told of an error: a transport swallows what its protocol raises."""
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    try:
        yield upstream
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await upstream.close()
        assert upstream.open_sockets == 0
    assert errors == []


async def local_resolve(host: str, port: int) -> Sequence[str]:
    """Every name of a test leads to loopback."""
    return ["127.0.0.1"] if host.endswith(".test") else await system_resolve(host, port)


def outbound(
    origin: Origin,
    *,
    method: str = "POST",
    body: bytes = b"{}",
    timeouts: Timeouts | None = None,
    allow_private: bool = True,
) -> Outbound:
    return Outbound(
        origin=origin,
        method=method,
        target="/v1/chat/completions",
        headers=[(b"authorization", b"Bearer sk-x"), (b"accept-encoding", b"identity")],
        body=b"" if method in {"GET", "HEAD"} else body,
        timeouts=timeouts or Timeouts(),
        allow_private=allow_private,
    )


async def call(upstream: Upstream, request: Outbound) -> Sink:
    """Send and wait for the end."""
    sink = Sink()
    await upstream.send(request, sink)
    await sink.ended()
    return sink


async def until(is_there: Callable[[], object]) -> None:
    """Let the loop turn until something shows."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_there():  # noqa: ASYNC110
            await asyncio.sleep(0)
