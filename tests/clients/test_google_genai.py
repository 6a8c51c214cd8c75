"""Google's own SDK, set up as its users do, through a whole gateway to an upstream that answers with Gemini's words."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from google import genai
from google.genai import errors, types

from tests.scenarios.rig import IN, OUT, Rig, rig
from tests.scenarios.scripted import ScriptedUpstream, Visit, answer, chunked, stream_head

QUESTION = "What is 2 + 2?"
STATED = {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 14}
USE = 9 * IN + 5 * OUT


def generation(part: dict[str, object], finish: str | None = None, **usage: int) -> dict[str, object]:
    candidate = {"content": {"parts": [part], "role": "model"}, "finishReason": finish, "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "priced", "responseId": "r1"}


def events(*values: object) -> bytes:
    return chunked(b"data: " + json.dumps(value).encode() + b"\r\n\r\n" for value in values)


FIRST = generation({"text": "Fo"}, promptTokenCount=12, totalTokenCount=12)
LAST = generation({"text": "ur"}, "STOP", **STATED)
CALLED = generation({"functionCall": {"name": "read_gauge", "args": {"unit": "litres"}}}, "STOP", **STATED)
MODEL = {"name": "models/priced", "displayName": "Priced", "inputTokenLimit": 1000, "outputTokenLimit": 500}
ANSWERS: dict[str, object] = {
    "priced:generateContent": generation({"text": "Four"}, "STOP", **STATED),
    "priced:embedContent": {"embedding": {"values": [0.25, 0.5]}, "usageMetadata": {"promptTokenCount": 4}},
    "priced:batchEmbedContents": {"embeddings": [{"values": [0.25, 0.5]}], "usageMetadata": {"promptTokenCount": 4}},
    "priced:countTokens": {"totalTokens": 7},
    "models": {"models": [MODEL]},
    "priced": MODEL,
}


VERTEX = """
[providers.vertex]
dialect = "gemini"
base_url = "http://127.0.0.1:{port}"
api_key = "UPSTREAM-SECRET-KEY"
prices = {{ priced = {{ input = 1, output = 2 }} }}
[providers.vertex.models.priced]
output_max = 10000
"""


async def gemini(visit: Visit) -> None:
    """Answer as the path asks; a stream where it says so."""
    target = visit.head.split(b" ")[1].decode()
    operation = target.partition("?")[0].rpartition("/")[2]
    if operation == "priced:streamGenerateContent":
        await visit.send(stream_head() + events(FIRST, LAST))
    elif b"functionDeclarations" in visit.body:
        await visit.send(answer(json.dumps(CALLED).encode()))
    else:
        await visit.send(answer(json.dumps(ANSWERS[operation]).encode()))


@asynccontextmanager
async def client_of(rigged: Rig, key: str | None = None) -> AsyncIterator["genai.client.AsyncClient"]:
    options = types.HttpOptions(base_url=f"http://127.0.0.1:{rigged.port}/gemini")
    async with genai.Client(api_key=key or rigged.key, http_options=options).aio as client:
        yield client


async def entries(rigged: Rig) -> list[tuple[str, str, int]]:
    return [(entry.endpoint, entry.basis, entry.cost) for entry in await rigged.entries()]


async def test_an_answer_a_stream_and_a_tool_call(tmp_path: Path) -> None:
    tool = types.Tool(function_declarations=[types.FunctionDeclaration(name="read_gauge")])
    async with (
        ScriptedUpstream(gemini) as upstream,
        rig(tmp_path, upstream.port) as rigged,
        client_of(rigged) as client,
    ):
        plain = await client.models.generate_content(model="priced", contents=QUESTION)
        stream = await client.models.generate_content_stream(model="priced", contents=QUESTION)
        texts = [part.text async for part in stream]
        config = types.GenerateContentConfig(tools=[tool], max_output_tokens=50, system_instruction="Be brief.")
        called = await client.models.generate_content(model="priced", contents=QUESTION, config=config)
        assert (plain.text, texts) == ("Four", ["Fo", "ur"])
        assert plain.usage_metadata is not None
        assert plain.usage_metadata.thoughts_token_count == 3
        assert [call.name for call in called.function_calls or ()] == ["read_gauge"]
        assert await entries(rigged) == [
            ("generateContent", "provider", USE),
            ("streamGenerateContent", "provider", USE),
            ("generateContent", "provider", USE),
        ]
        assert all(visit.header("x-goog-api-key") == "UPSTREAM-SECRET-KEY" for visit in upstream.visits)


async def test_embeddings_token_counting_and_listings(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(gemini) as upstream,
        rig(tmp_path, upstream.port) as rigged,
        client_of(rigged) as client,
    ):
        embedded = await client.models.embed_content(model="priced", contents=QUESTION)
        counted = await client.models.count_tokens(model="priced", contents=QUESTION)
        listed = [model.name async for model in await client.models.list()]
        one = await client.models.get(model="priced")
        assert [embedding.values for embedding in embedded.embeddings or ()] == [[0.25, 0.5]]
        assert (counted.total_tokens, listed, one.name) == (7, ["models/priced"], "models/priced")
        (first, *others) = await entries(rigged)
        assert first[1:] == ("provider", 4 * IN)
        assert others == [("countTokens", "provider", 0), ("models", "provider", 0), ("models", "provider", 0)]


async def test_vertex_ai_in_express_mode_is_a_provider_of_its_own(tmp_path: Path) -> None:
    async with ScriptedUpstream(gemini) as upstream:
        section = VERTEX.format(port=upstream.port)
        async with rig(tmp_path, upstream.port, lab=section) as rigged:
            options = types.HttpOptions(base_url=f"http://127.0.0.1:{rigged.port}/vertex")
            async with genai.Client(vertexai=True, api_key=rigged.key, http_options=options).aio as client:
                plain = await client.models.generate_content(model="priced", contents=QUESTION)
            assert plain.text == "Four"
            path = b"POST /v1beta1/publishers/google/models/priced:generateContent "
            assert upstream.visits[0].head.startswith(path)
            assert await entries(rigged) == [("generateContent", "provider", USE)]


@pytest.mark.parametrize(
    ("key", "model", "code", "reason"),
    [("AIza-not-ours", "priced", 401, "invalid_api_key"), (None, "unknown", 400, "model_unpriced")],
)
async def test_a_refusal_becomes_the_sdks_own_error(
    tmp_path: Path, key: str | None, model: str, code: int, reason: str
) -> None:
    async with (
        ScriptedUpstream(gemini) as upstream,
        rig(tmp_path, upstream.port) as rigged,
        client_of(rigged, key) as client,
    ):
        with pytest.raises(errors.ClientError) as caught:
            await client.models.generate_content(model=model, contents=QUESTION)
        assert caught.value.code == code
        assert reason in json.dumps(caught.value.details)
        assert upstream.visits == []


async def test_a_stream_that_is_cut_is_the_sdks_own_error(tmp_path: Path) -> None:
    async def cuts(visit: Visit) -> None:
        await visit.send(stream_head() + events(FIRST)[: -len(b"0\r\n\r\n")])
        visit.writer.close()

    async with (
        ScriptedUpstream(cuts) as upstream,
        rig(tmp_path, upstream.port) as rigged,
        client_of(rigged) as client,
    ):
        stream = await client.models.generate_content_stream(model="priced", contents=QUESTION)
        assert (await anext(stream)).text == "Fo"
        with pytest.raises(errors.APIError) as caught:
            await anext(stream)
        assert caught.value.code == 502
