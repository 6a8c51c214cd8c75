"""Server-sent events out of bytes that were cut anywhere (WHATWG HTML, 9.2.6 "Interpreting an event stream").

The scanner only finds where events end; it never copies, changes or drops what is relayed. A blank line ends an event;
LF, CRLF and CR end lines, in any mixture, so a CR at the very end waits for the next byte. It remembers no more than
``EVENT_BYTES_MAX``: a longer event is given out in pieces, which are relayed and mean nothing to a meter.
"""

import re

EVENT_BYTES_MAX = 8 * 1024 * 1024
_LINE_END = rb"(?:\r\n|\n|\r(?=[^\n]))"
_EVENT_END = re.compile(_LINE_END + _LINE_END)
_OVERLAP = 3  # of the four bytes that can end an event at most, this many may have come before
_LINES = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventScanner:
    """Cuts a stream of bytes into events; what is not complete yet stays here."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting = bytearray()

    @property
    def is_between_events(self) -> bool:
        """Whether everything so far was complete."""
        return not self._waiting

    def feed(self, data: bytes) -> list[bytes]:
        """The events that these bytes complete, each with its blank line, in order."""
        waiting = self._waiting
        start = max(0, len(waiting) - _OVERLAP)
        waiting += data
        events, begin = [], 0
        while (match := _EVENT_END.search(waiting, start)) is not None:
            start = match.end()
            events.append(bytes(waiting[begin:start]))
            begin = start
        del waiting[:begin]
        if len(waiting) > EVENT_BYTES_MAX:
            events.append(self.take_rest())
        return events

    def take_rest(self) -> bytes:
        """What was not completed; the scanner is as new afterwards."""
        rest = bytes(self._waiting)
        self._waiting.clear()
        return rest


def event_data(event: bytes) -> bytes:
    """The data of an event: its ``data`` lines without the field name and one space, joined with LF."""
    lines = _LINES.split(event.removeprefix(_BOM))
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
