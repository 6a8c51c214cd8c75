"""The real SDKs through penstock to a real model server: the ledger has every token that the server has counted.

Calls of every kind, several at once, half of them streams, and some of these left half-way. llama.cpp counts what it
predicts, whoever listens; a stream that its client has left is read to its end, so nothing may be missing.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clients.gateway import Gateway, Place
from tests.clients.sdk_calls import ANTHROPIC_TOOL, OPENAI_TOOL, Ask, Sdks, random_asks, sdks_at
from tests.upstreams.llama import KEY, Llama

CALLS = 220
SEED = 20
AT_ONCE = 8
SETTINGS = """
[providers.lab]
base_url = "{url}"
api_key = "{key}"
prices = {{ tiny = {{ input = 1, output = 2, cache_read = 0.1 }} }}

[providers.labclaude]
dialect = "anthropic"
base_url = "{url}"
api_key = "{key}"
prices = {{ tiny = {{ input = 3, output = 15, cache_read = 0.3 }} }}

[[policies]]
name = "staff"
match = ["@example.com"]
limits = ["10 usd / month", "64 concurrent"]
"""


@pytest.fixture
def place(tmp_path: Path, llama: Llama) -> Place:
    (tmp_path / "penstock.toml").write_text(SETTINGS.format(url=llama.base_url, key=KEY))
    return Place(tmp_path)


@pytest.fixture
async def gateway(place: Place) -> AsyncIterator[Gateway]:
    async with place.serving() as gateway:
        yield gateway


async def make_all(sdks: Sdks, asks: list[Ask]) -> list[int | None]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def make(ask: Ask) -> int | None:
        async with turns:
            return await sdks.make(ask)

    return await asyncio.gather(*map(make, asks))


async def test_the_ledger_has_every_token_that_the_model_server_counted(
    place: Place, gateway: Gateway, llama: Llama
) -> None:
    asks = random_asks(CALLS, SEED)
    assert sum(ask.is_stream for ask in asks) > CALLS / 3
    before = llama.tokens_predicted()
    async with sdks_at(gateway) as sdks:
        told = await make_all(sdks, asks)
    await gateway.settled()

    entries = place.entries()
    assert sum(entry.tokens_out for entry in entries) == llama.tokens_predicted() - before
    assert Counter((entry.endpoint, entry.is_stream) for entry in entries) == Counter(
        (ask.endpoint, ask.is_stream) for ask in asks
    )
    assert {(entry.kind, entry.basis, entry.status) for entry in entries} == {("final", "provider", 200)}
    # Whatever a client was told of its output stands in an entry of its own.
    counted = Counter((entry.endpoint, entry.tokens_out) for entry in entries)
    assert not Counter((ask.endpoint, tokens) for ask, tokens in zip(asks, told, strict=True) if tokens) - counted
    assert json.loads(await place.run("ledger", "verify", "--json"))["is_clean"]


async def test_tools_are_called_through_both_sdks(gateway: Gateway) -> None:
    async with sdks_at(gateway) as sdks:
        chat = sdks.openai.chat.completions
        async with chat.stream(
            model="tiny",
            messages=[{"role": "user", "content": "How full is it?"}],
            max_tokens=1000,
            tools=[OPENAI_TOOL],
        ) as stream:
            completion = await stream.get_final_completion()
        message = await sdks.anthropic.messages.create(
            model="tiny",
            messages=[{"role": "user", "content": "How full is it?"}],
            max_tokens=1000,
            tools=[ANTHROPIC_TOOL],
        )
    assert completion.choices[0].message.tool_calls is not None
    assert completion.choices[0].message.tool_calls[0].function.name == "read_gauge"
    assert message.content[0].type == "tool_use"
    assert message.content[0].input in ({"unit": "litres"}, {"unit": "gallons"})
