"""Anthropic's Messages API (https://docs.claude.com/en/api/messages).

A stream states its input in ``message_start`` and its output, cumulatively, in ``message_delta``: the two are merged
field by field. ``input_tokens`` excludes what was read from or written to the cache.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from penstock.core.errors import InvalidRequest, Unbounded
from penstock.core.json_body import BodyReader, edit_object, plainly_spelled
from penstock.core.provider import (
    MODEL_NAME_MAX,
    Asked,
    Changes,
    Dialect,
    Endpoint,
    EndpointKind,
    JsonObject,
    Reading,
    service_tier,
)
from penstock.core.usage import COUNT_MAX, Usage, count

# A full-size image is 4,784 tokens at the models with the highest resolution.
IMAGE_TOKENS_MAX = 4_784
# Anthropic's own loop stops after 10 turns of server-run tools; a turn seldom asks for more than two at once.
SEARCHES_MAX = 20
_FALLBACKS_MAX = 16
_BASE64 = re.compile(rb'"type"\s*:\s*"base64"')
# Sources that we cannot see, documents whose text may exceed their compressed bytes, sealed results of their tools.
_HIDDEN_TYPE = re.compile(
    rb'"type"\s*:\s*"(?:url|file|container_upload|(?:web_search|web_fetch|code_execution|tool_search_tool)_[a-z0-9_]*)"'
)
_HIDDEN_WORDS = (b'"application/pdf"', b'"file_id"')
# These call a model again, or another one, beside what max_tokens bounds.
_FURTHER_CALLS = re.compile(rb'"type"\s*:\s*"((?:compact|advisor)_\d+)"')
# Tools that the caller runs; every other typed tool runs at the provider, with input of its own.
_CALLERS_TOOL = re.compile(r"custom|(?:bash|text_editor|computer|memory)_\d+")
_FURTHER_COUNTS = (
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
    "web_search_requests",
)

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_NAME_MAX)]


class _Tool(msgspec.Struct):
    type: str | None = None


class _Body(msgspec.Struct):
    model: _Name
    stream: bool | None = None
    max_tokens: int | None = None
    tools: list[_Tool] | None = None
    output_format: object = None
    output_config: object = None
    mcp_servers: list[msgspec.Raw] | None = None
    container: object = None
    speed: str | None = None
    inference_geo: str | None = None
    fallbacks: Annotated[list[_Name], msgspec.Meta(max_length=_FALLBACKS_MAX)] | None = None


_READER = BodyReader(_Body)


def read_request(endpoint: Endpoint, body: bytes, _named: str | None = None) -> Asked:
    """Raises InvalidJson, InvalidRequest, or Unbounded for what bills more than any cap says."""
    asked = _READER.read(body)
    _check_cap(endpoint, asked.max_tokens)
    # Both multiply every price, by factors that no price book states: nothing is charged below its price by accident.
    if asked.speed not in (None, "standard"):
        raise InvalidRequest("speed: only the standard speed is priced.", param="speed")
    if asked.inference_geo not in (None, "global"):
        raise InvalidRequest("inference_geo: only global inference is priced.", param="inference_geo")
    text = plainly_spelled(body)
    if (further := _FURTHER_CALLS.search(text)) is not None:
        raise Unbounded(f"{further[1].decode()}: it calls a model beside what max_tokens bounds.")
    runs_tools = bool(asked.mcp_servers) or any(_runs_there(tool) for tool in asked.tools or ())
    return Asked(
        model=asked.model,
        is_stream=bool(asked.stream),
        output_tokens=asked.max_tokens,
        has_tools=bool(asked.tools),
        is_structured=asked.output_format is not None or asked.output_config is not None,
        has_hidden_input=runs_tools or asked.container is not None or _refers_elsewhere(text),
        media_tokens=IMAGE_TOKENS_MAX * len(_BASE64.findall(text)),
        tool_uses=SEARCHES_MAX if runs_tools else 0,
        wants_usage=True,
        models=tuple(asked.fallbacks or ()),
    )


def prepare(endpoint: Endpoint, body: bytes, asked: Asked, changes: Changes) -> bytes:
    """The body as it goes up: the very bytes that came unless something must change."""
    edits: dict[str, object] = {}
    if changes.model is not None:
        edits["model"] = changes.model
    if changes.output_cap is not None:
        edits["max_tokens"] = changes.output_cap
    return edit_object(body, edits)


def find_usage(value: JsonObject) -> JsonObject | None:
    """In an answer and in ``message_delta`` on top, in ``message_start`` inside the message."""
    message = value.get("message")
    usage = message.get("usage") if isinstance(message, Mapping) else value.get("usage")
    return usage if isinstance(usage, Mapping) else None


def is_final(value: JsonObject) -> bool:
    """An answer's statement is final, and that of the delta which says why the output ended."""
    delta = value.get("delta")
    return value.get("type") == "message" or (isinstance(delta, Mapping) and bool(delta.get("stop_reason")))


def read_usage(usage: JsonObject) -> Reading:
    """Anthropic's counts are disjoint already; cache writes are split by lifetime where it says so.

    Passes that are no part of the message (a summary of the conversation so far) stand beside its counts.
    """
    iterations = usage.get("iterations")
    others = [i for i in iterations if _is_beside(i)] if isinstance(iterations, list) else []
    passes = [usage, *others]
    short, long = _written(passes)
    stated_in, stated_out = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    tools = usage.get("server_tool_use")
    return Reading(
        usage=Usage(
            input=_sum(passes, "input_tokens"),
            cache_read=_sum(passes, "cache_read_input_tokens"),
            cache_write=short,
            cache_write_1h=long,
            output=_sum(passes, "output_tokens"),
            searches=_sum([tools], "web_search_requests") if isinstance(tools, Mapping) else 0,
        ),
        # A further count that makes no sense is no zero: then the input is as good as not stated.
        has_input=stated_in is not None and _is_sensible(usage),
        has_output=stated_out is not None,
        properties=service_tier(usage),
        flags=("usage_mismatch",) if others else (),
    )


def find_model(value: JsonObject) -> str | None:
    """The model that answered."""
    message = value.get("message")
    model = message.get("model") if isinstance(message, Mapping) else value.get("model")
    return model if isinstance(model, str) and model else None


def is_error_event(value: JsonObject) -> bool:
    """An overload in the middle of a stream comes as an event of its own type."""
    return value.get("type") == "error"


def _check_cap(endpoint: Endpoint, max_tokens: int | None) -> None:
    if max_tokens is None and endpoint.name == "messages":
        raise InvalidRequest("max_tokens: required.", param="max_tokens")
    # Some hosts take 0 for no cap at all.
    if max_tokens is not None and not 1 <= max_tokens <= COUNT_MAX:
        raise InvalidRequest(f"max_tokens: must be between 1 and {COUNT_MAX}.", param="max_tokens")


def _refers_elsewhere(text: bytes) -> bool:
    return any(word in text for word in _HIDDEN_WORDS) or _HIDDEN_TYPE.search(text) is not None


def _runs_there(tool: _Tool) -> bool:
    return tool.type is not None and _CALLERS_TOOL.fullmatch(tool.type) is None


def _is_sensible(usage: JsonObject) -> bool:
    """Whether every count beside the two main ones is one, or is not stated."""
    values = (usage.get(name) for name in _FURTHER_COUNTS)
    inner = (
        value for value in (usage.get("cache_creation"), usage.get("server_tool_use")) if isinstance(value, Mapping)
    )
    return all(value is None or count(value) is not None for value in values) and all(map(_is_sensible, inner))


def _is_beside(iteration: object) -> bool:
    return isinstance(iteration, Mapping) and iteration.get("type") != "message"


def _sum(passes: Iterable[JsonObject], name: str) -> int:
    return sum(count(one.get(name)) or 0 for one in passes)


def _written(passes: Iterable[JsonObject]) -> tuple[int, int]:
    """Cache writes that live for five minutes and for an hour.

    A stream's last count may exceed the split that its start states: where anything was written for an hour, so was
    the rest, which is the dearer reading.
    """
    split = [split for one in passes if isinstance(split := one.get("cache_creation"), Mapping)]
    short, long = _sum(split, "ephemeral_5m_input_tokens"), _sum(split, "ephemeral_1h_input_tokens")
    rest = max(0, _sum(passes, "cache_creation_input_tokens") - short - long)
    return (short, long + rest) if long else (short + rest, 0)


ANTHROPIC = Dialect(
    name="anthropic",
    endpoints=(
        Endpoint("messages", "POST", "/messages", cap_field="max_tokens", stream_end=b"message_stop"),
        Endpoint("count_tokens", "POST", "/messages/count_tokens", kind=EndpointKind.FREE),
        Endpoint("models", "GET", "/models", kind=EndpointKind.FREE),
        Endpoint("models", "GET", "/models/{model}", kind=EndpointKind.FREE),
    ),
    key_header="x-api-key",
    key_prefix="",
    read_request=read_request,
    prepare=prepare,
    usage_key=b'"usage"',
    find_usage=find_usage,
    is_final=is_final,
    read_usage=read_usage,
    find_model=find_model,
    is_error_event=is_error_event,
)
