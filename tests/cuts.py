"""The ways in which a network may cut a stream of bytes into reads."""

from collections.abc import Iterator
from itertools import pairwise


def cut(stream: bytes, *offsets: int) -> list[bytes]:
    """The stream in reads that end at these offsets; an offset behind its end cuts nothing."""
    places = [0, *sorted(min(offset, len(stream)) for offset in offsets), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


def every_cut(stream: bytes) -> Iterator[list[bytes]]:
    """Cut in two at every offset, and byte by byte."""
    for offset in range(len(stream) + 1):
        yield cut(stream, offset)
    yield cut(stream, *range(len(stream)))
