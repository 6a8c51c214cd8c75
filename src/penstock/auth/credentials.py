"""Where a caller's credential stands in a request, and which one counts.

Clients put it in five places (clients.md 1), some in two at once, so every place is read and none is ever forwarded.
A key of ours wins over a foreign credential beside it, which is dropped; two different keys of ours are refused, since
nobody could say whose money is meant (reliability.md 4.8).
"""

import binascii
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from penstock.core.call import Header, Inbound
from penstock.core.errors import BadRequest
from penstock.core.identity import KEY_PREFIX

OURS = KEY_PREFIX.encode()
CREDENTIAL_QUERY_NAME = "key"
# In the order of reliability.md 4.8. core.headers lets none of them pass to a provider.
_PLACES = {b"authorization": 0, b"x-api-key": 1, b"api-key": 2, b"x-goog-api-key": 3}
_SPACES = b" \t"
_BEARER = re.compile(rb"^bearer[ \t]*", re.IGNORECASE)
_BASIC = re.compile(rb"basic[ \t]+", re.IGNORECASE)


def find_credential(inbound: Inbound, *, with_url_key: bool = False) -> bytes | None:
    """The token that the caller shows, as its raw bytes; None if there is none.

    ``with_url_key`` reads ``?key=`` as well (Gemini's routes, where ``url_keys`` allows it). Raises BadRequest for two
    different keys of ours.
    """
    shown = [header for header in inbound.headers if header[0] in _PLACES]
    shown.sort(key=_place)
    tokens = [token for name, value in shown for token in _tokens_in_header(name, value.strip(_SPACES))]
    if with_url_key:
        tokens.extend(_tokens_in_query(inbound.query))
    if len(tokens) == 1:
        return tokens[0]
    ours = {token for token in tokens if token.startswith(OURS)}
    if len(ours) > 1:
        raise BadRequest("The request carries two different API keys.")
    return ours.pop() if ours else next(iter(tokens), None)


def has_credential(inbound: Inbound) -> bool:
    """Whether the request shows a token anywhere, also where it would not count."""
    return any(name in _PLACES for name, _ in inbound.headers) or any(_tokens_in_query(inbound.query))


def without_credential(query: str) -> str:
    """The query without its keys, the rest as it came: what may be forwarded."""
    return "&".join(part for part in query.split("&") if not _is_credential(part))


def _place(header: Header) -> int:
    return _PLACES[header[0]]


def _tokens_in_header(name: bytes, value: bytes) -> Iterator[bytes]:
    if name == b"authorization":
        yield from _tokens_in_authorization(value)
    elif value:
        yield value


def _tokens_in_authorization(value: bytes) -> Iterator[bytes]:
    """Bearer in any case, even without its space; Basic, where the password counts before the user; else bare."""
    if basic := _BASIC.match(value):
        user, _, password = _decoded(value[basic.end() :]).partition(b":")
        yield from filter(None, (password, user))
    elif token := _BEARER.sub(b"", value, count=1):
        yield token


def _decoded(value: bytes) -> bytes:
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except binascii.Error:
        return b""


def _tokens_in_query(query: str) -> Iterator[bytes]:
    for part in query.split("&") if query else ():
        if _is_credential(part) and (token := unquote_to_bytes(part.partition("=")[2])):
            yield token


def _is_credential(part: str) -> bool:
    return unquote_to_bytes(part.partition("=")[0]).decode("latin-1").lower() == CREDENTIAL_QUERY_NAME
