"""A JSON array that is streamed element by element, as Gemini sends one where nobody asks for an event stream.

Each element is what an event's data would be: it is cut out where it closes and metered like one. The bytes are never
touched, and no more of them is remembered than one event may have; of a longer element nothing is learned.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from penstock.core.meter import Metered, StreamMeter
from penstock.core.provider import Dialect, Endpoint
from penstock.core.sse import EVENT_BYTES_MAX

_STRUCTURE = re.compile(rb'["\[\]{}]')
# Possessive: what was read of a text is never read a second time.
_TEXT = re.compile(rb'(?:[^"\\]|\\.)*+', re.DOTALL)
_OPENING = b"[{"
_LINE_ENDS = b"\r\n"


class ArrayScanner:
    """Cuts the elements that are objects out of bytes that were cut anywhere; what is not complete yet stays here."""

    __slots__ = ("_at", "_depth", "_is_in_text", "_is_skipping", "_waiting")

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._at = self._depth = 0
        self._is_in_text = self._is_skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The elements that these bytes complete, in order."""
        self._waiting += data
        elements, begin = [], 0
        for end in self._element_ends():
            if not self._is_skipping:
                elements.append(bytes(self._waiting[begin:end]).lstrip(b"[, \t\r\n"))
            begin, self._is_skipping = end, False
        self._drop(begin)
        if len(self._waiting) > EVENT_BYTES_MAX:
            self._drop(self._at)
            self._is_skipping = True
        return elements

    def _element_ends(self) -> Iterator[int]:
        """Read on to the end of what is here, stopping behind each element of the outermost array."""
        waiting = self._waiting
        while True:
            if self._is_in_text:
                self._at = _TEXT.match(waiting, self._at).end()  # type: ignore[union-attr]  # it matches nothing, too
                if waiting[self._at : self._at + 1] != b'"':
                    return
                self._at += 1
                self._is_in_text = False
            found = _STRUCTURE.search(waiting, self._at)
            if found is None:
                self._at = len(waiting)
                return
            self._at = found.end()
            if found[0] == b'"':
                self._is_in_text = True
            else:
                self._depth += 1 if found[0] in _OPENING else -1
                if self._depth == 1 and found[0] == b"}":
                    yield self._at

    def _drop(self, size: int) -> None:
        del self._waiting[:size]
        self._at -= size


class ArrayMeter:
    """For an answer that is one JSON array: what a StreamMeter is for the same elements as events."""

    __slots__ = ("_events", "_scanner", "bytes_out")

    def __init__(self, dialect: Dialect, endpoint: Endpoint) -> None:
        self._scanner = ArrayScanner()
        self._events = StreamMeter(dialect, endpoint, drops_usage=False)
        self.bytes_out = 0

    def feed(self, data: bytes) -> bytes:
        """Take what the provider sent; returns it."""
        self.bytes_out += len(data)
        for element in self._scanner.feed(data):
            # Between the tokens of JSON a line's end is mere space, and inside a text it stands as an escape.
            self._events.feed(b"data: " + element.translate(None, _LINE_ENDS) + b"\n\n")
        return data

    def finish(self, *, is_complete: bool) -> Metered:
        """The result; ``is_complete``: the body ended as its framing promised."""
        _, metered = self._events.finish()
        return replace(metered, is_complete=is_complete and metered.is_complete, bytes_out=self.bytes_out)
