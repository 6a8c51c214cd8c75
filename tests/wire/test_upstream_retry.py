"""One request causes at most one attempt that could have been billed (M10): when a request is sent again."""

import pytest

from penstock.core.call import FaultKind
from penstock.wire.exchange import may_retry
from penstock.wire.upstream import Upstream
from tests.wire.raw_upstream import LARGE, OK, Peer, RawUpstream, Script, Sink, call, outbound


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("is_reused", [True, False])
@pytest.mark.parametrize("has_answer", [True, False])
@pytest.mark.parametrize("was_sent", [True, False])
def test_only_what_cannot_have_been_billed_is_sent_again(
    *, method: str, is_reused: bool, has_answer: bool, was_sent: bool
) -> None:
    allowed = is_reused and not has_answer and (method in {"GET", "HEAD"} or not was_sent)
    assert may_retry(method, is_reused=is_reused, has_answer=has_answer, was_sent=was_sent) is allowed


def _closing_at_reuse(server: list[RawUpstream], *, survivors: int = 99) -> Script:
    """Each connection answers once and ends at its second request; from ``survivors`` on they end at their first."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if server[0].peers.index(peer) >= survivors:
            peer.end()
            return
        await peer.write(OK)
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.requests.append(b"again")
        peer.reset()

    return script


async def _call_twice(upstream: Upstream, *, method: str, body: bytes, survivors: int = 99) -> tuple[Sink, int]:
    servers: list[RawUpstream] = []
    async with RawUpstream(_closing_at_reuse(servers, survivors=survivors)) as server:
        servers.append(server)
        assert (await call(upstream, outbound(server.origin, method=method))).fault is None
        sink = await call(upstream, outbound(server.origin, method=method, body=body))
        return sink, len(server.peers)


async def test_a_sent_post_is_not_sent_again(upstream: Upstream) -> None:
    sink, connections = await _call_twice(upstream, method="POST", body=b"{}")
    assert sink.fault is not None
    assert (sink.fault.kind, sink.fault.was_sent, connections) == (FaultKind.LOST, True, 1)


async def test_a_post_that_did_not_leave_us_is_sent_again(upstream: Upstream) -> None:
    sink, connections = await _call_twice(upstream, method="POST", body=LARGE)
    assert (sink.fault, sink.body, connections) == (None, b"ok", 2)


async def test_a_get_is_sent_again(upstream: Upstream) -> None:
    sink, connections = await _call_twice(upstream, method="GET", body=b"")
    assert (sink.fault, sink.body, connections) == (None, b"ok", 2)


async def test_nothing_is_sent_a_third_time(upstream: Upstream) -> None:
    sink, connections = await _call_twice(upstream, method="GET", body=b"", survivors=1)
    assert sink.fault is not None
    assert (sink.fault.kind, connections) == (FaultKind.LOST, 2)
