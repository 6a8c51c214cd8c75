"""Requests of OpenAI's chat completions and legacy completions (https://platform.openai.com/docs/api-reference/chat)."""

import msgspec

from penstock.core.errors import InvalidRequest, Unbounded
from penstock.core.json_body import BodyReader, edit_object, fields_of, plainly_spelled
from penstock.core.provider import Asked, Changes, Endpoint
from penstock.providers.request_fields import (
    SEARCHES_MAX,
    Name,
    Names,
    Tool,
    at_least_1,
    media_tokens,
    named_model,
    refers_elsewhere,
)

_CAP_FIELDS = ("max_completion_tokens", "max_tokens")
# What llama.cpp and its like put before max_tokens and n: a cap that we would not see.
_RIVAL_FIELDS = ("n_predict", "n_cmpl", "num_predict", "max_new_tokens", "auto_max_new_tokens")
_CALLERS_TOOLS = (None, "function", "custom")


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    """What we decide on of a chat or legacy completion."""

    model: Name | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    tools: list[Tool] | None = None
    functions: list[msgspec.Raw] | None = None
    response_format: object = None
    prediction: object = None
    web_search_options: object = None
    search_parameters: object = None
    plugins: list[msgspec.Raw] | None = None
    models: Names | None = None
    fallbacks: Names | None = None
    prompt: object = None
    n_predict: object = msgspec.UNSET
    n_cmpl: object = msgspec.UNSET
    num_predict: object = msgspec.UNSET
    max_new_tokens: object = msgspec.UNSET
    auto_max_new_tokens: object = msgspec.UNSET


_READER = BodyReader(_Body)


def read_request(endpoint: Endpoint, body: bytes, named: str | None = None) -> Asked:
    """Raises InvalidJson, InvalidRequest, or Unbounded for what bills more than any cap says."""
    asked = _READER.read(body)
    for name in _RIVAL_FIELDS:
        if getattr(asked, name) is not msgspec.UNSET:
            raise InvalidRequest(f"{name}: say max_tokens and n instead.", param=name)
    if asked.prediction is not None:
        raise Unbounded("prediction: what is predicted in vain is billed as output beyond the cap.", param="prediction")
    choices = max(at_least_1("n", asked.n) or 1, at_least_1("best_of", asked.best_of) or 1)
    if endpoint.name == "completions":
        choices *= _prompts(asked.prompt)
    models = (*(asked.models or ()), *(asked.fallbacks or ()))
    model = named_model(named, asked.model)
    runs_tools = _runs_tools(asked, (model, *models))
    text = plainly_spelled(body)
    return Asked(
        model=model,
        is_stream=bool(asked.stream),
        output_tokens=_own_cap(endpoint, asked),
        choices=choices,
        has_tools=bool(asked.tools or asked.functions),
        is_structured=asked.response_format is not None,
        has_hidden_input=runs_tools or refers_elsewhere(text),
        tool_uses=SEARCHES_MAX if runs_tools else 0,
        media_tokens=media_tokens(text),
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


def _own_cap(endpoint: Endpoint, asked: _Body) -> int | None:
    """The caller's own cap; either of chat's two counts."""
    if endpoint.name == "completions" and asked.max_completion_tokens is not None:
        # OpenAI knows no such field there; llama.cpp lets it outbid max_tokens.
        raise InvalidRequest("max_completion_tokens: say max_tokens instead.", param="max_completion_tokens")
    caps = {cap for cap in (asked.max_tokens, asked.max_completion_tokens) if cap is not None}
    if len(caps) > 1:
        raise InvalidRequest("max_tokens and max_completion_tokens differ; send one of them.", param="max_tokens")
    return at_least_1("max_tokens", caps.pop()) if caps else None


def _prompts(prompt: object) -> int:
    # Each of several prompts is answered on its own; a list of token numbers is one prompt.
    is_several = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    return len(prompt) if is_several and isinstance(prompt, list) else 1


def _runs_tools(asked: _Body, models: tuple[str, ...]) -> bool:
    """Whether the provider itself may search or compute for this answer: for a fee, and with input of its own."""
    searches = asked.web_search_options is not None or asked.search_parameters is not None or bool(asked.plugins)
    is_online = any(name.endswith(":online") for name in models)  # OpenRouter's other word for it
    return searches or is_online or any(tool.type not in _CALLERS_TOOLS for tool in asked.tools or ())
