import json

import pytest

from penstock.core.array_meter import ArrayMeter, ArrayScanner
from penstock.core.sse import EVENT_BYTES_MAX
from penstock.core.usage import Usage
from penstock.providers.gemini import GEMINI
from tests.cuts import every_cut

ENDPOINT = next(endpoint for endpoint in GEMINI.endpoints if endpoint.streams_array)


def element(text: str, prompt: int, output: int, finish: str | None = None) -> dict[str, object]:
    return {
        "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": finish}],
        "usageMetadata": {"promptTokenCount": prompt, "candidatesTokenCount": output},
        "modelVersion": "gemini-2.5-flash",
    }


FIRST, LAST = element('"]}\\', 9, 2), element("[{", 7, 5, "STOP")
# As Google sends it: an element at a time, spread over lines.
SENT = b"[" + json.dumps(FIRST, indent=2).encode() + b"\n,\r\n" + json.dumps(LAST, indent=2).encode() + b"\n]\n"


def test_elements_are_cut_out_however_they_are_read() -> None:
    for reads in every_cut(SENT):
        scanner = ArrayScanner()
        elements = [found for read in reads for found in scanner.feed(read)]
        assert [json.loads(found) for found in elements] == [FIRST, LAST]


def test_the_last_statement_counts_and_the_bytes_are_identical_however_they_are_read() -> None:
    for reads in every_cut(SENT):
        meter = ArrayMeter(GEMINI, ENDPOINT)
        assert b"".join(map(meter.feed, reads)) == SENT
        metered = meter.finish(is_complete=True)
        assert metered.reading is not None
        assert metered.reading.usage == Usage(input=7, output=5)
        assert (metered.is_final, metered.is_complete, metered.model) == (True, True, "gemini-2.5-flash")
        assert (metered.bytes_out, metered.flags) == (len(SENT), ())


@pytest.mark.parametrize("sent", [SENT[:-20], SENT[: SENT.index(b"\n,")]])
def test_an_array_that_was_cut_has_no_final_statement(sent: bytes) -> None:
    meter = ArrayMeter(GEMINI, ENDPOINT)
    meter.feed(sent)
    metered = meter.finish(is_complete=False)
    assert metered.reading is not None
    assert metered.reading.usage == Usage(input=9, output=2)
    assert (metered.is_final, metered.is_complete) == (False, False)


def test_a_statement_inside_of_an_element_is_not_believed() -> None:
    call = {"functionCall": {"args": {"usageMetadata": {"promptTokenCount": 0}}}}
    meter = ArrayMeter(GEMINI, ENDPOINT)
    meter.feed(json.dumps([{"candidates": [{"content": {"parts": [call]}}]}]).encode())
    assert meter.finish(is_complete=True).reading is None


@pytest.mark.parametrize("sent", [b"", b"null", b"]]]}}}", b'"', b"{}", b"[1,[2]]", b"[" * 100])
def test_what_is_no_array_of_objects_has_no_statement(sent: bytes) -> None:
    meter = ArrayMeter(GEMINI, ENDPOINT)
    assert meter.feed(sent) == sent
    assert meter.finish(is_complete=True).reading is None


def test_an_element_beyond_bounds_is_passed_over() -> None:
    scanner = ArrayScanner()
    assert scanner.feed(b'[{"text":"' + b"a" * EVENT_BYTES_MAX) == []
    assert scanner.feed(b"a" * EVENT_BYTES_MAX) == []
    assert scanner.feed(b'"},{"b":1}]') == [b'{"b":1}']
