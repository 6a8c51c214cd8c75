"""The demo on its own port, called by the SDK that people use."""

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI, AuthenticationError, NotFoundError
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

from penstock.core.error_bodies import error_response
from penstock.demo import Demo
from penstock.wire.server import Server

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is 2 + 2?"}]
LOOK_UP: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture
async def client() -> AsyncIterator[AsyncOpenAI]:
    server = Server(
        Demo("demo-key", lambda: 0), refuse=lambda error, _path, request_id: error_response(error, "openai", request_id)
    )
    await server.start("127.0.0.1", 0)
    async with AsyncOpenAI(api_key="demo-key", base_url=f"http://127.0.0.1:{server.port}/v1", max_retries=0) as client:
        yield client
    await server.drain(0)


async def test_the_sdk_chats(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="penstock-demo", messages=MESSAGES)
    assert answer.choices[0].message.content == "2 + 2 = 4"


async def test_the_sdk_streams(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="penstock-demo", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "2 + 2 = 4"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 7


async def test_the_sdk_reads_tool_calls_out_of_a_stream(client: AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="penstock-demo", messages=MESSAGES, tools=[LOOK_UP], tool_choice="required"
    ) as stream:
        answer = await stream.get_final_completion()
    [call] = answer.choices[0].message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("look_up", "{}")
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_the_sdk_completes_and_lists(client: AsyncOpenAI) -> None:
    answer = await client.completions.create(model="penstock-demo", prompt="2 + 2", max_tokens=2)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("2 + 2 = ", "length")
    assert [model.id async for model in client.models.list()] == ["penstock-demo"]
    assert (await client.models.retrieve("penstock-demo")).owned_by == "penstock"


async def test_the_sdk_raises_its_own_errors(client: AsyncOpenAI) -> None:
    with pytest.raises(NotFoundError):
        await client.chat.completions.create(model="gpt-4.1", messages=MESSAGES)
    with pytest.raises(AuthenticationError):
        await client.with_options(api_key="wrong").models.list()
