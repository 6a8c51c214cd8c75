"""The demo model in OpenAI's words: request bodies in, answers as JSON or server-sent events out. Pure.

https://platform.openai.com/docs/api-reference/chat and .../completions
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec

from penstock.core.errors import InvalidJson, InvalidRequest, ModelNotFound
from penstock.demo.model import CONTEXT_TOKENS, MODEL, OUTPUT_TOKENS_MAX, count_tokens, cut, fill, say

_COMPLETION_TOKENS = 16  # what a legacy completion gives where nobody asks for more
_CHOICES_MAX = 128
_CALL_ID = "call_demo"
_CARD = {"id": MODEL, "object": "model", "created": 0, "owned_by": "penstock"}

Choices = Annotated[int, msgspec.Meta(ge=1, le=_CHOICES_MAX)]
Tokens = Annotated[int, msgspec.Meta(ge=1)]


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Request(msgspec.Struct, kw_only=True):
    """What both endpoints take. Whatever else a body holds is ignored."""

    model: str
    n: Choices | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def cap(self, default: int) -> int:
        asked = [tokens for tokens in (self.max_tokens, self.max_completion_tokens) if tokens is not None]
        return min([*asked, OUTPUT_TOKENS_MAX] if asked else [default])


R = TypeVar("R", bound=Request)


class Part(msgspec.Struct):
    """A part of a message; images and the like count for nothing here."""

    text: str | None = None


class Message(msgspec.Struct):
    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""


class Function(msgspec.Struct):
    name: str
    parameters: dict[str, object] | None = None


class Tool(msgspec.Struct):
    function: Function


class JsonSchema(msgspec.Struct):
    schema: dict[str, object] | None = None


class ResponseFormat(msgspec.Struct):
    type: str = "text"
    json_schema: JsonSchema | None = None


class ChatRequest(Request, kw_only=True):
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    tools: list[Tool] | None = None
    tool_choice: str | Tool | None = None
    response_format: ResponseFormat | None = None


class TextRequest(Request, kw_only=True):
    prompt: str | Annotated[list[str], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: a text, or a tool to call (by name) with ``text`` as its arguments."""

    text: str
    finish: str
    tool: str | None = None

    @property
    def tokens(self) -> int:
        return count_tokens(self.text)


@dataclass(frozen=True, slots=True)
class Completion:
    """All answers to a request, and what they count for."""

    prompt_tokens: int
    choices: tuple[Choice, ...]

    @property
    def usage(self) -> dict[str, int]:
        output = sum(choice.tokens for choice in self.choices)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": output,
            "total_tokens": self.prompt_tokens + output,
        }


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one answer from another: its number, and when it was made (epoch seconds)."""

    number: int
    created_s: int


@dataclass(frozen=True, slots=True)
class Shape:
    """One endpoint: how a body becomes a Completion, and how a Choice looks, as a whole and in pieces."""

    id_prefix: str
    whole_name: str
    piece_name: str
    complete: Callable[[bytes], tuple[Request, Completion]]
    whole: Callable[[Choice], Mapping[str, object]]
    pieces: Callable[[Choice], Iterator[Mapping[str, object]]]


def answer(shape: Shape, body: bytes, stamp: Stamp) -> bytes | Iterator[bytes]:
    """The body of the answer, or its events where a stream was asked for.

    Raises InvalidJson, InvalidRequest or ModelNotFound before anything is answered.
    """
    request, completion = shape.complete(body)
    head = {"id": f"{shape.id_prefix}-demo-{stamp.number}", "created": stamp.created_s, "model": MODEL}
    if request.stream:
        return _events(shape, completion, head, with_usage=request.wants_usage)
    choices = [{"index": index, **shape.whole(choice)} for index, choice in enumerate(completion.choices)]
    return msgspec.json.encode({**head, "object": shape.whole_name, "choices": choices, "usage": completion.usage})


def model_card() -> bytes:
    """The answer to GET /v1/models/penstock-demo."""
    return msgspec.json.encode(_CARD)


def model_list() -> bytes:
    """The answer to GET /v1/models."""
    return msgspec.json.encode({"object": "list", "data": [_CARD]})


def _events(shape: Shape, completion: Completion, head: Mapping[str, object], *, with_usage: bool) -> Iterator[bytes]:
    frame: dict[str, object] = {**head, "object": shape.piece_name}
    if with_usage:
        frame["usage"] = None
    for index, choice in enumerate(completion.choices):
        for piece in shape.pieces(choice):
            yield _event({**frame, "choices": [{"index": index, "finish_reason": None, **piece}]})
    if with_usage:
        yield _event({**frame, "choices": [], "usage": completion.usage})
    yield b"data: [DONE]\n\n"


def _event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _complete_chat(body: bytes) -> tuple[Request, Completion]:
    request = _read(body, ChatRequest)
    prompt_tokens = _prompt_tokens([message.text for message in request.messages], request.tools)
    text, tool = _chosen(request)
    choice = _finished(request, text, tool, request.cap(OUTPUT_TOKENS_MAX))
    return request, Completion(prompt_tokens, (choice,) * (request.n or 1))


def _complete_text(body: bytes) -> tuple[Request, Completion]:
    request = _read(body, TextRequest)
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    if len(prompts) * (request.n or 1) > _CHOICES_MAX:
        raise InvalidRequest(f"More than {_CHOICES_MAX} completions in one request.", param="prompt")
    prompt_tokens, cap = _prompt_tokens(prompts), request.cap(_COMPLETION_TOKENS)
    choices = [_finished(request, say(prompt), None, cap) for prompt in prompts for _ in range(request.n or 1)]
    return request, Completion(prompt_tokens, tuple(choices))


def _read(body: bytes, kind: type[R]) -> R:
    try:
        request = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as exc:
        raise InvalidRequest(str(exc)) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidJson("The body is not valid JSON.") from exc
    if request.model != MODEL:
        raise ModelNotFound(f"The demo has one model, {MODEL}.", param="model")
    return request


def _prompt_tokens(texts: Sequence[str], tools: Sequence[Tool] | None = None) -> int:
    tokens = sum(map(count_tokens, texts))
    if tools:
        tokens += count_tokens(msgspec.json.encode(tools).decode())
    if tokens > CONTEXT_TOKENS:
        raise InvalidRequest(f"The prompt has {tokens} tokens; the context window holds {CONTEXT_TOKENS}.")
    return tokens


def _chosen(request: ChatRequest) -> tuple[str, str | None]:
    """What to answer, and the tool to call with it."""
    last, form = request.messages[-1], request.response_format
    text = next((message.text for message in reversed(request.messages) if message.role == "user"), last.text)
    if tool := _called_tool(request, text):
        return _json(fill(tool.parameters or {}, text)), tool.name
    if form and form.json_schema:
        return _json(fill(form.json_schema.schema or {}, text)), None
    said = f"The tool says: {last.text}" if last.role == "tool" else say(text)
    return _json({"answer": said}) if form and form.type == "json_object" else said, None


def _called_tool(request: ChatRequest, text: str) -> Function | None:
    """The tool that must be called, or that the text asks for by its name or as "a tool": then the first."""
    functions = {tool.function.name: tool.function for tool in request.tools or ()}
    if isinstance(request.tool_choice, Tool):
        name = request.tool_choice.function.name
        if name not in functions:
            raise InvalidRequest(f"There is no tool named {name!r}.", param="tool_choice")
        return functions[name]
    named = [function for name, function in functions.items() if name.lower() in text.lower()]
    is_wanted = bool(named) or "tool" in text.lower()
    is_answered = request.messages[-1].role == "tool"
    if request.tool_choice == "required" or (request.tool_choice != "none" and is_wanted and not is_answered):
        return next(iter([*named, *functions.values()]), None)
    return None


def _finished(request: Request, text: str, tool: str | None, cap: int) -> Choice:
    """The answer up to a stop text, cut at the cap. A tool's arguments know no stops."""
    if tool is None:
        stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
        found = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
        text = text[: min(found, default=len(text))]
    kept = cut(text, cap)
    return Choice(kept, "length" if kept != text else "tool_calls" if tool else "stop", tool)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _chat_whole(choice: Choice) -> Mapping[str, object]:
    if choice.tool is None:
        message: dict[str, object] = {"role": "assistant", "content": choice.text, "refusal": None}
    else:
        call = {"id": _CALL_ID, "type": "function", "function": {"name": choice.tool, "arguments": choice.text}}
        message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
    return {"message": message, "logprobs": None, "finish_reason": choice.finish}


def _chat_pieces(choice: Choice) -> Iterator[Mapping[str, object]]:
    if choice.tool is None:
        yield {"delta": {"role": "assistant", "content": ""}}
    else:
        call = {"index": 0, "id": _CALL_ID, "type": "function", "function": {"name": choice.tool, "arguments": ""}}
        yield {"delta": {"role": "assistant", "content": None, "tool_calls": [call]}}
    for word in _words(choice.text):
        arguments = {"index": 0, "function": {"arguments": word}}
        yield {"delta": {"content": word} if choice.tool is None else {"tool_calls": [arguments]}}
    yield {"delta": {}, "finish_reason": choice.finish}


def _text_whole(choice: Choice) -> Mapping[str, object]:
    return {"text": choice.text, "logprobs": None, "finish_reason": choice.finish}


def _text_pieces(choice: Choice) -> Iterator[Mapping[str, object]]:
    for word in _words(choice.text):
        yield {"text": word}
    yield {"text": "", "finish_reason": choice.finish}


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+", text)


CHAT = Shape("chatcmpl", "chat.completion", "chat.completion.chunk", _complete_chat, _chat_whole, _chat_pieces)
TEXT = Shape("cmpl", "text_completion", "text_completion", _complete_text, _text_whole, _text_pieces)
