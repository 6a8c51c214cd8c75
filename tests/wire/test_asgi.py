"""ASGI apps behind the bridge: by hand over a real socket, and Starlette, which is what the pages are made of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from penstock.core.errors import GatewayError
from penstock.wire.asgi import AsgiBridge
from penstock.wire.lifespan import AsgiApp, Message, Receive, Send
from tests.exchange import MemoryReply, request
from tests.wire.raw_client import GET, HOST, Clock, RawReply, serving, settled, until


async def ask(app: AsgiApp, data: bytes, method: str = "GET") -> RawReply:
    async with serving(AsgiBridge(app, body_bytes_max=1000)) as running:
        client = await running.connect(data)
        reply = await client.reply(method)
        client.send(GET)
        assert reply.closes or (await client.reply()).status
        return reply


async def echo(request: Request) -> Response:
    body = await request.body()
    return JSONResponse({
        "method": request.method,
        "path": request.scope["path"],
        "raw_path": request.scope["raw_path"].decode(),
        "query": request.url.query,
        "root_path": request.scope["root_path"],
        "scheme": request.url.scheme,
        "client": request.scope["client"],
        "server": request.scope["server"],
        "agent": request.headers["user-agent"],
        "body": body.decode(),
        "name": request.path_params.get("name"),
    })  # fmt: skip


async def stream(_request: Request) -> Response:
    async def pieces() -> AsyncIterator[str]:
        for n in range(3):
            yield f"data: {n}\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


PAGES = Starlette(
    routes=[
        Route("/echo/{name:path}", echo, methods=["GET", "POST"]),
        Route("/stream", stream),
        Route("/go", lambda _: RedirectResponse("/echo/a")),
        Route("/none", lambda _: Response(status_code=204)),
        Route("/framed", lambda _: PlainTextResponse("a", headers={"connection": "x", "date": "x", "server": "x"})),
        Route("/broken", lambda _: 1 / 0),
    ]
)


async def test_a_page_learns_what_was_asked_and_from_where() -> None:
    reply = await ask(
        PAGES,
        b"POST /echo/a%20%c3%a9?q=%20x HTTP/1.1\r\nHost: gateway.test:8787\r\nUser-Agent: me\r\n"
        b"Content-Length: 5\r\n\r\nhello",
    )
    assert reply.headers["content-type"] == "application/json"
    assert reply.body.decode() == (
        '{"method":"POST","path":"/echo/a é","raw_path":"/echo/a%20%c3%a9","query":"q=%20x","root_path":"",'
        '"scheme":"http","client":["127.0.0.1",0],"server":["gateway.test",8787],"agent":"me","body":"hello",'
        '"name":"a é"}'
    )


@pytest.mark.parametrize(
    ("host", "server"),
    [("a", ("a", None)), ("a:80", ("a", 80)), ("[::1]", ("[::1]", None)), ("[::1]:80", ("[::1]", 80))],
)
async def test_a_page_learns_the_host(host: str, server: tuple[str, int | None]) -> None:
    scopes: list[Message] = []

    async def app(scope: Message, _receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    await ask(app, b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n")
    assert scopes[0]["server"] == server


async def test_a_page_may_redirect_say_nothing_and_be_missing() -> None:
    assert (await ask(PAGES, b"GET /go HTTP/1.1\r\n" + HOST + b"\r\n")).headers["location"] == "/echo/a"
    assert (await ask(PAGES, b"GET /none HTTP/1.1\r\n" + HOST + b"\r\n")).status == 204
    assert (await ask(PAGES, b"GET /missing HTTP/1.1\r\n" + HOST + b"\r\n")).status == 404


async def test_a_stream_is_chunked() -> None:
    reply = await ask(PAGES, b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (reply.headers["transfer-encoding"], reply.is_whole) == ("chunked", True)
    assert reply.body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_head_has_the_headers_and_no_body() -> None:
    get = await ask(PAGES, b"GET /framed HTTP/1.1\r\n" + HOST + b"\r\n")
    head = await ask(PAGES, b"HEAD /framed HTTP/1.1\r\n" + HOST + b"\r\n", "HEAD")
    assert (get.headers["content-length"], get.body) == ("1", b"a")
    assert head.headers.keys() == get.headers.keys()


async def test_what_an_app_says_about_framing_is_ours_to_say() -> None:
    reply = await ask(PAGES, b"GET /framed HTTP/1.1\r\n" + HOST + b"\r\n")
    assert "server" not in reply.headers
    assert "connection" not in reply.headers
    assert reply.headers["date"] != "x"


async def test_a_page_that_fails_is_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    assert (await ask(PAGES, b"GET /broken HTTP/1.1\r\n" + HOST + b"\r\n")).status == 500
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("length", [1001, 5_000_000])
async def test_a_body_beyond_the_limit_is_refused_by_us(length: int) -> None:
    reply = await ask(PAGES, b"POST /echo/a HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (HOST, length) + bytes(length))
    assert (reply.status, reply.body, reply.closes) == (413, b"body_too_large /echo/a", True)


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.body"}],
        [{"type": "http.response.start", "status": "200"}],
        [{"type": "http.response.start", "status": 200, "headers": 7}],
        [{"type": "http.response.start", "status": 200, "headers": [("a", "b")]}],
        [{"type": "websocket.accept"}],
        [],
    ],
)
async def test_an_app_that_breaks_the_protocol_is_answered_for(
    messages: list[Message], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    assert (await ask(app, GET)).status == 500
    assert "a handler failed" in caplog.text


async def test_an_app_waits_for_a_slow_client_and_is_not_stopped_for_it() -> None:
    sent, bridge_clock = [0], Clock()

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": bytes(200_000), "more_body": True})
            sent[0] += 1
        await send({"type": "http.response.body", "body": b""})

    bridge = AsgiBridge(app, now_s=bridge_clock)
    async with serving(bridge) as running:
        client = await running.connect()
        client.stop_reading()
        client.send(GET)
        await until(lambda: sent[0])
        await settled()
        assert sent[0] < 100
        bridge_clock.now_s += 61
        bridge.sweep(bridge_clock())
        await settled()
        client.read_on()
        assert (await client.reply()).is_whole


async def test_an_app_learns_that_its_client_has_left() -> None:
    learned: list[str] = []

    async def app(_scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        learned.append(str((await receive())["type"]))
        try:
            await send({"type": "http.response.body", "body": b"b"})
        except OSError:
            learned.append("error")
            raise

    async with serving(AsgiBridge(app)) as running:
        client = await running.connect(GET)
        await client.until(b"\r\na\r\n")
        client.reset()
        await until(lambda: len(learned) == 2)
    assert learned == ["http.disconnect", "error"]


async def test_an_app_that_has_answered_is_disconnected() -> None:
    learned: list[str] = []

    async def app(_scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"0")]})
        await send({"type": "http.response.body"})
        learned.append(str((await receive())["type"]))

    await ask(app, GET)
    assert learned[0] == "http.disconnect"


async def test_a_client_that_leaves_amid_its_body_is_no_request() -> None:
    learned: list[object] = []

    async def app(_scope: Message, receive: Receive, _send: Send) -> None:
        try:
            learned.append((await receive())["type"])
        except GatewayError as error:
            learned.append(error.code)
            raise

    async with serving(AsgiBridge(app)) as running:
        client = await running.connect(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nhello")
        await until(lambda: running.server.body_bytes_held)
        await settled()
        client.reset()
        await until(lambda: learned)
    assert learned == ["bad_request"]


@pytest.mark.parametrize("has_begun", [False, True])
async def test_an_app_without_progress_is_stopped(*, has_begun: bool) -> None:
    clock = Clock()

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        if has_begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await asyncio.Event().wait()

    bridge = AsgiBridge(app, now_s=clock)
    async with serving(bridge) as running:
        client = await running.connect(GET)
        await settled()
        clock.now_s += 59.9
        bridge.sweep(clock())
        await settled()
        clock.now_s += 0.2
        bridge.sweep(clock())
        reply = await client.reply()
        expected = (200, b"a", False) if has_begun else (500, b"internal_error /a", True)
        assert (reply.status, reply.body, reply.is_whole) == expected


async def test_a_shutdown_is_no_lack_of_progress() -> None:
    clock = Clock()

    async def app(_scope: Message, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    bridge = AsgiBridge(app, now_s=clock)
    task = asyncio.ensure_future(bridge(request(), MemoryReply()))
    await settled()
    clock.now_s += 61
    bridge.sweep(clock())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_progress_gives_an_app_more_time() -> None:
    clock, may_go_on = Clock(), [asyncio.Event(), asyncio.Event()]

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for event in may_go_on:
            await event.wait()
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body"})

    bridge = AsgiBridge(app, now_s=clock)
    async with serving(bridge) as running:
        client = await running.connect(GET)
        for event in may_go_on:
            await settled()
            clock.now_s += 59
            bridge.sweep(clock())
            event.set()
        assert (await client.reply()).body == b"aa"


async def test_a_reply_in_memory_does_as_well() -> None:
    reply = MemoryReply()
    await AsgiBridge(PAGES)(request(path="/framed"), reply)
    assert (reply.status, reply.body, reply.length) == (200, b"a", 1)


async def test_an_app_starts_before_and_stops_after_its_requests() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, str]]:
        events.append("start")
        yield {"shared": "value"}
        events.append("stop")

    def page(request: Request) -> Response:
        return PlainTextResponse(request.state.shared)

    bridge = AsgiBridge(Starlette(routes=[Route("/", page)], lifespan=lifespan))
    await bridge.start()
    reply = MemoryReply()
    await bridge(request(path="/"), reply)
    assert (reply.body, events) == (b"value", ["start"])
    await bridge.stop()
    assert events == ["start", "stop"]


async def test_an_app_that_cannot_start_says_why() -> None:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        raise LookupError("no templates")
        yield

    with pytest.raises(RuntimeError, match="no templates"):
        await AsgiBridge(Starlette(lifespan=lifespan)).start()


async def test_an_app_that_cannot_stop_says_why() -> None:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        raise LookupError("still busy")

    bridge = AsgiBridge(Starlette(lifespan=lifespan))
    await bridge.start()
    with pytest.raises(RuntimeError, match="still busy"):
        await bridge.stop()


async def test_an_app_without_a_lifespan_starts_and_stops() -> None:
    async def app(_scope: Message, _receive: Receive, _send: Send) -> None:
        return

    bridge = AsgiBridge(app)
    await bridge.stop()
    await bridge.start()
    await bridge.stop()


async def test_an_app_that_raises_at_its_start_is_heard() -> None:
    async def app(_scope: Message, _receive: Receive, _send: Send) -> None:
        raise LookupError("nothing here")

    with pytest.raises(LookupError):
        await AsgiBridge(app).start()
