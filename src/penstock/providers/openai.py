"""OpenAI's wire format: chat completions, legacy completions, model listings; and every host that speaks it.

Usage stands in ``usage``: in an answer, or in a stream's last chunk where ``stream_options.include_usage`` asked for it
(https://platform.openai.com/docs/api-reference/chat). Cached and audio tokens are inside ``prompt_tokens``, reasoning
is inside ``completion_tokens``.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from penstock.core.errors import InvalidRequest
from penstock.core.json_body import BodyReader, edit_object
from penstock.core.provider import Asked, Changes, Dialect, Endpoint, EndpointKind, JsonObject, Reading, service_tier
from penstock.core.usage import Usage, count

# The dearest inline image that is documented: gpt-4o-mini at high detail, 2,833 + 5,667 for each of 8 tiles.
IMAGE_TOKENS_MAX = 48_169
# Nothing states how often a model may search for one answer; more than this has not been seen.
SEARCHES_MAX = 20
_CAP_FIELDS = ("max_completion_tokens", "max_tokens")
_REMOTE_URL = re.compile(rb'"url"\s*:\s*"(?!data:)')
_STORED_INPUT = (b'"file"', b'"file_id"', b'"file_data"', b'"video_url"')


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    """What we decide on of a chat or legacy completion."""

    model: str
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None
    response_format: object = None
    web_search_options: object = None
    plugins: list[msgspec.Raw] | None = None
    models: list[str] | None = None
    prompt: object = None


_READER = BodyReader(_Body)
_COMPLETION_DEFAULT_TOKENS = 16


def read_request(endpoint: Endpoint, body: bytes) -> Asked:
    """Raises InvalidJson or InvalidRequest."""
    asked = _READER.read(body)
    caps = {cap for cap in (asked.max_tokens, asked.max_completion_tokens) if cap is not None}
    if len(caps) > 1:
        raise InvalidRequest("max_tokens and max_completion_tokens differ; send one of them.", param="max_tokens")
    choices = max(_positive("n", asked.n) or 1, _positive("best_of", asked.best_of) or 1)
    if endpoint.name == "completions":
        choices *= _prompts(asked.prompt)
    return Asked(
        model=asked.model,
        is_stream=bool(asked.stream),
        output_tokens=_positive("max_tokens", caps.pop()) if caps else None,
        choices=choices,
        has_tools=bool(asked.tools or asked.functions),
        is_structured=asked.response_format is not None,
        has_hidden_input=_has_hidden_input(asked, body),
        tool_uses=SEARCHES_MAX if asked.web_search_options is not None or asked.plugins else 0,
        media_tokens=IMAGE_TOKENS_MAX * body.count(b'"image_url"'),
        wants_usage=asked.stream_options is not None and bool(asked.stream_options.include_usage),
        models=tuple(asked.models or ()),
    )


def prepare(endpoint: Endpoint, body: bytes, asked: Asked, changes: Changes) -> bytes:
    """The body as it goes up: the very bytes that came unless something must change."""
    edits: dict[str, object] = {}
    if changes.model is not None:
        edits["model"] = changes.model
    if changes.output_cap is not None:
        own = _own_cap_fields(body) if asked.output_tokens is not None else []
        edits |= dict.fromkeys(own or [str(endpoint.cap_field)], changes.output_cap)
    if changes.ask_usage:
        options = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get("stream_options")
        kept = msgspec.json.decode(options, type=dict[str, object] | None) if options is not None else None
        edits["stream_options"] = {**(kept or {}), "include_usage": True}
    return edit_object(body, edits)


def find_usage(value: JsonObject) -> JsonObject | None:
    """The statement of an answer or chunk, with the service tier that stands beside it.

    Groq's streams have theirs in ``x_groq`` as well.
    """
    usage = value.get("usage")
    if not isinstance(usage, Mapping):
        extension = value.get("x_groq")
        usage = extension.get("usage") if isinstance(extension, Mapping) else None
    if not isinstance(usage, Mapping):
        return None
    tier = value.get("service_tier")
    return {"service_tier": tier, **usage} if isinstance(tier, str) else usage


def is_final(value: JsonObject) -> bool:
    """A chunk without choices, or one that says why the output ended."""
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices:
        return True
    return any(isinstance(choice, Mapping) and choice.get("finish_reason") for choice in choices)


def read_usage(usage: JsonObject) -> Reading:
    """Make OpenAI's overlapping counts disjoint. Where the total says more than the parts, the rest is output."""
    inside, outside = _object(usage, "prompt_tokens_details"), _object(usage, "completion_tokens_details")
    prompt, completion, total = (count(usage.get(f"{name}_tokens")) for name in ("prompt", "completion", "total"))
    # Sound that was cached stands in both counts; it is charged as sound, which is never cheaper.
    audio_in = min(count(inside.get("audio_tokens")) or 0, prompt or 0)
    cached = count(inside.get("cached_tokens")) or count(usage.get("prompt_cache_hit_tokens")) or 0
    cached = min(cached, (prompt or 0) - audio_in)
    written = min(count(inside.get("cache_write_tokens")) or 0, (prompt or 0) - cached - audio_in)
    audio_out = min(count(outside.get("audio_tokens")) or 0, completion or 0)
    flags: tuple[str, ...] = ()
    extra = 0
    if None not in (prompt, completion, total) and (prompt or 0) + (completion or 0) != total:
        extra, flags = max(0, (total or 0) - (prompt or 0) - (completion or 0)), ("usage_mismatch",)
    return Reading(
        usage=Usage(
            input=(prompt or 0) - cached - audio_in - written,
            cache_read=cached,
            cache_write=written,
            audio_in=audio_in,
            output=(completion or 0) - audio_out + extra,
            audio_out=audio_out,
        ),
        has_input=prompt is not None,
        # Embeddings and the like state no completion: a total that equals the prompt says that there is none.
        has_output=completion is not None or (prompt is not None and total == prompt),
        properties=service_tier(usage),
        flags=flags,
    )


def find_model(value: JsonObject) -> str | None:
    """The model that answered; Azure's first chunk has an empty one."""
    model = value.get("model")
    return model if isinstance(model, str) and model else None


def is_error_event(value: JsonObject) -> bool:
    """Groq and OpenRouter report a failure inside a 200 stream as a chunk with ``error``."""
    return bool(value.get("error"))


def _dialect(cap_field: str) -> Dialect:
    return Dialect(
        name="openai",
        endpoints=(
            Endpoint("chat.completions", "POST", "/chat/completions", cap_field=cap_field, stream_end=b"[DONE]"),
            Endpoint("completions", "POST", "/completions", stream_end=b"[DONE]"),
            Endpoint("models", "GET", "/models", kind=EndpointKind.FREE),
            Endpoint("models", "GET", "/models/{model}", kind=EndpointKind.FREE),
        ),
        key_header="authorization",
        key_prefix="Bearer ",
        read_request=read_request,
        prepare=prepare,
        usage_key=b'"usage"',
        find_usage=find_usage,
        is_final=is_final,
        read_usage=read_usage,
        find_model=find_model,
        is_error_event=is_error_event,
    )


COMPATIBLE = _dialect("max_tokens")


def _read_openai_request(endpoint: Endpoint, body: bytes) -> Asked:
    asked = read_request(endpoint, body)
    if endpoint.name == "completions" and asked.output_tokens is None:
        return replace(asked, output_tokens=_COMPLETION_DEFAULT_TOKENS)
    return asked


# OpenAI's own newer models refuse max_tokens, and its legacy completions stop at 16 tokens unless told otherwise.
OPENAI = replace(_dialect("max_completion_tokens"), read_request=_read_openai_request)


def _positive(name: str, value: int | None) -> int | None:
    if value is not None and not 0 <= value <= 1_000_000_000:
        raise InvalidRequest(f"{name}: must be between 0 and 1000000000.", param=name)
    return value


def _prompts(prompt: object) -> int:
    # Each of several prompts is answered on its own; a list of token numbers is one prompt.
    is_several = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    return len(prompt) if is_several and isinstance(prompt, list) else 1


def _has_hidden_input(asked: _Body, body: bytes) -> bool:
    if asked.web_search_options is not None or asked.plugins:
        return True
    if any(needle in body for needle in _STORED_INPUT):
        return True
    return b'"image_url"' in body and _REMOTE_URL.search(body) is not None


def _own_cap_fields(body: bytes) -> list[str]:
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return [name for name in _CAP_FIELDS if fields.get(name) is not None]


def _object(value: JsonObject, name: str) -> JsonObject:
    inner = value.get(name)
    return inner if isinstance(inner, Mapping) else {}
