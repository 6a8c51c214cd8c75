"""Undoes a compression that nobody asked for: we ask for ``identity``, and some hosts compress all the same.

The meter and the caller must see plain bytes. What comes out is bounded by what went in, so that a few kilobytes cannot
become gigabytes (reliability.md 3.1: ratio 100, 64 MiB).
"""

import zlib
from collections.abc import Sequence

from penstock.core.call import Header

RATIO_MAX = 100
DECODED_BYTES_MAX = 64 * 1024 * 1024
# A short text that repeats itself compresses by more than the ratio and harms nobody.
ALLOWANCE_BYTES = 64 * 1024

_GZIP_BITS = 16 + zlib.MAX_WBITS
_ZLIB_METHOD = 8
_PLAIN_NAMES = (b"", b"identity")
_GZIP_NAMES = (b"gzip", b"x-gzip")
_STALE_NAMES = (b"content-encoding", b"content-length")


class BadCoding(Exception):
    """A coding we do not know, or a body that does not decode within its bounds."""


class Decoder:
    """Decodes one body, piece by piece. ``is_gzip`` False: deflate, with or without zlib's own header."""

    __slots__ = ("_bytes_in", "_bytes_out", "_inflate", "_is_gzip")

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._inflate = zlib.decompressobj(_GZIP_BITS) if is_gzip else None
        self._bytes_in = 0
        self._bytes_out = 0

    def decode(self, data: bytes) -> bytes:
        """The plain bytes of a piece, maybe none yet. Raises BadCoding."""
        if self._inflate is None:
            self._inflate = zlib.decompressobj(_deflate_bits(data))
        self._bytes_in += len(data)
        pieces: list[bytes] = []
        try:
            while data:
                if self._inflate.eof:
                    self._begin_member()
                pieces.append(self._inflate.decompress(data, self._room() + 1))
                self._bytes_out += len(pieces[-1])
                if self._room() < 0:
                    raise BadCoding("the compressed body grows beyond its bounds")
                data = self._inflate.unused_data
        except zlib.error as error:
            raise BadCoding("the compressed body is damaged") from error
        return b"".join(pieces)

    def finish(self) -> None:
        """The body has ended. Raises BadCoding if its compressed form had not."""
        if self._inflate is not None and self._bytes_in and not self._inflate.eof:
            raise BadCoding("the compressed body is cut short")

    def _begin_member(self) -> None:
        if not self._is_gzip:
            raise BadCoding("bytes behind the compressed body")
        self._inflate = zlib.decompressobj(_GZIP_BITS)

    def _room(self) -> int:
        return min(DECODED_BYTES_MAX, RATIO_MAX * self._bytes_in + ALLOWANCE_BYTES) - self._bytes_out


def find_decoder(coding: bytes) -> Decoder | None:
    """The decoder for a content-encoding; None: the body is plain. Raises BadCoding for one that we do not know."""
    coding = coding.lower()
    if coding in _PLAIN_NAMES:
        return None
    if coding in _GZIP_NAMES or coding == b"deflate":
        return Decoder(is_gzip=coding in _GZIP_NAMES)
    raise BadCoding("unknown content-encoding")


def decoded_headers(headers: Sequence[Header]) -> list[Header]:
    """The headers without what is no longer true of a decoded body."""
    return [field for field in headers if field[0] not in _STALE_NAMES]


def _deflate_bits(data: bytes) -> int:
    """RFC 9110 means zlib's format by "deflate"; some hosts send the raw one, whose first byte never looks like it."""
    return zlib.MAX_WBITS if data[0] & 0x0F == _ZLIB_METHOD else -zlib.MAX_WBITS
