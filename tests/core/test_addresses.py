"""The table of reliability.md 4.12 (promise S7): which addresses and host forms are refused."""

import pytest

from penstock.core.addresses import check_host, is_metadata, is_public, may_connect
from penstock.core.errors import AddressNotAllowed


def _words(text: str) -> list[str]:
    return text.split()


PUBLIC = _words("""
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255
169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255
198.20.0.0 203.0.112.255 203.0.114.0 223.255.255.255 2606:4700:4700::1111 2001:4860:4860::8888 2000:: 3ffe:ffff::1
2001:200::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2a00:1450:4001:80b::200e
""")

NOT_PUBLIC = _words("""
0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.254 169.254.0.1 172.16.0.1
172.31.255.255 192.0.0.1 192.0.0.171 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1 192.168.255.255
192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 ::
::1 ::2 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:0:8.8.8.8 64:ff9b::127.0.0.1
64:ff9b::10.1.2.3 64:ff9b::169.254.169.254 64:ff9b:1::8.8.8.8 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2
2001:1ff:ffff::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2001:db8:ffff::1 2002:: 2002:7f00:1:: 2002:808:808::1
3fff::1 3fff:fff::1 5f00::1 4000::1 fc00::1 fd00::1 fdff:ffff::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 feff::1 ff00::1
ff02::1 ffff::
""")

METADATA = _words("""
169.254.169.254 169.254.170.2 169.254.170.23 169.254.0.1 100.100.100.200 192.0.0.192 168.63.129.16 fd00:ec2::254
fd00:ec2::23 fd20:ce::254 fe80::a9fe:a9fe ::ffff:169.254.169.254 ::ffff:a9fe:a9fe ::169.254.169.254
::ffff:0:169.254.169.254 64:ff9b::a9fe:a9fe 64:ff9b:1:a9fe:a9:fe00:: 2002:a9fe:a9fe:: 2002:a9fe:a9fe::1
2001:0:a9fe:a9fe::1 2001:0:4136:e378:8000:63bf:5601:5601
""")

NOT_AN_ADDRESS = [*_words("localhost 127.1 0x7f.1 2130706433 0 127.0.0.01 [::1] 1.2.3.4/8 \uff11.1.1.1"), "", "::1 "]

HOSTS = _words("""
api.openai.com localhost ollama my_llm 10.0.0.5 0.0.0.0 ::1 2606:4700:4700::1111 ::ffff:10.0.0.1 xn--bcher-kva.example
a.b-c.d 1and1.com 3com 0x7fg.com 1.2.3.4.example x--y.z
""")

NUMERIC_HOSTS = _words("""
0 1 127 127.1 127.0.1 0x7f.1 0x7f.0.0.1 0x7f000001 0x 127.0.0.0x1 2130706433 017700000001 0177.0.0.1 127.0.0.01
127.00.0.1 256.1.1.1 1.2.3.4.5 1.2.3 a.0x7f 4294967295 00000000 api.example.1 127.0.0.1. 0.
""")

BROKEN_HOSTS = [
    *_words(
        ". a..b .a a. -a.b a-.b API.openai.com a/b a\\b a@b a:80 a#b a?b a%2eb ::1%eth0 fe80::1%1 [::1] ::: u:p@h * a,b"
    ),
    *("", "a b", "a\tb", "a\r\nb", "a\n", "a\0", "127.0.0.1\n", "b\u00fccher.example", "\u2460.0.0.1", "\uff11.0.0.1"),
    *("a" * 64, ".".join(["a" * 63] * 4)),
]


@pytest.mark.parametrize("ip", PUBLIC)
def test_public_addresses_are_allowed(ip: str) -> None:
    assert is_public(ip)
    assert may_connect(ip, allow_private=False)


@pytest.mark.parametrize("ip", NOT_PUBLIC)
def test_everything_else_needs_allow_private(ip: str) -> None:
    assert not is_public(ip)
    assert not may_connect(ip, allow_private=False)
    assert may_connect(ip, allow_private=True) is not is_metadata(ip)


@pytest.mark.parametrize("ip", METADATA)
def test_metadata_is_refused_even_where_private_is_allowed(ip: str) -> None:
    assert is_metadata(ip)
    assert not is_public(ip)
    assert not may_connect(ip, allow_private=True)


@pytest.mark.parametrize("ip", _words("127.0.0.1 10.0.0.1 ::1 fd00:ec1::1 169.253.169.254 8.8.8.8 2002:a9ff::"))
def test_neighbours_of_metadata_are_not_metadata(ip: str) -> None:
    assert not is_metadata(ip)


@pytest.mark.parametrize("text", NOT_AN_ADDRESS)
def test_what_is_no_address_is_nothing(text: str) -> None:
    assert not is_public(text)
    assert not is_metadata(text)
    assert not may_connect(text, allow_private=True)


@pytest.mark.parametrize("host", HOSTS)
def test_plain_names_and_literals_are_hosts(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize("host", NUMERIC_HOSTS)
def test_numeric_forms_are_refused_before_a_resolver_sees_them(host: str) -> None:
    with pytest.raises(AddressNotAllowed):
        check_host(host)


@pytest.mark.parametrize("host", BROKEN_HOSTS)
def test_anything_but_a_plain_name_is_refused(host: str) -> None:
    with pytest.raises(AddressNotAllowed):
        check_host(host)
