"""Google's Gemini API, and Vertex AI's express mode (https://ai.google.dev/api/generate-content).

The path names the model and says whether the answer streams; the body has every field in either of two spellings,
camelCase or snake_case. Usage is stated anew, and cumulatively, in nearly every chunk of a stream; only the count of
the prompt may shrink from one to the next.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import msgspec

from penstock.core.errors import InvalidRequest
from penstock.core.json_body import BodyReader, edit_object, fields_of, plainly_spelled
from penstock.core.provider import Asked, Changes, Dialect, Endpoint, EndpointKind, JsonObject, Reading
from penstock.core.usage import COUNT_MAX, Usage, count

# 258 for each tile of a large image: 24 tiles in the worst shape (3,072 x 385 pixels after scaling) and an overview.
# Gemini 3 takes at most 2,240 for an image of any size (https://ai.google.dev/gemini-api/docs/tokens).
IMAGE_TOKENS_MAX = 25 * 258
# The largest window of a model that is still served (https://ai.google.dev/gemini-api/docs/models). Sound, film and
# pages count by their length, of which their bytes say nothing; but all must fit into it.
WINDOW_TOKENS_MAX = 1_048_576
# Each query that the model makes up is billed; more than this for one answer has not been seen.
SEARCHES_MAX = 20

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
_INLINE = re.compile(rb'"inline_?[dD]ata"\s*:')
_MEDIA_TYPE = re.compile(rb'"mime_?[tT]ype"\s*:\s*"([a-z]+)/')
_ELSEWHERE = re.compile(rb'"file_?(?:[dD]ata|[uU]ri)"\s*:')
# Tools that the caller runs; every other one runs at Google, with input of its own.
_CALLERS_TOOLS = frozenset({"functionDeclarations", "function_declarations", "computerUse", "computer_use"})
# Priority multiplies every price, by a factor that the price book states for few models.
_PRICED_TIERS = frozenset({"", "unspecified", "service_tier_unspecified", "standard", "flex"})

T = TypeVar("T")


def _spelling(attribute: str) -> str:
    """The name in JSON of an attribute: ``candidate_count``, and ``candidateCount`` of ``candidate_count_camel``."""
    name = attribute.removesuffix("_camel")
    if name == attribute:
        return name
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


class _Config(msgspec.Struct, rename=_spelling):
    max_output_tokens: int | None = None
    max_output_tokens_camel: int | None = None
    candidate_count: int | None = None
    candidate_count_camel: int | None = None
    response_mime_type: str | None = None
    response_mime_type_camel: str | None = None
    response_schema: object = None
    response_schema_camel: object = None
    response_json_schema: object = None
    response_json_schema_camel: object = None
    routing_config: object = None
    routing_config_camel: object = None


class _Body(msgspec.Struct, rename=_spelling):
    model: str | None = None
    generation_config: _Config | None = None
    generation_config_camel: _Config | None = None
    tools: list[dict[str, msgspec.Raw]] | None = None
    cached_content: str | None = None
    cached_content_camel: str | None = None
    service_tier: str | None = None
    service_tier_camel: str | None = None


class _Embedding(msgspec.Struct):
    model: str | None = None


class _Embeddings(msgspec.Struct):
    requests: list[_Embedding] | None = None


_BODY, _EMBEDDING, _EMBEDDINGS = BodyReader(_Body), BodyReader(_Embedding), BodyReader(_Embeddings)
_NO_CONFIG = _Config()


def read_request(endpoint: Endpoint, body: bytes, named: str | None = None) -> Asked:
    """Raises InvalidJson or InvalidRequest; ``named`` is the model in the path, the only one that counts."""
    model = named or ""
    if _MODEL_NAME.fullmatch(model) is None:
        raise InvalidRequest("model: the path must name one.", param="model")
    text = plainly_spelled(body)
    asked = Asked(
        model=model,
        has_hidden_input=_ELSEWHERE.search(text) is not None,
        media_tokens=_media_tokens(text),
        wants_usage=True,
    )
    if endpoint.kind is EndpointKind.FREE:
        return asked
    if endpoint.name == "embedContent":
        _check_models(model, [_EMBEDDING.read(body).model])
        return replace(asked, output_tokens=0)
    if endpoint.name == "batchEmbedContents":
        _check_models(model, [request.model for request in _EMBEDDINGS.read(body).requests or ()])
        return replace(asked, output_tokens=0)
    return _generation(endpoint, asked, _BODY.read(body))


def prepare(_endpoint: Endpoint, body: bytes, _asked: Asked, changes: Changes) -> bytes:
    """The body as it goes up: the very bytes that came unless a cap must be added."""
    if changes.output_cap is None:
        return body
    fields = fields_of(body)
    name = _spelled(fields, "generation_config", "generationConfig")
    config = bytes(fields.get(name, b"null"))
    config = b"{}" if config == b"null" else config
    cap_field = _spelled(fields_of(config), "max_output_tokens", "maxOutputTokens")
    return edit_object(body, {name: msgspec.Raw(edit_object(config, {cap_field: changes.output_cap}))})


def find_usage(value: JsonObject) -> JsonObject | None:
    """The statement of an answer or chunk, with the searches that it reports; an embedding has no output."""
    usage = value.get("usageMetadata")
    if not isinstance(usage, Mapping):
        return None
    if "embedding" in value or "embeddings" in value:
        return {"candidatesTokenCount": 0, **usage}
    searches = _searches(value)
    return {**usage, "searches": searches} if searches else usage


def is_final(value: JsonObject) -> bool:
    """A chunk that says why the output ended, or why there is none."""
    feedback = value.get("promptFeedback")
    is_blocked = isinstance(feedback, Mapping) and bool(feedback.get("blockReason"))
    return is_blocked or any(candidate.get("finishReason") for candidate in _objects(value.get("candidates")))


def read_usage(usage: JsonObject) -> Reading:
    """Make Google's overlapping counts disjoint.

    What was cached is inside the prompt; what tools read and what the model thought stand beside. A count of 0 is left
    out, so that the total tells whether the output was stated; where it says more than the parts, the rest is output.
    Sound that was cached is charged as sound, which is never cheaper.
    """
    prompt, cached, tools, candidates, thoughts, total = (count(usage.get(name)) for name in _COUNTS)
    inside, kept = _by_modality(usage.get("promptTokensDetails")), _by_modality(usage.get("cacheTokensDetails"))
    outside = _by_modality(usage.get("candidatesTokensDetails"))
    rest = 0 if total is None else total - sum(part or 0 for part in (prompt, tools, candidates, thoughts))
    text_in, audio_in, cache_read, image_in = _parts_of(
        prompt or 0, inside["AUDIO"], (cached or 0) - kept["AUDIO"], _pictures(inside) - _pictures(kept)
    )
    text_out, audio_out, image_out = _parts_of(candidates or 0, outside["AUDIO"], _pictures(outside))
    # A count that makes no sense is no zero: then nothing that was stated can be relied on.
    is_sensible = all(usage.get(name) is None or count(usage.get(name)) is not None for name in _COUNTS)
    tier = usage.get("serviceTier")
    return Reading(
        usage=Usage(
            input=text_in + (tools or 0),
            cache_read=cache_read,
            output=text_out + (thoughts or 0) + max(0, rest),
            audio_in=audio_in,
            audio_out=audio_out,
            image_in=image_in,
            image_out=image_out,
            searches=count(usage.get("searches")) or 0,
        ),
        has_input=is_sensible and prompt is not None,
        has_output=is_sensible and (candidates is not None or total is not None),
        properties={"service_tier": tier.lower()} if isinstance(tier, str) else {},
        flags=("usage_mismatch",) if rest or (cached or 0) > (prompt or 0) else (),
    )


def find_model(value: JsonObject) -> str | None:
    """The model that answered, which an alias such as ``gemini-flash-latest`` does not say."""
    model = value.get("modelVersion")
    return model.removeprefix("models/") or None if isinstance(model, str) else None


def is_error_event(value: JsonObject) -> bool:
    """A failure in the middle of a stream comes as a chunk with ``error``."""
    return bool(value.get("error"))


def _generation(endpoint: Endpoint, asked: Asked, body: _Body) -> Asked:
    config = _one("generationConfig", body.generation_config, body.generation_config_camel) or _NO_CONFIG
    _check_models(asked.model, [body.model])
    if _one("routingConfig", config.routing_config, config.routing_config_camel) is not None:
        raise InvalidRequest("routingConfig: the path names the model.", param="generationConfig.routingConfig")
    tier = _one("serviceTier", body.service_tier, body.service_tier_camel) or ""
    if tier.lower() not in _PRICED_TIERS:
        raise InvalidRequest(f"serviceTier: {tier} has no known price.", param="serviceTier")
    runs_tools = any(not tool.keys() <= _CALLERS_TOOLS for tool in body.tools or ())
    is_cached = _one("cachedContent", body.cached_content, body.cached_content_camel) is not None
    choices = _at_least_1(
        "candidateCount", _one("candidateCount", config.candidate_count, config.candidate_count_camel)
    )
    cap = _one("maxOutputTokens", config.max_output_tokens, config.max_output_tokens_camel)
    return replace(
        asked,
        is_stream=endpoint.streams_array,
        output_tokens=_at_least_1("maxOutputTokens", cap),
        choices=choices or 1,
        has_tools=bool(body.tools),
        is_structured=_is_structured(config),
        has_hidden_input=asked.has_hidden_input or runs_tools or is_cached,
        tool_uses=SEARCHES_MAX if runs_tools else 0,
    )


def _is_structured(config: _Config) -> bool:
    media_type = _one("responseMimeType", config.response_mime_type, config.response_mime_type_camel)
    schema = _one("responseSchema", config.response_schema, config.response_schema_camel)
    json_schema = _one("responseJsonSchema", config.response_json_schema, config.response_json_schema_camel)
    return media_type not in (None, "", "text/plain") or schema is not None or json_schema is not None


def _one(name: str, snake: T | None, camel: T | None) -> T | None:
    """The value of a field in whichever spelling it stands. Raises InvalidRequest where it stands in both."""
    if snake is not None and camel is not None:
        raise InvalidRequest(f"{name}: it stands there in two spellings.", param=name)
    return camel if snake is None else snake


def _spelled(fields: Mapping[str, msgspec.Raw], snake: str, camel: str) -> str:
    return snake if bytes(fields.get(snake, b"null")) != b"null" else camel


def _at_least_1(name: str, value: int | None) -> int | None:
    # Google takes 0 for not stated.
    if value is not None and not 1 <= value <= COUNT_MAX:
        raise InvalidRequest(f"{name}: must be between 1 and {COUNT_MAX}.", param=f"generationConfig.{name}")
    return value


def _check_models(named: str, stated: Sequence[str | None]) -> None:
    if any(model is not None and model.removeprefix("models/") != named for model in stated):
        raise InvalidRequest("model: it must be the one that the path names.", param="model")


def _media_tokens(text: bytes) -> int:
    """The most that inline media come to beyond their bytes."""
    inline = len(_INLINE.findall(text))
    if not inline:
        return 0
    kinds = Counter(_MEDIA_TYPE.findall(text))
    is_bounded = kinds[b"image"] + kinds[b"text"] == kinds.total() >= inline
    return kinds[b"image"] * IMAGE_TOKENS_MAX if is_bounded else WINDOW_TOKENS_MAX


_COUNTS = (
    "promptTokenCount",
    "cachedContentTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
)
# Clients may ask for numbers instead of names (``$alt=json;enum-encoding=int``).
_MODALITIES = {1: "TEXT", 2: "IMAGE", 3: "VIDEO", 4: "AUDIO", 5: "DOCUMENT"}
# Prices of sight are those of images: pages are read as such, and the price book has no unit of film.
_SEEN = ("IMAGE", "VIDEO", "DOCUMENT")


def _by_modality(details: object) -> Counter[str]:
    tokens: Counter[str] = Counter()
    for detail in _objects(details):
        modality = detail.get("modality")
        name = _MODALITIES.get(modality, "") if isinstance(modality, int) else modality
        if isinstance(name, str):
            tokens[name] += count(detail.get("tokenCount")) or 0
    return tokens


def _pictures(tokens: Counter[str]) -> int:
    return sum(tokens[modality] for modality in _SEEN)


def _parts_of(whole: int, *parts: int) -> tuple[int, ...]:
    """What is left of a whole, and its parts, each as far as there is room for it."""
    left, taken = whole, []
    for part in parts:
        taken.append(min(max(0, part), left))
        left -= taken[-1]
    return left, *taken


def _searches(value: JsonObject) -> int:
    """What is billed as searches: each query; up to Gemini 2.5 an answer with any; an answer from the map."""
    queries = is_mapped = 0
    for candidate in _objects(value.get("candidates")):
        grounding = candidate.get("groundingMetadata")
        if isinstance(grounding, Mapping):
            stated = grounding.get("webSearchQueries")
            queries += len(stated) if isinstance(stated, list) else 0
            is_mapped |= any("maps" in chunk for chunk in _objects(grounding.get("groundingChunks")))
    is_once = (find_model(value) or "").startswith(("gemini-1", "gemini-2"))
    return max(min(queries, 1) if is_once else queries, is_mapped)


def _objects(values: object) -> Iterator[JsonObject]:
    return (value for value in values if isinstance(value, Mapping)) if isinstance(values, list) else iter(())


def _endpoints(prefix: str) -> tuple[Endpoint, ...]:
    model = f"{prefix}/models/{{model}}"
    cap = "maxOutputTokens"
    return (
        Endpoint("generateContent", "POST", f"{model}:generateContent", cap_field=cap),
        Endpoint("streamGenerateContent", "POST", f"{model}:streamGenerateContent", cap_field=cap, streams_array=True),
        Endpoint("embedContent", "POST", f"{model}:embedContent"),
        Endpoint("batchEmbedContents", "POST", f"{model}:batchEmbedContents"),
        Endpoint("countTokens", "POST", f"{model}:countTokens", kind=EndpointKind.FREE),
        Endpoint("models", "GET", f"{prefix}/models", kind=EndpointKind.FREE),
        Endpoint("models", "GET", model, kind=EndpointKind.FREE),
    )


GEMINI = Dialect(
    name="gemini",
    endpoints=(*_endpoints(""), *_endpoints("/publishers/google")),
    key_header="x-goog-api-key",
    key_prefix="",
    read_request=read_request,
    prepare=prepare,
    usage_key=b'"usageMetadata"',
    find_usage=find_usage,
    is_final=is_final,
    read_usage=read_usage,
    find_model=find_model,
    is_error_event=is_error_event,
    versions=("v1beta", "v1", "v1alpha", "v1beta1"),
    revised_counts=frozenset(
        {"promptTokenCount", "cachedContentTokenCount", "toolUsePromptTokenCount", "totalTokenCount"}
    ),
    # Whether Google searched stands among the candidates.
    value_bytes_max=4 * 1024 * 1024,
    # A field mask (``fields``) would hide what was thought and paid for.
    query_names=frozenset({"alt", "$alt", "pageSize", "pageToken"}),
    window_max=WINDOW_TOKENS_MAX,
    # Google's own SDK for Python takes any line without ``data:`` for JSON.
    takes_comments=False,
)
