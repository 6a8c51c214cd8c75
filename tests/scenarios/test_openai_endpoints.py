"""Responses, embeddings and moderations through the whole gateway, and what hosts of the format do differently."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.raw_client import RawClient
from tests.scenarios.rig import IN, OUT, Rig, chat_body, rig
from tests.scenarios.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    Visit,
    answer,
    chat_answer,
    chunk,
    chunked,
    stream_head,
)

CAP = 500
USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
USE = 10 * IN + 5 * OUT
ANSWER: dict[str, Any] = {"object": "response", "model": "priced", "output": [], "usage": USAGE}
VECTORS = {"object": "list", "model": "priced", "data": [], "usage": {"prompt_tokens": 10, "total_tokens": 10}}
PROVIDERS = """
[providers.openrouter]
base_url = "http://127.0.0.1:{port}/api/v1"
api_key = "UPSTREAM-SECRET-KEY"
prices = {{ priced = {{ input = 1, output = 2 }} }}
models = {{ priced = {{ context = 100000 }} }}
[providers.azure]
base_url = "http://127.0.0.1:{port}/openai/v1"
api_key = "UPSTREAM-SECRET-KEY"
prices = {{ deployed = {{ input = 1, output = 2 }} }}
models = {{ deployed = {{ context = 100000 }} }}
[providers.openai]
base_url = "http://127.0.0.1:{port}/v1"
prices = {{ "*moderation*" = {{ input = 0, output = 0 }}, gpt = {{ input = 1, output = 2 }} }}
"""


def says(*parts: bytes) -> Callable[[Visit], Awaitable[None]]:
    async def script(visit: Visit) -> None:
        await visit.send(*parts)

    return script


def says_and_cuts(*parts: bytes) -> Callable[[Visit], Awaitable[None]]:
    async def script(visit: Visit) -> None:
        await visit.send(*parts)
        visit.writer.close()

    return script


def body(value: object) -> bytes:
    return answer(json.dumps(value).encode())


def event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


CREATED = event("response.created", response={**ANSWER, "usage": None})
DELTA = event("response.output_text.delta", delta="Hello")
COMPLETED = event("response.completed", response=ANSWER)
EVENTS = (CREATED, DELTA, COMPLETED)


@asynccontextmanager
async def hosts(folder: Path, answered: object) -> AsyncIterator[tuple[Rig, ScriptedUpstream]]:
    """A gateway whose providers of PROVIDERS all answer the same."""
    async with (
        ScriptedUpstream(says(body(answered))) as upstream,
        rig(folder, upstream.port, lab=PROVIDERS.format(port=upstream.port)) as rigged,
    ):
        yield rigged, upstream


async def only_entry(rigged: Rig) -> tuple[str, int]:
    (entry,) = await rigged.entries()
    assert (await rigged.verified()).is_clean
    return entry.basis, entry.cost


def responses_body(**fields: object) -> dict[str, object]:
    return {"model": "priced", "input": "What is 2 + 2?", "max_output_tokens": CAP, **fields}


async def test_a_response_is_relayed_and_charged(tmp_path: Path) -> None:
    async with ScriptedUpstream(says(body(ANSWER))) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post("/lab/v1/responses", responses_body())
        assert (got.status, got.body) == (200, json.dumps(ANSWER).encode())
        assert await only_entry(rigged) == ("provider", USE)
        assert upstream.visits[0].json == responses_body()


async def test_a_streamed_response_passes_byte_for_byte(tmp_path: Path) -> None:
    script = says(stream_head() + chunked(EVENTS))
    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post("/v1/responses", responses_body(model="lab/priced", stream=True))
        assert got.body.startswith(b"".join(EVENTS))
        assert got.body[len(b"".join(EVENTS)) :].startswith(b": penstock cost=0.00002")
        assert await only_entry(rigged) == ("provider", USE)
        assert "stream_options" not in upstream.visits[0].json
        assert upstream.visits[0].json["model"] == "priced"


async def test_a_response_without_a_cap_gets_one(tmp_path: Path) -> None:
    async with ScriptedUpstream(says(body(ANSWER))) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post("/lab/responses", {"model": "priced", "input": "x"})
        assert got.headers["x-penstock-capped"] == "max_tokens=4096"
        assert upstream.visits[0].json["max_output_tokens"] == 4096


async def test_a_response_that_is_cut_inside_an_event_is_estimated(tmp_path: Path) -> None:
    sent = CREATED + DELTA + COMPLETED[:-20]
    script = says_and_cuts(stream_head(), chunk(sent))
    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post("/lab/responses", responses_body(stream=True))
        assert got.body.startswith(sent)
        basis, cost = await only_entry(rigged)
        assert basis == "estimated"
        assert cost > USE


async def test_a_response_that_fails_inside_its_stream_ends_there(tmp_path: Path) -> None:
    failed = event("response.failed", response={**ANSWER, "usage": None, "error": {"code": "server_error"}})
    script = says(stream_head() + chunk(CREATED) + chunk(failed) + LAST_CHUNK)
    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post("/lab/responses", responses_body(stream=True))
        assert got.body.startswith(CREATED + failed + b": penstock")
        assert (await only_entry(rigged))[0] == "estimated"


@pytest.mark.parametrize("path", ["/lab/responses", "/lab/embeddings", "/lab/moderations"])
async def test_a_providers_error_costs_nothing(tmp_path: Path, path: str) -> None:
    error = answer(b'{"error":{"message":"no"}}', status=400)
    async with ScriptedUpstream(says(error)) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post(path, {"model": "priced", "input": "x"})
        assert (got.status, got.body) == (400, b'{"error":{"message":"no"}}')
        assert await only_entry(rigged) == ("void", 0)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/lab/responses/resp_1"),
        ("DELETE", "/lab/responses/resp_1"),
        ("GET", "/lab/responses/resp_1/input_items"),
        ("GET", "/lab/files"),
    ],
)
async def test_what_is_stored_in_the_shared_account_is_closed(tmp_path: Path, method: str, path: str) -> None:
    async with ScriptedUpstream(says(body(ANSWER))) as upstream, rig(tmp_path, upstream.port) as rigged:
        async with RawClient(rigged.port) as client:
            head = f"{method} {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {rigged.key}\r\n\r\n"
            await client.send(head.encode())
            got = await client.read_answer()
        assert (got.status, got.code) == (403, "endpoint_not_allowed")
        assert not upstream.visits


@pytest.mark.parametrize("path", ["/lab/embeddings", "/v1/embeddings"])
async def test_embeddings_cost_their_input(tmp_path: Path, path: str) -> None:
    async with ScriptedUpstream(says(body(VECTORS))) as upstream, rig(tmp_path, upstream.port) as rigged:
        asked = {"model": "priced", "input": ["a", "b"], "encoding_format": "base64"}
        got = await rigged.post(path, asked)
        assert got.body == json.dumps(VECTORS).encode()
        assert "x-penstock-capped" not in got.headers
        assert upstream.visits[0].json == asked
        assert await only_entry(rigged) == ("provider", 10 * IN)


async def test_embeddings_that_are_cut_are_charged_at_most_what_was_held(tmp_path: Path) -> None:
    script = says_and_cuts(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{")
    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post("/lab/embeddings", {"model": "priced", "input": "x"})
        assert got.status == 502
        assert (await only_entry(rigged))[0] == "estimated"


async def test_moderations_are_open_where_their_price_is_stated(tmp_path: Path) -> None:
    answered = {"id": "m", "model": "omni-moderation-latest", "results": []}
    async with hosts(tmp_path, answered) as (rigged, _):
        assert (await rigged.post("/openai/moderations", {"input": "x"})).status == 200
        assert (await rigged.entries())[0].cost == 0
        refused = await rigged.post("/lab/moderations", {"model": "omni-moderation-latest", "input": "x"})
        assert (refused.status, refused.code) == (400, "model_unpriced")


async def test_what_openrouter_says_a_call_cost_is_what_it_costs(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": 0.0001234, "is_byok": False}
    async with hosts(tmp_path, {**chat_answer(), "usage": usage}) as (rigged, upstream):
        headers = {"http_referer": "https://app.example", "x_title": "App"}
        got = await rigged.post("/openrouter/api/v1/chat/completions", chat_body(), **headers)
        assert got.headers["x-penstock-basis"] == "reported_cost"
        assert await only_entry(rigged) == ("reported_cost", 123_400)
        assert upstream.visits[0].header("http-referer") == "https://app.example"
        assert upstream.visits[0].header("x-title") == "App"


@pytest.mark.parametrize(
    ("path", "sent_path", "sent_model"),
    [
        ("/azure/openai/deployments/deployed/chat/completions", "/openai/deployments/deployed/chat/completions", None),
        ("/openai/deployments/deployed/chat/completions", "/openai/deployments/deployed/chat/completions", None),
        ("/azure/openai/v1/chat/completions", "/openai/v1/chat/completions", "deployed"),
        ("/v1/chat/completions", "/openai/v1/chat/completions", "deployed"),
    ],
)
async def test_azure_takes_both_of_its_addresses(
    tmp_path: Path, path: str, sent_path: str, sent_model: str | None
) -> None:
    async with hosts(tmp_path, chat_answer(model="deployed")) as (rigged, upstream):
        asked = chat_body(model="deployed")
        if sent_model is None:
            del asked["model"]
        got = await rigged.post(f"{path}?api-version=2024-10-21", asked)
        assert got.status == 200
        assert upstream.visits[0].head.startswith(f"POST {sent_path}?api-version=2024-10-21 ".encode())
        assert upstream.visits[0].header("api-key") == "UPSTREAM-SECRET-KEY"
        assert upstream.visits[0].header("authorization") is None
        assert upstream.visits[0].json.get("model") == sent_model
        assert upstream.visits[0].json["max_completion_tokens"] == 4096
        assert await only_entry(rigged) == ("provider", USE)


async def test_azures_path_finds_the_provider_of_the_model_where_azure_is_not(tmp_path: Path) -> None:
    async with ScriptedUpstream(says(body(chat_answer()))) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post("/openai/deployments/priced/chat/completions", {"messages": []})
        assert got.status == 200
        assert upstream.visits[0].head.startswith(b"POST /v1/chat/completions ")
        assert upstream.visits[0].json["model"] == "priced"


async def test_a_unified_route_uses_the_words_of_the_chosen_provider(tmp_path: Path) -> None:
    async with hosts(tmp_path, chat_answer(model="gpt")) as (rigged, upstream):
        await rigged.post("/v1/chat/completions", chat_body(model="openai/gpt"))
        assert "max_tokens" not in upstream.visits[0].json


@pytest.mark.parametrize("name", ["meta-llama/llama-3", "meta-llama%2Fllama-3", "a//b", "gpt%3A1"])
async def test_a_models_page_is_the_providers_own(tmp_path: Path, name: str) -> None:
    async with ScriptedUpstream(says(body({"id": "x", "odd": 1}))) as upstream, rig(tmp_path, upstream.port) as rigged:
        async with RawClient(rigged.port) as client:
            head = f"GET /lab/v1/models/{name} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {rigged.key}\r\n\r\n"
            await client.send(head.encode())
            got = await client.read_answer()
        assert (got.status, got.body) == (200, b'{"id": "x", "odd": 1}')
        assert upstream.visits[0].head.startswith(f"GET /v1/models/{name} ".encode())
        assert await only_entry(rigged) == ("provider", 0)


async def test_a_host_that_refuses_stream_options_is_not_called_again(tmp_path: Path) -> None:
    error = answer(b'{"error":{"message":"unknown field stream_options"}}', status=400)
    async with ScriptedUpstream(says(error)) as upstream, rig(tmp_path, upstream.port) as rigged:
        assert (await rigged.chat(stream=True)).status == 400
        assert len(upstream.visits) == 1


async def test_a_host_that_is_said_to_refuse_stream_options_is_not_asked(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(says(body(chat_answer()))) as upstream,
        rig(tmp_path, upstream.port, lab="asks_usage = false") as rigged,
    ):
        await rigged.chat(stream=True)
        assert "stream_options" not in upstream.visits[0].json
