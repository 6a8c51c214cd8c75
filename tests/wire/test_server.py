"""Requests and replies over a real socket: order, framing of answers, 100-continue, ids, and handlers that fail."""

import asyncio
from ipaddress import ip_network

import pytest

from penstock.core.call import Inbound, Reply
from penstock.core.errors import Unauthenticated
from penstock.wire.peer import GuardRules
from tests.wire.raw_client import GET, HOST, Seen, say, serving, settled, until

POST_5 = b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n"
EXPECT = b"Expect: 100-continue\r\n"


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with serving() as running:
        client = await running.connect()
        for _ in range(3):
            client.send(POST_5 + b"\r\nhello")
            reply = await client.reply()
            assert (reply.status, reply.body, reply.closes) == (200, b"POST /a 5", False)
            assert reply.headers["date"].endswith(" GMT")


async def test_the_handler_gets_what_was_asked() -> None:
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(b"POST /a%20b?c=d HTTP/1.1\r\n" + HOST + b"X-A: 1\r\nx-a: 2\r\n\r\n")
        await client.reply()
    inbound = seen.inbounds[0]
    assert (inbound.method, inbound.path, inbound.query, inbound.scheme) == ("POST", "/a%20b", "c=d", "http")
    assert inbound.headers == [(b"host", b"gateway.test"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert (inbound.client, inbound.is_confidential, inbound.received_s) == ("127.0.0.1", True, 1000.0)


async def test_a_trusted_proxy_speaks_for_its_client() -> None:
    seen = Seen()
    rules = GuardRules(trusted_proxies=(ip_network("127.0.0.0/8"),))
    async with serving(seen.echo, rules=rules) as running:
        client = await running.connect(GET[:-2] + b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n")
        await client.reply()
    assert (seen.inbounds[0].client, seen.inbounds[0].scheme) == ("192.0.2.7", "https")


async def test_pipelined_requests_are_answered_in_order_and_one_at_a_time() -> None:
    may_answer = {path: asyncio.Event() for path in ("/1", "/2", "/3")}
    begun: list[str] = []

    async def handler(inbound: Inbound, reply: Reply) -> None:
        begun.append(inbound.path)
        await may_answer[inbound.path].wait()
        say(reply, inbound.path.encode())

    async with serving(handler) as running:
        client = await running.connect(b"".join(b"GET /%d HTTP/1.1\r\n%b\r\n" % (n, HOST) for n in (1, 2, 3)))
        await until(lambda: begun)
        for path in ("/3", "/2", "/1"):
            assert begun == ["/1"]
            may_answer[path].set()
        assert [(await client.reply()).body for _ in range(3)] == [b"/1", b"/2", b"/3"]
    assert begun == ["/1", "/2", "/3"]


async def test_a_refusal_waits_for_the_requests_before_it() -> None:
    async with serving() as running:
        client = await running.connect(GET + GET + b"TRACE /b HTTP/1.1\r\n" + HOST + b"\r\n" + GET)
        replies = [await client.reply() for _ in range(3)]
        assert [(reply.status, reply.closes) for reply in replies] == [(200, False), (200, False), (405, True)]
        assert await client.is_closed()


async def test_a_client_that_asks_faster_than_it_is_answered_is_held_back() -> None:
    # Much more than the two systems' socket buffers take.
    request, count, may_answer = GET[:-2] + b"X: " + b"y" * 10_000 + b"\r\n\r\n", 2_000, asyncio.Event()

    async def handler(inbound: Inbound, reply: Reply) -> None:
        await may_answer.wait()
        say(reply, b"")

    async with serving(handler) as running:
        client = await running.connect(request * count)
        await until(lambda: running.server.connections == 1)
        await client.settled()
        assert client.unsent_bytes > 1_000_000
        may_answer.set()
        for _ in range(count):
            assert (await client.reply()).status == 200


@pytest.mark.parametrize("length", [5, None])
async def test_head_gets_the_headers_of_get_and_no_body(length: int | None) -> None:
    async def handler(_inbound: Inbound, reply: Reply) -> None:
        reply.start(200, [(b"x-a", b"b")], length=length)
        reply.write(b"hello")
        reply.end()

    async with serving(handler) as running:
        client = await running.connect(GET + b"HEAD" + GET[3:] + GET)
        get, head, again = await client.reply(), await client.reply("HEAD"), await client.reply()
    assert (get.headers, get.body) == (head.headers, b"hello")
    assert again.body == b"hello"


@pytest.mark.parametrize("status", [204, 304])
async def test_some_answers_have_no_body_at_all(status: int) -> None:
    async def handler(_inbound: Inbound, reply: Reply) -> None:
        say(reply, b"", status=status)

    async with serving(handler) as running:
        client = await running.connect(GET + GET)
        for _ in range(2):
            reply = await client.reply()
            assert reply.status == status
            assert not {"content-length", "transfer-encoding"} & set(reply.headers)


async def test_an_answer_of_unknown_length_is_chunked() -> None:
    async def handler(_inbound: Inbound, reply: Reply) -> None:
        reply.start(529, [], length=None)
        for piece in (b"a", b"", b"b" * 70_000):
            reply.write(piece)
        reply.end()

    async with serving(handler) as running:
        client = await running.connect(GET + GET)
        for _ in range(2):
            reply = await client.reply()
            assert (reply.status, reply.body, reply.is_whole) == (529, b"a" + b"b" * 70_000, True)


async def test_the_head_of_a_stream_does_not_wait_for_its_first_chunk() -> None:
    may_write = asyncio.Event()

    async def handler(_inbound: Inbound, reply: Reply) -> None:
        reply.start(200, [], length=None)
        await may_write.wait()
        reply.write(b"late")
        reply.end()

    async with serving(handler) as running:
        client = await running.connect(GET)
        assert b"200 OK" in await client.until(b"\r\n\r\n")
        may_write.set()
        assert await client.until(b"0\r\n\r\n") == b"4\r\nlate\r\n0\r\n\r\n"


async def test_http_1_0_gets_no_chunks_and_the_end_of_the_connection() -> None:
    async def handler(_inbound: Inbound, reply: Reply) -> None:
        reply.start(200, [], length=None)
        reply.write(b"a")
        reply.write(b"b")
        reply.end()

    async with serving(handler) as running:
        client = await running.connect(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n" + HOST + b"\r\n")
        reply = await client.reply()
        assert (reply.headers["connection"], "transfer-encoding" in reply.headers, reply.body) == (
            "close",
            False,
            b"ab",
        )


async def test_100_continue_comes_only_when_the_body_is_read() -> None:
    async with serving() as running:
        client = await running.connect(POST_5 + EXPECT + b"\r\n")
        assert (await client.reply()).status == 100
        client.send(b"hello")
        assert (await client.reply()).body == b"POST /a 5"
        client.send(GET)
        assert (await client.reply()).status == 200


async def test_a_refused_request_gets_no_100_continue_and_its_body_is_not_read() -> None:
    async def handler(_inbound: Inbound, _reply: Reply) -> None:
        raise Unauthenticated

    async with serving(handler) as running:
        client = await running.connect(POST_5 + EXPECT + b"\r\n")
        reply = await client.reply()
        assert (reply.status, reply.closes, await client.is_closed()) == (401, True, True)


async def test_a_body_that_is_there_already_needs_no_100_continue() -> None:
    async with serving() as running:
        client = await running.connect(POST_5 + EXPECT + b"\r\nhello")
        assert (await client.reply()).status == 200


async def test_a_body_that_has_begun_needs_no_100_continue() -> None:
    async with serving() as running:
        client = await running.connect(POST_5 + EXPECT + b"\r\nhe")
        await settled()
        client.send(b"llo")
        assert (await client.reply()).status == 200


async def test_a_refused_request_whose_body_has_come_keeps_its_connection() -> None:
    async def handler(_inbound: Inbound, _reply: Reply) -> None:
        raise Unauthenticated

    async with serving(handler) as running:
        client = await running.connect(POST_5 + b"\r\nhello" + GET)
        for _ in range(2):
            reply = await client.reply()
            assert (reply.status, reply.closes) == (401, False)


async def test_a_client_that_has_said_all_still_gets_every_answer() -> None:
    async with serving() as running:
        client = await running.connect(GET + POST_5 + b"\r\nhello")
        client.half_close()
        assert [(await client.reply()).status for _ in range(2)] == [200, 200]
        assert await client.is_closed()


async def test_a_request_id_is_kept_or_made() -> None:
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(
            GET[:-2] + b"X-Request-Id: mine-1\r\n\r\n" + GET + GET[:-2] + b"X-Request-Id: a b\r\n\r\n"
        )
        for _ in range(3):
            await client.reply()
    first, *made = [inbound.request_id for inbound in seen.inbounds]
    assert first == "mine-1"
    assert len(set(made)) == 2
    assert all(request_id.startswith("req-") for request_id in made)


async def test_a_refusal_names_the_path_without_its_query_and_the_request_id() -> None:
    async with serving() as running:
        client = await running.connect(b"TRACE /a?key=secret HTTP/1.1\r\nX-Request-Id: mine-1\r\n" + HOST + b"\r\n")
        reply = await client.reply()
        assert (reply.body, reply.headers["x-request-id"]) == (b"method_not_allowed /a", "mine-1")


async def test_a_handler_that_fails_before_its_answer_is_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_inbound: Inbound, _reply: Reply) -> None:
        raise KeyError

    async with serving(handler) as running:
        client = await running.connect(GET + GET)
        for _ in range(2):
            reply = await client.reply()
            assert (reply.status, reply.body, reply.closes) == (500, b"internal_error /a", False)
    assert [record.message for record in caplog.records] == ["a handler failed"] * 2


async def test_a_handler_that_says_nothing_is_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_inbound: Inbound, _reply: Reply) -> None:
        return

    async with serving(handler) as running:
        client = await running.connect(GET)
        assert (await client.reply()).status == 500
    assert len(caplog.records) == 1


@pytest.mark.parametrize("length", [10, None])
async def test_a_handler_that_fails_amid_its_answer_leaves_half_an_answer(
    length: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_inbound: Inbound, reply: Reply) -> None:
        reply.start(200, [], length=length)
        reply.write(b"half")
        raise KeyError

    async with serving(handler) as running:
        client = await running.connect(GET)
        reply = await client.reply()
        assert (reply.body, reply.is_whole) == (b"half", False)
        assert await client.is_closed()
    assert len(caplog.records) == 1


async def test_an_answer_that_breaks_its_promised_length_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(inbound: Inbound, reply: Reply) -> None:
        reply.start(200, [], length=4)
        reply.write(b"abc" if inbound.path == "/short" else b"abcde")
        reply.end()

    async with serving(handler) as running:
        short = await running.connect(b"GET /short HTTP/1.1\r\n" + HOST + b"\r\n")
        long = await running.connect(b"GET /long HTTP/1.1\r\n" + HOST + b"\r\n")
        assert not (await short.reply()).is_whole
        assert not (await long.reply()).is_whole
    assert len(caplog.records) == 2


async def test_a_header_with_a_line_break_never_leaves(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_inbound: Inbound, reply: Reply) -> None:
        say(reply, b"", headers=((b"x-a", b"b\r\nset-cookie: c"),))

    async with serving(handler) as running:
        client = await running.connect(GET)
        assert (await client.reply()).status == 500
    assert len(caplog.records) == 1


async def test_a_reply_that_is_aborted_leaves_half_an_answer_with_all_that_was_written() -> None:
    async def handler(_inbound: Inbound, reply: Reply) -> None:
        reply.start(200, [], length=None)
        reply.write(b"event: error\n\n")
        reply.abort()
        reply.write(b"nothing")
        reply.end()

    async with serving(handler) as running:
        client = await running.connect(GET)
        reply = await client.reply()
        assert (reply.body, reply.is_whole) == (b"event: error\n\n", False)


async def test_only_a_reset_shows_http_1_0_that_something_is_missing() -> None:
    async def handler(_inbound: Inbound, reply: Reply) -> None:
        reply.start(200, [], length=None)
        reply.write(b"half")
        reply.abort()

    async with serving(handler) as running:
        client = await running.connect(b"GET /a HTTP/1.0\r\n" + HOST + b"\r\n")
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_misuse_of_a_reply_is_an_error() -> None:
    misused: list[str] = []

    async def handler(_inbound: Inbound, reply: Reply) -> None:
        for misuse in (reply.end, lambda: reply.write(b"a")):
            with pytest.raises(RuntimeError):
                misuse()
        say(reply, b"")
        for misuse in (reply.end, lambda: reply.write(b"a"), lambda: reply.start(200, [], length=0)):
            with pytest.raises(RuntimeError):
                misuse()
        misused.append("all")

    async with serving(handler) as running:
        client = await running.connect(GET)
        assert (await client.reply()).status == 200
        await until(lambda: misused)
