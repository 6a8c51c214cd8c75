"""Calls of every kind, made with the SDKs that people use, set up as their users do: a base URL and a key."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from anthropic import AsyncAnthropic
from anthropic import omit as anthropic_omit
from anthropic.types import MessageParam, RawMessageStreamEvent, ToolParam
from openai import AsyncOpenAI, omit
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk, ChatCompletionFunctionToolParam, ChatCompletionMessageParam

from tests.clients.gateway import Gateway

LEFT_AFTER_EVENTS = 12
_WORDS = ("penstock", "valve", "weir", "flume", "spillway", "headrace", "turbine", "sluice", "tailrace", "surge")
_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"unit": {"enum": ["litres", "gallons"]}},
    "required": ["unit"],
}
OPENAI_TOOL: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {"name": "read_gauge", "description": "Reads the gauge.", "parameters": _SCHEMA},
}
ANTHROPIC_TOOL: ToolParam = {"name": "read_gauge", "description": "Reads the gauge.", "input_schema": _SCHEMA}
Event_co = TypeVar("Event_co", covariant=True)
Event = TypeVar("Event")


class Stream(Protocol[Event_co]):
    """What the streams of both SDKs can do."""

    def __aiter__(self) -> AsyncIterator[Event_co]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """A call to make. ``is_unified``: on the route that finds the provider by the model's name.

    ``is_left``: the client goes away in the middle of the stream.
    """

    endpoint: str
    prompt: str
    max_tokens: int
    is_unified: bool
    is_stream: bool
    is_left: bool
    has_tools: bool
    wants_usage: bool


def random_asks(number: int, seed: int) -> list[Ask]:
    draw = random.Random(seed)
    return [_random_ask(draw) for _ in range(number)]


def _random_ask(draw: random.Random) -> Ask:
    endpoint = draw.choice(("chat.completions", "completions", "messages"))
    is_stream = draw.random() < 0.5
    is_left = is_stream and draw.random() < 0.2
    return Ask(
        endpoint,
        prompt=" ".join(draw.choices(_WORDS, k=draw.randint(1, 30))),
        # The server must still have much to say when the client leaves.
        max_tokens=400 if is_left else draw.randint(1, 64),
        is_unified=draw.random() < 0.3,
        is_stream=is_stream,
        is_left=is_left,
        has_tools=endpoint != "completions" and not is_left and draw.random() < 0.25,
        wants_usage=draw.random() < 0.5,
    )


@dataclass(frozen=True, slots=True)
class Sdks:
    """The SDKs at the providers ``lab`` and ``labclaude`` of a gateway, and at its unified routes."""

    openai: AsyncOpenAI
    anthropic: AsyncAnthropic
    unified_openai: AsyncOpenAI
    unified_anthropic: AsyncAnthropic

    async def make(self, ask: Ask) -> int | None:
        """The output tokens that the client was told, None where it was not."""
        match ask.endpoint:
            case "chat.completions":
                return await self._chat(ask)
            case "completions":
                return await self._complete(ask)
        return await self._message(ask)

    async def _chat(self, ask: Ask) -> int | None:
        chat = (self.unified_openai if ask.is_unified else self.openai).chat.completions
        model = "lab/tiny" if ask.is_unified else "tiny"
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": ask.prompt}]
        tools = [OPENAI_TOOL] if ask.has_tools else omit
        if not ask.is_stream:
            answer = await chat.create(model=model, messages=messages, max_tokens=ask.max_tokens, tools=tools)
            assert answer.usage is not None
            return answer.usage.completion_tokens
        stream = await chat.create(
            model=model,
            messages=messages,
            max_tokens=ask.max_tokens,
            tools=tools,
            stream=True,
            stream_options={"include_usage": True} if ask.wants_usage else omit,
        )
        told = await _read(stream, _told_by_chunk, is_left=ask.is_left)
        assert ask.wants_usage or told is None, "usage that nobody asked for"
        return told

    async def _complete(self, ask: Ask) -> int | None:
        completions = (self.unified_openai if ask.is_unified else self.openai).completions
        model = "lab/tiny" if ask.is_unified else "tiny"
        if not ask.is_stream:
            answer = await completions.create(model=model, prompt=ask.prompt, max_tokens=ask.max_tokens)
            return _told_by_chunk(answer)
        stream = await completions.create(model=model, prompt=ask.prompt, max_tokens=ask.max_tokens, stream=True)
        return await _read(stream, _told_by_chunk, is_left=ask.is_left)

    async def _message(self, ask: Ask) -> int | None:
        messages = (self.unified_anthropic if ask.is_unified else self.anthropic).messages
        model = "labclaude/tiny" if ask.is_unified else "tiny"
        turns: list[MessageParam] = [{"role": "user", "content": ask.prompt}]
        tools = [ANTHROPIC_TOOL] if ask.has_tools else anthropic_omit
        if not ask.is_stream:
            answer = await messages.create(model=model, messages=turns, max_tokens=ask.max_tokens, tools=tools)
            return answer.usage.output_tokens
        stream = await messages.create(model=model, messages=turns, max_tokens=ask.max_tokens, tools=tools, stream=True)
        return await _read(stream, _told_by_event, is_left=ask.is_left)


@asynccontextmanager
async def sdks_at(gateway: Gateway) -> AsyncIterator[Sdks]:
    """The SDKs, with nothing set but the address and the key."""
    async with AsyncExitStack() as stack:
        yield Sdks(
            openai=await stack.enter_async_context(AsyncOpenAI(base_url=f"{gateway.url}/lab/v1", api_key=gateway.key)),
            anthropic=await stack.enter_async_context(
                AsyncAnthropic(base_url=f"{gateway.url}/labclaude", api_key=gateway.key)
            ),
            unified_openai=await stack.enter_async_context(
                AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key)
            ),
            unified_anthropic=await stack.enter_async_context(
                AsyncAnthropic(base_url=gateway.url, api_key=gateway.key)
            ),
        )


async def _read(stream: Stream[Event], told_by: Callable[[Event], int | None], *, is_left: bool) -> int | None:
    """The last count that the stream stated; None where it stated none, or was left before its end."""
    told, events = None, 0
    try:
        async for event in stream:
            events += 1
            if is_left and events == LEFT_AFTER_EVENTS:
                return None
            count = told_by(event)
            told = told if count is None else count
    finally:
        await stream.close()
    return told


def _told_by_chunk(chunk: ChatCompletionChunk | Completion) -> int | None:
    return None if chunk.usage is None else chunk.usage.completion_tokens


def _told_by_event(event: RawMessageStreamEvent) -> int | None:
    return event.usage.output_tokens if event.type == "message_delta" else None
