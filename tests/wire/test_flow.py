"""Back-pressure towards a handler, and clients that leave: what a reply's listener is told (reliability.md A2, 3.2)."""

import asyncio

import pytest

from penstock.core.call import Inbound, Reply
from penstock.wire.connection import Connection
from penstock.wire.service import Handler
from tests.wire.raw_client import GET, HOST, say, serving, settled, until

PIECE = b"x" * 16_384
PIECES = 1_500


class Told:
    """A listener that writes pieces while it may, as the relay does, and keeps what it is told."""

    def __init__(self, reply: Reply) -> None:
        self.words: list[str] = []
        self.written = 0
        self.ended = asyncio.Event()
        self._reply = reply
        self._may_write = True
        reply.attach(self)

    def pump(self) -> None:
        while self._may_write and self.written < PIECES:
            self._reply.write(PIECE)
            self.written += 1
        if self.written == PIECES and not self.ended.is_set():
            self._reply.end()
            self.ended.set()

    def pause(self) -> None:
        self.words.append("pause")
        self._may_write = False

    def resume(self) -> None:
        self.words.append("resume")
        self._may_write = True
        asyncio.get_running_loop().call_soon(self.pump)

    def client_left(self) -> None:
        self.words.append("left")
        self._may_write = False
        self.ended.set()


def pumping(told: list[Told]) -> Handler:
    async def handler(_inbound: Inbound, reply: Reply) -> None:
        reply.start(200, [], length=None)
        told.append(Told(reply))
        told[-1].pump()
        await told[-1].ended.wait()

    return handler


async def test_a_slow_client_pauses_its_writer_and_loses_nothing() -> None:
    told: list[Told] = []
    async with serving(pumping(told)) as running:
        client = await running.connect()
        client.stop_reading()
        client.send(GET)
        await until(lambda: told and told[0].words)
        await settled()
        assert told[0].words == ["pause"]
        assert told[0].written < PIECES
        client.read_on()
        reply = await client.reply()
        assert (len(reply.body), reply.is_whole) == (PIECES * len(PIECE), True)
    assert told[0].words[:2] == ["pause", "resume"]
    assert "left" not in told[0].words


async def test_what_a_slow_client_keeps_waiting_is_little() -> None:
    told: list[Told] = []
    async with serving(pumping(told)) as running:
        client = await running.connect()
        client.stop_reading()
        client.send(GET)
        await until(lambda: told and told[0].words)
        [connection] = running.server._service.connections
        assert isinstance(connection, Connection)
        assert connection._transport.get_write_buffer_size() <= 256 * 1024


async def test_a_writer_that_comes_while_the_client_is_slow_is_paused_at_once() -> None:
    told: list[Told] = []

    async def handler(inbound: Inbound, reply: Reply) -> None:
        if inbound.path == "/first":
            say(reply, bytes(20_000_000))
        else:
            told.append(Told(reply))
            reply.start(200, [], length=0)
            reply.end()

    async with serving(handler) as running:
        client = await running.connect()
        client.stop_reading()
        client.send(b"GET /first HTTP/1.1\r\n" + HOST + b"\r\n" + GET)
        await until(lambda: told)
        assert told[0].words == ["pause"]
        client.read_on()
        assert len((await client.reply()).body) == 20_000_000
        assert (await client.reply()).status == 200


@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "closed"])
async def test_a_client_that_leaves_amid_its_answer_is_reported_once(*, is_reset: bool) -> None:
    told: list[Told] = []
    async with serving(pumping(told)) as running:
        client = await running.connect()
        client.stop_reading()
        client.send(GET)
        await until(lambda: told and told[0].words)
        client.reset() if is_reset else client.close()
        await told[0].ended.wait()
        await until(lambda: running.server.connections == 0)
        await settled()
    assert told[0].words.count("left") == 1
    assert told[0].words[-1] == "left"


async def test_a_client_that_leaves_before_its_answer_makes_the_reply_void() -> None:
    replies: list[Reply] = []
    may_answer, has_answered = asyncio.Event(), asyncio.Event()

    async def handler(_inbound: Inbound, reply: Reply) -> None:
        replies.append(reply)
        told = Told(reply)
        await may_answer.wait()
        say(reply, b"nobody hears this")
        assert told.words == ["left"]
        has_answered.set()

    async with serving(handler) as running:
        client = await running.connect(GET)
        await until(lambda: replies)
        assert not replies[0].is_gone
        client.reset()
        await until(lambda: replies[0].is_gone)
        may_answer.set()
        await has_answered.wait()


async def test_nobody_is_told_of_a_client_that_leaves_after_its_answer() -> None:
    told: list[Told] = []

    async def handler(_inbound: Inbound, reply: Reply) -> None:
        told.append(Told(reply))
        say(reply, b"all")

    async with serving(handler) as running:
        client = await running.connect(GET)
        await client.reply()
        client.reset()
        await until(lambda: running.server.connections == 0)
    assert told[0].words == []


async def test_an_aborted_reply_tells_nobody() -> None:
    told: list[Told] = []

    async def handler(_inbound: Inbound, reply: Reply) -> None:
        told.append(Told(reply))
        reply.start(200, [], length=None)
        reply.abort()
        assert reply.is_gone

    async with serving(handler) as running:
        client = await running.connect(GET)
        assert not (await client.reply()).is_whole
        client.close()
        await until(lambda: running.server.connections == 0)
    assert told[0].words == []
