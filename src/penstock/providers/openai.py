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
_DEPLOYMENTS = "/openai/deployments/{model}"

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


def _endpoints(cap_field: str, path: str = "") -> tuple[Endpoint, ...]:
    """The calls whose model is in the body, or in ``path``."""
    return (
        Endpoint("chat.completions", "POST", f"{path}/chat/completions", cap_field=cap_field, stream_end=b"[DONE]"),
        Endpoint("completions", "POST", f"{path}/completions", stream_end=b"[DONE]"),
        Endpoint("embeddings", "POST", f"{path}/embeddings"),
    )


_OTHERS = (
    # Three kinds of event can end a stream, all of them with its usage: its statement is the end mark.
    Endpoint("responses", "POST", "/responses", cap_field="max_output_tokens"),
    Endpoint("moderations", "POST", "/moderations"),
    Endpoint("models", "GET", "/models", kind=EndpointKind.FREE),
    Endpoint("models", "GET", "/models/{model}", kind=EndpointKind.FREE),
)

COMPATIBLE = Dialect(
    name="openai",
    endpoints=(*_endpoints("max_tokens"), *_OTHERS),
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
OPENAI = replace(
    COMPATIBLE, endpoints=(*_endpoints("max_completion_tokens"), *_OTHERS), read_request=_read_openai_request
)
OPENROUTER = replace(COMPATIBLE, read_usage=read_openrouter_usage)
XAI = replace(COMPATIBLE, read_usage=read_xai_usage)
