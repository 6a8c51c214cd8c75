"""Streams as providers send them, written by hand: where each states its usage is in clients.md 4."""

from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.meter import Metered, StreamMeter
from penstock.core.provider import Dialect
from penstock.core.sse import EVENT_BYTES_MAX
from penstock.core.usage import Usage
from penstock.providers.anthropic import ANTHROPIC
from penstock.providers.openai import COMPATIBLE
from tests.cuts import cut, every_cut


def run(parts: list[bytes], dialect: Dialect = COMPATIBLE, *, drops_usage: bool = False) -> tuple[bytes, Metered]:
    meter = StreamMeter(dialect, dialect.endpoints[0], drops_usage=drops_usage)
    relayed = b"".join(meter.feed(part) for part in parts)
    rest, metered = meter.finish()
    return relayed + rest, metered


def usage_of(stream: bytes, dialect: Dialect = COMPATIBLE) -> Usage | None:
    reading = run([stream], dialect)[1].reading
    return None if reading is None else reading.usage


def chunk(text: str = "", usage: str = "", rest: str = "", end: str = "\n\n") -> bytes:
    """A chat chunk with one choice."""
    stop = '"stop"' if rest == "stop" else "null"
    stated = f',"usage":{usage}' if usage else ""
    choice = f'{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{stop}}}'
    return f'data: {{"id":"c","model":"m-1","choices":[{choice}]{stated}}}{end}'.encode()


def counts(prompt: int, completion: int) -> str:
    return f'{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{prompt + completion}}}'


ONLY_USAGE = f'data: {{"id":"c","model":"m-1","choices":[],"usage":{counts(9, 4)}}}\n\n'.encode()
DONE = b"data: [DONE]\n\n"
TEXT = chunk("Hel") + chunk("l\u00f6 \U0001f600") + chunk(rest="stop")
CHAT = TEXT + ONLY_USAGE + DONE
STATED = counts(9, 4)
COUNTED = Usage(input=9, output=4)
LAST = chunk("b", STATED, "stop")
GROQ = f'data: {{"model":"m-1","choices":[{{"finish_reason":"stop"}}],"x_groq":{{"usage":{STATED}}}}}\n\n'.encode()
ODD = f'\xef\xbb\xbf: HI\r\rdata: {{"model":"m-1","choices":[],\rdata: "usage":{STATED}}}\r\rdata:[DONE]\r\r\n'
AZURE = b'data: {"choices":[],"model":"","prompt_filter_results":[],"usage":null}\n\n'
FAILED = b'data: {"error":{"message":"overloaded"}}\n\n'
BROKEN = b'data: {"usage":{"prompt_tokens":1\n\n'

START = b"""event: message_start
data: {"type":"message_start","message":{"model":"m-1","usage":{"input_tokens":7,"cache_read_input_tokens":5,
data: "cache_creation_input_tokens":3,"cache_creation":{"ephemeral_5m_input_tokens":1,
data: "ephemeral_1h_input_tokens":2},"output_tokens":1}}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","delta":{"text":"message_stop, \\"usage\\":{}"}}

"""
DELTA = b"""event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":12}}

"""
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
MESSAGES = START + DELTA + STOP
OVERLOADED = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n'
STARTED = Usage(input=7, cache_read=5, cache_write=1, cache_write_1h=2, output=1)
ENDED = Usage(input=7, cache_read=5, cache_write=1, cache_write_1h=2, output=12)


class Stream(NamedTuple):
    name: str
    sent: bytes
    usage: Usage | None
    model: str | None = "m-1"
    is_final: bool = True
    is_complete: bool = True
    dialect: Dialect = COMPATIBLE
    flags: tuple[str, ...] = ()
    has_error_event: bool = False
    ends_event: bool = True


STREAMS = [
    Stream("asked usage", CHAT, COUNTED),
    Stream("usage null until asked", TEXT.replace(b"]}\n", b'],"usage":null}\n') + ONLY_USAGE + DONE, COUNTED),
    Stream("usage with the last choice", chunk("a") + LAST + DONE, COUNTED),
    Stream("usage behind the last choice", TEXT + chunk(usage=STATED) + b": HI\n\n" + DONE, COUNTED),
    Stream("usage behind the last choice, cut", TEXT + chunk(usage=STATED), COUNTED, is_final=False, is_complete=False),
    Stream("usage before the last choice", chunk("a", STATED) + TEXT + DONE, COUNTED, is_final=False),
    Stream(
        "usage before a choice in other words", chunk("a", STATED) + chunk("[DONE]") + DONE, COUNTED, is_final=False
    ),
    Stream("groq", chunk("a") + GROQ + DONE, COUNTED),
    Stream("azure", AZURE + CHAT, COUNTED),
    Stream("comments, BOM, bare CR, several data lines", ODD.encode("latin-1"), COUNTED),
    Stream("no usage", TEXT + DONE, None, is_final=False),
    Stream("in every chunk", chunk("a", counts(9, 1)) + LAST, COUNTED, is_complete=False),
    Stream(
        "in every chunk, CRLF", (chunk("a", counts(9, 1)) + LAST).replace(b"\n", b"\r\n"), COUNTED, is_complete=False
    ),
    Stream(
        "in every chunk, cut",
        chunk("a", counts(9, 1)) + chunk("b", counts(9, 2)),
        Usage(input=9, output=2),
        is_final=False,
        is_complete=False,
    ),
    Stream("an error inside", chunk("a") + FAILED, None, is_final=False, is_complete=False, has_error_event=True),
    Stream("cut in an event", TEXT + LAST[:-20], None, is_final=False, is_complete=False, ends_event=False),
    Stream("cut behind the usage", TEXT + ONLY_USAGE[:-1], COUNTED, is_complete=False, ends_event=False),
    Stream("no blank line behind the end mark", CHAT[:-2], COUNTED, ends_event=False),
    Stream("an event that is no JSON", chunk("a") + BROKEN + LAST + DONE, COUNTED, flags=("event_malformed",)),
    Stream("anthropic", MESSAGES, ENDED, dialect=ANTHROPIC),
    Stream("anthropic, no usage at the end", START + STOP, STARTED, dialect=ANTHROPIC, is_final=False),
    Stream("anthropic, CRLF", MESSAGES.replace(b"\n", b"\r\n"), ENDED, dialect=ANTHROPIC),
    Stream("anthropic, cut", START, STARTED, dialect=ANTHROPIC, is_final=False, is_complete=False),
    Stream(
        "anthropic, overloaded",
        START + OVERLOADED,
        STARTED,
        dialect=ANTHROPIC,
        is_final=False,
        is_complete=False,
        has_error_event=True,
    ),
    Stream("nothing", b"", None, model=None, is_final=False, is_complete=False),
    Stream("no stream", b"<p>usage</p>", None, model=None, is_final=False, is_complete=False, ends_event=False),
]
NAMES = [stream.name for stream in STREAMS]


@pytest.mark.parametrize("stream", STREAMS, ids=NAMES)
def test_what_a_stream_states(stream: Stream) -> None:
    relayed, metered = run([stream.sent], stream.dialect)
    assert relayed == stream.sent
    reading = metered.reading
    assert (None if reading is None else reading.usage) == stream.usage
    assert metered == Metered(
        reading=reading,
        is_final=stream.is_final,
        is_complete=stream.is_complete,
        model=stream.model,
        bytes_out=len(stream.sent),
        flags=stream.flags,
        has_error_event=stream.has_error_event,
        ends_event=stream.ends_event,
    )


@pytest.mark.parametrize("drops_usage", [False, True])
@pytest.mark.parametrize("stream", STREAMS, ids=NAMES)
def test_cutting_a_stream_in_two_anywhere_changes_nothing(stream: Stream, *, drops_usage: bool) -> None:
    whole = run([stream.sent], stream.dialect, drops_usage=drops_usage)
    for parts in every_cut(stream.sent):
        assert run(parts, stream.dialect, drops_usage=drops_usage) == whole


@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 900), max_size=40), st.booleans())
def test_cutting_a_stream_in_many_places_changes_nothing(stream: Stream, offsets: list[int], drops_usage: bool) -> None:  # noqa: FBT001 -- hypothesis fills it in
    whole = run([stream.sent], stream.dialect, drops_usage=drops_usage)
    assert run(cut(stream.sent, *offsets), stream.dialect, drops_usage=drops_usage) == whole


_SCRAPS = st.sampled_from([CHAT, MESSAGES, b"\r", b"\n", b"data: ", b'{"usage":{', b'"error"', b"[DONE]", b"\xff"])


@given(st.binary(max_size=300) | st.lists(_SCRAPS, max_size=8).map(b"".join))
def test_whatever_comes_is_relayed_as_it_came(sent: bytes) -> None:
    for dialect in (COMPATIBLE, ANTHROPIC):
        assert run([sent], dialect)[0] == sent
        assert run([sent], dialect, drops_usage=True)[0] == sent.replace(ONLY_USAGE, b"")


@pytest.mark.parametrize(
    ("event", "is_dropped"),
    [
        (ONLY_USAGE, True),
        (ONLY_USAGE.replace(b"\n", b"\r\n"), True),
        (ONLY_USAGE.replace(b",", b" ,\ndata: ", 1), True),
        (b": comment\nid: 1\n" + ONLY_USAGE, True),
        (LAST, False),
        (b'data: {"choices":[],"usage":null}\n\n', False),
        (b'data: {"choices":[],"usage":7}\n\n', False),
        (b'data: {"choices":[],"usage":[{}]}\n\n', False),
        (b'data: {"choices":[]}\n\n', False),
        (ONLY_USAGE.replace(b'"choices":[],', b""), False),
        (ONLY_USAGE.replace(b"[]", b"null"), False),
        (ONLY_USAGE.replace(b"[]", b'[],"error":{"code":500}'), False),
        (GROQ.replace(b'{"finish_reason":"stop"}', b""), False),
    ],
)
def test_only_an_event_without_choices_and_with_usage_is_dropped(event: bytes, *, is_dropped: bool) -> None:
    relayed = run([TEXT + event + DONE], drops_usage=True)[0]
    assert relayed == TEXT + (b"" if is_dropped else event) + DONE
    assert run([TEXT + event + DONE])[0] == TEXT + event + DONE


def test_a_caller_who_asked_for_usage_gets_it() -> None:
    assert run([CHAT], drops_usage=False)[0] == CHAT


def test_where_usage_is_dropped_bytes_leave_at_event_boundaries() -> None:
    meter = StreamMeter(COMPATIBLE, COMPATIBLE.endpoints[0], drops_usage=True)
    event = chunk("a")
    assert [meter.feed(part) for part in (event[:10], event[10:-1], event[-1:] + event[:5])] == [b"", b"", event]
    assert meter.finish()[0] == event[:5]


def test_a_usage_event_that_was_cut_off_is_not_shown_either() -> None:
    relayed, metered = run([TEXT + ONLY_USAGE[:-2]], drops_usage=True)
    assert relayed == TEXT
    assert metered.is_final


def test_the_end_is_known_as_soon_as_it_has_gone_by() -> None:
    meter = StreamMeter(COMPATIBLE, COMPATIBLE.endpoints[0], drops_usage=False)
    meter.feed(TEXT + ONLY_USAGE)
    assert not meter.is_complete
    meter.feed(DONE)
    assert meter.is_complete


@pytest.mark.parametrize(("sent", "is_complete"), [(TEXT + ONLY_USAGE, True), (TEXT, False), (TEXT + FAILED, False)])
def test_where_no_event_marks_the_end_a_final_statement_does(sent: bytes, *, is_complete: bool) -> None:
    meter = StreamMeter(COMPATIBLE, replace(COMPATIBLE.endpoints[0], stream_end=None), drops_usage=False)
    meter.feed(sent)
    assert meter.finish()[1].is_complete is is_complete


FAKES = [
    '\\"usage\\":{\\"prompt_tokens\\":0,\\"completion_tokens\\":0}',
    "data: [DONE]",
    "[DONE]",
    '\\n\\ndata: {\\"choices\\":[],\\"usage\\":{\\"prompt_tokens\\":0}}\\n\\n',
    '\\"error\\":{}',
    "\\u0022usage\\u0022:{}",
]


@pytest.mark.parametrize("fake", FAKES)
@pytest.mark.parametrize("drops_usage", [False, True])
def test_what_a_model_writes_is_never_taken_for_the_providers_words(fake: str, *, drops_usage: bool) -> None:
    sent = chunk(fake) + TEXT + ONLY_USAGE
    relayed, metered = run([sent], drops_usage=drops_usage)
    assert relayed == (chunk(fake) + TEXT if drops_usage else sent)
    assert metered == run([chunk("x" * len(fake.encode())) + TEXT + ONLY_USAGE])[1]
    assert not metered.is_complete
    assert not metered.has_error_event


def test_usage_below_the_top_level_is_content() -> None:
    nested = b'data: {"model":"m-1","choices":[{"delta":{"usage":{"prompt_tokens":1,"completion_tokens":1}}}]}\n\n'
    assert usage_of(nested) is None
    assert usage_of(nested + ONLY_USAGE + nested) == Usage(input=9, output=4)


def test_the_last_model_that_is_named_counts() -> None:
    assert run([chunk("a") + chunk("b", counts(1, 1)).replace(b"m-1", b"m-2")])[1].model == "m-2"


def test_a_later_statement_without_an_end_takes_the_finality_back() -> None:
    assert not run([chunk("a", counts(9, 4), "stop") + chunk("b", counts(9, 5))])[1].is_final


@pytest.mark.parametrize(
    ("text", "counted"),
    [("\\ud83d", Usage(input=9, output=4)), ("\x01", Usage(input=9, output=4)), ("\\q", None)],
)
def test_a_text_that_is_only_half_broken_hides_no_usage(text: str, counted: Usage | None) -> None:
    assert usage_of(chunk("a") + chunk(text, counts(9, 4), "stop")) == counted


def test_bytes_that_are_no_utf_8_hide_no_usage() -> None:
    assert usage_of(chunk("a") + chunk("?", counts(9, 4), "stop").replace(b"?", b"\xf0\x9f")) == Usage(
        input=9, output=4
    )


SENSELESS = [
    "-1",
    "1e3",
    "1.5",
    "1e99999999999999999999",
    "NaN",
    "Infinity",
    '"4"',
    "true",
    "[4]",
    "1000000001",
    "null",
]


@pytest.mark.parametrize("number", SENSELESS)
def test_a_senseless_count_is_as_good_as_none(number: str) -> None:
    usage = f'{{"prompt_tokens":9,"completion_tokens":{number},"total_tokens":{number}}}'
    metered = run([chunk("a", usage, "stop")])[1]
    assert metered.reading is not None
    assert (metered.reading.has_input, metered.reading.has_output) == (True, False)
    assert metered.flags == (() if number == "null" else ("usage_malformed",))


@pytest.mark.parametrize(
    "usage",
    [
        '{"prompt_tokens":' + "9" * 5000 + "}",
        '{"x":' * 500 + "1" + "}" * 500,
        '{"x":' * 100_000 + "1" + "}" * 100_000,
        "{" * 3,
    ],
    ids=["digits", "deep", "deeper than Python", "broken"],
)
def test_hostile_usage_hurts_nobody(usage: str) -> None:
    sent = chunk("a") + chunk("b", usage) + chunk("c", counts(9, 4), "stop") + DONE
    relayed, metered = run([sent])
    assert relayed == sent
    assert metered.reading is not None
    assert metered.reading.usage == Usage(input=9, output=4)


@pytest.mark.parametrize("drops_usage", [False, True])
def test_an_overlong_event_is_relayed_unmetered_and_the_next_one_metered(*, drops_usage: bool) -> None:
    long = chunk("x" * EVENT_BYTES_MAX)
    relayed, metered = run([chunk("a"), long[:-9], long[-9:], ONLY_USAGE, DONE], drops_usage=drops_usage)
    assert relayed == chunk("a") + long + (b"" if drops_usage else ONLY_USAGE) + DONE
    assert metered.reading is not None
    assert metered.reading.usage == Usage(input=9, output=4)
    assert metered.bytes_out == len(chunk("a") + long + ONLY_USAGE + DONE)
