"""An error in the words of the caller's dialect, so that a stock SDK raises its own exception with our message.

The code of money.md stands in each of them: OpenAI ``error.code``, Anthropic ``error.code``, Gemini ``details.reason``
(clients.md 5). A dialect that nobody knows speaks OpenAI's.
"""

from collections.abc import Callable

import msgspec

from penstock.core.errors import GatewayError
from penstock.core.headers import Header

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    502: "api_error",
    503: "overloaded_error",
    504: "api_error",
}
_GEMINI_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_OPENAI_TYPES = {"budget_exceeded": "insufficient_quota", "budget_held": "insufficient_quota"}


def error_response(error: GatewayError, dialect: str, request_id: str) -> tuple[int, list[Header], bytes]:
    """Status, headers and JSON body of a refusal or failure."""
    headers: list[Header] = [(b"content-type", b"application/json"), (b"x-request-id", request_id.encode())]
    if dialect == "anthropic":
        headers.append((b"request-id", request_id.encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    return error.status, headers, _body(error, dialect, request_id)


def error_event(error: GatewayError, dialect: str, request_id: str) -> bytes:
    """The error as a server-sent event, for an answer that has already begun; the stream's terminator never follows."""
    # Google's own SDK for Python cannot read the name of an event.
    name = b"" if dialect == "gemini" else b"event: error\n"
    return name + b"data: " + _body(error, dialect, request_id) + b"\n\n"


def _body(error: GatewayError, dialect: str, request_id: str) -> bytes:
    return msgspec.json.encode(_SHAPES.get(dialect, _openai)(error, request_id))


def _openai(error: GatewayError, request_id: str) -> object:
    kind = "rate_limit_error" if error.status == 429 else "invalid_request_error"
    return {
        "error": {
            "message": error.message,
            "type": _OPENAI_TYPES.get(error.code, kind if error.status < 500 else "api_error"),
            "param": error.param,
            "code": error.code,
            "request_id": request_id,
            **error.details,
        }
    }


def _anthropic(error: GatewayError, request_id: str) -> object:
    kind = _ANTHROPIC_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    body = {"type": kind, "message": error.message, "code": error.code, **error.details}
    return {"type": "error", "error": body, "request_id": request_id}


def _gemini(error: GatewayError, request_id: str) -> object:
    detail = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": error.code,
        "domain": "penstock",
        "metadata": {"request_id": request_id},
        **error.details,
    }
    status = _GEMINI_STATUSES.get(error.status, "INVALID_ARGUMENT" if error.status < 500 else "INTERNAL")
    return {"error": {"code": error.status, "message": error.message, "status": status, "details": [detail]}}


_SHAPES: dict[str, Callable[[GatewayError, str], object]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
}
