"""Own TLS: the same server behind a certificate, where a connection has no half that can be closed alone."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from penstock.core.call import Inbound, Reply
from penstock.wire.server import Server
from tests.wire.authority import Authority
from tests.wire.raw_client import GET, HOST, Clock, RawClient, Running, Seen, pass_until, refuse, serving, settled


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def serving_tls(seen: Seen, authority: Authority) -> AsyncIterator[Running]:
    clock = Clock()
    server = Server(seen.echo, refuse=refuse, now_s=clock)
    await server.start("127.0.0.1", 0, tls=authority.server_context("gateway.test"))
    running = Running(server, clock)
    try:
        yield running
    finally:
        for client in running.clients:
            client.close()
        await pass_until(running, server.drain(0))


async def connect(running: Running, authority: Authority) -> RawClient:
    trusting = ssl.create_default_context(cafile=authority.ca_file)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", running.server.port, ssl=trusting, server_hostname="gateway.test"
    )
    running.clients.append(RawClient(reader, writer))
    return running.clients[-1]


async def test_requests_over_tls_are_confidential_and_of_that_scheme(authority: Authority) -> None:
    seen = Seen()
    async with serving_tls(seen, authority) as running:
        client = await connect(running, authority)
        client.send(GET + b"POST /b HTTP/1.1\r\n" + HOST + b"Content-Length: 200000\r\n\r\n" + bytes(200_000))
        assert [(await client.reply()).status for _ in range(2)] == [200, 200]
    assert [len(body) for _, _, body in seen.requests] == [0, 200_000]
    assert (seen.inbounds[0].scheme, seen.inbounds[0].is_confidential) == ("https", True)


async def test_a_refusal_over_tls_arrives_and_ends_the_connection(authority: Authority) -> None:
    seen = Seen()
    async with serving_tls(seen, authority) as running:
        client = await connect(running, authority)
        client.send(b"TRACE /a HTTP/1.1\r\n" + HOST + b"\r\n" + GET)
        assert (await client.reply()).status == 405
        assert await client.is_closed()
    assert seen.inbounds == []


async def test_a_failed_handshake_concerns_nobody_else(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    seen = Seen()
    async with serving_tls(seen, authority) as running:
        plain = await running.connect(GET)
        await plain.rest()
        client = await connect(running, authority)
        client.send(GET)
        assert (await client.reply()).status == 200
    assert len(seen.inbounds) == 1


async def test_a_client_that_never_shakes_hands_holds_up_no_drain(authority: Authority) -> None:
    async with serving_tls(Seen(), authority) as running:
        await running.connect()
        await settled()


async def test_a_peer_that_speaks_tls_to_a_plain_port_is_refused(authority: Authority) -> None:
    async def handler(_inbound: Inbound, _reply: Reply) -> None:
        raise AssertionError

    async with serving(handler) as running:
        with pytest.raises(ssl.SSLError):
            await connect(running, authority)
