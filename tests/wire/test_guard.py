"""The guard as a table: what a parsed head becomes, or which error it is (reliability.md 4.13 and 3.2)."""

import pytest

from penstock.core.errors import (
    BadRequest,
    ExpectationFailed,
    GatewayError,
    HeadersTooLarge,
    MethodNotAllowed,
    NotImplementedHere,
    UnsupportedMediaType,
)
from penstock.core.headers import Header
from penstock.wire.guard import CheckedHead, RawHead, check_head, find_request_id
from penstock.wire.peer import GuardRules, Peer

HOST = (b"Host", b"gateway.test:8787")
STRANGER = Peer("192.0.2.7")
PROXY = Peer("10.0.0.1", is_trusted=True)


def check(
    *fields: Header,
    target: bytes = b"/v1/models",
    method: str = "GET",
    version: str = "1.1",
    peer: Peer = STRANGER,
    rules: GuardRules | None = None,
) -> CheckedHead:
    return check_head(RawHead(method, target, version, [HOST, *fields]), peer, rules or GuardRules())


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_these_methods_are_served(method: str) -> None:
    assert check(method=method).method == method


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ([(b"", b"a")], BadRequest),
        ([(b"x y", b"a")], BadRequest),
        ([(b"x:", b"a")], BadRequest),
        ([(b"x\xe9", b"a")], BadRequest),
        ([(b"x", b"a\rb")], BadRequest),
        ([(b"x", b"a\nb")], BadRequest),
        ([(b"x", b"a\x00")], BadRequest),
        ([(b"x", b"\x7f")], BadRequest),
        ([(b"content-length", b"5"), (b"transfer-encoding", b"chunked")], BadRequest),
        ([(b"content-length", b"5"), (b"Content-Length", b"5")], BadRequest),
        ([(b"content-length", b"")], BadRequest),
        ([(b"content-length", b"+5")], BadRequest),
        ([(b"content-length", b"5,5")], BadRequest),
        ([(b"content-length", b"12345678901")], BadRequest),
        ([(b"transfer-encoding", b"gzip")], BadRequest),
        ([(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")], BadRequest),
        ([(b"transfer-encoding", b"chunked, chunked")], BadRequest),
        ([(b"expect", b"200-ok")], ExpectationFailed),
        ([(b"expect", b"100-continue"), (b"expect", b"100-continue")], BadRequest),
        ([(b"content-encoding", b"gzip")], UnsupportedMediaType),
        ([(b"content-encoding", b"identity"), (b"content-encoding", b"br")], UnsupportedMediaType),
        ([(b"connection", b"upgrade"), (b"upgrade", b"WebSocket")], NotImplementedHere),
        ([(b"upgrade", b"h2c, websocket")], NotImplementedHere),
        ([(b"x", b"y")] * 100, HeadersTooLarge),
        ([(b"x", b"y" * 32_768)], HeadersTooLarge),
    ],
)
def test_bad_headers_are_refused(fields: list[Header], error: type[GatewayError]) -> None:
    with pytest.raises(error) as caught:
        check(*fields)
    assert caught.type is error


@pytest.mark.parametrize(
    "name",
    ["host", "content-type", "authorization", "x-api-key", "x-goog-api-key", "x-host-final", "origin", "cookie"],
)
def test_what_decides_stands_once(name: str) -> None:
    with pytest.raises(BadRequest, match="more than one"):
        check((name.encode(), b"a"), (name.upper().encode(), b"a"))


def test_what_decides_nothing_may_stand_twice() -> None:
    assert check((b"User-Agent", b"a"), (b"User-Agent", b"b")).headers[1:] == [
        (b"user-agent", b"a"),
        (b"user-agent", b"b"),
    ]


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "PROPFIND", "get", ""])
def test_other_methods_are_not_served(method: str) -> None:
    with pytest.raises(MethodNotAllowed):
        check(method=method)


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", ""])
def test_other_versions_are_not_spoken(version: str) -> None:
    with pytest.raises(BadRequest):
        check(version=version)


@pytest.mark.parametrize(
    "host",
    [b"", b"a b", b"a/b", b"a@b", b"a:", b"a:123456", b"a_b", b"[::1", b"::1", b"a,b", b"\xc3\xa9", b"[::1]x", b"a\n"],
)
def test_bad_hosts_are_refused(host: bytes) -> None:
    with pytest.raises(BadRequest):
        check_head(RawHead("GET", b"/", "1.1", [(b"Host", host)]), STRANGER, GuardRules())


@pytest.mark.parametrize("host", [b"a", b"A.Test", b"a-b.test:80", b"127.0.0.1:8787", b"[::1]", b"[2001:db8::1]:443"])
def test_good_hosts_pass(host: bytes) -> None:
    assert check_head(RawHead("GET", b"/", "1.1", [(b"Host", host)]), STRANGER, GuardRules()).path == "/"


@pytest.mark.parametrize(
    ("host", "is_served"), [(b"api.test", True), (b"API.test:8787", True), (b"[::1]:80", True), (b"evil.test", False)]
)
def test_only_configured_hosts_are_served(host: bytes, *, is_served: bool) -> None:
    head = RawHead("GET", b"/", "1.1", [(b"Host", host)])
    rules = GuardRules(hosts=frozenset({"api.test", "[::1]"}))
    if is_served:
        assert check_head(head, STRANGER, rules).path == "/"
    else:
        with pytest.raises(BadRequest):
            check_head(head, STRANGER, rules)


@pytest.mark.parametrize(
    "target",
    [
        b"", b"a", b"*", b"/a\\b", b"/a%5cb", b"/a%5Cb", b"/a%00", b"/a%0d%0aX", b"/%2e%2e/a", b"/a/%2E", b"/../a",
        b"/a/..", b"/a/../b", b"/./a", b"/a/.", b"/..;/a", b"/a#b", b"/a?b#c", b"/a%", b"/a%2", b"/a%zz", b"/a%7f",
        b"//a", b"/a//b", b"/a/%2fb", b"/a%2Fb", b"/a b", b"/\xc3\xa9", b"/a\x7f", b"http://evil.test/a",
        b"http://gateway.test/a", b"ftp://gateway.test:8787/a", b"http:///a", b"/a?" + b"q" * 8193,
    ],
)  # fmt: skip
def test_bad_targets_are_refused(target: bytes) -> None:
    with pytest.raises(BadRequest):
        check(target=target)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/v1/chat/completions", "/v1/chat/completions", ""),
        (b"/a/", "/a/", ""),
        (b"/.well-known/x", "/.well-known/x", ""),
        (b"/a/..b/c...", "/a/..b/c...", ""),
        (b"/v1beta/models/gemini:generateContent?alt=sse", "/v1beta/models/gemini:generateContent", "alt=sse"),
        (b"/v1beta/x?$alt=json;enum-encoding=int", "/v1beta/x", "$alt=json;enum-encoding=int"),
        (b"/a%20b%c3%a9?x=%2e%2e/..//", "/a%20b%c3%a9", "x=%2e%2e/..//"),
        (b"/a?", "/a", ""),
        (b"/a?b?c", "/a", "b?c"),
        (b"/a?" + b"q" * 8192, "/a", "q" * 8192),
        (b"http://gateway.test:8787/a?b", "/a", "b"),
        (b"HTTPS://GATEWAY.test:8787", "/", ""),
        (b"http://gateway.test:8787?b", "/", "b"),
    ],
)
def test_a_target_has_one_path_and_one_query(target: bytes, path: str, query: str) -> None:
    head = check(target=target)
    assert (head.path, head.query) == (path, query)


@pytest.mark.parametrize(
    ("target", "passes"),
    [
        (b"/v1/models/openai%2Fgpt", True),
        (b"/v1/models/openai//gpt", True),
        (b"/v1/models%2Fopenai", False),
        (b"//v1/models/openai%2Fgpt", False),
        (b"/v1/models/openai%2Fgpt-4..1", True),
        (b"/v1/models/openai%2F..%2Fgpt", False),
        (b"/v1/models/openai%2f..", False),
        (b"/v1/models/openai%2F../gpt/../x", False),
    ],
)
def test_slashes_pass_only_in_a_last_parameter_that_takes_them(target: bytes, *, passes: bool) -> None:
    rules = GuardRules(takes_slashes=lambda prefix: prefix.startswith("/v1/models/"))
    if passes:
        assert check(target=target, rules=rules).path == target.decode()
    else:
        with pytest.raises(BadRequest):
            check(target=target, rules=rules)


def test_what_concerns_the_connection_alone_is_dropped() -> None:
    head = check(
        (b"Connection", b"X-Mine, keep-alive"),
        (b"Connection", b" x-other ,"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"a"),
        (b"Proxy-Authorization", b"a"),
        (b"TE", b"trailers"),
        (b"Trailer", b"a"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", b"a"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Expect", b"100-continue"),
        (b"X-Mine", b"a"),
        (b"x-other", b"a"),
        (b"X-Third", b"a"),
    )
    assert head.headers == [(b"host", b"gateway.test:8787"), (b"x-third", b"a")]


def test_naming_a_field_in_connection_does_not_change_the_framing() -> None:
    head = check((b"Connection", b"content-length, x-forwarded-for"), (b"Content-Length", b"5"))
    assert head.length == 5


def test_names_with_an_underscore_are_dropped_and_decide_nothing() -> None:
    head = check((b"X_Api_Key", b"a"), (b"content_length", b"5"), (b"x_forwarded_for", b"1.2.3.4"), peer=PROXY)
    assert (head.headers, head.length, head.client) == ([(b"host", b"gateway.test:8787")], 0, "10.0.0.1")


def test_values_lose_the_blanks_around_them() -> None:
    assert check((b"Authorization", b"Bearer a \t")).headers[1] == (b"authorization", b"Bearer a")


@pytest.mark.parametrize(
    ("fields", "length"),
    [([], 0), ([(b"Content-Length", b"0")], 0), ([(b"Content-Length", b"9999999999")], 9_999_999_999),
     ([(b"Content-Length", b"7 ")], 7), ([(b"Transfer-Encoding", b"Chunked")], None)],
)  # fmt: skip
def test_the_body_has_one_length(fields: list[Header], length: int | None) -> None:
    assert check(*fields).length == length


@pytest.mark.parametrize(
    ("fields", "version", "is_last"),
    [
        ([], "1.1", False),
        ([(b"Connection", b"keep-alive")], "1.1", False),
        ([(b"Connection", b"Keep-Alive, Close")], "1.1", True),
        ([(b"Connection", b"close")], "1.1", True),
        ([(b"Connection", b"x-closed")], "1.1", False),
        ([(b"Connection", b"keep-alive")], "1.0", True),
    ],
)
def test_the_last_request_is_known(fields: list[Header], version: str, *, is_last: bool) -> None:
    assert check(*fields, version=version).is_last == is_last


def test_only_http_1_1_can_wait_for_100_continue() -> None:
    expectation = (b"Expect", b"100-Continue")
    assert check(expectation).expects_continue
    assert not check(expectation, version="1.0").expects_continue
    assert not check().expects_continue


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"abc-1._Z", "abc-1._Z"),
        (b"a" * 64, "a" * 64),
        (b"a" * 65, None),
        (b"", None),
        (b"a b", None),
        (b"a\xe9", None),
    ],
)
def test_a_request_id_is_kept_if_it_can_stand_in_a_log(value: bytes, kept: str | None) -> None:
    assert check((b"X-Request-Id", value)).request_id == kept
    assert find_request_id([HOST, (b"X-Request-ID", value)]) == kept


def test_two_request_ids_are_none() -> None:
    assert check((b"x-request-id", b"a"), (b"x-request-id", b"b")).request_id is None


def test_what_only_a_proxy_may_say_is_removed_from_others() -> None:
    said = [(b"X-Forwarded-For", b"1.1.1.1"), (b"x-forwarded-host", b"a"), (b"Forwarded", b"for=1.1.1.1")]
    assert check(*said).headers == [(b"host", b"gateway.test:8787")]
    assert len(check(*said, peer=PROXY).headers) == 4
    assert check(*said, peer=PROXY).client == "1.1.1.1"
