from base64 import b64encode

import pytest

from penstock.auth.credentials import find_credential, has_credential, without_credential
from penstock.core.call import Header
from penstock.core.errors import BadRequest
from penstock.core.headers import CREDENTIAL_HEADERS, request_headers
from penstock.core.identity import KeyType, mint_key
from tests.exchange import request

KEY = mint_key(KeyType.API).encode()
OTHER_KEY = mint_key(KeyType.API).encode()
PLACES: dict[str, Header] = {
    "bearer": (b"authorization", b"Bearer " + KEY),
    "bearer in lower case": (b"authorization", b"bearer " + KEY),
    "bearer in upper case": (b"authorization", b"BEARER " + KEY),
    "bearer with many spaces": (b"authorization", b"  Bearer \t  " + KEY + b" "),
    "bearer without a space": (b"authorization", b"Bearer" + KEY),
    "bare": (b"authorization", KEY),
    "basic, as password": (b"authorization", b"Basic " + b64encode(b"me:" + KEY)),
    "basic, as password of nobody": (b"authorization", b"basic " + b64encode(b":" + KEY)),
    "basic, as user": (b"authorization", b"Basic " + b64encode(KEY + b":")),
    "basic, as user with a password": (b"authorization", b"Basic " + b64encode(KEY + b":x")),
    "basic, without a colon": (b"authorization", b"Basic " + b64encode(KEY)),
    "anthropic": (b"x-api-key", KEY),
    "azure": (b"api-key", KEY),
    "gemini": (b"x-goog-api-key", KEY),
}


@pytest.mark.parametrize("header", PLACES.values(), ids=PLACES)
def test_finds_a_key_wherever_clients_put_it(header: Header) -> None:
    assert find_credential(request(headers=[header])) == KEY


@pytest.mark.parametrize("header", PLACES.values(), ids=PLACES)
def test_none_of_these_places_reaches_a_provider(header: Header) -> None:
    assert header[0] in CREDENTIAL_HEADERS
    sent = request_headers([header], "authorization", "Bearer provider-key")
    assert not any(KEY in value for _, value in sent)


def test_finds_nothing_where_there_is_nothing() -> None:
    assert find_credential(request(headers=[(b"authorization", b""), (b"x-api-key", b"  ")])) is None


@pytest.mark.parametrize(
    "value", [b"Basic", b"Basic ", b"Basic %%%", b"Basic " + b64encode(b":"), b"Bearer", b"Bearer "]
)
def test_an_authorization_without_a_token_holds_no_key(value: bytes) -> None:
    assert not (find_credential(request(headers=[(b"authorization", value)])) or b"").startswith(b"sk-pen-")


def test_reads_a_key_in_the_url_only_where_it_is_asked_to() -> None:
    asking = request(path="/gemini/v1beta/models", query="alt=sse&key=" + KEY.decode())
    assert find_credential(asking) is None
    assert find_credential(asking, with_url_key=True) == KEY


def test_reads_a_key_in_the_url_with_escapes() -> None:
    query = "k%65y=sk%2Dpen-" + KEY.decode().removeprefix("sk-pen-")
    assert find_credential(request(query=query), with_url_key=True) == KEY


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((b"authorization", b"Bearer " + KEY), (b"x-api-key", OTHER_KEY)),
        ((b"x-api-key", KEY), (b"x-goog-api-key", OTHER_KEY)),
        ((b"api-key", KEY), (b"api-key", OTHER_KEY)),
        ((b"authorization", b"Basic " + b64encode(KEY + b":" + OTHER_KEY)), (b"accept", b"*/*")),
    ],
)
def test_refuses_two_different_keys(first: Header, second: Header) -> None:
    with pytest.raises(BadRequest) as caught:
        find_credential(request(headers=[first, second]))
    assert KEY.decode() not in str(caught.value)


def test_refuses_a_second_key_in_the_url() -> None:
    with pytest.raises(BadRequest):
        find_credential(request(query="key=" + OTHER_KEY.decode(), headers=[(b"x-api-key", KEY)]), with_url_key=True)


def test_takes_the_same_key_in_two_places() -> None:
    headers = [(b"authorization", b"Bearer " + KEY), (b"x-api-key", KEY)]
    assert find_credential(request(headers=headers)) == KEY


@pytest.mark.parametrize("foreign", [b"sk-proj-abc", b"dummy", b"AIzaSyExample", b"\xff\x00"])
def test_drops_a_foreign_credential_beside_a_key(foreign: bytes) -> None:
    for headers in (
        [(b"authorization", b"Bearer " + foreign), (b"x-api-key", KEY)],
        [(b"authorization", b"Bearer " + KEY), (b"x-goog-api-key", foreign)],
    ):
        assert find_credential(request(headers=headers)) == KEY


def test_of_two_foreign_credentials_the_first_place_wins_whatever_the_order_of_headers() -> None:
    headers = [(b"x-goog-api-key", b"third"), (b"x-api-key", b"second"), (b"authorization", b"Bearer first")]
    assert find_credential(request(headers=headers)) == b"first"


@pytest.mark.parametrize("header", PLACES.values(), ids=PLACES)
def test_sees_that_there_is_a_credential(header: Header) -> None:
    assert has_credential(request(headers=[header]))


def test_sees_a_credential_in_the_url_also_where_it_does_not_count() -> None:
    assert has_credential(request(query="key=" + KEY.decode()))
    assert not has_credential(request(query="key=&keys=1", headers=[(b"cookie", b"theme=dark")]))


@pytest.mark.parametrize(
    ("query", "forwarded"),
    [
        ("", ""),
        ("alt=sse", "alt=sse"),
        ("key=x", ""),
        ("alt=sse&key=x&beta=true", "alt=sse&beta=true"),
        ("k%65y=x&KEY=y&$alt=json%3B", "$alt=json%3B"),
        ("monkey=1&keys=2", "monkey=1&keys=2"),
    ],
)
def test_takes_the_key_out_of_a_query_and_leaves_the_rest(query: str, forwarded: str) -> None:
    assert without_credential(query) == forwarded
