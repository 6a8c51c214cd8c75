"""Reads one HTTP/1.1 answer out of the bytes of a connection: head, body, end. No I/O.

Where two readers could see two different messages (a length beside chunks, a folded field, a bare line feed), this one
sees none: it fails, and the connection must not be used again. What it gives does not depend on how the bytes were cut
into reads. A head, a size line and trailers are bounded; body bytes are handed on as they come and never kept
(RFC 9112; reliability.md 3.1).
"""

import re
from collections.abc import Sequence

from penstock.core.call import Header

HEAD_BYTES_MAX = 64 * 1024
HEAD_FIELDS_MAX = 200
INTERIM_HEADS_MAX = 10
TRAILER_BYTES_MAX = 16 * 1024
_LINE_END = b"\r\n"
_BLANK_LINE = b"\r\n\r\n"

# Every repetition is possessive: on hostile bytes a pattern fails in one pass.
_TEXT = rb"[\t\x20-\x7e\x80-\xff]"
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: " + _TEXT + rb"*+)?\r\n")
_FIELDS = re.compile(rb"(?:" + _TOKEN + rb"++:" + _TEXT + rb"*+\r\n)*+")
_EXTENSION = rb"(?:[ \t]{0,8}+;" + _TEXT + rb"{0,1024}+)?+"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15}+)" + _EXTENSION + rb"\r\n")
_SIZE_LINE_START = re.compile(rb"[0-9A-Fa-f]{1,15}+(?:[ \t]{1,8}+|" + _EXTENSION + rb")\r?+")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_COUNT = re.compile(rb"[0-9]{1,15}")

_FRAMING_NAMES = frozenset((b"content-length", b"transfer-encoding", b"content-encoding", b"connection"))
_BODILESS = frozenset((204, 304))
_LINE_END_BYTES = len(_LINE_END)


# What comes next. Plain numbers, because an Enum's member costs more to look up than most reads to handle.
_HEAD, _LENGTH, _CHUNKS, _TRAILERS, _UNTIL_CLOSE, _OVER = range(6)


class _Malformed(Exception):
    """The bytes are no answer that has one meaning."""


class ResponseReader:
    """Reads the answer to one request.

    ``status`` is 0 until the head is complete; ``headers`` are then its fields, names in lower case, in their order.
    ``error`` says what was wrong, ``is_complete`` that the answer ended as it should; never both. ``is_reusable`` says,
    once it is complete, whether another request may follow on the connection. ``coding`` is the content-encoding of the
    body, empty where it is plain or there is none.
    """

    __slots__ = (
        "_interim_heads",
        "_left",
        "_method",
        "_phase",
        "_tail",
        "coding",
        "error",
        "headers",
        "is_reusable",
        "status",
    )

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: Sequence[Header] = ()
        self.coding = b""
        self.error = ""
        self.is_reusable = False
        self._method = method
        self._phase = _HEAD
        self._left = 0
        self._tail = b""
        self._interim_heads = 0

    @property
    def is_complete(self) -> bool:
        return self._phase == _OVER and not self.error

    def feed(self, data: bytes) -> bytes:
        """Take what was read; give the body bytes in it, those in front of an error too."""
        if self._tail:
            data, self._tail = self._tail + data, b""
        phase = self._phase
        if phase == _CHUNKS:
            return self._read_chunks(data)
        if phase == _LENGTH:
            return self._read_length(data)
        if phase == _UNTIL_CLOSE:
            return data
        if phase == _HEAD:
            return self._read_heads(data)
        if phase == _TRAILERS:
            self._read_trailers(data, 0)
        else:
            self.is_reusable = False
        return b""

    def feed_eof(self) -> None:
        """The peer has ended its side. Only a body without a length and without chunks is complete by that."""
        if self._phase == _UNTIL_CLOSE:
            self._phase = _OVER
        elif self._phase != _OVER:
            self._fail("the connection was closed before the end of the answer")

    def _read_heads(self, data: bytes) -> bytes:
        """Heads in front of the final one (1xx) are dropped."""
        position = 0
        try:
            while self._phase == _HEAD:
                end = _find_end_of_fields(data, position, HEAD_BYTES_MAX)
                if end is None:
                    self._keep_head_start(data[position:])
                    return b""
                self._take_head(data, position, end)
                position = end
        except _Malformed as error:
            self._fail(str(error))
            return b""
        return self.feed(data[position:]) if position < len(data) else b""

    def _keep_head_start(self, start: bytes) -> None:
        # A peer that speaks something else would otherwise be waited for until the deadline.
        if not start.startswith(b"HTTP/1."[: len(start)]):
            raise _Malformed("not an HTTP/1 answer")
        self._tail = start

    def _take_head(self, data: bytes, start: int, end: int) -> None:
        line = _STATUS_LINE.match(data, start, end)
        if line is None:
            raise _Malformed("bad status line")
        status = int(line[2])
        headers = _fields(data, line.end(), end - _LINE_END_BYTES)
        if status >= 200:
            self.status, self.headers = status, headers
            self._begin_body(is_latest=line[1] == b"1")
            return
        self._interim_heads += 1
        if status == 101 or self._interim_heads > INTERIM_HEADS_MAX:
            raise _Malformed("an interim answer that was not asked for")

    def _begin_body(self, *, is_latest: bool) -> None:
        """RFC 9112 6.3, without its lenient branches. ``is_latest``: the answer is HTTP/1.1, not 1.0."""
        length, is_chunked, is_closing, coding = _framing(self.headers)
        if is_chunked and (length is not None or not is_latest):
            raise _Malformed("transfer-encoding beside content-length, or in HTTP/1.0")
        self.is_reusable = is_latest and not is_closing
        if self._method == "HEAD" or self.status in _BODILESS or length == 0:
            self._phase = _OVER
            return
        self.coding = coding
        if is_chunked:
            self._phase = _CHUNKS
        elif length is not None:
            self._phase, self._left = _LENGTH, length
        else:
            self._phase, self.is_reusable = _UNTIL_CLOSE, False

    def _read_length(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left > 0:
            return data
        self._phase = _OVER
        if self._left == 0:
            return data
        self.is_reusable = False
        return data[: self._left]

    def _read_chunks(self, data: bytes) -> bytes:
        """``_left`` counts what is missing of a chunk with the line end behind it; 0: a size line comes next."""
        pieces: list[bytes] = []
        position, end = 0, len(data)
        while position < end and not self.error:
            if self._left:
                position = self._take_rest_of_chunk(data, position, pieces)
                continue
            line = _SIZE_LINE.match(data, position)
            if line is None:
                self._keep_size_line_start(data[position:])
                break
            start, size = line.end(), int(line[1], 16)
            if size == 0:
                self._phase = _TRAILERS
                self._read_trailers(data, start)
                break
            if data.startswith(_LINE_END, start + size):
                pieces.append(data[start : start + size])
                position = start + size + _LINE_END_BYTES
            else:
                position, self._left = start, size + _LINE_END_BYTES
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take_rest_of_chunk(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        if self._left > _LINE_END_BYTES:
            piece = data[position : position + self._left - _LINE_END_BYTES]
            pieces.append(piece)
        else:
            piece = data[position : position + self._left]
            missing = _LINE_END[-self._left :]
            if not missing.startswith(piece):
                self._fail("no line end behind a chunk")
        self._left -= len(piece)
        return position + len(piece)

    def _keep_size_line_start(self, start: bytes) -> None:
        if _SIZE_LINE_START.fullmatch(start):
            self._tail = start
        else:
            self._fail("bad chunk size")

    def _read_trailers(self, data: bytes, position: int) -> None:
        """Trailers are checked like a head's fields and dropped."""
        try:
            if data.startswith(_LINE_END, position):
                end: int | None = position + _LINE_END_BYTES
            else:
                end = _find_end_of_fields(data, position, TRAILER_BYTES_MAX)
                if end is not None:
                    _fields(data, position, end - _LINE_END_BYTES)
        except _Malformed as error:
            self._fail(str(error))
            return
        if end is None:
            self._tail = data[position:]
            return
        self._phase = _OVER
        if end < len(data):
            self.is_reusable = False

    def _fail(self, error: str) -> None:
        self._phase, self.error, self.is_reusable = _OVER, error, False


def _find_end_of_fields(data: bytes, start: int, bytes_max: int) -> int | None:
    """Where the blank line behind the fields ends; None if it has not come yet, wherever the read was cut."""
    blank = data.find(_BLANK_LINE, start)
    earliest = blank if blank >= 0 else len(data) - len(_BLANK_LINE) + 1
    if earliest - start > bytes_max:
        raise _Malformed("too many bytes of header fields")
    if blank >= 0:
        return blank + len(_BLANK_LINE)
    if _BARE_LINE_FEED.search(data, start):
        raise _Malformed("bare line feed")
    return None


def _fields(data: bytes, start: int, end: int) -> list[Header]:
    if _FIELDS.fullmatch(data, start, end) is None:
        raise _Malformed("bad header field")
    lines = data[start : end - _LINE_END_BYTES].split(_LINE_END) if end > start else []
    if len(lines) > HEAD_FIELDS_MAX:
        raise _Malformed("too many header fields")
    fields = [line.partition(b":") for line in lines]
    return [(name.lower(), value.strip()) for name, _, value in fields]


def _framing(headers: Sequence[Header]) -> tuple[int | None, bool, bool, bytes]:
    """The stated length, whether the body is chunked, whether the connection ends with it, and how it is encoded."""
    length: int | None = None
    is_chunked = is_closing = False
    coding = b""
    for name, value in headers:
        if name not in _FRAMING_NAMES:
            continue
        if name == b"content-length":
            if length is not None or _COUNT.fullmatch(value) is None:
                raise _Malformed("bad content-length")
            length = int(value)
        elif name == b"transfer-encoding":
            if is_chunked or value.lower() != b"chunked":
                raise _Malformed("bad transfer-encoding")
            is_chunked = True
        elif name == b"content-encoding":
            coding = coding + b"," + value if coding else value
        elif b"close" in (token.strip() for token in value.lower().split(b",")):
            is_closing = True
    return length, is_chunked, is_closing, coding
