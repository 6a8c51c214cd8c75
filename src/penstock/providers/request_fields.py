"""What the bodies of OpenAI-style endpoints have in common: names, caps, media, and what they refer to elsewhere."""

import re
from typing import Annotated

import msgspec

from penstock.core.errors import InvalidRequest
from penstock.core.json_body import edit_object
from penstock.core.provider import MODEL_NAME_MAX, Asked, Changes, Endpoint
from penstock.core.usage import COUNT_MAX

# The dearest inline image that is documented: gpt-4o-mini at high detail, 2,833 + 5,667 for each of 8 tiles.
IMAGE_TOKENS_MAX = 48_169
# Nothing states how often a model may search for one answer; more than this has not been seen.
SEARCHES_MAX = 20
# More models than this to fall back on are no fallback but a flood of look-ups.
_FALLBACKS_MAX = 16
_IMAGE = re.compile(rb'"image_url"\s*:')
_REMOTE_URL = re.compile(rb'"(?:image_)?url"\s*:\s*"(?!data:)')
_STORED_INPUT = (
    b'"file"', b'"file_id"', b'"file_data"', b'"file_url"', b'"video_url"', b'"audio_url"', b'"data_sources"',
    b'"item_reference"',
)  # fmt: skip

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_NAME_MAX)]
Names = Annotated[list[Name], msgspec.Meta(max_length=_FALLBACKS_MAX)]


class Tool(msgspec.Struct):
    type: str | None = None


def named_model(named: str | None, stated: str | None) -> str:
    """The model of the path, which overrules that of the body. Raises InvalidRequest where neither names one."""
    model = named or stated
    if model is None:
        raise InvalidRequest("model: required.", param="model")
    return model


def at_least_1(name: str, value: int | None) -> int | None:
    """The value, if there is one. Raises InvalidRequest: some hosts take 0 for no cap at all."""
    if value is not None and not 1 <= value <= COUNT_MAX:
        raise InvalidRequest(f"{name}: must be between 1 and {COUNT_MAX}.", param=name)
    return value


def media_tokens(text: bytes) -> int:
    """What the inline images of a body can come to, which may be more than their bytes."""
    return IMAGE_TOKENS_MAX * len(_IMAGE.findall(text))


def refers_elsewhere(text: bytes) -> bool:
    """Whether something is meant to be read that does not stand in the body."""
    if any(key in text for key in _STORED_INPUT):
        return True
    return b'"image_url"' in text and _REMOTE_URL.search(text) is not None


def prepare_plain(endpoint: Endpoint, body: bytes, _asked: Asked, changes: Changes) -> bytes:
    """The body as it goes up where the endpoint has one field for a cap, or none."""
    edits: dict[str, object] = {}
    if changes.model is not None:
        edits["model"] = changes.model
    if changes.output_cap is not None and endpoint.cap_field is not None:
        edits[endpoint.cap_field] = changes.output_cap
    return edit_object(body, edits)
