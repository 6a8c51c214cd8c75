"""The head of a request to a provider: what we add, and that nothing breaks out of its line (S17)."""

from dataclasses import replace

import pytest

from penstock.core.call import Outbound
from penstock.core.provider import Origin, Timeouts
from penstock.wire.request import request_head

ORIGIN = Origin("https", "provider.test", 443)
REQUEST = Outbound(ORIGIN, "POST", "/v1/x?a=b", [(b"x-one", b"1")], b"{}", Timeouts(), allow_private=False)


def test_host_and_length_are_added() -> None:
    assert request_head(REQUEST) == (
        b"POST /v1/x?a=b HTTP/1.1\r\nhost: provider.test\r\nx-one: 1\r\ncontent-length: 2\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (Origin("https", "provider.test", 8443), b"host: provider.test:8443\r\n"),
        (Origin("http", "provider.test", 80), b"host: provider.test\r\n"),
        (Origin("http", "::1", 8000), b"host: [::1]:8000\r\n"),
    ],
)
def test_the_host_names_a_port_where_it_must(origin: Origin, host: bytes) -> None:
    assert host in request_head(replace(REQUEST, origin=origin))


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("POST", b"", b"0"), ("PUT", b"", b"0"), ("DELETE", b"x", b"1"), ("GET", b"", None), ("DELETE", b"", None)],
)
def test_a_length_is_said_where_a_body_is_expected(method: str, body: bytes, length: bytes | None) -> None:
    head = request_head(replace(REQUEST, method=method, body=body))
    assert (b"content-length: " in head) is (length is not None)
    assert length is None or b"content-length: " + length + b"\r\n" in head


@pytest.mark.parametrize("breaking", [b"a\r\nhost: evil", b"a\rb", b"a\nb", b"\r\n", b"a\0b"])
def test_a_field_that_breaks_out_of_its_line_is_refused(breaking: bytes) -> None:
    for headers in ([(b"x", breaking)], [(breaking, b"x")]):
        with pytest.raises(ValueError, match="line"):
            request_head(replace(REQUEST, headers=headers))


@pytest.mark.parametrize(
    "target", ["/a b", "/a\r\nhost: evil", "/a\n", "/a\0", "/\u00e9", "*", "", "http://x/", "/ HTTP/1.0"]
)
def test_a_target_that_breaks_out_of_its_line_is_refused(target: str) -> None:
    with pytest.raises(ValueError):
        request_head(replace(REQUEST, target=target))


@pytest.mark.parametrize("method", ["GET /x HTTP/1.1\r\nx:", "G\u00c9T", "GET\n"])
def test_a_method_that_breaks_out_of_its_line_is_refused(method: str) -> None:
    with pytest.raises(ValueError):
        request_head(replace(REQUEST, method=method))
