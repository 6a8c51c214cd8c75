"""Opens sockets to providers, and is the only place that does (reliability.md 4.12).

A name is resolved once; if one of its addresses is not allowed, none is used. We connect to an address that we checked,
never to the name again, and look once more at who answered before the first byte is sent.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from penstock.core.addresses import check_host, may_connect
from penstock.core.errors import AddressNotAllowed
from penstock.core.provider import Origin

# (host, port) -> addresses as text, best first. Raises OSError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificate and name checked; ``ca_file`` replaces the system's authorities."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


async def dial(origin: Origin, resolve: Resolve, *, allow_private: bool) -> socket.socket:
    """A connected socket to an allowed address of the origin. Raises AddressNotAllowed and OSError."""
    check_host(origin.host)
    addresses = await resolve(origin.host, origin.port)
    if not all(may_connect(address, allow_private=allow_private) for address in addresses):
        raise _not_allowed()
    error = OSError("the name has no address")
    for address in addresses:
        try:
            return await _connect(address, origin.port, allow_private=allow_private)
        except OSError as failure:
            error = failure
    raise error


async def _connect(address: str, port: int, *, allow_private: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connected, (address, port))
        if not may_connect(connected.getpeername()[0], allow_private=allow_private):
            raise _not_allowed()
    except BaseException:
        connected.close()
        raise
    return connected


def _not_allowed() -> AddressNotAllowed:
    return AddressNotAllowed("The provider's host leads to an address that is not allowed.")
