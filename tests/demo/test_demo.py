import asyncio
import json
from typing import Any

import pytest

from penstock.core.usage import Unit, Usage
from penstock.demo import PRICE, Demo, demo_provider
from penstock.providers.openai import OPENAI
from tests.exchange import MemoryReply, request

KEY = "demo-key"
NOW_MS = 1_795_219_200_000
ASK = {"model": "penstock-demo", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}
BY_CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": BY_CITY}}
TIME = {"type": "function", "function": {"name": "get_time", "parameters": None}}


async def call(
    path: str = "/v1/chat/completions",
    ask: object = ASK,
    *,
    method: str = "POST",
    key: str = KEY,
    reply: MemoryReply | None = None,
) -> MemoryReply:
    reply = reply or MemoryReply()
    body = ask if isinstance(ask, bytes) else json.dumps(ask).encode()
    headers = [(b"authorization", b"Bearer " + key.encode())]
    await Demo(KEY, lambda: NOW_MS)(request(method, path, headers=headers, body=body), reply)
    return reply


async def chat(**changes: object) -> dict[str, Any]:
    """The answer to ASK with these fields changed; ``text`` is short for one message of the user."""
    if "text" in changes:
        changes["messages"] = [{"role": "user", "content": changes.pop("text")}]
    reply = await call(ask={**ASK, **changes})
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = json.loads(reply.body)
    return answer


def chunks(reply: MemoryReply) -> list[dict[str, Any]]:
    *events, last = reply.body.decode().removesuffix("\n\n").split("\n\n")
    assert last == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]


async def stream(**changes: object) -> list[dict[str, Any]]:
    reply = await call(ask={**ASK, "stream": True, **changes})
    assert reply.header(b"content-type") == b"text/event-stream"
    assert reply.length is None
    assert reply.has_ended
    return chunks(reply)


async def test_answers_in_openais_words() -> None:
    assert await chat() == {
        "id": "chatcmpl-demo-1",
        "object": "chat.completion",
        "created": NOW_MS // 1000,
        "model": "penstock-demo",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "2 + 2 = 4", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7},
    }


async def test_a_stream_says_the_same_word_by_word() -> None:
    events = await stream()
    choices = [event["choices"][0] for event in events]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert [choice["delta"].get("content") for choice in choices[1:-1]] == ["2", " +", " 2", " =", " 4"]
    assert [choice["finish_reason"] for choice in choices] == [None] * 6 + ["stop"]
    assert all("usage" not in event for event in events)
    assert {event["object"] for event in events} == {"chat.completion.chunk"}


async def test_a_stream_states_its_usage_only_where_it_was_asked_to() -> None:
    *events, last = await stream(stream_options={"include_usage": True})
    assert all(event["usage"] is None for event in events)
    assert last["choices"] == []
    assert last["usage"] == (await chat())["usage"]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_is_cut_at_its_cap(field: str) -> None:
    answer = await chat(text="Count to 1000", **{field: 5})
    assert answer["choices"][0]["message"]["content"] == "1, 2, 3, 4, 5, 6, 7,"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 5


async def test_a_stream_is_cut_at_its_cap() -> None:
    events = await stream(messages=[{"role": "user", "content": "Count to 1000"}], max_tokens=5)
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events) == "1, 2, 3, 4, 5, 6, 7,"
    assert events[-1]["choices"][0]["finish_reason"] == "length"


async def test_no_cap_is_above_the_models_own() -> None:
    answer = await chat(text="Count to 9999", max_tokens=1_000_000)
    assert answer["usage"]["completion_tokens"] == 4096


async def test_the_smaller_of_two_caps_counts() -> None:
    answer = await chat(text="Count to 100", max_tokens=50, max_completion_tokens=2)
    assert answer["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("stop", ["=", ["xyz", "=", "4"]])
async def test_an_answer_ends_in_front_of_a_stop_text(stop: object) -> None:
    answer = await chat(stop=stop)
    assert answer["choices"][0]["message"]["content"] == "2 + 2 "
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_every_choice_is_counted() -> None:
    answer = await chat(n=3)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 9, "total_tokens": 13}
    assert {event["choices"][0]["index"] for event in await stream(n=3)} == {0, 1, 2}


async def test_reads_messages_made_of_parts() -> None:
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "3 + 4?"},
    ]
    assert (await chat(text=parts))["choices"][0]["message"]["content"] == "3 + 4 = 7"


@pytest.mark.parametrize(
    ("changes", "called"),
    [
        ({"tool_choice": "required"}, "get_weather"),
        ({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, "get_time"),
        ({"text": "Use a tool, please"}, "get_weather"),
        ({"text": "Call get_time now"}, "get_time"),
        ({"text": "Call get_time now", "tool_choice": "required"}, "get_time"),
        ({"text": "Call get_time now", "tool_choice": "none"}, None),
        ({"text": "Hello"}, None),
        ({"text": "Hello", "tool_choice": "auto"}, None),
    ],
)
async def test_calls_a_tool_where_it_must_or_is_asked_to(changes: dict[str, object], called: str | None) -> None:
    [choice] = (await chat(tools=[WEATHER, TIME], **changes))["choices"]
    calls = choice["message"].get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == ([called] if called else [])
    assert choice["finish_reason"] == ("tool_calls" if called else "stop")


async def test_a_tools_arguments_fit_its_schema_in_answers_and_streams() -> None:
    asked = {"tools": [WEATHER], "tool_choice": "required"}
    [choice] = (await chat(**asked))["choices"]
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"city": "What is 2 + 2?"}
    first, *rest = [event["choices"][0]["delta"] for event in await stream(**asked)]
    assert first["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": ""}
    pieces = [delta["tool_calls"][0]["function"]["arguments"] for delta in rest[:-1]]
    assert "".join(pieces) == choice["message"]["tool_calls"][0]["function"]["arguments"]


async def test_tells_what_a_tool_said() -> None:
    messages = [*ASK["messages"], {"role": "assistant", "content": None}, {"role": "tool", "content": "sunny"}]
    [choice] = (await chat(messages=messages, tools=[WEATHER]))["choices"]
    assert choice["message"]["content"] == "The tool says: sunny"


async def test_structured_answers_are_json() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": BY_CITY}}
    [choice] = (await chat(response_format=schema))["choices"]
    assert json.loads(choice["message"]["content"]) == {"city": "What is 2 + 2?"}
    [choice] = (await chat(response_format={"type": "json_object"}))["choices"]
    assert json.loads(choice["message"]["content"]) == {"answer": "2 + 2 = 4"}


async def test_legacy_completions_have_sixteen_tokens_unless_more_are_asked_for() -> None:
    ask = {"model": "penstock-demo", "prompt": ["Count to 1000", "2 + 2"], "n": 2}
    answer = json.loads((await call("/v1/completions", ask)).body)
    assert answer["object"] == "text_completion"
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["length", "length", "stop", "stop"]
    assert answer["usage"] == {"prompt_tokens": 6, "completion_tokens": 38, "total_tokens": 44}


async def test_legacy_completions_stream() -> None:
    ask = {"model": "penstock-demo", "prompt": "2 + 2", "stream": True, "stream_options": {"include_usage": True}}
    *events, last = chunks(await call("/v1/completions", ask))
    assert "".join(event["choices"][0]["text"] for event in events) == "2 + 2 = 4"
    assert last["usage"]["total_tokens"] == 5


async def test_lists_its_model() -> None:
    listed = json.loads((await call("/v1/models", method="GET")).body)
    card = json.loads((await call("/v1/models/penstock-demo", method="GET")).body)
    assert listed == {"object": "list", "data": [card]}
    assert card["id"] == "penstock-demo"


@pytest.mark.parametrize(
    ("path", "method", "ask", "status", "code"),
    [
        ("/v1/chat/completions", "POST", b"{", 400, "invalid_json"),
        ("/v1/chat/completions", "POST", b"\xff", 400, "invalid_json"),
        ("/v1/chat/completions", "POST", {**ASK, "messages": []}, 400, "invalid_request"),
        ("/v1/chat/completions", "POST", {**ASK, "n": 0}, 400, "invalid_request"),
        ("/v1/chat/completions", "POST", {**ASK, "n": 129}, 400, "invalid_request"),
        ("/v1/chat/completions", "POST", {**ASK, "max_tokens": 0}, 400, "invalid_request"),
        ("/v1/chat/completions", "POST", {**ASK, "max_tokens": "5"}, 400, "invalid_request"),
        ("/v1/chat/completions", "POST", {**ASK, "tool_choice": TIME, "tools": [WEATHER]}, 400, "invalid_request"),
        ("/v1/chat/completions", "POST", {**ASK, "model": "gpt-4.1"}, 404, "model_not_found"),
        ("/v1/completions", "POST", {"model": "penstock-demo", "prompt": ["x"] * 65, "n": 2}, 400, "invalid_request"),
        ("/v1/completions", "POST", {"model": "penstock-demo", "prompt": "x" * 600_000}, 400, "invalid_request"),
        ("/v1/chat/completions", "GET", ASK, 405, "method_not_allowed"),
        ("/v1/models", "POST", ASK, 405, "method_not_allowed"),
        ("/v1/embeddings", "POST", ASK, 404, "unknown_route"),
    ],
)
async def test_refuses_what_it_cannot_answer(path: str, method: str, ask: object, status: int, code: str) -> None:
    reply = await call(path, ask, method=method)
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/nowhere"])
async def test_asks_for_its_key_everywhere(path: str) -> None:
    reply = await call(path, key="another")
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (401, "invalid_api_key")


async def test_a_stream_waits_for_a_slow_client_and_goes_on() -> None:
    class Slow(MemoryReply):
        """Takes no more after each event until the loop comes round."""

        def write(self, data: bytes) -> None:
            super().write(data)
            assert self.listener is not None
            self.listener.pause()
            asyncio.get_running_loop().call_soon(self.listener.resume)

    reply = await call(ask={**ASK, "stream": True}, reply=Slow())
    assert len(chunks(reply)) == 7


async def test_a_stream_ends_when_its_client_has_left() -> None:
    class Leaving(MemoryReply):
        def write(self, data: bytes) -> None:
            super().write(data)
            assert self.listener is not None
            self.listener.pause()
            asyncio.get_running_loop().call_soon(self.leave)

    reply = await call(ask={**ASK, "stream": True}, reply=Leaving())
    assert len(reply.writes) == 1
    assert not reply.has_ended


def test_the_provider_keeps_its_key_to_itself() -> None:
    provider = demo_provider(OPENAI, 4711, KEY)
    assert str(provider.origin) + provider.base_path == "http://127.0.0.1:4711/v1"
    assert provider.allow_private
    assert KEY not in repr(provider)


def test_its_price_is_that_of_a_small_model() -> None:
    assert PRICE.dearest_pico(Unit.INPUT) == 100_000  # pico-USD a token: 0.10 USD a million
    assert PRICE.cost_pico(Usage(input=4, output=3)) == 4 * 100_000 + 3 * 400_000
