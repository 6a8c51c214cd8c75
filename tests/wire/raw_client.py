"""The other end of wire/server in its tests: a raw loopback socket, a handler that keeps what it was given, a clock.

Nothing here waits for time to pass: tests wait for events, under one limit that only a failing test reaches.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from penstock.core.call import Header, Inbound, Reply
from penstock.core.errors import GatewayError
from penstock.wire.peer import GuardRules
from penstock.wire.server import Server
from penstock.wire.service import Handler, ServerLimits

PATIENCE_S = 10.0
HOST = b"Host: gateway.test\r\n"
GET = b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n"
BODY_BYTES_MAX = 200_000


class Clock:
    """The loop's clock as a test turns it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class RawReply:
    """One response as it came; ``body`` is without its framing. ``is_whole``: it ended where its head said."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool = True

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


class RawClient:
    """One connection. Every read is bounded in time, so that a server which hangs fails the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def half_close(self) -> None:
        self._writer.write_eof()

    def reset(self) -> None:
        """Leave without a word: the other end gets an error, not an end."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readuntil(end)

    async def take(self, count: int) -> None:
        """Read on for this many bytes, and then no more."""
        self._writer.transport.resume_reading()  # type: ignore[attr-defined] # the same
        async with asyncio.timeout(PATIENCE_S):
            await self._reader.readexactly(count)
        self.stop_reading()

    async def rest(self) -> bytes:
        """Everything until the server hangs up."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read()

    async def is_closed(self) -> bool:
        """The server has hung up, and has said nothing more."""
        return await self.rest() == b""

    @property
    def unsent_bytes(self) -> int:
        """What the server's system has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    def stop_reading(self) -> None:
        self._writer.transport.pause_reading()  # type: ignore[attr-defined] # a stream's transport reads as well

    def read_on(self) -> None:
        self._writer.transport.resume_reading()  # type: ignore[attr-defined] # the same

    async def reply(self, method: str = "GET") -> RawReply:
        async with asyncio.timeout(PATIENCE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.split("\r\n")[:-2]
            headers = dict(line.split(": ", 1) for line in lines)
            assert len(headers) == len(lines), "a header stands twice"
            status = int(status_line.split(" ")[1])
            if method == "HEAD" or status < 200 or status in (204, 304):
                return RawReply(status, headers, b"")
            if headers.get("transfer-encoding") == "chunked":
                return RawReply(status, headers, *await self._chunked())
            if "content-length" in headers:
                length = int(headers["content-length"])
                return RawReply(status, headers, *await self._exactly(length))
            return RawReply(status, headers, await self._reader.read())

    async def _exactly(self, length: int) -> tuple[bytes, bool]:
        try:
            return await self._reader.readexactly(length), True
        except asyncio.IncompleteReadError as error:
            return error.partial, False

    async def _chunked(self) -> tuple[bytes, bool]:
        chunks: list[bytes] = []
        while line := await self._reader.readline():
            chunks.append((await self._reader.readexactly(int(line, 16) + 2))[:-2])
            if not chunks[-1]:
                return b"".join(chunks), True
        return b"".join(chunks), False

    async def settled(self) -> None:
        """Let the loop turn until the server's system takes no more for a while."""
        quiet, before = 0, -1
        async with asyncio.timeout(PATIENCE_S):
            while quiet < 50:
                await asyncio.sleep(0)
                quiet, before = (quiet + 1 if self.unsent_bytes == before else 0), self.unsent_bytes

    def close(self) -> None:
        self._writer.close()


@dataclass
class Seen:
    """What a handler was given, in order."""

    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    inbounds: list[Inbound] = field(default_factory=list)
    errors: list[GatewayError] = field(default_factory=list)

    async def echo(self, inbound: Inbound, reply: Reply) -> None:
        """Answer with what was read."""
        self.inbounds.append(inbound)
        try:
            body = await inbound.read_body(BODY_BYTES_MAX)
        except GatewayError as error:
            self.errors.append(error)
            raise
        self.requests.append((inbound.method, inbound.path, body))
        say(reply, b"%b %b %d" % (inbound.method.encode(), inbound.path.encode(), len(body)))


def say(reply: Reply, body: bytes, *, status: int = 200, headers: tuple[Header, ...] = ()) -> None:
    reply.start(status, headers, length=len(body))
    reply.write(body)
    reply.end()


def refuse(error: GatewayError, path: str, request_id: str) -> tuple[int, list[Header], bytes]:
    return error.status, [(b"x-request-id", request_id.encode())], f"{error.code} {path}".encode()


@dataclass
class Running:
    """A server on a loopback port, its clock, and the connections that a test opens to it."""

    server: Server
    clock: Clock
    clients: list[RawClient] = field(default_factory=list)

    async def connect(self, first: bytes = b"") -> RawClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, limit=2**20)
        client = RawClient(reader, writer)
        self.clients.append(client)
        if first:
            client.send(first)
        return client

    def pass_time(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.server.sweep(self.clock())


@asynccontextmanager
async def serving(
    handler: Handler | None = None,
    *,
    limits: ServerLimits | None = None,
    rules: GuardRules | None = None,
    sock: socket.socket | None = None,
) -> AsyncIterator[Running]:
    clock = Clock()
    server = Server(handler or Seen().echo, refuse=refuse, limits=limits, rules=rules, now_s=clock)
    await server.start("127.0.0.1", 0, sock=sock)
    running = Running(server, clock)
    try:
        yield running
    finally:
        for client in running.clients:
            client.close()
        await pass_until(running, asyncio.ensure_future(server.drain(0)))


async def pass_until(running: Running, done: Awaitable[None]) -> None:
    """Let the server's time pass until something is over."""
    future = asyncio.ensure_future(done)
    async with asyncio.timeout(PATIENCE_S):
        while not future.done():
            running.pass_time(1)
            await asyncio.sleep(0)
    await future


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 # what it waits for tells nobody
            await asyncio.sleep(0)


async def settled() -> None:
    """Let the loop turn often enough for what was sent over loopback, or has just begun, to have its effect."""
    for _ in range(30):
        await asyncio.sleep(0)
