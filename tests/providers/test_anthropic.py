import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidJson, InvalidRequest, Unbounded
from penstock.core.provider import Asked, Changes, Reading
from penstock.core.usage import COUNT_MAX, Usage
from penstock.providers.anthropic import ANTHROPIC, IMAGE_TOKENS_MAX, SEARCHES_MAX

ENDPOINTS = {endpoint.name: endpoint for endpoint in ANTHROPIC.endpoints}


def ask(body: Mapping[str, object] | bytes, endpoint: str = "messages") -> Asked:
    raw = body if isinstance(body, bytes) else json.dumps({"model": "m", "max_tokens": 7, **body}).encode()
    return ANTHROPIC.read_request(ENDPOINTS[endpoint], raw, None)


def asked(**more: object) -> Asked:
    return Asked(**{"model": "m", "output_tokens": 7, "wants_usage": True, **more})  # type: ignore[arg-type] # a row


def source(**members: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [{"type": "image", "source": members}]}]}


INLINE = source(type="base64", media_type="image/png", data="iVBORw0KGgo=")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, asked()),
        ({"stream": True}, asked(is_stream=True)),
        ({"stream": None}, asked()),
        ({"tools": [{"name": "f", "input_schema": {}}, {"type": "custom"}]}, asked(has_tools=True)),
        ({"tools": []}, asked()),
        ({"output_format": {"type": "json_schema"}}, asked(is_structured=True)),
        ({"output_config": {"effort": "low"}}, asked(is_structured=True)),
        ({"speed": "standard", "inference_geo": "global", "mcp_servers": [], "container": None}, asked()),
        ({"fallbacks": ["a", "b"]}, asked(models=("a", "b"))),
        (INLINE, asked(media_tokens=IMAGE_TOKENS_MAX)),
        ({"messages": [INLINE, INLINE]}, asked(media_tokens=2 * IMAGE_TOKENS_MAX)),
    ],
)
def test_what_a_message_asks_for(body: dict[str, object], expected: Asked) -> None:
    assert ask(body) == expected


def test_counting_tokens_needs_no_cap() -> None:
    assert ask(b'{"model":"m","messages":[]}', "count_tokens") == asked(output_tokens=None)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": COUNT_MAX + 1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "7"}, "max_tokens"),
        ({"speed": "fast"}, "speed"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"model": ""}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"tools": [{"type": 7}]}, "tools[0].type"),
        ({"fallbacks": ["m"] * 17}, "fallbacks"),
        ({"fallbacks": [{"model": "m"}]}, "fallbacks[0]"),
    ],
)
def test_what_has_no_clear_bound_is_refused(body: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask(body)
    assert caught.value.param == param


@pytest.mark.parametrize("max_tokens", [1, COUNT_MAX])
def test_the_cap_may_be_any_count_from_one(max_tokens: int) -> None:
    assert ask({"max_tokens": max_tokens}).output_tokens == max_tokens


@pytest.mark.parametrize(
    "body",
    [
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
        {"tools": [{"type": "advisor_20260301", "model": "dear"}]},
        b'{"model":"m","max_tokens":7,"context_management":{"edits":[{"type" : "comp\\u0061ct_20260112"}]}}',
    ],
)
def test_what_calls_a_model_beside_the_cap_has_no_bound(body: dict[str, object] | bytes) -> None:
    with pytest.raises(Unbounded):
        ask(body)


@pytest.mark.parametrize(
    "body", [b'{"model":"a","model":"b","max_tokens":1}', b'{"model":"a","max_tokens":1,"max_tokens":9}', b"{"]
)
def test_what_two_parsers_could_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        ask(body)


@pytest.mark.parametrize(
    "body",
    [
        source(type="url", url="https://x.example/a.png"),
        source(type="file", file_id="f-1"),
        source(file_id="f-1"),
        source(type="base64", media_type="application/pdf", data="JVBERi0="),
        {"messages": [{"content": [{"type": "container_upload", "file_id": "f-1"}]}]},
        {"messages": [{"content": [{"type": "web_search_tool_result", "content": []}]}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "code_execution_20250825"}]},
        {"tools": [{"type": "something_new_20270101"}]},
        {"tools": [{"type": "bash"}]},
        {"mcp_servers": [{"type": "url", "url": "https://x.example"}]},
        {"container": "c-1"},
    ],
)
def test_input_that_does_not_stand_in_the_body_is_seen_however_it_is_spelled(body: dict[str, object]) -> None:
    raw = json.dumps({"model": "m", "max_tokens": 7, **body})
    spellings = [raw, raw.replace(": ", "\n:\t"), raw.replace("/", "\\/"), raw.replace("_", "\\u005f")]
    for spelling in spellings:
        spelled = spelling.replace("max\\u005ftokens", "max_tokens")
        assert ask(spelled.encode()).has_hidden_input


@pytest.mark.parametrize(
    "body",
    [
        INLINE,
        source(type="text", media_type="text/plain", data="hi"),
        {"messages": [{"content": 'a "type": "url" of "application/pdf" and a "file_id"'}]},
        {"messages": [{"content": [{"type": "tool_use", "name": "web_search", "input": {}}]}]},
        {"tools": [{"type": "bash_20250124"}, {"type": "text_editor_20250728"}, {"type": "computer_20251124"}]},
        {"tools": [{"type": "memory_20250818"}, {"type": None}]},
    ],
)
def test_input_that_stands_in_the_body_is_not_hidden(body: dict[str, object]) -> None:
    assert not ask(body).has_hidden_input


@pytest.mark.parametrize(
    ("body", "uses"),
    [
        ({}, 0),
        ({"tools": [{"type": "bash_20250124"}]}, 0),
        ({"tools": [{"type": "web_search_20250305"}]}, SEARCHES_MAX),
        ({"mcp_servers": [{}]}, SEARCHES_MAX),
    ],
)
def test_tools_of_the_provider_cost_a_fee_each_time(body: dict[str, object], uses: int) -> None:
    assert ask(body).tool_uses == uses


@pytest.mark.parametrize(
    ("changes", "prepared"),
    [
        (Changes(), b'{ "model":"m", "max_tokens":7 }'),
        (Changes(ask_usage=True), b'{ "model":"m", "max_tokens":7 }'),
        (Changes(output_cap=3), b'{"model":"m","max_tokens":3}'),
        (Changes(model="x"), b'{"model":"x","max_tokens":7}'),
        (Changes(model="x", output_cap=3), b'{"model":"x","max_tokens":3}'),
    ],
)
def test_only_what_must_change_changes(changes: Changes, prepared: bytes) -> None:
    body = b'{ "model":"m", "max_tokens":7 }'
    assert ANTHROPIC.prepare(ENDPOINTS["messages"], body, asked(), changes) == prepared


def read(**usage: object) -> Reading:
    return ANTHROPIC.read_usage({"input_tokens": 9, "output_tokens": 4, **usage})


def split(short: object, long: object) -> dict[str, object]:
    return {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, Usage(input=9, output=4)),
        ({"cache_read_input_tokens": 5}, Usage(input=9, cache_read=5, output=4)),
        ({"cache_creation_input_tokens": 5}, Usage(input=9, cache_write=5, output=4)),
        ({"cache_creation_input_tokens": 5, "cache_creation": split(5, 0)}, Usage(input=9, cache_write=5, output=4)),
        ({"cache_creation_input_tokens": 5, "cache_creation": split(0, 5)}, Usage(input=9, cache_write_1h=5, output=4)),
        (
            {"cache_creation_input_tokens": 5, "cache_creation": split(2, 3)},
            Usage(input=9, cache_write=2, cache_write_1h=3, output=4),
        ),
        ({"cache_creation_input_tokens": 9, "cache_creation": split(5, 0)}, Usage(input=9, cache_write=9, output=4)),
        (
            {"cache_creation_input_tokens": 9, "cache_creation": split(5, 1)},
            Usage(input=9, cache_write=5, cache_write_1h=4, output=4),
        ),
        (
            {"cache_creation_input_tokens": 1, "cache_creation": split(5, 2)},
            Usage(input=9, cache_write=5, cache_write_1h=2, output=4),
        ),
        ({"cache_creation": split(5, 2)}, Usage(input=9, cache_write=5, cache_write_1h=2, output=4)),
        ({"cache_creation": None, "cache_read_input_tokens": None}, Usage(input=9, output=4)),
        (
            {"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 3}},
            Usage(input=9, output=4, searches=2),
        ),
        ({"server_tool_use": None}, Usage(input=9, output=4)),
        ({"output_tokens_details": {"thinking_tokens": 3}}, Usage(input=9, output=4)),
        ({"iterations": [{"type": "message", "input_tokens": 9, "output_tokens": 4}]}, Usage(input=9, output=4)),
        ({"iterations": 7}, Usage(input=9, output=4)),
        ({"iterations": [7]}, Usage(input=9, output=4)),
    ],
)
def test_counts_are_disjoint_already(usage: dict[str, object], expected: Usage) -> None:
    assert read(**usage) == Reading(expected, has_input=True, has_output=True)


def test_passes_beside_the_message_are_billed_too_and_flagged() -> None:
    iterations = [
        {"type": "compaction", "input_tokens": 600, "output_tokens": 50, "cache_creation_input_tokens": 8},
        {"type": "message", "input_tokens": 9, "output_tokens": 4},
        {"type": "compaction", "input_tokens": 1, "cache_read_input_tokens": 2, "cache_creation": split(0, 3)},
    ]
    expected = Usage(input=610, cache_read=2, cache_write_1h=8, output=54)
    assert read(iterations=iterations) == Reading(expected, has_input=True, has_output=True, flags=("usage_mismatch",))


SENSELESS = [-1, True, "5", 1.5, COUNT_MAX + 1, [5]]


@pytest.mark.parametrize("value", [None, *SENSELESS])
@pytest.mark.parametrize(("name", "half"), [("input_tokens", "has_input"), ("output_tokens", "has_output")])
def test_a_main_count_that_is_missing_or_makes_no_sense_is_not_stated(name: str, half: str, value: object) -> None:
    reading = read(**{name: value})
    assert [reading.has_input, reading.has_output] == [half != "has_input", half != "has_output"]


@pytest.mark.parametrize("value", SENSELESS)
@pytest.mark.parametrize("name", ["cache_read_input_tokens", "cache_creation_input_tokens"])
def test_a_cache_count_that_makes_no_sense_is_no_zero(name: str, value: object) -> None:
    assert not read(**{name: value}).has_input
    assert not read(cache_creation=split(value, 1)).has_input
    assert not read(cache_creation=split(1, value)).has_input
    assert not read(server_tool_use={"web_search_requests": value}).has_input


_COUNTS = st.integers(0, 50)


@given(_COUNTS, _COUNTS, _COUNTS, st.none() | st.tuples(_COUNTS, _COUNTS), _COUNTS)
def test_the_parts_sum_to_what_was_stated(
    fresh: int, cached: int, written: int, lifetimes: tuple[int, int] | None, output: int
) -> None:
    creation = {} if lifetimes is None else {"cache_creation": split(*lifetimes)}
    stated = {"input_tokens": fresh, "cache_read_input_tokens": cached, "cache_creation_input_tokens": written}
    usage = ANTHROPIC.read_usage({**stated, "output_tokens": output, **creation}).usage
    assert (usage.input, usage.cache_read, usage.output) == (fresh, cached, output)
    assert usage.cache_write + usage.cache_write_1h == max(written, sum(lifetimes or ()))


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        ({"type": "message", "usage": {"a": 1}}, {"a": 1}),
        ({"type": "message_start", "message": {"usage": {"a": 1}}}, {"a": 1}),
        ({"type": "message_start", "message": {}, "usage": {"a": 1}}, None),
        ({"type": "message_delta", "usage": {"a": 1}}, {"a": 1}),
        ({"type": "ping"}, None),
        ({"usage": None}, None),
        ({"usage": [1]}, None),
        ({"content": [{"type": "tool_use", "input": {"usage": {"a": 1}}}]}, None),
    ],
)
def test_where_the_statement_stands(value: dict[str, object], usage: dict[str, object] | None) -> None:
    assert ANTHROPIC.find_usage(value) == usage


def test_the_tier_that_was_served_is_a_property_of_the_price() -> None:
    assert read(service_tier="priority").properties == {"service_tier": "priority"}


@pytest.mark.parametrize(
    ("value", "is_final"),
    [
        ({"type": "message"}, True),
        ({"type": "message_start", "message": {}}, False),
        ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, True),
        ({"type": "message_delta", "delta": {"stop_reason": None}}, False),
        ({"type": "message_delta", "delta": None}, False),
        ({"type": "message_delta"}, False),
        ({}, False),
    ],
)
def test_a_statement_is_final_where_the_output_has_ended(value: dict[str, object], *, is_final: bool) -> None:
    assert ANTHROPIC.is_final(value) is is_final


@pytest.mark.parametrize(
    ("value", "model"),
    [
        ({"model": "m"}, "m"),
        ({"message": {"model": "m"}}, "m"),
        ({"message": {}, "model": "x"}, None),
        ({"model": ""}, None),
        ({"model": 7}, None),
        ({}, None),
    ],
)
def test_the_model_that_answered(value: dict[str, object], model: str | None) -> None:
    assert ANTHROPIC.find_model(value) == model


@pytest.mark.parametrize(("kind", "is_error"), [("error", True), ("message_stop", False), (None, False)])
def test_an_error_in_a_stream(kind: object, *, is_error: bool) -> None:
    assert ANTHROPIC.is_error_event({"type": kind}) is is_error
