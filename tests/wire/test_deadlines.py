"""How long a client may take, in a time that the tests turn (reliability.md A3, 3.2)."""

import asyncio
import socket

from penstock.core.call import Inbound, Reply
from penstock.core.errors import RequestTimeout
from tests.wire.raw_client import GET, HOST, Seen, say, serving, settled, until

KIB_64 = 64 * 1024


def post(length: int) -> bytes:
    return b"POST /a HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (HOST, length)


async def pour(_inbound: Inbound, reply: Reply) -> None:
    """Answer with more than the two systems' socket buffers take."""
    reply.start(200, [], length=None)
    for _ in range(40):
        reply.write(b"x" * 1_000_000)
    reply.end()


async def drip(_inbound: Inbound, reply: Reply) -> None:
    """Answer with little enough that nobody is asked to pause."""
    say(reply, bytes(60_000))


async def test_a_silent_connection_is_closed_after_ten_seconds() -> None:
    async with serving() as running:
        client = await running.connect()
        await until(lambda: running.server.connections)
        running.pass_time(9.9)
        await settled()
        running.pass_time(0.2)
        assert await client.is_closed()


async def test_a_head_has_ten_seconds() -> None:
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(b"GET /a HTTP/1.1\r\nHo")
        await settled()
        running.pass_time(9.9)
        client.send(b"st: x\r\n")
        await settled()
        running.pass_time(0.2)
        reply = await client.reply()
        assert (reply.status, reply.body, reply.closes) == (408, b"request_timeout /a", True)
        client.send(b"\r\n" + GET)
        assert await client.is_closed()
        await settled()
    assert seen.inbounds == []


async def test_an_idle_connection_is_closed_after_75_seconds() -> None:
    async with serving() as running:
        client = await running.connect(GET)
        await client.reply()
        running.pass_time(74.9)
        client.send(GET)
        assert (await client.reply()).status == 200
        running.pass_time(74.9)
        await settled()
        running.pass_time(0.2)
        assert await client.is_closed()


async def test_a_handler_may_take_its_time() -> None:
    may_answer = asyncio.Event()

    async def handler(inbound: Inbound, reply: Reply) -> None:
        await may_answer.wait()
        await Seen().echo(inbound, reply)

    async with serving(handler) as running:
        client = await running.connect(post(5) + b"he")
        await until(lambda: running.server.body_bytes_held == 2)
        running.pass_time(5000)  # Nobody has asked for the body yet, so the client owes nothing.
        await settled()
        may_answer.set()
        client.send(b"llo")
        assert (await client.reply()).status == 200


async def test_a_body_has_thirty_seconds() -> None:
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(post(10) + b"hello")
        await until(lambda: seen.inbounds)
        running.pass_time(29.9)
        await settled()
        assert seen.errors == []
        running.pass_time(0.2)
        reply = await client.reply()
        assert (reply.status, reply.closes, await client.is_closed()) == (408, True, True)
    assert isinstance(seen.errors[0], RequestTimeout)


async def test_a_body_earns_a_second_with_each_64_kib() -> None:
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(post(2 * KIB_64 + 1) + bytes(2 * KIB_64))
        await until(lambda: running.server.body_bytes_held == 2 * KIB_64)
        running.pass_time(31.9)
        await settled()
        assert seen.errors == []
        running.pass_time(0.2)
        assert (await client.reply()).status == 408


async def test_a_head_that_we_hold_back_owes_nothing() -> None:
    may_answer = asyncio.Event()

    async def handler(inbound: Inbound, reply: Reply) -> None:
        await may_answer.wait()
        await Seen().echo(inbound, reply)

    async with serving(handler) as running:
        client = await running.connect(GET + GET + GET[:20])
        await settled()
        running.pass_time(5000)
        await settled()
        client.send(GET[20:])
        may_answer.set()
        assert [(await client.reply()).status for _ in range(3)] == [200] * 3


async def test_a_head_that_was_held_back_has_ten_seconds_again() -> None:
    may_answer = asyncio.Event()

    async def handler(inbound: Inbound, reply: Reply) -> None:
        await may_answer.wait()
        await Seen().echo(inbound, reply)

    async with serving(handler) as running:
        client = await running.connect(GET + GET + GET[:20])
        await settled()
        running.pass_time(5000)
        may_answer.set()
        assert [(await client.reply()).status for _ in range(2)] == [200] * 2
        running.pass_time(9.9)
        await settled()
        assert running.server.connections == 1
        running.pass_time(0.2)
        assert (await client.reply()).status == 408


async def test_a_client_that_takes_nothing_for_60_seconds_has_left() -> None:
    async with serving(pour) as running:
        client = await running.connect()
        client.stop_reading()
        client.send(GET)
        await until(lambda: running.server.connections)
        await settled()
        running.pass_time(59.9)
        await settled()
        assert running.server.connections == 1
        running.pass_time(0.2)
        await until(lambda: running.server.connections == 0)


async def test_a_client_that_takes_something_is_waited_for() -> None:
    async with serving(pour) as running:
        client = await running.connect()
        client.stop_reading()
        client.send(GET)
        await settled()
        for _ in range(3):
            running.pass_time(59.9)
            await client.take(5_000_000)
            await settled()
            running.pass_time(0.2)
        await settled()
        assert running.server.connections == 1


async def test_an_idle_client_that_never_takes_its_last_bytes_is_cut() -> None:
    """Less than what would count as congestion is left, because the sockets' buffers are small as well."""
    small = socket.create_server(("127.0.0.1", 0))
    small.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    async with serving(drip, sock=small) as running:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", running.server.port))
        raw.sendall(GET)
        await until(lambda: running.server.connections)
        await settled()
        for _ in range(62):
            running.pass_time(1)
        await settled()
        assert running.server.connections == 1
        for _ in range(75):
            running.pass_time(1)
        await until(lambda: running.server.connections == 0)
        raw.close()


async def test_a_slow_client_gets_its_last_answer_whole() -> None:
    async with serving(pour) as running:
        client = await running.connect()
        client.stop_reading()
        client.send(GET[:-2] + b"Connection: close\r\n\r\n")
        await settled()
        for _ in range(10):
            running.pass_time(3)
        client.read_on()
        assert (await client.reply()).is_whole


async def test_a_client_that_does_not_hang_up_is_cut_after_two_seconds() -> None:
    async with serving() as running:
        client = await running.connect(b"TRACE /a HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await client.reply()).closes
        assert await client.is_closed()
        assert running.server.connections == 1
        running.pass_time(1.9)
        await settled()
        assert running.server.connections == 1
        running.pass_time(0.2)
        await until(lambda: running.server.connections == 0)
