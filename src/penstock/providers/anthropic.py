"""Anthropic's Messages API (https://docs.claude.com/en/api/messages).

A stream states its input in ``message_start`` and its output, cumulatively, in ``message_delta``: the two are merged
field by field. ``input_tokens`` excludes what was read from or written to the cache.
"""

import re
from collections.abc import Mapping

import msgspec

from penstock.core.errors import InvalidRequest
from penstock.core.json_body import BodyReader, edit_object
from penstock.core.provider import Asked, Changes, Dialect, Endpoint, EndpointKind, JsonObject, Reading, service_tier
from penstock.core.usage import Usage, count

# A full-size image is 4,784 tokens at the models with the highest resolution.
IMAGE_TOKENS_MAX = 4_784
_BASE64 = re.compile(rb'"type"\s*:\s*"base64"')
# Sources that we cannot see, documents whose text may exceed their compressed bytes, tools that run at the provider.
_HIDDEN = re.compile(
    rb'"type"\s*:\s*"(?:url|file|container_upload|(?:web_search|web_fetch|code_execution|tool_search_tool)_[a-z0-9_]*)"'
    rb'|"application/pdf"|"file_id"'
)
_SEARCH = re.compile(rb'"type"\s*:\s*"web_search_')
# Anthropic's own loop stops after 10 turns of server-run tools; a turn seldom asks for more than two at once.
SEARCHES_MAX = 20


class _Body(msgspec.Struct):
    model: str
    stream: bool | None = None
    max_tokens: int | None = None
    tools: list[msgspec.Raw] | None = None
    output_format: object = None
    output_config: object = None
    mcp_servers: list[msgspec.Raw] | None = None
    container: object = None
    speed: str | None = None
    inference_geo: str | None = None


_READER = BodyReader(_Body)


def read_request(endpoint: Endpoint, body: bytes) -> Asked:
    """Raises InvalidJson or InvalidRequest."""
    asked = _READER.read(body)
    if asked.max_tokens is None and endpoint.name == "messages":
        raise InvalidRequest("max_tokens: required.", param="max_tokens")
    if asked.max_tokens is not None and not 0 <= asked.max_tokens <= 1_000_000_000:
        raise InvalidRequest("max_tokens: must be between 0 and 1000000000.", param="max_tokens")
    # Both multiply every price, by factors that no price book states: nothing is charged below its price by accident.
    if asked.speed not in (None, "standard"):
        raise InvalidRequest("speed: only the standard speed is priced.", param="speed")
    if asked.inference_geo not in (None, "global"):
        raise InvalidRequest("inference_geo: only global inference is priced.", param="inference_geo")
    return Asked(
        model=asked.model,
        is_stream=bool(asked.stream),
        output_tokens=asked.max_tokens,
        has_tools=bool(asked.tools),
        is_structured=asked.output_format is not None or asked.output_config is not None,
        has_hidden_input=bool(asked.mcp_servers) or asked.container is not None or _HIDDEN.search(body) is not None,
        media_tokens=IMAGE_TOKENS_MAX * len(_BASE64.findall(body)),
        tool_uses=SEARCHES_MAX if _SEARCH.search(body) is not None else 0,
        wants_usage=True,
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
    """An answer's statement is final, ``message_delta``'s too; ``message_start`` knows the input alone."""
    return value.get("type") in ("message", "message_delta")


def read_usage(usage: JsonObject) -> Reading:
    """Anthropic's counts are disjoint already; cache writes are split by lifetime where it says so."""
    written = count(usage.get("cache_creation_input_tokens")) or 0
    creation = usage.get("cache_creation")
    long_lived = count(creation.get("ephemeral_1h_input_tokens")) or 0 if isinstance(creation, Mapping) else 0
    tools = usage.get("server_tool_use")
    searches = count(tools.get("web_search_requests")) or 0 if isinstance(tools, Mapping) else 0
    stated_in, stated_out = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    return Reading(
        usage=Usage(
            input=stated_in or 0,
            cache_read=count(usage.get("cache_read_input_tokens")) or 0,
            cache_write=max(0, written - long_lived),
            cache_write_1h=long_lived,
            output=stated_out or 0,
            searches=searches,
        ),
        has_input=stated_in is not None,
        has_output=stated_out is not None,
        properties=service_tier(usage),
    )


def find_model(value: JsonObject) -> str | None:
    """The model that answered."""
    message = value.get("message")
    model = message.get("model") if isinstance(message, Mapping) else value.get("model")
    return model if isinstance(model, str) and model else None


def is_error_event(value: JsonObject) -> bool:
    """An overload in the middle of a stream comes as an event of its own type."""
    return value.get("type") == "error"


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
