"""Responses: what a request asks for, and where its stream states what it consumed."""

import json
from typing import Any

import pytest

from penstock.core.errors import InvalidJson, InvalidRequest, Unbounded
from penstock.core.meter import BodyMeter, Metered, StreamMeter
from penstock.core.provider import Asked, Changes
from penstock.core.usage import Usage
from penstock.providers.openai import COMPATIBLE
from penstock.providers.request_fields import IMAGE_TOKENS_MAX, SEARCHES_MAX
from tests.cuts import every_cut

RESPONSES = next(e for e in COMPATIBLE.endpoints if e.name == "responses")
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 130,
}
COUNTED = Usage(input=30, cache_read=60, cache_write=10, output=30)


def read(**fields: object) -> Asked:
    body = {"model": "m", "input": "Hello", **fields}
    return COMPATIBLE.read_request(RESPONSES, json.dumps(body).encode(), None)


def answer(**fields: object) -> dict[str, Any]:
    return {"object": "response", "model": "m-1", "status": "completed", "output": [], "usage": USAGE, **fields}


def event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


CREATED = event("response.created", response=answer(status="in_progress", usage=None, error=None))
DELTA = event("response.output_text.delta", delta="Hello")
COMPLETED = event("response.completed", response=answer())


def watch(*parts: bytes) -> Metered:
    meter = StreamMeter(COMPATIBLE, RESPONSES, drops_usage=False)
    assert b"".join(map(meter.feed, parts)) == b"".join(parts)
    return meter.finish()[1]


def body(value: object) -> Metered:
    meter = BodyMeter(COMPATIBLE)
    meter.feed(json.dumps(value).encode())
    return meter.finish(is_complete=True)


def test_a_plain_question_hides_nothing() -> None:
    assert read() == Asked(model="m", wants_usage=True)
    items = [{"role": "user", "content": [{"type": "input_text", "text": "previous_response_id"}]}]
    assert not read(input=items, instructions="Be brief.", store=False, include=["x"]).has_hidden_input


def test_the_callers_cap_is_max_output_tokens() -> None:
    assert read(max_output_tokens=50).output_tokens == 50
    assert RESPONSES.cap_field == "max_output_tokens"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n_predict", "n"])
def test_a_cap_by_another_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        read(**{name: 5})


@pytest.mark.parametrize("cap", [0, -1, 10**9 + 1])
def test_a_cap_that_is_none_is_refused(cap: int) -> None:
    with pytest.raises(InvalidRequest, match="max_output_tokens"):
        read(max_output_tokens=cap)


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"content": [{"type": "input_file", "file_id": "file_1"}]}]},
        {"input": [{"content": [{"type": "input_file", "file_url": "https://a.example/x.pdf"}]}]},
        {"input": [{"content": [{"type": "input_file", "file_data": "data:application/pdf;base64,AA"}]}]},
        {"input": [{"content": [{"type": "input_image", "image_url": "https://a.example/x.png"}]}]},
    ],
)
def test_what_does_not_stand_in_the_body_is_hidden_input(fields: dict[str, object]) -> None:
    asked = read(**fields)
    assert asked.has_hidden_input
    assert asked.tool_uses == 0


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview", "file_search", "mcp", "computer", "shell", "new"])
def test_a_tool_that_may_run_at_the_provider_searches_for_a_fee(kind: str) -> None:
    asked = read(tools=[{"type": kind}])
    assert asked.has_tools
    assert asked.has_hidden_input
    assert asked.tool_uses == SEARCHES_MAX
    assert read(tools=[{"type": kind}], max_tool_calls=90).tool_uses == 90


@pytest.mark.parametrize("kind", ["function", "custom", "local_shell", "apply_patch"])
def test_a_tool_of_the_callers_own_hides_nothing(kind: str) -> None:
    asked = read(tools=[{"type": kind, "name": "f"}])
    assert asked.has_tools
    assert not asked.has_hidden_input
    assert not asked.tool_uses


def test_a_prompt_template_may_bring_text_and_tools() -> None:
    asked = read(prompt={"id": "pmpt_1"})
    assert asked.has_hidden_input
    assert asked.has_tools
    assert asked.tool_uses == SEARCHES_MAX


def test_plugins_and_online_models_search() -> None:
    assert read(plugins=[{"id": "web"}]).tool_uses == SEARCHES_MAX
    assert read(models=["a", "b:online"]).tool_uses == SEARCHES_MAX
    assert read(models=["a"], fallbacks=["b"]).models == ("a", "b")


@pytest.mark.parametrize("kind", ["image_generation", "code_interpreter"])
def test_a_tool_that_is_billed_beside_the_tokens_is_refused(kind: str) -> None:
    with pytest.raises(Unbounded, match=kind):
        read(tools=[{"type": kind}])


def test_an_answer_in_the_background_is_refused() -> None:
    assert read(background=False) == read()
    with pytest.raises(InvalidRequest, match="background"):
        read(background=True)


@pytest.mark.parametrize("text", ['{"input": "x"}', '{"model": ""}', '{"model": "a", "stream": "yes"}', "[]"])
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        COMPATIBLE.read_request(RESPONSES, text.encode(), None)


def test_a_repeated_key_is_refused() -> None:
    with pytest.raises(InvalidJson):
        COMPATIBLE.read_request(RESPONSES, b'{"model":"a","max_output_tokens":1,"max_output_tokens":9}', None)


def test_an_inline_image_counts_at_its_most() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
    asked = read(input=[{"content": [image, image]}], text={"format": {"type": "json_schema"}})
    assert asked.media_tokens == 2 * IMAGE_TOKENS_MAX
    assert asked.is_structured
    assert not asked.has_hidden_input


def test_the_body_goes_up_as_it_came_but_for_a_cap_and_another_name() -> None:
    sent = b'{"model": "lab/m",  "input": "x"}'
    asked = COMPATIBLE.read_request(RESPONSES, sent, None)
    assert COMPATIBLE.prepare(RESPONSES, sent, asked, Changes()) is sent
    changed = COMPATIBLE.prepare(RESPONSES, sent, asked, Changes(model="m", output_cap=9))
    assert json.loads(changed) == {"model": "m", "input": "x", "max_output_tokens": 9}


def test_an_answer_states_its_usage() -> None:
    metered = body(answer(service_tier="flex"))
    assert metered.reading is not None
    assert metered.reading.usage == COUNTED
    assert metered.reading.properties == {"service_tier": "flex"}
    assert (metered.model, metered.is_final) == ("m-1", True)


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_the_event_that_ends_a_stream_states_its_usage(kind: str) -> None:
    metered = watch(CREATED, DELTA, event(kind, response=answer()))
    assert metered.reading is not None
    assert metered.reading.usage == COUNTED
    assert (metered.is_final, metered.is_complete, metered.model) == (True, True, "m-1")


def test_usage_before_the_end_is_not_the_last_word() -> None:
    metered = watch(CREATED, event("response.in_progress", response=answer()), DELTA)
    assert metered.reading is not None
    assert not metered.is_final
    assert not metered.is_complete


def test_a_stream_that_is_cut_is_not_complete() -> None:
    metered = watch(CREATED, DELTA, COMPLETED[:-40])
    assert (metered.reading, metered.is_complete, metered.flags) == (None, False, ())


def test_it_does_not_matter_where_a_read_ends() -> None:
    whole = watch(CREATED + DELTA + COMPLETED)
    for parts in every_cut(CREATED + DELTA + COMPLETED):
        assert watch(*parts) == whole


def test_openrouters_end_mark_behind_the_last_event_is_nothing_odd() -> None:
    metered = watch(CREATED, DELTA, COMPLETED, b"data: [DONE]\n\n")
    assert metered.flags == ()
    assert metered.is_final


@pytest.mark.parametrize(
    "failed", [event("error", message="Too bad"), event("response.failed", response=answer(usage=None, error={"a": 1}))]
)
def test_a_failure_inside_a_stream_is_an_error_event(failed: bytes) -> None:
    metered = watch(CREATED, DELTA, failed)
    assert metered.has_error_event
    assert not metered.is_complete


def test_searches_are_counted_among_the_answers_items() -> None:
    items = [
        {"type": "web_search_call", "action": {"type": "search"}},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "file_search_call", "queries": ["q"]},
        {"type": "message", "content": []},
        "no item",
    ]
    for metered in (
        body(answer(output=items)),
        watch(CREATED, event("response.completed", response=answer(output=items))),
    ):
        assert metered.reading is not None
        assert metered.reading.usage.searches == 2


@pytest.mark.parametrize(
    ("kind", "searches"), [("web_search", SEARCHES_MAX), ("file_search", SEARCHES_MAX), ("mcp", 0)]
)
def test_the_searches_of_an_answer_too_long_to_read_are_taken_at_their_most(kind: str, searches: int) -> None:
    long = [{"type": "message", "content": "x" * 100_000}]
    metered = body(answer(output=long, tools=[{"type": kind}]))
    assert metered.reading is not None
    assert metered.reading.usage == Usage(input=30, cache_read=60, cache_write=10, output=30, searches=searches)
