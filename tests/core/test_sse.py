import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.sse import EVENT_BYTES_MAX, EventScanner, event_data
from tests.cuts import cut, every_cut


def scan(parts: list[bytes]) -> tuple[list[bytes], bytes]:
    scanner = EventScanner()
    events = [event for part in parts for event in scanner.feed(part)]
    rest = scanner.take_rest()
    assert b"".join(events) + rest == b"".join(parts)
    return events, rest


def dispatched(parts: list[bytes]) -> list[bytes]:
    """The data of the events, an unfinished one at the end too, without events that have none."""
    events, rest = scan(parts)
    return [data for event in (*events, rest) if (data := event_data(event))]


def spelled_out(stream: bytes) -> list[bytes]:
    """The same by the letter of WHATWG's algorithm, byte by byte."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found, lines = [], list[bytes]()
    for line in [*text.split(b"\n"), b""]:
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif not line:
            found.append(b"\n".join(lines))
            lines = []
    return [data for data in found if data]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"data: a\n\n", b"data: b\n\n"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"data: a\r\n\r\n", b"data: b\r\n\r\n"]),
        (b"data: a\r\rdata: b\r\r", [b"data: a\r\r"]),
        (b"data: a\r\n\ndata: b\n\r\n", [b"data: a\r\n\n", b"data: b\n\r\n"]),
        (b"data: a\n\rdata: b", [b"data: a\n\r"]),
        (b"data: a\n\n\ndata: b\n\n", [b"data: a\n\n", b"\ndata: b\n\n"]),
        (b": comment\n\nevent: x\ndata: a\n\n", [b": comment\n\n", b"event: x\ndata: a\n\n"]),
        (b"data: a\ndata: b\n\n", [b"data: a\ndata: b\n\n"]),
        (b"data: a\r\ndata: b\r\n", []),
        (b"", []),
    ],
)
def test_a_blank_line_ends_an_event_whatever_ends_its_lines(stream: bytes, events: list[bytes]) -> None:
    assert all(scan(parts)[0] == events for parts in every_cut(stream))


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\n\n", b"a"),
        (b"data:  a \n\n", b" a "),
        (b"data: a\rdata: b\r\ndata:c\n\n", b"a\nb\nc"),
        (b"event: x\nid: 1\nretry: 5\n: data: no\ndata: a\n\n", b"a"),
        (b"event: x\n\n", b""),
        (b": comment\n\n", b""),
        (b"\xef\xbb\xbfdata: a\n\n", b"a"),
        (b" data: a\n\n", b""),
        (b"Data: a\n\n", b""),
        (b"data : a\n\n", b""),
        ("data: a\u2028data: b\u0085c\x0bd\n\n".encode(), "a\u2028data: b\u0085c\x0bd".encode()),
        (b"data: a", b"a"),
        (b"data: a\r", b"a"),
        (b"\ndata: a\n\n", b"a"),
    ],
)
def test_data_is_what_stands_in_its_lines(event: bytes, data: bytes) -> None:
    assert event_data(event) == data


_PIECES = st.sampled_from([b"data: a", b"data:b", b"data: ", b": c", b"event: e", b"x", b"\n", b"\r", b"\r\n", b"\n\n"])
_STREAMS = st.builds(
    lambda bom, pieces: bom + b"".join(pieces), st.sampled_from([b"", b"\xef\xbb\xbf"]), st.lists(_PIECES)
)


@given(_STREAMS)
def test_events_are_those_of_the_standard_wherever_the_stream_is_cut_in_two(stream: bytes) -> None:
    expected = spelled_out(stream)
    assert all(dispatched(parts) == expected for parts in every_cut(stream))


@given(_STREAMS, st.lists(st.integers(0, 60), max_size=20))
def test_events_are_those_of_the_standard_wherever_the_stream_is_cut_in_many(stream: bytes, offsets: list[int]) -> None:
    assert dispatched(cut(stream, *offsets)) == spelled_out(stream)


def test_between_events_nothing_waits() -> None:
    scanner = EventScanner()
    assert scanner.is_between_events
    scanner.feed(b"data: a\n")
    assert not scanner.is_between_events
    scanner.feed(b"\n")
    assert scanner.is_between_events
    scanner.feed(b"data: a\r\r")
    assert not scanner.is_between_events
    assert scanner.take_rest() == b"data: a\r\r"
    assert scanner.is_between_events


def test_an_overlong_event_comes_in_pieces_and_the_next_one_whole() -> None:
    long = b"data: " + b"x" * EVENT_BYTES_MAX
    events, rest = scan([long, b"y\n\ndata: a\n\n"])
    assert events == [long, b"y\n\n", b"data: a\n\n"]
    assert rest == b""


def test_an_event_of_exactly_the_longest_length_stays_whole() -> None:
    event = b"data: " + b"x" * (EVENT_BYTES_MAX - 6)
    assert scan([event, b"\n\n"]) == ([event + b"\n\n"], b"")


def test_a_large_event_in_small_reads_takes_no_time_squared() -> None:
    started_s = time.process_time()
    events, _ = scan([b"data: "] + [b"x" * 100] * 80_000 + [b"\n\n"])
    assert len(events) == 1
    assert time.process_time() - started_s < 3
