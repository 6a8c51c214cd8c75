"""Strict reading of answers: what is one message, what is none, and that reads may be cut anywhere (S17, 3.1)."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.call import Header
from penstock.wire.response import (
    HEAD_BYTES_MAX,
    HEAD_FIELDS_MAX,
    INTERIM_HEADS_MAX,
    TRAILER_BYTES_MAX,
    ResponseReader,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = OK + b"Content-Length: 5\r\n\r\n"


@dataclass(frozen=True)
class Result:
    status: int
    headers: list[Header]
    coding: bytes
    body: bytes
    is_complete: bool
    is_reusable: bool
    is_refused: bool


def _read(*reads: bytes, method: str = "POST", eof: bool = False) -> Result:
    reader = ResponseReader(method)
    body = b"".join([reader.feed(data) for data in reads if data])
    if eof:
        reader.feed_eof()
    return Result(
        status=reader.status,
        headers=list(reader.headers),
        coding=reader.coding,
        body=body,
        is_complete=reader.is_complete,
        is_reusable=reader.is_reusable,
        is_refused=bool(reader.error),
    )


def _is_whole(result: Result, body: bytes) -> bool:
    return result.is_complete and not result.is_refused and result.body == body


COMPLETE = {
    "length": (LENGTH + b"hello", b"hello"),
    "length zero": (OK + b"content-length: 0\r\n\r\n", b""),
    "length with leading zeros": (OK + b"content-length: 0005\r\n\r\nhello", b"hello"),
    "one chunk": (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "many chunks": (CHUNKED + b"1\r\na\r\n2\r\nbc\r\n0A\r\n0123456789\r\n000\r\n\r\n", b"abc0123456789"),
    "line ends inside chunks": (CHUNKED + b"6\r\n\r\n0\r\n\r\r\n2\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\r\n"),
    "no chunk": (CHUNKED + b"0\r\n\r\n", b""),
    "chunk extensions": (CHUNKED + b'5;a=1;b="x"\r\nhello\r\n0 ;last\r\n\r\n', b"hello"),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY: \r\n\r\n", b"hello"),
    "name of the coding in capitals": (OK + b"transfer-encoding: Chunked\r\n\r\n0\r\n\r\n", b""),
    "no reason": (b"HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "no reason and no space": (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "status without a body": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", b""),
    "early hints": (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + LENGTH + b"hello", b"hello"),
    "two interim heads": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 \r\n\r\n" + CHUNKED + b"0\r\n\r\n", b""),
    "keep-alive said": (OK + b"Connection: keep-alive, x\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
}

REFUSED = {
    "length beside chunks": OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    "chunks beside length": OK + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
    "two equal lengths": OK + b"content-length: 5\r\ncontent-length: 5\r\n\r\n",
    "two lengths": OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\n",
    "list of lengths": OK + b"content-length: 5, 5\r\n\r\n",
    "negative length": OK + b"content-length: -1\r\n\r\n",
    "signed length": OK + b"content-length: +5\r\n\r\n",
    "hexadecimal length": OK + b"content-length: 0x5\r\n\r\n",
    "length with an underscore": OK + b"content-length: 1_0\r\n\r\n",
    "empty length": OK + b"content-length: \r\n\r\n",
    "length with a fraction": OK + b"content-length: 5.0\r\n\r\n",
    "length in other digits": OK + "content-length: \u0665\r\n\r\n".encode(),
    "endless length": OK + b"content-length: " + b"9" * 40 + b"\r\n\r\n",
    "gzip, chunked": OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
    "identity": OK + b"transfer-encoding: identity\r\n\r\n",
    "chunked twice": OK + b"transfer-encoding: chunked, chunked\r\n\r\n",
    "chunked in two fields": OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
    "chunked in quotes": OK + b'transfer-encoding: "chunked"\r\n\r\n',
    "chunked with a vertical tab": OK + b"transfer-encoding: \x0bchunked\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    "folded field": OK + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "folded first field": OK + b" x: a\r\ncontent-length: 0\r\n\r\n",
    "space before the colon": OK + b"content-length : 0\r\n\r\n",
    "space in a name": OK + b"content length: 0\r\n\r\n",
    "field without a colon": OK + b"content-length\r\n\r\n",
    "field without a name": OK + b": x\r\ncontent-length: 0\r\n\r\n",
    "null in a value": OK + b"x: a\x00b\r\ncontent-length: 0\r\n\r\n",
    "escape in a value": OK + b"x: a\x1bb\r\ncontent-length: 0\r\n\r\n",
    "bare line feed behind a field": OK + b"x: a\ncontent-length: 0\r\n\r\n",
    "bare line feeds only": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "bare carriage return": OK + b"x: a\rcontent-length: 0\r\n\r\n",
    "bare line feed at the blank line": OK + b"content-length: 0\r\n\n",
    "other protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2 status line": b"HTTP/2 200\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "blank line first": b"\r\n" + LENGTH,
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 000": b"HTTP/1.1 000 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 OK\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
    "endless interim heads": b"HTTP/1.1 100 \r\n\r\n" * (INTERIM_HEADS_MAX + 1),
    "too many fields": OK + b"x: y\r\n" * (HEAD_FIELDS_MAX + 1) + b"\r\n",
    "head too large": OK + b"x: " + b"y" * HEAD_BYTES_MAX + b"\r\n\r\n",
    "head too large and not over": OK + b"x: " + b"y" * HEAD_BYTES_MAX,
    "chunk size not hexadecimal": CHUNKED + b"g\r\n",
    "chunk size empty": CHUNKED + b"\r\nhello",
    "chunk size negative": CHUNKED + b"-5\r\nhello\r\n",
    "chunk size signed": CHUNKED + b"+5\r\nhello\r\n",
    "chunk size with 0x": CHUNKED + b"0x5\r\nhello\r\n",
    "chunk size with an underscore": CHUNKED + b"1_0\r\n",
    "chunk size behind a space": CHUNKED + b" 5\r\nhello\r\n",
    "chunk size before a space": CHUNKED + b"5 \r\nhello\r\n",
    "chunk size too long": CHUNKED + b"0" * 16 + b"5\r\nhello\r\n",
    "chunk size ends with a line feed": CHUNKED + b"5\nhello\r\n",
    "chunk size ends with a carriage return": CHUNKED + b"5\rhello\r\n",
    "chunk extension with a line feed": CHUNKED + b"5;a\nb\r\nhello\r\n",
    "chunk extension with a null": CHUNKED + b"5;a\x00\r\nhello\r\n",
    "chunk extension too long": CHUNKED + b"5;" + b"a" * 1025 + b"\r\nhello\r\n",
    "chunk longer than its size": CHUNKED + b"4\r\nhello\r\n0\r\n\r\n",
    "chunk shorter than its size": CHUNKED + b"6\r\nhello\r\n0\r\n\r\n",
    "chunk ends with a line feed": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "chunk ends with two carriage returns": CHUNKED + b"5\r\nhello\r\r",
    "trailer folded": CHUNKED + b"0\r\nx: a\r\n b\r\n\r\n",
    "trailer without a colon": CHUNKED + b"0\r\nx\r\n\r\n",
    "trailer with a line feed": CHUNKED + b"0\r\nx: a\n\r\n\r\n",
    "trailers too large": CHUNKED + b"0\r\nx: " + b"y" * TRAILER_BYTES_MAX + b"\r\n\r\n",
    "an answer behind the last chunk": CHUNKED + b"0\r\n" + LENGTH,
}


@pytest.mark.parametrize("name", COMPLETE)
def test_complete_answers_end_and_leave_the_connection_usable(name: str) -> None:
    data, body = COMPLETE[name]
    result = _read(data)
    assert _is_whole(result, body)
    assert result.is_reusable


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_two_readings_or_none_is_refused(name: str) -> None:
    result = _read(REFUSED[name])
    assert result.is_refused
    assert not result.is_complete
    assert not result.is_reusable


@pytest.mark.parametrize("name", COMPLETE)
def test_a_complete_answer_is_the_same_however_it_is_cut_in_two(name: str) -> None:
    data, _ = COMPLETE[name]
    whole = _read(data)
    assert all(_read(data[:cut], data[cut:]) == whole for cut in range(1, len(data)))


@pytest.mark.parametrize("name", [name for name, data in REFUSED.items() if len(data) < 2000])
def test_a_refused_answer_is_refused_byte_by_byte(name: str) -> None:
    data = REFUSED[name]
    result = _read(*[data[at : at + 1] for at in range(len(data))])
    assert result == _read(data)


@given(
    data=st.sampled_from([*[data for data, _ in COMPLETE.values()], *REFUSED.values()]),
    behind=st.sampled_from([b"", b"x", LENGTH]),
    noise=st.tuples(st.integers(0, 300), st.binary(max_size=2)),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_the_cuts_never_change_what_is_read(
    data: bytes, behind: bytes, noise: tuple[int, bytes], cuts: list[int]
) -> None:
    at, inserted = noise
    data = data[:at] + inserted + data[at:] + behind
    marks = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert _read(*[data[a:b] for a, b in pairwise(marks)]) == _read(data)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.lists(st.integers(0, 5000), max_size=30))
def test_chunked_bodies_come_back_as_they_were(pieces: list[bytes], cuts: list[int]) -> None:
    data = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    marks = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert _is_whole(_read(*[data[a:b] for a, b in pairwise(marks)]), b"".join(pieces))


@pytest.mark.parametrize("spare", range(-6, 7))
def test_the_limit_of_a_head_does_not_depend_on_the_cut(spare: int) -> None:
    # Around the limit, whether the blank line has come may not decide.
    head = LENGTH.replace(b"\r\n\r\n", b"\r\nx: ")
    data = head + b"y" * (HEAD_BYTES_MAX - len(head) + spare) + b"\r\n\r\nhello"
    whole = _read(data)
    assert whole.is_refused is (spare > 0)
    assert all(_read(data[:-cut], data[-cut:]) == whole for cut in range(1, 16))


def test_names_are_lower_case_and_values_trimmed_and_in_order() -> None:
    result = _read(OK + b"X-B:  two words\t \r\nX-a:\r\nX-B: \xe9\r\ncontent-length: 0\r\n\r\n")
    assert result.headers == [(b"x-b", b"two words"), (b"x-a", b""), (b"x-b", b"\xe9"), (b"content-length", b"0")]


def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    assert _is_whole(_read(LENGTH, method="HEAD"), b"")
    assert _is_whole(_read(CHUNKED, method="HEAD"), b"")
    assert not _read(LENGTH + b"hello", method="HEAD").is_reusable


def test_bytes_behind_an_answer_are_not_delivered_and_spoil_the_connection() -> None:
    for data, body in COMPLETE.values():
        result = _read(data + b"HTTP")
        assert _is_whole(result, body)
        assert not result.is_reusable


@pytest.mark.parametrize(
    "head",
    [
        OK + b"connection: close\r\ncontent-length: 5\r\n\r\n",
        OK + b"connection: x, Close\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\n",
    ],
)
def test_a_connection_that_closes_is_not_reused(head: bytes) -> None:
    result = _read(head + b"hello")
    assert _is_whole(result, b"hello")
    assert not result.is_reusable


def test_a_body_without_length_ends_with_the_connection() -> None:
    data = OK + b"\r\nhello"
    assert not _read(data).is_complete
    assert _is_whole(_read(data, eof=True), b"hello")
    assert not _read(data, eof=True).is_reusable


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 2", OK, LENGTH + b"hell", CHUNKED + b"5\r\nhello\r\n", CHUNKED + b"5\r\nhello\r\n0\r\n"]
)
def test_a_close_before_the_end_is_an_error(data: bytes) -> None:
    result = _read(data, eof=True)
    assert result.is_refused
    assert not result.is_complete


def test_body_bytes_before_an_error_are_given() -> None:
    result = _read(CHUNKED + b"5\r\nhello\r\nzz")
    assert result.is_refused
    assert result.body == b"hello"


def test_the_coding_is_told_only_where_there_is_a_body() -> None:
    coded = b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    assert _read(OK + coded % 5).coding == b"gzip"
    assert _read(OK + b"content-encoding: gzip\r\n" + coded % 5).coding == b"gzip,gzip"
    assert _read(OK + coded % 0).coding == b""
    assert _read(OK + coded % 5, method="HEAD").coding == b""


def test_one_read_gives_one_piece() -> None:
    reader = ResponseReader("POST")
    assert reader.feed(CHUNKED + b"1\r\na\r\n1\r\nb\r\n") == b"ab"
    assert reader.feed(b"3\r\nc") == b"c"
    assert reader.feed(b"de") == b"de"
    assert reader.feed(b"\r\n0\r\n\r\n") == b""
    assert reader.is_complete
