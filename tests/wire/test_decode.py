"""Compressed answers that nobody asked for: decoded within bounds, or refused (reliability.md 3.1)."""

import gzip
import random
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.decode import ALLOWANCE_BYTES, DECODED_BYTES_MAX, BadCoding, decoded_headers, find_decoder

TEXT = b'data: {"choices":[{"delta":{"content":"one two three"}}]}\n\n' * 20


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


CODINGS = {
    b"gzip": gzip.compress(TEXT),
    b"x-gzip": gzip.compress(TEXT),
    b"GZIP": gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]),
    b"deflate": zlib.compress(TEXT),
    b"Deflate": _raw_deflate(TEXT),
}


def _decode(coding: bytes, *pieces: bytes) -> bytes:
    decoder = find_decoder(coding)
    assert decoder is not None
    plain = b"".join([decoder.decode(piece) for piece in pieces if piece])
    decoder.finish()
    return plain


@given(coding=st.sampled_from(list(CODINGS)), cuts=st.lists(st.integers(0, 300), max_size=8))
def test_a_body_decodes_however_it_is_cut(coding: bytes, cuts: list[int]) -> None:
    data = CODINGS[coding]
    marks = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert _decode(coding, *[data[a:b] for a, b in pairwise(marks)]) == TEXT


def test_what_is_flushed_can_be_read_before_the_end() -> None:
    packer = zlib.compressobj(wbits=31)
    decoder = find_decoder(b"gzip")
    assert decoder is not None
    assert decoder.decode(packer.compress(TEXT) + packer.flush(zlib.Z_SYNC_FLUSH)) == TEXT


@pytest.mark.parametrize("coding", [b"", b"identity", b"Identity"])
def test_a_plain_body_needs_no_decoder(coding: bytes) -> None:
    assert find_decoder(coding) is None


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"compress", b"gzip,gzip", b"gzip, br", b"identity,gzip", b"x"])
def test_other_codings_are_refused(coding: bytes) -> None:
    with pytest.raises(BadCoding):
        find_decoder(coding)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_a_bomb_is_refused_before_it_has_grown(coding: bytes) -> None:
    zeros = bytes(32 * 1024 * 1024)
    data = gzip.compress(zeros) if coding == b"gzip" else zlib.compress(zeros)
    with pytest.raises(BadCoding, match="bounds"):
        _decode(coding, data)


def test_a_bomb_of_many_small_pieces_is_refused() -> None:
    data = gzip.compress(bytes(8 * 1024 * 1024))
    with pytest.raises(BadCoding, match="bounds"):
        _decode(b"gzip", *[data[at : at + 100] for at in range(0, len(data), 100)])


def test_a_body_beyond_the_largest_size_is_refused_at_a_low_ratio() -> None:
    # Each member keeps under the ratio; together they are too much.
    member = gzip.compress(random.Random(1).randbytes(1024) * 64, compresslevel=1)
    decoder = find_decoder(b"gzip")
    assert decoder is not None
    members = DECODED_BYTES_MAX // (64 * 1024)
    for _ in range(members):
        decoder.decode(member)
    with pytest.raises(BadCoding, match="bounds"):
        decoder.decode(member)


def test_a_short_text_may_repeat_itself() -> None:
    text = b"a" * ALLOWANCE_BYTES
    assert _decode(b"gzip", gzip.compress(text)) == text


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        (b"gzip", b"plain text"),
        (b"gzip", gzip.compress(TEXT)[:-1]),
        (b"gzip", gzip.compress(TEXT)[:-8] + bytes(8)),
        (b"gzip", gzip.compress(TEXT) + b"more"),
        (b"deflate", zlib.compress(TEXT)[:-1]),
        (b"deflate", zlib.compress(TEXT) + b"more"),
        (b"deflate", b"\xff\xff"),
    ],
)
def test_damaged_and_cut_bodies_are_refused(coding: bytes, data: bytes) -> None:
    with pytest.raises(BadCoding):
        _decode(coding, data)


def test_no_body_at_all_is_no_damage() -> None:
    assert _decode(b"gzip") == b""


def test_headers_lose_what_the_decoding_made_untrue() -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-encoding", b"gzip"), (b"content-length", b"10")]
    assert decoded_headers(headers) == [(b"content-type", b"text/plain")]
