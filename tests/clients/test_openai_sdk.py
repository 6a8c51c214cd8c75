"""The openai SDK as its users set it up, a base URL and a key, through penstock to a provider that is scripted."""

import base64
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import openai

from tests.scenarios.rig import IN, OUT, Rig, rig
from tests.scenarios.scripted import (
    ScriptedUpstream,
    Visit,
    answer,
    chat_answer,
    chat_chunk,
    chunked,
    events,
    stream_head,
    usage,
)

FURTHER = """
[providers.openai]
base_url = "http://127.0.0.1:{port}/v1"
prices = {{ "omni-moderation-latest" = {{ input = 0, output = 0 }} }}
[providers.azure]
base_url = "http://127.0.0.1:{port}/openai/v1"
api_key = "UPSTREAM-SECRET-KEY"
prices = {{ deployed = {{ input = 1, output = 2 }} }}
models = {{ deployed = {{ context = 100000 }} }}
"""
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "model": "priced",
    "status": "completed",
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "4", "annotations": []}],
        }
    ],
    "usage": {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    },
}
VECTOR = (0.5, -0.25)


async def provider(visit: Visit) -> None:
    """Answers each endpoint as OpenAI does, in the form that was asked for."""
    path, asked = visit.head.split(b" ")[1].partition(b"?")[0], visit.json
    if path.endswith(b"/chat/completions"):
        frames = events(chat_chunk("Hel"), chat_chunk("lo", finish="stop"), chat_chunk(usage=usage()))
        value: object = chat_answer()
    elif path.endswith(b"/responses"):
        frames = response_events()
        value = RESPONSE
    elif path.endswith(b"/embeddings"):
        vector: object = VECTOR
        if asked.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<2f", *VECTOR)).decode()
        data = [{"object": "embedding", "index": 0, "embedding": vector}]
        used = {"prompt_tokens": 10, "total_tokens": 10}
        frames, value = [], {"object": "list", "model": "priced", "data": data, "usage": used}
    else:
        frames, value = [], {"id": "modr-1", "model": "omni-moderation-latest", "results": []}
    if asked.get("stream"):
        await visit.send(stream_head() + chunked(frames))
    else:
        await visit.send(answer(json.dumps(value).encode()))


def response_events() -> list[bytes]:
    named = [
        {"type": "response.created", "sequence_number": 0, "response": {**RESPONSE, "output": [], "usage": None}},
        {
            "type": "response.output_text.delta",
            "sequence_number": 1,
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": "4",
            "logprobs": [],
        },
        {"type": "response.completed", "sequence_number": 2, "response": RESPONSE},
    ]
    return [
        f"event: {value['type']}\n".encode() + frame
        for value, frame in zip(named, events(*named, done=False), strict=True)
    ]


@asynccontextmanager
async def sdk(folder: Path) -> AsyncIterator[tuple[openai.AsyncOpenAI, Rig, ScriptedUpstream]]:
    async with (
        ScriptedUpstream(provider) as upstream,
        rig(folder, upstream.port, lab=FURTHER.format(port=upstream.port)) as rigged,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{rigged.port}/v1", api_key=rigged.key) as client,
    ):
        yield client, rigged, upstream


async def cost(rigged: Rig) -> int:
    (entry,) = await rigged.entries()
    return entry.cost


async def test_a_chat(tmp_path: Path) -> None:
    async with sdk(tmp_path) as (client, rigged, _):
        got = await client.chat.completions.create(model="priced", messages=[{"role": "user", "content": "2+2?"}])
        assert got.choices[0].message.content == "Hello"
        assert await cost(rigged) == 10 * IN + 5 * OUT


async def test_a_streamed_chat(tmp_path: Path) -> None:
    async with sdk(tmp_path) as (client, rigged, _):
        messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "2+2?"}]
        stream = await client.chat.completions.create(model="priced", messages=messages, stream=True)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
        assert await cost(rigged) == 10 * IN + 5 * OUT


async def test_a_response(tmp_path: Path) -> None:
    async with sdk(tmp_path) as (client, rigged, _):
        got = await client.responses.create(model="priced", input="2+2?")
        assert got.output_text == "4"
        assert got.usage is not None
        assert got.usage.total_tokens == 15
        assert await cost(rigged) == 10 * IN + 5 * OUT


async def test_a_streamed_response(tmp_path: Path) -> None:
    async with sdk(tmp_path) as (client, rigged, _):
        stream = await client.responses.create(model="priced", input="2+2?", stream=True)
        kinds = [event.type async for event in stream]
        assert kinds == ["response.created", "response.output_text.delta", "response.completed"]
        assert await cost(rigged) == 10 * IN + 5 * OUT


async def test_embeddings_come_in_base64_unless_floats_are_asked_for(tmp_path: Path) -> None:
    async with sdk(tmp_path) as (client, rigged, upstream):
        packed = await client.embeddings.create(model="priced", input="x")
        plain = await client.embeddings.create(model="priced", input="x", encoding_format="float")
        assert tuple(packed.data[0].embedding) == tuple(plain.data[0].embedding) == VECTOR
        assert [visit.json["encoding_format"] for visit in upstream.visits] == ["base64", "float"]
        assert [entry.cost for entry in await rigged.entries()] == [10 * IN, 10 * IN]


async def test_a_moderation(tmp_path: Path) -> None:
    async with sdk(tmp_path) as (client, rigged, _):
        got = await client.moderations.create(input="x")
        assert got.model == "omni-moderation-latest"
        assert await cost(rigged) == 0


async def test_the_class_for_azure(tmp_path: Path) -> None:
    async with sdk(tmp_path) as (_, rigged, upstream):
        url = f"http://127.0.0.1:{rigged.port}"
        async with openai.AsyncAzureOpenAI(azure_endpoint=url, api_key=rigged.key, api_version="2024-10-21") as client:
            messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "2+2?"}]
            got = await client.chat.completions.create(model="deployed", messages=messages)
        assert got.choices[0].message.content == "Hello"
        assert upstream.visits[0].head.startswith(b"POST /openai/deployments/deployed/chat/completions?api-version=")
        assert await cost(rigged) == 10 * IN + 5 * OUT
