"""Which addresses we may connect to, decided on the address itself and never on the name that led to it.

A public address is one that a stranger on the internet could have; all others need ``allow_private``. A cloud's
metadata service hands out credentials to whoever reaches it, so its addresses are refused always. An IPv6 address that
carries an IPv4 address is judged by what it carries (reliability.md 4.12).
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from penstock.core.errors import AddressNotAllowed

Address = IPv4Address | IPv6Address


def _v4(*nets: str) -> tuple[IPv4Network, ...]:
    return tuple(map(IPv4Network, nets))


def _v6(*nets: str) -> tuple[IPv6Network, ...]:
    return tuple(map(IPv6Network, nets))


# What IANA keeps for private, local, documentation, benchmark, relay and reserved use.
_CLOSED_V4 = (
    *_v4("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *_v4("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
    *_v4("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
)
# Only 2000::/3 is handed out to the public, so the local and multicast ranges beyond it need no row here. The tunnels
# (Teredo in 2001::/23, 6to4 in 2002::/16) are refused whole: nobody serves an API through them.
_GLOBAL_V6 = IPv6Network("2000::/3")
_CLOSED_V6 = _v6("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")

# Link-local whole, then what single clouds use beside it: Alibaba, Oracle, Azure; Amazon, Google. A network's own NAT64
# prefix (64:ff9b:1::/48) may hide any IPv4 address anywhere in it.
_METADATA_V4 = _v4("169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32")
_METADATA_V6 = _v6("fe80::/10", "fd00:ec2::/32", "fd20:ce::254/128", "64:ff9b:1::/48")

# Where the last 32 bits are an IPv4 address: NAT64, compatible, mapped, translated.
_NAT64 = IPv6Network("64:ff9b::/96")
_CARRIERS = (_NAT64, *_v6("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96"))

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HOST_BYTES_MAX = 253
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def is_public(ip: str) -> bool:
    """Whether an address belongs to the public internet; False also for what is no address."""
    address = _find_address(ip)
    return address is not None and _is_global(address) and not _is_metadata(address)


def is_metadata(ip: str) -> bool:
    """Whether a cloud's metadata service may answer at an address, also through an address that carries it."""
    address = _find_address(ip)
    return address is not None and _is_metadata(address)


def may_connect(ip: str, *, allow_private: bool) -> bool:
    """The whole rule: public, or private where that is allowed, and metadata never."""
    address = _find_address(ip)
    if address is None or _is_metadata(address):
        return False
    return allow_private or _is_global(address)


def check_host(host: str) -> None:
    """Raise AddressNotAllowed unless this is a plain host name, a dotted quad or an IPv6 literal without brackets.

    The resolver would turn ``0x7f.1``, ``2130706433``, ``017700000001``, ``127.1`` and ``0`` into addresses; a name
    whose last label is a number is refused, as browsers do (WHATWG URL, "ends in a number").
    """
    if not (_is_literal(host) or _is_name(host)):
        raise AddressNotAllowed("The provider's host is not a plain host name.")


def _is_literal(host: str) -> bool:
    return "%" not in host and _find_address(host) is not None


def _is_name(host: str) -> bool:
    if len(host) > _HOST_BYTES_MAX or _HOST_NAME.fullmatch(host) is None:
        return False
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is None


def _is_global(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in net for net in _CLOSED_V4)
    if address.ipv4_mapped is not None:
        return _is_global(address.ipv4_mapped)
    if address in _NAT64:
        return _is_global(_last_32_bits(address))
    return address in _GLOBAL_V6 and not any(address in net for net in _CLOSED_V6)


def _is_metadata(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in net for net in _METADATA_V4)
    return any(address in net for net in _METADATA_V6) or any(map(_is_metadata, _carried(address)))


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    if any(address in net for net in _CARRIERS):
        yield _last_32_bits(address)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def _last_32_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def _find_address(ip: str) -> Address | None:
    try:
        return ip_address(ip)
    except ValueError:
        return None
