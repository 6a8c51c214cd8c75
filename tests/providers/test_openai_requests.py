import json
import re
from collections.abc import Mapping

import pytest

from penstock.core.errors import InvalidJson, InvalidRequest, Unbounded
from penstock.core.provider import Asked, Changes, Dialect
from penstock.core.usage import COUNT_MAX
from penstock.providers.openai import COMPATIBLE, OPENAI
from penstock.providers.request_fields import IMAGE_TOKENS_MAX, SEARCHES_MAX

ENDPOINTS = {endpoint.name: endpoint for endpoint in COMPATIBLE.endpoints}
CHAT, COMPLETIONS = "chat.completions", "completions"


def ask(body: Mapping[str, object] | bytes, endpoint: str = CHAT, dialect: Dialect = COMPATIBLE) -> Asked:
    raw = body if isinstance(body, bytes) else json.dumps({"model": "m", **body}).encode()
    return dialect.read_request(ENDPOINTS[endpoint], raw, None)


def image(url: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]}


INLINE = image({"url": "data:image/png;base64,iVBORw0KGgo="})


def test_a_request_that_says_nothing_asks_for_one_answer() -> None:
    assert ask({"messages": [{"role": "user", "content": "hi"}]}) == Asked("m")


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"stream": True}, Asked("m", is_stream=True)),
        ({"stream": None}, Asked("m")),
        ({"stream": True, "stream_options": {"include_usage": True}}, Asked("m", is_stream=True, wants_usage=True)),
        ({"stream_options": {"include_usage": False}}, Asked("m")),
        ({"stream_options": {}}, Asked("m")),
        ({"stream_options": None}, Asked("m")),
        ({"max_tokens": 5}, Asked("m", output_tokens=5)),
        ({"max_completion_tokens": 5}, Asked("m", output_tokens=5)),
        ({"max_tokens": 5, "max_completion_tokens": 5}, Asked("m", output_tokens=5)),
        ({"max_tokens": 5, "max_completion_tokens": None}, Asked("m", output_tokens=5)),
        ({"max_tokens": COUNT_MAX}, Asked("m", output_tokens=COUNT_MAX)),
        ({"max_tokens": 1, "n": 1}, Asked("m", output_tokens=1)),
        ({"max_output_tokens": 5}, Asked("m")),
        ({"n": 3}, Asked("m", choices=3)),
        ({"n": 2, "best_of": 3}, Asked("m", choices=3)),
        ({"n": 4, "best_of": None}, Asked("m", choices=4)),
        ({"tools": [{"type": "function"}, {"type": "custom"}, {}]}, Asked("m", has_tools=True)),
        ({"tools": []}, Asked("m")),
        ({"functions": [{"name": "f"}]}, Asked("m", has_tools=True)),
        ({"response_format": {"type": "json_object"}}, Asked("m", is_structured=True)),
        ({"response_format": None}, Asked("m")),
        ({"models": ["a", "b"], "fallbacks": ["c"]}, Asked("m", models=("a", "b", "c"))),
        ({"models": None, "fallbacks": None}, Asked("m")),
    ],
)
def test_what_a_chat_asks_for(body: dict[str, object], asked: Asked) -> None:
    assert ask(body) == asked


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"prompt": "hi"}, Asked("m")),
        ({"prompt": ["a", "b", "c"]}, Asked("m", choices=3)),
        ({"prompt": [1, 2, 3]}, Asked("m")),
        ({"prompt": [[1, 2], [3]]}, Asked("m", choices=2)),
        ({"prompt": []}, Asked("m")),
        ({"prompt": [7]}, Asked("m")),
        ({"prompt": ["a"]}, Asked("m")),
        ({"prompt": ["a", "b"], "n": 3}, Asked("m", choices=6)),
        ({"prompt": ["a", "b"], "n": 2, "best_of": 3}, Asked("m", choices=6)),
        ({"prompt": None, "max_tokens": 7}, Asked("m", output_tokens=7)),
        ({"max_completion_tokens": None, "max_tokens": 5}, Asked("m", output_tokens=5)),
    ],
)
def test_what_a_legacy_completion_asks_for(body: dict[str, object], asked: Asked) -> None:
    assert ask(body, COMPLETIONS) == asked


def test_prompts_count_in_legacy_completions_only() -> None:
    assert ask({"prompt": ["a", "b"]}).choices == 1


@pytest.mark.parametrize(
    ("endpoint", "body", "output_tokens"),
    [
        (COMPLETIONS, {}, 16),
        (COMPLETIONS, {"max_tokens": 3}, 3),
        (CHAT, {}, None),
    ],
)
def test_openai_itself_ends_legacy_completions_at_16(
    endpoint: str, body: dict[str, object], output_tokens: int | None
) -> None:
    assert ask(body, endpoint, OPENAI).output_tokens == output_tokens


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": COUNT_MAX + 1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 5.0}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": -2}, "n"),
        ({"best_of": COUNT_MAX + 1}, "best_of"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"tools": ["search"]}, "tools[0]"),
        ({"model": ""}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"models": ["m"] * 17}, "models"),
        ({"models": ["m", "m" * 257]}, "models[1]"),
        ({"fallbacks": [{"model": "dear"}]}, "fallbacks[0]"),
        ({"n_predict": 100_000, "max_tokens": 1}, "n_predict"),
        ({"n_predict": None}, "n_predict"),
        ({"n_cmpl": 8}, "n_cmpl"),
        ({"num_predict": -1}, "num_predict"),
        ({"max_new_tokens": 1}, "max_new_tokens"),
        ({"auto_max_new_tokens": True}, "auto_max_new_tokens"),
    ],
)
@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
def test_what_has_no_clear_bound_is_refused(body: dict[str, object], param: str, endpoint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask(body, endpoint)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": 5, "max_completion_tokens": 6},
        {"max_completion_tokens": 1, "max_tokens": 100_000},
        {"max_completion_tokens": 0},
        {"max_completion_tokens": 10**30},
    ],
)
def test_a_chat_has_one_cap_even_where_it_is_said_twice(body: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask(body)
    assert caught.value.param == "max_tokens"


@pytest.mark.parametrize("body", [{"max_completion_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": 500}])
def test_a_chats_cap_is_refused_in_a_legacy_completion(body: dict[str, object]) -> None:
    # OpenAI knows no such field there; llama.cpp lets it outbid max_tokens.
    with pytest.raises(InvalidRequest) as caught:
        ask(body, COMPLETIONS)
    assert caught.value.param == "max_completion_tokens"


def test_predicted_output_is_refused_because_it_is_billed_beyond_the_cap() -> None:
    with pytest.raises(Unbounded):
        ask({"prediction": {"type": "content", "content": "x"}})


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","max_tokens":1,"max_tokens":100000}',
        b'{"model":"a","max_tokens":1,"max\\u005ftokens":100000}',
        b'{"model":"a","max_tokens":1,"Max_Tokens":100000}',
        b'{"model":"a","stream_options":{"include_usage":true,"include_usage":false}}',
        b'{"model":"a","n":1,"n":9}',
        b"{",
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        ask(body)


@pytest.mark.parametrize(
    "body",
    [
        image({"url": "https://x.example/a.png"}),
        image({"url": "gs://bucket/a.png"}),
        image("https://x.example/a.png"),
        {"messages": [{"content": [{"type": "file", "file": {"file_id": "f-1"}}]}]},
        {"messages": [{"content": [{"file_data": "data:application/pdf;base64,JVBERi0="}]}]},
        {"messages": [{"content": [{"type": "video_url", "video_url": {"url": "data:video/mp4;base64,"}}]}]},
        {"messages": [{"content": [{"type": "audio_url", "audio_url": {"url": "https://x.example"}}]}]},
        {"data_sources": [{"type": "azure_search"}]},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "function"}, {"type": "openrouter:web_search"}]},
        {"web_search_options": {}},
        {"search_parameters": {"mode": "on"}},
        {"plugins": [{"id": "web"}]},
        {"model": "openai/gpt-4o:online"},
        {"models": ["a", "b:online"]},
    ],
)
def test_input_that_does_not_stand_in_the_body_is_seen_however_it_is_spelled(body: dict[str, object]) -> None:
    assert ask(body).has_hidden_input
    raw = json.dumps({"model": "m", **body})
    assert ask(raw.replace(": ", " :\n ").encode()).has_hidden_input
    assert ask(raw.replace("/", "\\/").encode()).has_hidden_input
    assert ask(disguised(raw)).has_hidden_input


def disguised(body: str) -> bytes:
    """The same JSON with every letter of its texts and keys written as an escape."""
    texts = re.compile(r'"(?:[^"\\]|\\.)*"')
    return texts.sub(lambda text: '"' + "".join(f"\\u{ord(c):04x}" for c in json.loads(text[0])) + '"', body).encode()


@pytest.mark.parametrize(
    "body",
    [
        INLINE,
        {"messages": [{"role": "user", "content": 'the "url": "https://x.example" of a "file"'}]},
        {"messages": [{"content": [{"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}]}]},
        {"tools": [{"type": "function", "function": {"parameters": {"properties": {"url": {"type": "string"}}}}}]},
        {"plugins": []},
        {"web_search_options": None},
    ],
)
def test_input_that_stands_in_the_body_is_not_hidden(body: dict[str, object]) -> None:
    assert not ask(body).has_hidden_input


@pytest.mark.parametrize(
    ("body", "uses"),
    [
        ({}, 0),
        (INLINE, 0),
        ({"web_search_options": {}}, SEARCHES_MAX),
        ({"tools": [{"type": "web_search"}]}, SEARCHES_MAX),
    ],
)
def test_tools_of_the_provider_cost_a_fee_each_time(body: dict[str, object], uses: int) -> None:
    assert ask(body).tool_uses == uses


@pytest.mark.parametrize("images", [0, 1, 3])
def test_each_inline_image_is_bounded(images: int) -> None:
    part = INLINE["messages"]
    assert ask({"messages": [part] * images}).media_tokens == images * IMAGE_TOKENS_MAX


def test_a_disguised_image_counts_too() -> None:
    assert ask(disguised(json.dumps({"model": "m", **INLINE}))).media_tokens == IMAGE_TOKENS_MAX


BODY = b'{ "model" : "m", "temperature": 1.0 }'


@pytest.mark.parametrize(
    ("body", "changes", "prepared"),
    [
        (BODY, Changes(), BODY),
        (BODY, Changes(output_cap=9), b'{"max_tokens":9, "model" : "m", "temperature": 1.0 }'),
        (BODY, Changes(model="x"), b'{"model":"x","temperature":1.0}'),
        (
            BODY,
            Changes(ask_usage=True),
            b'{"stream_options":{"include_usage":true}, "model" : "m", "temperature": 1.0 }',
        ),
        (b'{"model":"m","max_tokens":99}', Changes(output_cap=9), b'{"model":"m","max_tokens":9}'),
        (
            b'{"model":"m","max_completion_tokens":99}',
            Changes(output_cap=9),
            b'{"model":"m","max_completion_tokens":9}',
        ),
        (
            b'{"model":"m","max_tokens":99,"max_completion_tokens":99}',
            Changes(output_cap=9),
            b'{"model":"m","max_tokens":9,"max_completion_tokens":9}',
        ),
        (
            b'{"model":"m","max_completion_tokens":null}',
            Changes(output_cap=9),
            b'{"max_tokens":9,"model":"m","max_completion_tokens":null}',
        ),
        (b'{"model":"m","max_tokens":null}', Changes(output_cap=9), b'{"model":"m","max_tokens":9}'),
        (
            b'{"model":"m","stream_options":{"include_usage":false,"x":1.0}}',
            Changes(ask_usage=True),
            b'{"model":"m","stream_options":{"include_usage":true,"x":1.0}}',
        ),
        (
            b'{"model":"m","stream_options":{ "x":1.0 }}',
            Changes(ask_usage=True),
            b'{"model":"m","stream_options":{"include_usage":true, "x":1.0 }}',
        ),
        (
            b'{"model":"m","stream_options":null}',
            Changes(ask_usage=True),
            b'{"model":"m","stream_options":{"include_usage":true}}',
        ),
    ],
)
def test_only_what_must_change_changes(body: bytes, changes: Changes, prepared: bytes) -> None:
    endpoint = ENDPOINTS[CHAT]
    asked = COMPATIBLE.read_request(endpoint, body, None)
    assert COMPATIBLE.prepare(endpoint, body, asked, changes) == prepared
    assert json.loads(prepared)


def test_openai_takes_the_cap_in_its_newer_field() -> None:
    endpoint = OPENAI.endpoints[0]
    prepared = OPENAI.prepare(endpoint, BODY, Asked("m"), Changes(output_cap=9))
    assert json.loads(prepared) == {"model": "m", "temperature": 1.0, "max_completion_tokens": 9}


def test_a_legacy_completion_never_gets_a_cap() -> None:
    assert COMPATIBLE.prepare(ENDPOINTS[COMPLETIONS], BODY, Asked("m"), Changes(output_cap=9)) == BODY
