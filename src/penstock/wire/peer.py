"""Who is at the other end: the client's address, and whether a credential was safe on its way here.

Only a proxy that the operator trusts may speak for somebody else (reliability.md 4.13). What it forwards is as safe as
that one's connection to the proxy, even if the proxy itself runs on this machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def takes_no_slashes(_prefix: str) -> bool:
    """No route has a parameter with slashes."""
    return False


@dataclass(frozen=True, slots=True)
class GuardRules:
    """What an operator decides about requests.

    ``hosts`` are the host names that we answer to, lower case, without port, an IPv6 address in brackets; empty: any.
    ``takes_slashes`` is asked with the path before the first ``//`` or ``%2f`` whether that is in a route's last
    parameter, which may hold them.
    """

    trusted_proxies: tuple[Network, ...] = ()
    allow_plain_http: bool = False
    hosts: frozenset[str] = frozenset()
    takes_slashes: Callable[[str], bool] = takes_no_slashes


@dataclass(frozen=True, slots=True)
class Peer:
    """Who holds the other end of a connection; judged once, when it is made."""

    address: str
    is_loopback: bool = False
    is_trusted: bool = False
    is_tls: bool = False


class Whence(msgspec.Struct, frozen=True):
    """Where a request comes from. ``is_confidential``: a credential was safe on its way."""

    client: str
    scheme: str
    is_confidential: bool


def judge_peer(address: str, rules: GuardRules, *, is_tls: bool) -> Peer:
    """Whether an address is our own machine or a trusted proxy; one that cannot be read is neither."""
    parsed = _find_address(address)
    if parsed is None:
        return Peer(address, is_tls=is_tls)
    return Peer(str(parsed), parsed.is_loopback, _is_trusted(parsed, rules), is_tls)


def judge_request(peer: Peer, rules: GuardRules, forwarded_for: bytes | None, forwarded_proto: bytes | None) -> Whence:
    """Where a request comes from; the values of the two headers are None unless a trusted proxy has sent them."""
    if forwarded_for is None and forwarded_proto is None:
        is_safe = peer.is_tls or peer.is_loopback or rules.allow_plain_http
        return Whence(peer.address, "https" if peer.is_tls else "http", is_safe)
    protos = {proto.strip().lower() for proto in (forwarded_proto or b"").split(b",")}
    is_https = protos == {b"https"}
    client = _rightmost_untrusted(forwarded_for or b"", peer, rules)
    return Whence(client, "https" if is_https else "http", is_https or rules.allow_plain_http)


def _rightmost_untrusted(forwarded_for: bytes, peer: Peer, rules: GuardRules) -> str:
    """Each proxy adds on the right whom it heard from; what stands left of the first stranger is hearsay."""
    nearest = peer.address
    for hop in reversed(forwarded_for.decode("latin-1").split(",")):
        address = _find_address(_without_port(hop.strip()))
        if address is None:
            break
        nearest = str(address)
        if not _is_trusted(address, rules):
            break
    return nearest


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _find_address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_trusted(address: Address, rules: GuardRules) -> bool:
    return any(address in network for network in rules.trusted_proxies)
