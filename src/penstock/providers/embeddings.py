"""Requests of OpenAI's embeddings and moderations, which read and write no text: nothing but input is paid for.

https://platform.openai.com/docs/api-reference/embeddings and .../moderations; an answer in floats or in base64 says
the same about its cost.
"""

import msgspec

from penstock.core.json_body import BodyReader, plainly_spelled
from penstock.core.provider import Asked, Endpoint
from penstock.providers.request_fields import Name, Names, media_tokens, named_model, refers_elsewhere

_MODERATION_DEFAULT = "omni-moderation-latest"


class _Body(msgspec.Struct):
    """What we decide on."""

    model: Name | None = None
    models: Names | None = None
    fallbacks: Names | None = None


_READER = BodyReader(_Body)


def read_request(endpoint: Endpoint, body: bytes, named: str | None = None) -> Asked:
    """Raises InvalidJson or InvalidRequest."""
    asked = _READER.read(body)
    stated = asked.model or (_MODERATION_DEFAULT if endpoint.name == "moderations" else None)
    text = plainly_spelled(body)
    return Asked(
        model=named_model(named, stated),
        output_tokens=0,
        has_hidden_input=refers_elsewhere(text),
        media_tokens=media_tokens(text),
        wants_usage=True,
        models=(*(asked.models or ()), *(asked.fallbacks or ())),
    )
