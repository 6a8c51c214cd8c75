"""From what is written to what it means: addresses, networks, policies with their limits, and defaults that depend.

Every refusal names the place, the key and what is allowed there.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from penstock.core.limits import ADMIN_POLICY, NOTHING_POLICY, Policy, parse_limit
from penstock.core.provider import Origin
from penstock.settings.merge import Merged, refusal
from penstock.settings.schema import Found, PolicySection
from penstock.settings.values import Address

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<host>[a-z0-9.-]+)):(?P<port>\d{1,5})", re.IGNORECASE)
_EMAIL = re.compile(r"[^@\s,*]+@[^@\s,*]+")
_HOST = re.compile(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*")
_POLICY_NAMES_TAKEN = {ADMIN_POLICY.name, NOTHING_POLICY.name}


def listen_address(merged: Merged) -> Address:
    """``HOST:PORT``; a name is kept as it is."""
    match = _ADDRESS.fullmatch(merged.written.listen)
    if match is None or int(match["port"]) > 65535:
        raise refusal(merged.at("listen"))
    return Address(match["six"] or match["host"], int(match["port"]))


def public_url(merged: Merged, listen: Address) -> str:
    """Without a slash at its end; by default, where we listen, or this machine where we listen everywhere."""
    if merged.written.public_url is None:
        return f"http://{Address('127.0.0.1', listen.port) if _is_anywhere(listen.host) else listen}"
    origin, path = parse_url(merged.written.public_url, merged.at("public_url"))
    return f"{origin}{path}"


def parse_url(url: str, found: Found) -> tuple[Origin, str]:
    """An http or https URL as its origin and its path without a slash at the end."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    except (ValueError, KeyError) as exc:
        raise refusal(found) from exc
    host = (parts.hostname or "").lower()
    is_plain = "@" not in parts.netloc and not any(sign in url for sign in "?#\\ ")
    if not is_plain or not _NAME.fullmatch(host) or not url.isascii():
        raise refusal(found)
    return Origin(parts.scheme, host, port), parts.path.rstrip("/")


def networks(merged: Merged) -> tuple[IPv4Network | IPv6Network, ...]:
    """Whose ``X-Forwarded-*`` headers count."""
    try:
        return tuple(ip_network(text) for text in merged.written.trusted_proxies)
    except ValueError as exc:
        raise merged.at("trusted_proxies").error(f"must be a list of addresses or networks: {exc}") from exc


def admins(merged: Merged) -> tuple[str, ...]:
    """E-mail addresses in lower case."""
    return tuple(_all(merged.written.admins, _is_email, merged.at("admins")))


def hosts(merged: Merged) -> tuple[str, ...]:
    """Which hosts are answered, by the Host header without its port; none means any."""
    return tuple(_all(merged.written.hosts, _is_host, merged.at("hosts")))


def private_hosts(merged: Merged) -> tuple[str, ...]:
    """Which provider hosts, beside those of the file, may resolve to a private address."""
    return tuple(_all(merged.written.allow_private, _is_name, merged.at("allow_private")))


def drain_delay_s(merged: Merged, listen: Address) -> float:
    """Load balancers need a moment to see that we go; nothing but a shell stands in front of loopback."""
    written = merged.written.drain_delay_s
    if written is not None:
        return written
    return 0.0 if is_loopback(listen.host) else 5.0


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_anywhere(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def database_url(merged: Merged) -> str:
    """By default a file in the data folder."""
    return merged.written.database_url or f"sqlite:///{Path(merged.written.data_dir) / 'penstock.db'}"


def policies(merged: Merged) -> tuple[Policy, ...]:
    """In the order in which they are written."""
    return tuple(_policy(name, section, merged) for name, section in merged.written.policies.items())


def _policy(name: str, section: PolicySection, merged: Merged) -> Policy:
    if name in _POLICY_NAMES_TAKEN:
        raise merged.at("policies", name).error(f"must have another name: {name!r} is built in")
    found = merged.at("policies", name, "limits")
    try:
        limits = tuple(parse_limit(text) for text in section.limits)
    except ValueError as exc:
        raise found.error(f"must be limits, AMOUNT UNIT [/ WINDOW]: {exc}") from exc
    return Policy(
        name=name,
        match=tuple(_all(section.match, _is_caller, merged.at("policies", name, "match"))),
        limits=limits,
        providers=section.providers,
        endpoints=section.endpoints,
        models=section.models,
        output_cap=section.output_cap,
        lower_caps=section.lower_caps,
        unbounded=section.unbounded,
        cost_comment=section.cost_comment,
    )


def _all(texts: tuple[str, ...], is_allowed: Callable[[str], bool], found: Found) -> list[str]:
    """The texts in lower case. Raises SettingsError if one of them is not allowed."""
    lowered = [text.lower() for text in texts]
    wrong = next((text for text in lowered if not is_allowed(text)), None)
    if wrong is not None:
        raise refusal(Found(found.key, wrong, found.source))
    return lowered


def _is_email(text: str) -> bool:
    return _EMAIL.fullmatch(text) is not None


def _is_caller(text: str) -> bool:
    return text == "*" or _is_email(text) or (text.startswith("@") and _is_email(f"someone{text}"))


def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None
