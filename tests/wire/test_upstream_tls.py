"""TLS towards a provider: the certificate and the name are checked, and an end without a goodbye is no end."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from penstock.core.call import FaultKind, UpstreamFault
from penstock.core.provider import Origin, Timeouts
from penstock.wire.dial import tls_context
from penstock.wire.upstream import Upstream
from tests.wire.authority import Authority
from tests.wire.raw_upstream import (
    LARGE,
    OK,
    Clock,
    Peer,
    RawUpstream,
    Sink,
    answers,
    call,
    closing,
    local_resolve,
    outbound,
    silent,
    until,
)

UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def upstream(clock: Clock, authority: Authority) -> AsyncIterator[Upstream]:
    tls = tls_context(authority.ca_file)
    async with closing(Upstream(clock=clock, resolve=local_resolve, ssl_context=tls)) as made:
        yield made


async def test_calls_share_a_connection_under_the_name_of_the_host(upstream: Upstream, authority: Authority) -> None:
    names: list[str | None] = []
    context = authority.server_context("provider.test")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with RawUpstream(answers(OK), context) as server:
        for _ in range(3):
            sink = await call(upstream, outbound(server.origin))
            assert (sink.status, sink.body, sink.fault) == (200, b"ok", None)
        assert names == ["provider.test"]
        assert server.peers[0].writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        assert (upstream.open_sockets, upstream.idle_connections) == (1, 1)


async def _unreachable(upstream: Upstream, origin: Origin) -> str:
    with pytest.raises(UpstreamFault) as caught:
        await upstream.send(outbound(origin), Sink())
    fault = caught.value.fault
    assert (fault.kind, fault.was_sent) == (FaultKind.UNREACHABLE, False)
    await until(lambda: upstream.open_sockets == 0)
    return fault.detail


async def test_a_certificate_for_another_name_is_refused(upstream: Upstream, authority: Authority) -> None:
    async with RawUpstream(answers(OK), authority.server_context("other.test")) as server:
        assert "CERTIFICATE_VERIFY_FAILED" in await _unreachable(upstream, server.origin)
        assert server.requests == []


async def test_an_expired_certificate_is_refused(upstream: Upstream, authority: Authority) -> None:
    async with RawUpstream(answers(OK), authority.server_context("provider.test", is_expired=True)) as server:
        assert "expired" in await _unreachable(upstream, server.origin)


async def test_an_unknown_authority_is_refused(clock: Clock, authority: Authority) -> None:
    async with (
        closing(Upstream(clock=clock, resolve=local_resolve)) as upstream,
        RawUpstream(answers(OK), authority.server_context("provider.test")) as server,
    ):
        assert "CERTIFICATE_VERIFY_FAILED" in await _unreachable(upstream, server.origin)


async def test_https_never_falls_back_to_plain_http(upstream: Upstream) -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.write(OK)

    async with RawUpstream(plain) as server:
        await _unreachable(upstream, Origin("https", "provider.test", server.origin.port))


def test_old_versions_and_unchecked_names_are_off() -> None:
    context = tls_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_a_handshake_that_hangs_has_the_deadline_of_the_dial(upstream: Upstream, clock: Clock) -> None:
    is_left = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.read()
        is_left.set()

    async with RawUpstream(script) as server:
        origin = Origin("https", "provider.test", server.origin.port)
        dialling = asyncio.create_task(upstream.send(outbound(origin, timeouts=Timeouts(connect_s=5)), Sink()))
        await until(lambda: server.peers)
        upstream.sweep(clock.now_s + 5)
        with pytest.raises(UpstreamFault) as caught:
            await dialling
        assert (caught.value.fault.kind, caught.value.fault.was_sent) == (FaultKind.CONNECT_TIMEOUT, False)
        await until(is_left.is_set)


async def test_a_goodbye_ends_a_body_without_length(upstream: Upstream, authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(UNTIL_CLOSE)
        peer.end()

    async with RawUpstream(script, authority.server_context("provider.test")) as server:
        sink = await call(upstream, outbound(server.origin))
    assert (sink.body, sink.fault) == (b"hello", None)


# Plain asyncio reports the end of the socket as a goodbye.
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_without_a_goodbye_the_body_is_truncated(upstream: Upstream, authority: Authority) -> None:
    has_arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(UNTIL_CLOSE)
        await has_arrived.wait()
        peer.writer.transport.abort()

    async with RawUpstream(script, authority.server_context("provider.test")) as server:
        sink = Sink()
        await upstream.send(outbound(server.origin), sink)
        await sink.until(lambda: sink.body == b"hello")
        has_arrived.set()
        await sink.ended()
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.TRUNCATED, True)


async def test_a_large_request_goes_up_whole(upstream: Upstream, authority: Authority) -> None:
    async with RawUpstream(answers(OK), authority.server_context("provider.test")) as server:
        sink = await call(upstream, outbound(server.origin, body=LARGE))
        assert (sink.body, sink.fault) == (b"ok", None)
        assert server.requests[0].endswith(b"\r\n\r\n" + LARGE)
        assert upstream.idle_connections == 1


@pytest.mark.parametrize(("body", "was_sent"), [(b"{}", True), (LARGE, False)], ids=["small", "large"])
async def test_what_waits_in_our_buffers_was_not_sent(
    upstream: Upstream, authority: Authority, body: bytes, *, was_sent: bool
) -> None:
    async def unread(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads

    async with RawUpstream(silent if was_sent else unread, authority.server_context("provider.test")) as server:
        sink = Sink()
        exchange = await upstream.send(outbound(server.origin, body=body), sink)
        await until(lambda: server.peers)
        exchange.cancel()
        assert sink.fault is not None
        assert (sink.fault.kind, sink.fault.was_sent) == (FaultKind.CANCELLED, was_sent)
        await until(lambda: upstream.open_sockets == 0)


async def test_back_pressure_reaches_through_tls(upstream: Upstream, authority: Authority) -> None:
    piece, count = bytes(64_000), 200
    written = []

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(piece) * count))
        for _ in range(count):
            await peer.write(piece)
            written.append(piece)

    async with RawUpstream(script, authority.server_context("provider.test")) as server:
        sink = Sink()
        exchange = await upstream.send(outbound(server.origin), sink)
        await sink.until(lambda: sink.pieces)
        exchange.pause()
        held = len(sink.body)
        for _ in range(500):
            await asyncio.sleep(0)
        assert len(sink.body) == held
        assert len(written) < count
        exchange.resume()
        await sink.ended()
        assert (len(sink.body), sink.fault) == (len(piece) * count, None)
