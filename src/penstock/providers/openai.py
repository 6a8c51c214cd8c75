"""OpenAI's wire format and what its hosts do differently, as values.

All of them share the requests of chat.py, responses.py and embeddings.py and the statements of statements.py; they
differ in the field of a cap, in where the key goes, and in whether they say themselves what an answer cost.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from penstock.core.provider import Asked, Changes, Dialect, Endpoint, EndpointKind
from penstock.providers import chat, embeddings, responses
from penstock.providers.reported_cost import read_openrouter_usage, read_xai_usage
from penstock.providers.request_fields import prepare_plain
from penstock.providers.statements import find_model, find_usage, is_error_event, is_final, read_usage

_COMPLETION_DEFAULT_TOKENS = 16

_READERS: Mapping[str, Callable[[Endpoint, bytes, str | None], Asked]] = {
    "chat.completions": chat.read_request,
    "completions": chat.read_request,
    "responses": responses.read_request,
    "embeddings": embeddings.read_request,
    "moderations": embeddings.read_request,
}


def read_request(endpoint: Endpoint, body: bytes, named: str | None) -> Asked:
    """Raises InvalidJson, InvalidRequest, or Unbounded for what bills more than any cap says."""
    return _READERS[endpoint.name](endpoint, body, named)


def prepare(endpoint: Endpoint, body: bytes, asked: Asked, changes: Changes) -> bytes:
    """The body as it goes up: the very bytes that came unless something must change."""
    is_chat = endpoint.name in ("chat.completions", "completions")
    return (chat.prepare if is_chat else prepare_plain)(endpoint, body, asked, changes)


def _endpoints(cap_field: str) -> tuple[Endpoint, ...]:
    return (
        Endpoint("chat.completions", "POST", "/chat/completions", cap_field=cap_field, stream_end=b"[DONE]"),
        Endpoint("completions", "POST", "/completions", stream_end=b"[DONE]"),
        # Three kinds of event can end a stream, all of them with its usage: its statement is the end mark.
        Endpoint("responses", "POST", "/responses", cap_field="max_output_tokens"),
        Endpoint("embeddings", "POST", "/embeddings"),
        Endpoint("moderations", "POST", "/moderations"),
        Endpoint("models", "GET", "/models", kind=EndpointKind.FREE),
        Endpoint("models", "GET", "/models/{model}", kind=EndpointKind.FREE),
    )


COMPATIBLE = Dialect(
    name="openai",
    endpoints=_endpoints("max_tokens"),
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


def _read_openai_request(endpoint: Endpoint, body: bytes, named: str | None) -> Asked:
    asked = read_request(endpoint, body, named)
    if endpoint.name == "completions" and asked.output_tokens is None:
        return replace(asked, output_tokens=_COMPLETION_DEFAULT_TOKENS)
    return asked


# OpenAI's own newer models refuse max_tokens, and its legacy completions stop at 16 tokens unless told otherwise.
OPENAI = replace(COMPATIBLE, endpoints=_endpoints("max_completion_tokens"), read_request=_read_openai_request)
OPENROUTER = replace(COMPATIBLE, read_usage=read_openrouter_usage)
XAI = replace(COMPATIBLE, read_usage=read_xai_usage)

# Perplexity states its usage in every chunk and sends no [DONE]; its embeddings are not where its chat is.
PERPLEXITY = replace(
    COMPATIBLE,
    endpoints=(
        Endpoint("chat.completions", "POST", "/chat/completions", cap_field="max_tokens"),
        Endpoint("responses", "POST", "/v1/responses", cap_field="max_output_tokens"),
        Endpoint("embeddings", "POST", "/v1/embeddings"),
    ),
)


def _deployed(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, path=f"/openai/deployments/{{model}}{endpoint.path}", is_rooted=True)


_AT_AZURE = tuple(e for e in _endpoints("max_completion_tokens") if e.name != "moderations")
# Azure takes a model in the body under /openai/v1, and a deployment's name in older paths beside it.
AZURE = replace(
    COMPATIBLE,
    endpoints=(
        *_AT_AZURE,
        *(_deployed(e) for e in _AT_AZURE if e.name in ("chat.completions", "completions", "embeddings")),
        Endpoint("responses", "POST", "/openai/responses", cap_field="max_output_tokens", is_rooted=True),
        Endpoint("models", "GET", "/openai/models", kind=EndpointKind.FREE, is_rooted=True),
    ),
    key_header="api-key",
    key_prefix="",
)
