"""OpenAI's wire format: chat completions, legacy completions, model listings; and every host that speaks it.

Usage stands in ``usage``: in an answer, or in a stream's last chunk where ``stream_options.include_usage`` asked for it
(https://platform.openai.com/docs/api-reference/chat). Cached and audio tokens are inside ``prompt_tokens``, reasoning
is inside ``completion_tokens``.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import msgspec

from penstock.core.errors import InvalidRequest, Unbounded
from penstock.core.json_body import BodyReader, edit_object, fields_of, plainly_spelled
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

# The dearest inline image that is documented: gpt-4o-mini at high detail, 2,833 + 5,667 for each of 8 tiles.
IMAGE_TOKENS_MAX = 48_169
# Nothing states how often a model may search for one answer; more than this has not been seen.
SEARCHES_MAX = 20
# More models than this to fall back on are no fallback but a flood of look-ups.
_FALLBACKS_MAX = 16
_CAP_FIELDS = ("max_completion_tokens", "max_tokens")
# What llama.cpp and its like put before max_tokens and n: a cap that we would not see.
_RIVAL_FIELDS = ("n_predict", "n_cmpl", "num_predict", "max_new_tokens", "auto_max_new_tokens")
_CALLERS_TOOLS = (None, "function", "custom")
_IMAGE = re.compile(rb'"image_url"\s*:')
_REMOTE_URL = re.compile(rb'"(?:image_)?url"\s*:\s*"(?!data:)')
_STORED_INPUT = (b'"file"', b'"file_id"', b'"file_data"', b'"video_url"', b'"audio_url"', b'"data_sources"')

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_NAME_MAX)]
_Names = Annotated[list[_Name], msgspec.Meta(max_length=_FALLBACKS_MAX)]


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Tool(msgspec.Struct):
    type: str | None = None


class _Body(msgspec.Struct):
    """What we decide on of a chat or legacy completion."""

    model: _Name
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    tools: list[_Tool] | None = None
    functions: list[msgspec.Raw] | None = None
    response_format: object = None
    prediction: object = None
    web_search_options: object = None
    search_parameters: object = None
    plugins: list[msgspec.Raw] | None = None
    models: _Names | None = None
    fallbacks: _Names | None = None
    prompt: object = None
    n_predict: object = msgspec.UNSET
    n_cmpl: object = msgspec.UNSET
    num_predict: object = msgspec.UNSET
    max_new_tokens: object = msgspec.UNSET
    auto_max_new_tokens: object = msgspec.UNSET


_READER = BodyReader(_Body)
_COMPLETION_DEFAULT_TOKENS = 16


def read_request(endpoint: Endpoint, body: bytes, _named: str | None = None) -> Asked:
    """Raises InvalidJson, InvalidRequest, or Unbounded for what bills more than any cap says."""
    asked = _READER.read(body)
    for name in _RIVAL_FIELDS:
        if getattr(asked, name) is not msgspec.UNSET:
            raise InvalidRequest(f"{name}: say max_tokens and n instead.", param=name)
    if asked.prediction is not None:
        raise Unbounded("prediction: what is predicted in vain is billed as output beyond the cap.", param="prediction")
    choices = max(_at_least_1("n", asked.n) or 1, _at_least_1("best_of", asked.best_of) or 1)
    if endpoint.name == "completions":
        choices *= _prompts(asked.prompt)
    models = (*(asked.models or ()), *(asked.fallbacks or ()))
    runs_tools = _runs_tools(asked, models)
    text = plainly_spelled(body)
    return Asked(
        model=asked.model,
        is_stream=bool(asked.stream),
        output_tokens=_own_cap(endpoint, asked),
        choices=choices,
        has_tools=bool(asked.tools or asked.functions),
        is_structured=asked.response_format is not None,
        has_hidden_input=runs_tools or _refers_elsewhere(text),
        tool_uses=SEARCHES_MAX if runs_tools else 0,
        media_tokens=IMAGE_TOKENS_MAX * len(_IMAGE.findall(text)),
        wants_usage=asked.stream_options is not None and bool(asked.stream_options.include_usage),
        models=models,
    )


def prepare(endpoint: Endpoint, body: bytes, asked: Asked, changes: Changes) -> bytes:
    """The body as it goes up: the very bytes that came unless something must change."""
    edits: dict[str, object] = {}
    if changes.model is not None:
        edits["model"] = changes.model
    if changes.output_cap is not None and endpoint.cap_field is not None:
        fields = fields_of(body)
        own = [name for name in _CAP_FIELDS if bytes(fields.get(name, b"null")) != b"null"]
        edits |= dict.fromkeys(own or [endpoint.cap_field], changes.output_cap)
    if changes.ask_usage:
        options = bytes(fields_of(body).get("stream_options", b"null"))
        kept = b"{}" if options == b"null" else options
        edits["stream_options"] = msgspec.Raw(edit_object(kept, {"include_usage": True}))
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
    """Make OpenAI's overlapping counts disjoint.

    Where the total says more than the parts, the rest is sound (Mistral) or thoughts (xAI) if that is how much there is
    of either, else output. Sound that was cached stands in both counts and is charged as sound; what was both read from
    a cache and written to one (Gemini behind OpenRouter) is charged for both.
    """
    inside, outside = _object(usage, "prompt_tokens_details"), _object(usage, "completion_tokens_details")
    stated = [count(usage.get(f"{name}_tokens")) for name in ("prompt", "completion", "total")]
    prompt, completion, total = (number or 0 for number in stated)
    rest = total - prompt - completion if None not in stated else 0
    sound, thoughts = _count(inside, "audio_tokens"), _count(outside, "reasoning_tokens")
    is_sound, is_thoughts = 0 < rest == sound, 0 < rest == thoughts != sound
    is_other = rest > 0 and not is_sound and not is_thoughts
    cached = _count(inside, "cached_tokens") or _count(usage, "prompt_cache_hit_tokens")
    uncached, audio_in, cached = _parts_of(prompt, 0 if is_sound else sound, cached)
    fresh, written = _parts_of(uncached, _count(inside, "cache_write_tokens"))
    text, audio_out = _parts_of(completion, _count(outside, "audio_tokens"))
    is_beside = max(audio_in, cached) > prompt or written > uncached or audio_out > completion
    return Reading(
        usage=Usage(
            input=fresh,
            cache_read=cached,
            cache_write=written,
            audio_in=rest if is_sound else audio_in,
            output=text + (rest if is_other else 0),
            reasoning=rest if is_thoughts else 0,
            audio_out=audio_out,
        ),
        has_input=stated[0] is not None,
        has_output=stated[1] is not None or _is_all_input(usage),
        properties=service_tier(usage),
        flags=("usage_mismatch",) if is_other or rest < 0 or is_beside else (),
    )


def _parts_of(whole: int, *parts: int) -> tuple[int, ...]:
    """What is left of a whole, and its parts; one that is larger than the whole stands beside it."""
    left, taken = whole, []
    for part in parts:
        within = min(part, left) if part <= whole else 0
        left -= within
        taken.append(within if part <= whole else part)
    return left, *taken


def _count(value: JsonObject, name: str) -> int:
    """A part's count; without one the tokens count in its whole, which is never cheaper."""
    return count(value.get(name)) or 0


def _is_all_input(usage: JsonObject) -> bool:
    # Embeddings and the like state no completion: a total that equals the prompt says that there is none.
    total = count(usage.get("total_tokens"))
    return usage.get("completion_tokens") is None and total is not None and total == usage.get("prompt_tokens")


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


def _read_openai_request(endpoint: Endpoint, body: bytes, _named: str | None = None) -> Asked:
    asked = read_request(endpoint, body)
    if endpoint.name == "completions" and asked.output_tokens is None:
        return replace(asked, output_tokens=_COMPLETION_DEFAULT_TOKENS)
    return asked


# OpenAI's own newer models refuse max_tokens, and its legacy completions stop at 16 tokens unless told otherwise.
OPENAI = replace(_dialect("max_completion_tokens"), read_request=_read_openai_request)


def _own_cap(endpoint: Endpoint, asked: _Body) -> int | None:
    """The caller's own cap; either of chat's two counts, but a field of another endpoint is no cap."""
    values = (asked.max_tokens, asked.max_completion_tokens if endpoint.name != "completions" else None)
    caps = {cap for cap in values if cap is not None}
    if len(caps) > 1:
        raise InvalidRequest("max_tokens and max_completion_tokens differ; send one of them.", param="max_tokens")
    return _at_least_1("max_tokens", caps.pop()) if caps else None


def _at_least_1(name: str, value: int | None) -> int | None:
    # Some hosts take 0 for no cap at all.
    if value is not None and not 1 <= value <= COUNT_MAX:
        raise InvalidRequest(f"{name}: must be between 1 and {COUNT_MAX}.", param=name)
    return value


def _prompts(prompt: object) -> int:
    # Each of several prompts is answered on its own; a list of token numbers is one prompt.
    is_several = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    return len(prompt) if is_several and isinstance(prompt, list) else 1


def _runs_tools(asked: _Body, models: tuple[str, ...]) -> bool:
    """Whether the provider itself may search or compute for this answer: for a fee, and with input of its own."""
    searches = asked.web_search_options is not None or asked.search_parameters is not None or bool(asked.plugins)
    is_online = any(name.endswith(":online") for name in (asked.model, *models))  # OpenRouter's other word for it
    return searches or is_online or any(tool.type not in _CALLERS_TOOLS for tool in asked.tools or ())


def _refers_elsewhere(text: bytes) -> bool:
    """Whether something is meant to be read that does not stand in the body."""
    if any(key in text for key in _STORED_INPUT):
        return True
    return b'"image_url"' in text and _REMOTE_URL.search(text) is not None


def _object(value: JsonObject, name: str) -> JsonObject:
    inner = value.get(name)
    return inner if isinstance(inner, Mapping) else {}
