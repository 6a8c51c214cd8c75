"""The strict HTTP guard: which request heads are served, and the one way in which each of them is read.

Pure functions from a head as the parser saw it to a checked head. Whatever two readers could read in two ways is
refused, and every refusal closes its connection: no byte behind a refused head is ever taken for a request. The parser
refuses most bad framing before us; what is decided here does not lean on that (reliability.md 4.13 and 3.2).
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from penstock.core.errors import (
    BadRequest,
    ExpectationFailed,
    HeadersTooLarge,
    MethodNotAllowed,
    NotImplementedHere,
    UnsupportedMediaType,
)
from penstock.core.headers import Header
from penstock.wire.peer import GuardRules, Peer, judge_request

FIELDS_MAX = 100
HEAD_BYTES_MAX = 32 * 1024
QUERY_BYTES_MAX = 8 * 1024
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# Two of one of these would leave it to chance which of them counts.
_SINGLE = frozenset({
    b"host", b"content-length", b"transfer-encoding", b"content-type", b"expect", b"authorization", b"x-api-key",
    b"api-key", b"x-goog-api-key", b"x-host-final", b"origin", b"cookie",
})  # fmt: skip
_DECISIVE = _SINGLE | {
    b"connection", b"upgrade", b"content-encoding", b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id",
}  # fmt: skip
# These are about this connection only (RFC 9110, 7.6.1), and it ends here.
_HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings", b"expect",
})  # fmt: skip
_FORWARDED = (b"x-forwarded-", b"forwarded")

_TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CONTROL_BYTES = bytes(byte for byte in range(32) if byte != 0x09) + b"\x7f"
_HOST = re.compile(rb"(?:([a-z0-9.-]+)|(\[[0-9a-f:.]+\]))(?::\d{1,5})?")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
# Nearly every target: no query, no escape, and no segment that is empty or begins with a dot.
_PLAIN_TARGET = re.compile(rb"(?:/[\w:@~-][\w:@~.-]*)+")
_VISIBLE = re.compile(rb"[!-~]+")
# A dot segment, written out, escaped, or followed by a parameter; what some readers take for a slash; control bytes.
_BAD_PATH = re.compile(r"[\\#]|%(?:2e|5c|7f|[01][0-9a-f])|%(?![0-9a-f]{2})|(?:/|%2f)\.\.?(?=[/;]|%2f|$)", re.IGNORECASE)
_ODD_SLASH = re.compile(r"//|%2f", re.IGNORECASE)
_LENGTH = re.compile(rb"\d{1,10}")
_TOO_LARGE = f"A request head has at most {HEAD_BYTES_MAX} bytes and {FIELDS_MAX} headers."
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class _Name(msgspec.Struct, frozen=True):
    """A header's lower-case name and what becomes of such a header; something is decided by a decisive one."""

    name: bytes
    is_kept: bool
    is_decisive: bool
    is_single: bool
    needs_trust: bool


class RawHead(msgspec.Struct):
    """A head as the parser saw it: names in any case, every header on its own line; version is ``1.1`` or ``1.0``."""

    method: str
    target: bytes
    version: str
    fields: list[Header]


class CheckedHead(msgspec.Struct, frozen=True):
    """A head that has one reading.

    Names are lower case; what was about the connection alone, and what only a trusted proxy may say, is gone from
    ``headers``. ``length`` is that of the body in bytes, None where it is chunked. ``request_id`` is the caller's, if
    it can stand in a log. ``speaks_chunked``: HTTP/1.1. ``is_last``: nothing that follows on this connection is a
    request.
    """

    method: str
    path: str
    query: str
    headers: list[Header]
    client: str
    scheme: str
    is_confidential: bool
    length: int | None
    expects_continue: bool
    speaks_chunked: bool
    is_last: bool
    request_id: str | None


def check_head(raw: RawHead, peer: Peer, rules: GuardRules) -> CheckedHead:
    """Read a head in the only way there is. Raises the GatewayError that says what is wrong with it."""
    _check_size(raw)
    _check_request_line(raw)
    _check_values(raw.fields)
    headers, decisive = _sort_fields(raw.fields, peer)
    _check_wishes(decisive)
    host = _check_host(decisive, rules)
    path, query = _split_target(raw.target, host, rules)
    length = _body_length(decisive, raw.version)
    named = _tokens(decisive.get(b"connection", b""))
    if named:
        headers = [header for header in headers if header[0] not in named]
    whence = judge_request(peer, rules, decisive.get(b"x-forwarded-for"), decisive.get(b"x-forwarded-proto"))
    return CheckedHead(
        method=raw.method,
        path=path,
        query=query,
        headers=headers,
        client=whence.client,
        scheme=whence.scheme,
        is_confidential=whence.is_confidential,
        length=length,
        expects_continue=b"expect" in decisive and raw.version == "1.1",
        speaks_chunked=raw.version == "1.1",
        is_last=b"close" in named or raw.version == "1.0",
        request_id=_usable_id(decisive.get(b"x-request-id")),
    )


def find_request_id(fields: Sequence[Header]) -> str | None:
    """The caller's request id in a head that was refused."""
    return next((_usable_id(value) for name, value in fields if name.lower() == b"x-request-id"), None)


def _check_size(raw: RawHead) -> None:
    if len(raw.fields) > FIELDS_MAX or len(raw.target) > HEAD_BYTES_MAX:
        raise HeadersTooLarge(_TOO_LARGE)
    size = len(raw.target) + sum([len(name) + len(value) + 4 for name, value in raw.fields])
    if size > HEAD_BYTES_MAX:
        raise HeadersTooLarge(_TOO_LARGE)


def _check_request_line(raw: RawHead) -> None:
    if raw.method not in METHODS:
        raise MethodNotAllowed("This method is not served.")
    if raw.version not in ("1.1", "1.0"):
        raise BadRequest("Only HTTP/1.1 and HTTP/1.0 are spoken here.")


def _sort_fields(fields: Sequence[Header], peer: Peer) -> tuple[list[Header], dict[bytes, bytes]]:
    """What is handed on, and the fields that something is decided by. Names with ``_`` count as absent."""
    kept: list[Header] = []
    decisive: dict[bytes, bytes] = {}
    for raw_name, raw_value in fields:
        header, value = _read_name(raw_name), raw_value.strip(b" \t")
        if header.needs_trust and not peer.is_trusted:
            continue
        if header.is_decisive:
            _decide_by(header, value, decisive)
        if header.is_kept:
            kept.append((header.name, value))
    return kept, decisive


def _decide_by(header: _Name, value: bytes, decisive: dict[bytes, bytes]) -> None:
    if header.name not in decisive:
        decisive[header.name] = value
    elif header.is_single:
        raise BadRequest(f"There is more than one {header.name.decode()} header.")
    else:
        decisive[header.name] += b"," + value


# Clients send the same few names all the time; a stranger's odd ones push each other out.
@lru_cache(maxsize=256)
def _read_name(raw: bytes) -> _Name:
    if not raw or raw.translate(None, _TOKEN_BYTES):
        raise BadRequest("A header name is empty or holds a character that no name can have.")
    name = raw.lower()
    return _Name(
        name=name,
        is_kept=b"_" not in name and name not in _HOP_BY_HOP,
        is_decisive=name in _DECISIVE,
        is_single=name in _SINGLE,
        needs_trust=name.startswith(_FORWARDED),
    )


def _check_values(fields: Sequence[Header]) -> None:
    values = b"".join([value for _, value in fields])
    if len(values.translate(None, _CONTROL_BYTES)) != len(values):
        raise BadRequest("A header value holds a control character.")


def _check_wishes(decisive: Mapping[bytes, bytes]) -> None:
    if b"upgrade" in decisive and b"websocket" in _tokens(decisive[b"upgrade"]):
        raise NotImplementedHere("Websockets are not served.")
    if decisive.get(b"expect", b"100-continue").lower() != b"100-continue":
        raise ExpectationFailed("The only expectation that can be met is 100-continue.")
    if decisive.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("Compressed request bodies are not accepted.")


def _check_host(decisive: Mapping[bytes, bytes], rules: GuardRules) -> bytes:
    host = decisive.get(b"host", b"").lower()
    match = _HOST.fullmatch(host)
    if match is None:
        raise BadRequest("A request needs exactly one valid Host header.")
    if rules.hosts and (match[1] or match[2]).decode() not in rules.hosts:
        raise BadRequest("This host is not served here.")
    return host


def _split_target(target: bytes, host: bytes, rules: GuardRules) -> tuple[str, str]:
    if _PLAIN_TARGET.fullmatch(target) is not None:
        return target.decode("ascii"), ""
    if _VISIBLE.fullmatch(target) is None:
        raise BadRequest("The request target holds a character that must be escaped.")
    text = target.decode("ascii")
    if not text.startswith("/"):
        absolute = _ABSOLUTE.match(text)
        if absolute is None or absolute[1].lower().encode() != host:
            raise BadRequest("The request target is neither a path nor a URL of this host.")
        text = text[absolute.end() :]
    path, _, query = text.partition("?")
    if len(query) > QUERY_BYTES_MAX or "#" in query:
        raise BadRequest(f"A query has at most {QUERY_BYTES_MAX} bytes and no fragment.")
    path = path or "/"
    _check_path(path, rules)
    return path, query


def _check_path(path: str, rules: GuardRules) -> None:
    if _BAD_PATH.search(path) is not None:
        raise BadRequest("The path holds a dot segment, a backslash, a fragment or a bad escape.")
    odd = _ODD_SLASH.search(path)
    if odd is not None and not rules.takes_slashes(path[: odd.start()]):
        raise BadRequest("The path holds an empty segment or an escaped slash.")


def _body_length(decisive: Mapping[bytes, bytes], version: str) -> int | None:
    """RFC 9112, 6: chunked or a length, never both, and no other coding. None: chunked."""
    length, coding = decisive.get(b"content-length"), decisive.get(b"transfer-encoding")
    if coding is not None:
        if length is not None or version == "1.0" or coding.lower() != b"chunked":
            raise BadRequest("The body's framing is ambiguous.")
        return None
    if length is None:
        return 0
    if _LENGTH.fullmatch(length) is None:
        raise BadRequest("The content length is no number of at most ten digits.")
    return int(length)


def _tokens(value: bytes) -> set[bytes]:
    return {token.strip(b" \t") for token in value.lower().split(b",")} - {b""} if value else set()


def _usable_id(value: bytes | None) -> str | None:
    return value.decode() if value is not None and _REQUEST_ID.fullmatch(value) is not None else None
