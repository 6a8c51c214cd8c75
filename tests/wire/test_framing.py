"""Raw bytes over a real socket: each message has one reading or is refused, and no body is ever read as a request.

Every vector is followed by a whole request for /smuggled (reliability.md S17, 4.13).
"""

import pytest

from tests.wire.raw_client import HOST, Seen, serving

SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def head(*lines: bytes, start: bytes = b"POST /a HTTP/1.1") -> bytes:
    return b"\r\n".join([start, HOST.rstrip(), *lines, b"", b""])


def chunks(data: bytes) -> bytes:
    return head(CHUNKED.rstrip()) + data


REFUSED_HEADS = {
    "length and chunked": (400, head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    "chunked and length": (400, head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"0\r\n\r\n"),
    "two equal lengths": (400, head(b"Content-Length: 5", b"Content-Length: 5") + b"hello"),
    "two different lengths": (400, head(b"Content-Length: 0", b"Content-Length: 44")),
    "length as a list": (400, head(b"Content-Length: 5, 5") + b"hello"),
    "signed length": (400, head(b"Content-Length: +5") + b"hello"),
    "negative length": (400, head(b"Content-Length: -5") + b"hello"),
    "hexadecimal length": (400, head(b"Content-Length: 0x5") + b"hello"),
    "empty length": (400, head(b"Content-Length: ")),
    "length with a letter": (400, head(b"Content-Length: 5a") + b"hello"),
    "length with a space": (400, head(b"Content-Length: 1 0")),
    "length beyond 64 bits": (400, head(b"Content-Length: 18446744073709551621") + b"hello"),
    "length of eleven digits": (400, head(b"Content-Length: 10000000000")),
    "other digits": (400, head("Content-Length: \u0665".encode())),
    "gzip, chunked": (400, head(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
    "chunked, identity": (400, head(b"Transfer-Encoding: chunked, identity") + b"0\r\n\r\n"),
    "chunked twice in a line": (400, head(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n"),
    "chunked in two lines": (400, head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    "identity": (400, head(b"Transfer-Encoding: identity")),
    "unknown coding": (400, head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n"),
    "quoted coding": (400, head(b'Transfer-Encoding: "chunked"') + b"0\r\n\r\n"),
    "empty coding": (400, head(b"Transfer-Encoding: ")),
    "vertical tab before the coding": (400, head(b"Transfer-Encoding:\x0bchunked") + b"0\r\n\r\n"),
    "space before the colon": (400, head(b"Transfer-Encoding : chunked") + b"0\r\n\r\n"),
    "chunked in HTTP/1.0": (400, head(CHUNKED.rstrip(), start=b"POST /a HTTP/1.0") + b"0\r\n\r\n"),
    "folded header": (400, head(b"X-Long: a", b" b")),
    "folded coding": (400, head(b"Transfer-Encoding:", b" chunked") + b"0\r\n\r\n"),
    "header before any name": (400, head(b" X: 1", start=b"GET /a HTTP/1.1")),
    "bare line feed after a header": (400, b"GET /a HTTP/1.1\r\n" + HOST + b"X: a\n\r\n"),
    "bare line feed after the request line": (400, b"GET /a HTTP/1.1\n" + HOST + b"\r\n"),
    "bare carriage return in a value": (400, head(b"X: a\rContent-Length: 44")),
    "null in a value": (400, head(b"X: a\x00b")),
    "control byte in a value": (400, head(b"X: a\x01b")),
    "delete in a value": (400, head(b"X: a\x7fb")),
    "empty name": (400, head(b": a")),
    "no colon": (400, head(b"Content-Length 44")),
    "name with a letter beyond ASCII": (400, head(b"Content-Length\xa0: 44")),
    "name with a space": (400, head(b"Content Length: 44")),
    "name with a bracket": (400, head(b"X(y): 44")),
    "no host": (400, b"GET /a HTTP/1.1\r\n\r\n"),
    "no host in HTTP/1.0": (400, b"GET /a HTTP/1.0\r\n\r\n"),
    "two hosts": (400, head(b"Host: evil.test")),
    "host with a path": (400, b"GET /a HTTP/1.1\r\nHost: gateway.test/x\r\n\r\n"),
    "host with userinfo": (400, b"GET /a HTTP/1.1\r\nHost: a@gateway.test\r\n\r\n"),
    "empty host": (400, b"GET /a HTTP/1.1\r\nHost: \r\n\r\n"),
    "two authorizations": (400, head(b"Authorization: Bearer a", b"Authorization: Bearer b")),
    "two content types": (400, head(b"Content-Type: a/b", b"content-type: text/html")),
    "HTTP/2 preface": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/2.0": (400, b"GET /a HTTP/2.0\r\n" + HOST + b"\r\n"),
    "HTTP/0.9": (400, b"GET /a HTTP/0.9\r\n" + HOST + b"\r\n"),
    "HTTP/1.2": (400, b"GET /a HTTP/1.2\r\n" + HOST + b"\r\n"),
    "lower-case protocol": (400, b"GET /a http/1.1\r\n" + HOST + b"\r\n"),
    "another protocol": (400, b"GET /a ICE/1.1\r\n" + HOST + b"\r\n"),
    "space in the target": (400, b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "tab before the version": (400, b"GET /a\tHTTP/1.1\r\n" + HOST + b"\r\n"),
    "null in the target": (400, b"GET /a\x00b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "letters beyond ASCII in the target": (400, "GET /é HTTP/1.1\r\n".encode() + HOST + b"\r\n"),
    "fragment": (400, b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "another host's URL": (400, b"GET http://evil.test/a HTTP/1.1\r\n" + HOST + b"\r\n"),
    "asterisk": (400, b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n"),
    "no slash": (400, b"GET a HTTP/1.1\r\n" + HOST + b"\r\n"),
    "lower-case method": (400, b"get /a HTTP/1.1\r\n" + HOST + b"\r\n"),
    "unknown method": (400, b"SMUGGLE /a HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a TLS hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)),
    "CONNECT": (405, b"CONNECT gateway.test:443 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "TRACE": (405, b"TRACE /a HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a method of WebDAV": (405, b"PROPFIND /a HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a method of another protocol": (405, b"DESCRIBE /a RTSP/1.0\r\n" + HOST + b"\r\n"),
    "compressed body": (415, head(b"Content-Encoding: gzip", b"Content-Length: 5") + b"hello"),
    "other expectation": (417, head(b"Expect: 200-maybe", b"Content-Length: 5") + b"hello"),
    "websocket": (501, head(b"Connection: Upgrade", b"Upgrade: websocket", start=b"GET /a HTTP/1.1")),
    "101 headers": (431, head(*[b"X: y"] * 100)),
    "a head of more than 32 KiB": (431, head(b"X: " + b"y" * 33_000)),
    "an endless header": (431, head()[:-2] + b"X: " + b"y" * 200_000 + b"\r\n\r\n"),
    "an endless target": (431, b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
}

# Here a request has begun, so a handler is asked for the answer, and learns that there is no body.
REFUSED_BODIES = {
    "chunk size with a prefix": chunks(b"0x5\r\nhello\r\n0\r\n\r\n"),
    "negative chunk size": chunks(b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk size with an underscore": chunks(b"5_0\r\nhello"),
    "chunk size with a space": chunks(b"5 \r\nhello\r\n0\r\n\r\n"),
    "chunk size beyond 64 bits": chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    "no chunk size": chunks(b"\r\nhello\r\n0\r\n\r\n"),
    "bare line feed after a chunk size": chunks(b"5\nhello\r\n0\r\n\r\n"),
    "two carriage returns after a chunk size": chunks(b"5\r\r\nhello\r\n0\r\n\r\n"),
    "bare line feed in a chunk extension": chunks(b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    "line break in a quoted extension": chunks(b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n'),
    "chunk longer than its size": chunks(b"5\r\nhello!\r\n0\r\n\r\n"),
    "chunk shorter than its size": chunks(b"6\r\nhello\r\n0\r\n\r\n"),
    "bare line feed after a chunk": chunks(b"5\r\nhello\n0\r\n\r\n"),
    "bare line feeds at the end": chunks(b"5\r\nhello\r\n0\n\n"),
    "garbage behind the last chunk": chunks(b"5\r\nhello\r\n0\r\n\rX"),
    "length in a trailer": chunks(b"5\r\nhello\r\n0\r\nContent-Length: 44\r\n\r\n"),
    "an endless chunk extension": chunks(b"5;" + b"a" * 200_000 + b"\r\nhello\r\n0\r\n\r\n"),
    "endless trailers": chunks(b"0\r\n" + b"X: y\r\n" * 40_000 + b"\r\n"),
    "a body in crumbs": chunks(b"1\r\nx\r\n" * 5_000 + b"0\r\n\r\n"),
}

# What is allowed to look odd, and how it is read: method, path, body of every request.
ONE_READING = {
    "empty lines before a request": (b"\r\n\r\nGET /a HTTP/1.1\r\n" + HOST + b"\r\n", [("GET", "/a", b"")]),
    "two spaces": (b"GET  /a  HTTP/1.1\r\n" + HOST + b"\r\n", [("GET", "/a", b"")]),
    "padded length": (head(b"Content-Length:  5 \t") + b"hello", [("POST", "/a", b"hello")]),
    "length with zeros": (head(b"Content-Length: 0000000005") + b"hello", [("POST", "/a", b"hello")]),
    "a request as a body": (
        head(b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
        [("POST", "/a", SMUGGLED)],
    ),
    "a request as a GET's body": (
        head(b"Content-Length: %d" % len(SMUGGLED), start=b"GET /a HTTP/1.1") + SMUGGLED,
        [("GET", "/a", SMUGGLED)],
    ),
    "a request as a chunk": (
        chunks(b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)),
        [("POST", "/a", SMUGGLED)],
    ),
    "a request in an extension's quotes": (
        chunks(b'5;a="GET /x HTTP/1.1"\r\nhello\r\n0\r\n\r\n'),
        [("POST", "/a", b"hello")],
    ),
    "chunked in capitals": (
        head(b"TRANSFER-ENCODING: CHUNKED") + b"5\r\nhello\r\n0\r\n\r\n",
        [("POST", "/a", b"hello")],
    ),
    "leading zeros of a chunk size": (chunks(b"0005\r\nhello\r\n0\r\n\r\n"), [("POST", "/a", b"hello")]),
    "trailers": (chunks(b"5\r\nhello\r\n0\r\nHost: evil\r\nX: y\r\n\r\n"), [("POST", "/a", b"hello")]),
    "length with an underscore": (head(b"Content_Length: 44"), [("POST", "/a", b"")]),
    "coding with an underscore": (head(b"Transfer_Encoding: chunked"), [("POST", "/a", b"")]),
    "our own host's URL": (b"GET http://Gateway.test/a?b HTTP/1.1\r\n" + HOST + b"\r\n", [("GET", "/a", b"")]),
    "h2c is ignored": (
        head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"),
        [("POST", "/a", b"")],
    ),
    "h2c is ignored and its body is one": (
        head(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
        [("POST", "/a", SMUGGLED)],
    ),
    "h2c is ignored and its chunks are a body": (
        head(b"Connection: Upgrade", b"Upgrade: h2c", CHUNKED.rstrip())
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        [("POST", "/a", SMUGGLED)],
    ),
    "two User-Agents": (head(b"User-Agent: a", b"User-Agent: b"), [("POST", "/a", b"")]),
    "100 headers": (head(*[b"X: y"] * 99), [("POST", "/a", b"")]),
}


@pytest.mark.parametrize("name", REFUSED_HEADS)
async def test_a_bad_head_is_refused_and_nothing_behind_it_is_read(name: str) -> None:
    status, data = REFUSED_HEADS[name]
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(data + SMUGGLED)
        reply = await client.reply()
        assert (reply.status, reply.closes, await client.is_closed()) == (status, True, True)
    assert seen.inbounds == []


@pytest.mark.parametrize("name", REFUSED_BODIES)
async def test_a_bad_body_is_refused_and_nothing_behind_it_is_read(name: str) -> None:
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(REFUSED_BODIES[name] + SMUGGLED)
        reply = await client.reply()
        assert (reply.status, reply.closes, await client.is_closed()) == (400, True, True)
    assert seen.requests == []
    assert len(seen.inbounds) == 1


@pytest.mark.parametrize("name", ONE_READING)
@pytest.mark.parametrize("is_split", [False, True], ids=["at once", "byte by byte"])
async def test_an_odd_message_has_one_reading_and_the_next_request_is_read(name: str, *, is_split: bool) -> None:
    data, expected = ONE_READING[name]
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect()
        for piece in [data[i : i + 1] for i in range(len(data))] if is_split else [data]:
            client.send(piece)
        assert (await client.reply()).status == 200
        client.send(b"GET /next HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
        assert (await client.reply()).status == 200
        assert await client.is_closed()
    assert seen.requests == [*expected, ("GET", "/next", b"")]


@pytest.mark.parametrize(
    "last",
    [
        b"GET /a HTTP/1.1\r\nConnection: close\r\n",
        b"GET /a HTTP/1.0\r\n",
        b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n",
    ],
)
async def test_nothing_is_read_behind_a_last_request(last: bytes) -> None:
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(last + HOST + b"\r\n" + SMUGGLED)
        reply = await client.reply()
        assert (reply.status, reply.closes, await client.is_closed()) == (200, True, True)
    assert [path for _, path, _ in seen.requests] == ["/a"]


async def test_nothing_is_read_behind_a_last_request_that_offers_another_protocol() -> None:
    seen = Seen()
    offer = head(b"Connection: Upgrade, close", b"Upgrade: h2c", b"Content-Length: %d" % len(SMUGGLED))
    async with serving(seen.echo) as running:
        client = await running.connect(offer + SMUGGLED + SMUGGLED)
        reply = await client.reply()
        assert (reply.status, reply.closes, await client.is_closed()) == (200, True, True)
    assert seen.requests == [("POST", "/a", SMUGGLED)]


async def test_a_trailer_is_no_header_of_the_next_request() -> None:
    seen = Seen()
    async with serving(seen.echo) as running:
        client = await running.connect(chunks(b"0\r\nX-Admin: yes\r\n\r\n") + SMUGGLED)
        await client.reply()
        await client.reply()
    assert all(inbound.header(b"x-admin") is None for inbound in seen.inbounds)
