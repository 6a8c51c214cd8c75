"""Requests of OpenAI's Responses API (https://platform.openai.com/docs/api-reference/responses).

What a call may refer to at the provider (an earlier response, a conversation, a file, a prompt template) is input that
we cannot see, and so is what a tool brings in that runs there. What is answered later, or billed where we have no
price, is refused.
"""

import msgspec

from penstock.core.errors import InvalidRequest, Unbounded
from penstock.core.json_body import BodyReader, plainly_spelled
from penstock.core.provider import Asked, Endpoint
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

# Whatever has another type may run at the provider.
_CALLERS_TOOLS = ("function", "custom", "local_shell", "apply_patch")
# Billed beside the tokens of the answer: by another model, and by the container.
_UNPRICED_TOOLS = ("image_generation", "code_interpreter")
# Other endpoints' names for a cap, which some hosts take here too: a cap that we would not see.
_RIVAL_FIELDS = ("max_tokens", "max_completion_tokens", "n_predict", "num_predict", "max_new_tokens", "n")


class _Body(msgspec.Struct):
    """What we decide on."""

    model: Name | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    tools: list[Tool] | None = None
    text: object = None
    previous_response_id: object = None
    conversation: object = None
    prompt: object = None
    background: bool | None = None
    plugins: list[msgspec.Raw] | None = None
    models: Names | None = None
    fallbacks: Names | None = None
    max_tokens: object = msgspec.UNSET
    max_completion_tokens: object = msgspec.UNSET
    n_predict: object = msgspec.UNSET
    num_predict: object = msgspec.UNSET
    max_new_tokens: object = msgspec.UNSET
    n: object = msgspec.UNSET


_READER = BodyReader(_Body)


def read_request(_endpoint: Endpoint, body: bytes, named: str | None = None) -> Asked:
    """Raises InvalidJson, InvalidRequest, or Unbounded for what bills more than any cap says."""
    asked = _READER.read(body)
    _check(asked)
    model = named_model(named, asked.model)
    models = (*(asked.models or ()), *(asked.fallbacks or ()))
    runs_tools = _runs_tools(asked, (model, *models))
    is_stored = any(value is not None for value in (asked.previous_response_id, asked.conversation, asked.prompt))
    text = plainly_spelled(body)
    return Asked(
        model=model,
        is_stream=bool(asked.stream),
        output_tokens=at_least_1("max_output_tokens", asked.max_output_tokens),
        has_tools=bool(asked.tools) or asked.prompt is not None,
        is_structured=asked.text is not None,
        has_hidden_input=runs_tools or is_stored or refers_elsewhere(text),
        tool_uses=max(SEARCHES_MAX, asked.max_tool_calls or 0) if runs_tools else 0,
        media_tokens=media_tokens(text),
        wants_usage=True,
        models=models,
    )


def _check(asked: _Body) -> None:
    for name in _RIVAL_FIELDS:
        if getattr(asked, name) is not msgspec.UNSET:
            raise InvalidRequest(f"{name}: say max_output_tokens instead.", param=name)
    if asked.background:
        raise InvalidRequest("background: an answer that is fetched later cannot be metered.", param="background")
    for tool in asked.tools or ():
        if tool.type in _UNPRICED_TOOLS:
            raise Unbounded(
                f"{tool.type}: billed beside the tokens of the answer, which nothing bounds.", param="tools"
            )
    at_least_1("max_tool_calls", asked.max_tool_calls)


def _runs_tools(asked: _Body, models: tuple[str, ...]) -> bool:
    """Whether the provider itself may search or compute; a prompt template may bring tools of its own."""
    is_online = any(name.endswith(":online") for name in models)  # OpenRouter's other word for it
    has_tools = any(tool.type not in _CALLERS_TOOLS for tool in asked.tools or ())
    return has_tools or is_online or bool(asked.plugins) or asked.prompt is not None
