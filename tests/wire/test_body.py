"""Request bodies: how much of one is read, when, and how much all of them may keep (reliability.md A4, 3.2)."""

import asyncio

import pytest

from penstock.core.call import Inbound, Reply
from penstock.core.errors import BadRequest, BodyTooLarge, GatewayError, Overloaded
from penstock.wire.body import UNASKED_BYTES_MAX, Memory, RequestBody
from penstock.wire.service import ServerLimits
from tests.wire.raw_client import BODY_BYTES_MAX, GET, HOST, Seen, say, serving, settled, until

LARGE = 20_000_000  # More than the two systems' socket buffers take.


def post(length: int, path: bytes = b"/a") -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (path, HOST, length)


def chunked(*pieces: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "size", [0, 1, UNASKED_BYTES_MAX - 1, UNASKED_BYTES_MAX, UNASKED_BYTES_MAX + 1, BODY_BYTES_MAX]
)
async def test_a_body_up_to_the_limit_is_read_whole(size: int) -> None:
    body, seen = bytes(range(256)) * (size // 256 + 1), Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(post(size) + body[:size] + chunked(body[: size // 2], body[size // 2 : size]))
        for _ in range(2):
            assert (await client.reply()).status == 200
        assert running.server.body_bytes_held == 0
    assert [read for _, _, read in seen.requests] == [body[:size]] * 2 if size > 1 else True


async def test_a_body_announced_beyond_the_limit_is_not_read() -> None:
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(post(BODY_BYTES_MAX + 1) + b"x" * 100)
        reply = await client.reply()
        assert (reply.status, reply.body, reply.closes) == (413, b"body_too_large /a", True)
        assert await client.is_closed()


async def test_a_body_that_grows_beyond_the_limit_is_cut_soon_after_it() -> None:
    read: list[int] = []

    async def handler(inbound: Inbound, _reply: Reply) -> None:
        body = inbound.read_body.__self__  # type: ignore[attr-defined] # the bound method's body
        try:
            await inbound.read_body(100_000)
        finally:
            read.append(body.received_bytes)

    async with serving(handler) as running:
        client = await running.connect(chunked(*[b"x" * 1000] * 2000) + GET)
        reply = await client.reply()
        assert (reply.status, reply.closes, await client.is_closed()) == (413, True, True)
        assert 100_000 < read[0] <= 100_000 + 64 * 1024


async def test_a_client_gets_its_413_although_it_goes_on_sending() -> None:
    async with serving() as running:
        client = await running.connect(post(LARGE) + bytes(LARGE))
        assert (await client.reply()).status == 413
        assert await client.is_closed()


async def test_a_body_that_nobody_asks_for_stays_with_the_client() -> None:
    may_ask = asyncio.Event()

    async def handler(inbound: Inbound, reply: Reply) -> None:
        await may_ask.wait()
        say(reply, b"%d" % len(await inbound.read_body(LARGE)))

    async with serving(handler) as running:
        client = await running.connect(post(LARGE) + bytes(LARGE))
        await until(lambda: running.server.body_bytes_held >= UNASKED_BYTES_MAX)
        await client.settled()
        assert client.unsent_bytes > 0
        assert running.server.body_bytes_held < 2 * UNASKED_BYTES_MAX + 1
        may_ask.set()
        assert (await client.reply()).body == b"%d" % LARGE
        assert running.server.body_bytes_held == 0


async def test_bodies_count_until_their_answers_begin() -> None:
    may_answer = asyncio.Event()

    async def handler(inbound: Inbound, reply: Reply) -> None:
        await inbound.read_body(1000)
        await may_answer.wait()
        say(reply, b"")

    async with serving(handler) as running:
        clients = [await running.connect(post(600) + bytes(600)) for _ in range(3)]
        await until(lambda: running.server.body_bytes_held == 1800)
        may_answer.set()
        for client in clients:
            await client.reply()
        assert running.server.body_bytes_held == 0


async def test_a_body_that_comes_beside_its_answer_is_not_kept() -> None:
    may_end = asyncio.Event()

    async def handler(_inbound: Inbound, reply: Reply) -> None:
        reply.start(200, [], length=None)
        await may_end.wait()
        reply.end()

    async with serving(handler) as running:
        client = await running.connect(post(1000) + bytes(100))
        await client.until(b"\r\n\r\n")
        client.send(bytes(800))
        await settled()
        assert running.server.body_bytes_held == 0
        may_end.set()
        assert await client.until(b"0\r\n\r\n")


async def test_a_body_for_which_there_is_no_room_is_refused_and_no_other() -> None:
    may_answer = asyncio.Event()

    async def handler(inbound: Inbound, reply: Reply) -> None:
        await inbound.read_body(1000)
        await may_answer.wait()
        say(reply, b"")

    async with serving(handler, limits=ServerLimits(body_bytes_held=1000)) as running:
        first = await running.connect(post(600) + bytes(600))
        await until(lambda: running.server.body_bytes_held == 600)
        second = await running.connect(post(600) + bytes(600))
        reply = await second.reply()
        assert (reply.status, reply.body, reply.closes) == (503, b"overloaded /a", True)
        may_answer.set()
        assert (await first.reply()).status == 200
        third = await running.connect(post(600) + bytes(600))
        assert (await third.reply()).status == 200


async def test_what_was_sent_for_requests_that_were_never_begun_is_given_back() -> None:
    may_abort, begun = asyncio.Event(), []

    async def handler(inbound: Inbound, reply: Reply) -> None:
        begun.append(inbound.path)
        await may_abort.wait()
        reply.abort()

    async with serving(handler) as running:
        client = await running.connect(post(5) + b"hello" + post(5) + b"hello")
        await until(lambda: running.server.body_bytes_held == 10)
        may_abort.set()
        assert await client.is_closed()
        assert (running.server.body_bytes_held, begun) == (0, ["/a"])


@pytest.mark.parametrize("how", ["half-close", "reset"])
async def test_a_body_that_ends_too_soon_is_broken(how: str) -> None:
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(post(10) + b"hello")
        await until(lambda: seen.inbounds)
        if how == "half-close":
            client.half_close()
            reply = await client.reply()
            assert (reply.status, reply.closes) == (400, True)
        else:
            client.reset()
        await until(lambda: seen.errors)
    assert isinstance(seen.errors[0], BadRequest)


async def test_a_body_is_read_once() -> None:
    body = whole(b"hello")
    assert await body.read(5) == b"hello"
    with pytest.raises(RuntimeError):
        await body.read(5)


async def test_a_limit_below_what_has_come_already_counts() -> None:
    with pytest.raises(BodyTooLarge):
        await whole(b"hello").read(4)


async def test_the_first_failure_of_a_body_stands() -> None:
    body = RequestBody(None, Memory(100), lambda: None)
    body.fail(Overloaded("first"))
    body.fail(BadRequest("second"))
    with pytest.raises(Overloaded):
        await body.read(5)


async def test_a_complete_body_cannot_fail_any_more() -> None:
    body = whole(b"hello")
    body.fail(GatewayError("late"))
    assert await body.read(5) == b"hello"


def whole(data: bytes) -> RequestBody:
    body = RequestBody(len(data), Memory(100), lambda: None)
    body.add(data)
    body.complete()
    return body
