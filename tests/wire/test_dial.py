"""What ends a call before anything was sent: unreachable hosts, and addresses that are not allowed (S7)."""

import asyncio
import socket
from collections.abc import Sequence

import pytest

from penstock.core.call import FaultKind, UpstreamFault
from penstock.core.errors import AddressNotAllowed, ShuttingDown
from penstock.core.provider import Origin, Timeouts
from penstock.wire.upstream import Upstream
from tests.wire.raw_upstream import (
    OK,
    Clock,
    RawUpstream,
    Sink,
    answers,
    call,
    closing,
    outbound,
    until,
)


async def _refused(upstream: Upstream, origin: Origin, *, timeouts: Timeouts | None = None) -> UpstreamFault:
    sink = Sink()
    with pytest.raises(UpstreamFault) as caught:
        await upstream.send(outbound(origin, timeouts=timeouts), sink)
    assert not sink.is_ended
    assert not caught.value.fault.was_sent
    assert upstream.open_sockets == 0
    return caught.value


async def test_a_refused_connection_is_unreachable(upstream: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert (await _refused(upstream, Origin("http", "127.0.0.1", port))).fault.kind is FaultKind.UNREACHABLE


@pytest.mark.parametrize("addresses", [None, []], ids=["failure", "no address"])
async def test_a_name_that_does_not_resolve_is_unreachable(clock: Clock, addresses: list[str] | None) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        if addresses is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return addresses

    async with closing(Upstream(clock=clock, resolve=resolve)) as upstream:
        refused = await _refused(upstream, Origin("http", "nobody.test", 80))
        assert refused.fault.kind is FaultKind.UNREACHABLE


async def test_dialling_has_a_deadline_of_its_own(clock: Clock) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with closing(Upstream(clock=clock, resolve=resolve)) as upstream:
        origin = Origin("http", "slow.test", 80)
        dialling = asyncio.create_task(_refused(upstream, origin, timeouts=Timeouts(connect_s=5)))
        await until(lambda: upstream.open_sockets == 1)
        upstream.sweep(clock.now_s + 4.9)
        await asyncio.sleep(0)
        assert not dialling.done()
        upstream.sweep(clock.now_s + 5)
        await asyncio.sleep(0)
        upstream.sweep(clock.now_s + 5)
        assert (await dialling).fault.kind is FaultKind.CONNECT_TIMEOUT


async def test_close_does_not_wait_for_a_dial_that_hangs(clock: Clock) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with closing(Upstream(clock=clock, resolve=resolve)) as upstream:
        sending = asyncio.create_task(upstream.send(outbound(Origin("http", "slow.test", 80)), Sink()))
        await until(lambda: upstream.open_sockets == 1)
    with pytest.raises(ShuttingDown):
        await sending


async def test_the_next_address_is_tried_where_one_refuses(clock: Clock) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["::1", "127.0.0.1"]

    async with (
        closing(Upstream(clock=clock, resolve=resolve)) as upstream,
        RawUpstream(answers(OK)) as server,
    ):
        sink = await call(upstream, outbound(Origin("http", "two.test", server.origin.port)))
        assert sink.body == b"ok"


@pytest.mark.parametrize(
    ("addresses", "allow_private"),
    [
        (["127.0.0.1"], False),
        (["1.1.1.1", "127.0.0.1"], False),
        (["127.0.0.1", "1.1.1.1"], False),
        (["::ffff:127.0.0.1"], False),
        (["169.254.169.254"], True),
        (["127.0.0.1", "169.254.169.254"], True),
        (["not an address"], True),
    ],
)
async def test_one_address_that_is_not_allowed_refuses_the_name(
    clock: Clock, addresses: list[str], *, allow_private: bool
) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    async with (
        closing(Upstream(clock=clock, resolve=resolve)) as upstream,
        RawUpstream(answers(OK)) as server,
    ):
        origin = Origin("http", "rebound.test", server.origin.port)
        with pytest.raises(AddressNotAllowed):
            await upstream.send(outbound(origin, allow_private=allow_private), Sink())
        assert (server.peers, upstream.open_sockets) == ([], 0)


async def test_a_name_is_resolved_once_for_each_connection(clock: Clock) -> None:
    answered = [["127.0.0.1"], ["169.254.169.254"]]
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return answered[len(asked) - 1]

    async with (
        closing(Upstream(clock=clock, resolve=resolve)) as upstream,
        RawUpstream(answers(OK)) as server,
    ):
        origin = Origin("http", "rebound.test", server.origin.port)
        for _ in range(2):
            assert (await call(upstream, outbound(origin))).body == b"ok"
        assert len(asked) == 1
        server.peers[0].end()
        await until(lambda: upstream.open_sockets == 0)
        with pytest.raises(AddressNotAllowed):
            await upstream.send(outbound(origin), Sink())
        assert len(server.peers) == 1


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "017700000001", "127.1", "0", "LOCALHOST", "a b"])
async def test_a_numeric_host_never_reaches_the_resolver(clock: Clock, host: str) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        pytest.fail("asked")

    async with closing(Upstream(clock=clock, resolve=resolve)) as upstream:
        with pytest.raises(AddressNotAllowed):
            await upstream.send(outbound(Origin("http", host, 80)), Sink())
