"""Who is at the other end: addresses behind proxies, and where a credential was safe."""

from ipaddress import ip_network

import pytest

from penstock.wire.peer import GuardRules, Peer, judge_peer, judge_request

RULES = GuardRules(trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32"), ip_network("fd00::/8")))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", Peer("127.0.0.1", is_loopback=True, is_trusted=True)),
        ("127.9.9.9", Peer("127.9.9.9", is_loopback=True)),
        ("::1", Peer("::1", is_loopback=True)),
        ("::ffff:127.0.0.1", Peer("127.0.0.1", is_loopback=True, is_trusted=True)),
        ("::ffff:10.1.2.3", Peer("10.1.2.3", is_trusted=True)),
        ("10.1.2.3", Peer("10.1.2.3", is_trusted=True)),
        ("fd00::1", Peer("fd00::1", is_trusted=True)),
        ("192.0.2.7", Peer("192.0.2.7")),
        ("fe80::1%eth0", Peer("fe80::1%eth0")),
        ("", Peer("")),
    ],
)
def test_a_peer_is_judged_by_its_address(address: str, expected: Peer) -> None:
    assert judge_peer(address, RULES, is_tls=False) == expected


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        (b"198.51.100.1", "198.51.100.1"),
        (b"1.1.1.1, 198.51.100.1", "198.51.100.1"),
        (b"198.51.100.1, 10.0.0.9", "198.51.100.1"),
        (b"1.1.1.1,198.51.100.1 , 10.0.0.9,10.0.0.8", "198.51.100.1"),
        (b"198.51.100.1:4711", "198.51.100.1"),
        (b"[2001:db8::1]:4711", "2001:db8::1"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"::ffff:198.51.100.1", "198.51.100.1"),
        (b"10.0.0.7, 10.0.0.9", "10.0.0.7"),
        (b"198.51.100.1, unknown", "10.0.0.1"),
        (b"198.51.100.1, unknown, 10.0.0.9", "10.0.0.9"),
        (b"", "10.0.0.1"),
        (b"\xe9", "10.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_untrusted_address(forwarded_for: bytes, client: str) -> None:
    assert judge_request(judge_peer("10.0.0.1", RULES, is_tls=False), RULES, forwarded_for, None).client == client


@pytest.mark.parametrize(
    ("peer", "proto", "is_confidential", "scheme"),
    [
        (Peer("192.0.2.7"), None, False, "http"),
        (Peer("192.0.2.7", is_tls=True), None, True, "https"),
        (Peer("127.0.0.1", is_loopback=True), None, True, "http"),
        (Peer("10.0.0.1", is_trusted=True), None, False, "http"),
        (Peer("10.0.0.1", is_trusted=True), b"https", True, "https"),
        (Peer("10.0.0.1", is_trusted=True), b"HTTPS,https", True, "https"),
        (Peer("10.0.0.1", is_trusted=True), b"http", False, "http"),
        (Peer("10.0.0.1", is_trusted=True), b"http, https", False, "http"),
        # A proxy on this machine speaks for somebody who is not.
        (Peer("127.0.0.1", is_loopback=True, is_trusted=True), b"http", False, "http"),
        (Peer("127.0.0.1", is_loopback=True, is_trusted=True), b"https", True, "https"),
    ],
)
def test_a_credential_is_safe_on_loopback_over_tls_or_behind_a_proxy_that_says_so(
    peer: Peer,
    proto: bytes | None,
    *,
    is_confidential: bool,
    scheme: str,
) -> None:
    whence = judge_request(peer, RULES, None, proto)
    assert (whence.is_confidential, whence.scheme) == (is_confidential, scheme)


def test_plain_http_is_safe_where_the_operator_says_so() -> None:
    rules = GuardRules(allow_plain_http=True)
    assert judge_request(Peer("192.0.2.7"), rules, None, None).is_confidential
    assert judge_request(Peer("192.0.2.7", is_trusted=True), rules, b"1.1.1.1", b"http").is_confidential
