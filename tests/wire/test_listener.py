"""Where clients arrive: the limit of connections, file descriptors that run out, TLS, and addresses."""

import asyncio
import os
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from penstock.core.call import Inbound, Reply
from penstock.wire.listener import open_sockets
from penstock.wire.server import Server
from penstock.wire.service import ServerLimits
from tests.wire.raw_client import GET, Seen, refuse, serving, settled, until


async def test_who_comes_above_the_limit_is_told_so_and_nobody_else() -> None:
    async with serving(limits=ServerLimits(connections=2)) as running:
        clients = [await running.connect(GET) for _ in range(2)]
        for client in clients:
            assert (await client.reply()).status == 200
        surplus = await running.connect(GET)
        reply = await surplus.reply()
        assert (reply.status, reply.body, reply.closes) == (503, b"overloaded /a", True)
        clients[0].send(GET)
        assert (await clients[0].reply()).status == 200
        for leaving in (clients[1], surplus):
            leaving.close()
        await until(lambda: running.server.connections == 1)
        again = await running.connect(GET)
        assert (await again.reply()).status == 200


async def test_who_comes_far_above_the_limit_waits_in_the_kernel() -> None:
    async with serving(limits=ServerLimits(connections=1, surplus_connections=1)) as running:
        first, surplus, third = [await running.connect() for _ in range(3)]
        third.send(GET)
        await settled()
        assert running.server.connections == 2
        first.close()
        surplus.close()
        await until(lambda: running.server.connections == 0)
        running.pass_time(0.25)
        assert (await third.reply()).status == 200


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """Gives the soft limit of open files to what it was, however the test ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_accepting_pauses_while_file_descriptors_are_exhausted(few_descriptors: int) -> None:
    async with serving() as running:
        kept = await running.connect(GET)
        await kept.reply()
        waiting = socket.socket()
        waiting.setblocking(False)
        lowest_free = os.dup(waiting.fileno())
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, few_descriptors))
        loop = asyncio.get_running_loop()
        await loop.sock_connect(waiting, ("127.0.0.1", running.server.port))
        await loop.sock_sendall(waiting, GET)
        await settled()
        assert running.server.connections == 1
        assert running.server._listener is not None
        assert not running.server._listener._is_listening
        kept.send(GET)
        assert (await kept.reply()).status == 200
        resource.setrlimit(resource.RLIMIT_NOFILE, (few_descriptors, few_descriptors))
        running.pass_time(0.25)
        assert (await loop.sock_recv(waiting, 100)).startswith(b"HTTP/1.1 200 OK")
        waiting.close()
        await until(lambda: running.server.connections == 1)


async def test_a_host_name_is_listened_to_on_all_its_addresses() -> None:
    sockets = await open_sockets("localhost", 0)
    try:
        assert {listening.getsockname()[0] for listening in sockets} <= {"127.0.0.1", "::1"}
        assert len(sockets) == len({listening.family for listening in sockets})
    finally:
        for listening in sockets:
            listening.close()


async def test_an_address_that_is_taken_is_an_error() -> None:
    async with serving() as running:
        with pytest.raises(OSError, match="in use"):
            await open_sockets("127.0.0.1", running.server.port)


async def test_a_server_can_take_a_socket_that_is_bound_already() -> None:
    seen = Seen()
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    server = Server(seen.echo, refuse=refuse)
    await server.start("", 0, sock=bound)
    assert server.port == port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    await server.drain(1)
    assert 0 <= time.monotonic() - seen.inbounds[0].received_s < 60


async def test_one_timer_serves_others_too() -> None:
    swept: list[float] = []
    async with serving() as running:
        running.server.add_sweep(swept.append)
        running.pass_time(1)
        assert swept == [1001.0]


async def test_a_stranger_in_the_handler_is_no_concern_of_the_timer() -> None:
    async def handler(_inbound: Inbound, _reply: Reply) -> None:
        await asyncio.Event().wait()

    async with serving(handler) as running:
        await running.connect(GET)
        await settled()
        running.pass_time(100_000)
        await settled()
        assert running.server.connections == 1
