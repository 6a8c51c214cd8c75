import json
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.core import errors
from penstock.core.error_bodies import error_event, error_response
from penstock.core.errors import BudgetExceeded, BudgetHeld, GatewayError, RateLimited, Unauthenticated

# money.md, "What the caller sees", row by row.
STATUS_BY_CODE = {
    "invalid_api_key": 401,
    "model_not_allowed": 403,
    "endpoint_not_allowed": 403,
    "origin_not_allowed": 403,
    "address_not_allowed": 403,
    "unknown_route": 404,
    "model_not_found": 404,
    "model_unpriced": 400,
    "unbounded": 400,
    "invalid_json": 400,
    "invalid_request": 400,
    "budget_exceeded": 429,
    "budget_held": 429,
    "rate_limited": 429,
    "store_unavailable": 503,
    "shutting_down": 503,
    "overloaded": 503,
    "upstream_unreachable": 502,
    "upstream_auth": 502,
    "upstream_bad_response": 502,
    "upstream_redirect": 502,
    "upstream_quota": 503,
    "upstream_timeout": 504,
    "bad_request": 400,
    "plain_http_refused": 403,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "expectation_failed": 417,
    "headers_too_large": 431,
    "not_implemented": 501,
    "loop_detected": 508,
}
# clients.md 5: Anthropic's types by status; the others are what its SDK would call them.
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    417: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    500: "api_error",
    501: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "api_error",
    508: "api_error",
}
GEMINI_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def kinds(base: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


ERRORS = {kind.code: Unauthenticated() if kind is Unauthenticated else kind("No.") for kind in kinds()}


def body_of(error: GatewayError, dialect: str) -> Any:
    return json.loads(error_response(error, dialect, "req-1")[2])


@pytest.mark.parametrize(("code", "status"), STATUS_BY_CODE.items())
@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini"])
def test_every_refusal_has_its_status_and_code_in_each_dialect(code: str, status: int, dialect: str) -> None:
    error = ERRORS[code]
    assert error_response(error, dialect, "req-1")[0] == status
    inner = body_of(error, dialect)["error"]
    assert (inner["details"][0]["reason"] if dialect == "gemini" else inner["code"]) == code


def test_no_error_is_left_out_of_the_table() -> None:
    # These are never raised themselves: they hold what their kinds have in common.
    assert ERRORS.keys() - STATUS_BY_CODE == {"forbidden", "not_found", "internal_error"}


def test_openais_words() -> None:
    error = errors.InvalidRequest("n: too many.", param="n", details={"most": 4})
    assert body_of(error, "openai") == {
        "error": {
            "message": "n: too many.",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_request",
            "request_id": "req-1",
            "most": 4,
        }
    }


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("budget_exceeded", "insufficient_quota"),
        ("budget_held", "insufficient_quota"),
        ("rate_limited", "rate_limit_error"),
        ("invalid_api_key", "invalid_request_error"),
        ("upstream_timeout", "api_error"),
        ("overloaded", "api_error"),
    ],
)
def test_openais_types(code: str, kind: str) -> None:
    assert body_of(ERRORS[code], "openai")["error"]["type"] == kind


def test_a_dialect_that_nobody_knows_speaks_openais() -> None:
    assert body_of(ERRORS["overloaded"], "none") == body_of(ERRORS["overloaded"], "openai")


def test_anthropics_words() -> None:
    error = RateLimited("Too fast.", details={"limit": "1 requests / day"})
    assert body_of(error, "anthropic") == {
        "type": "error",
        "error": {
            "type": "rate_limit_error",
            "message": "Too fast.",
            "code": "rate_limited",
            "limit": "1 requests / day",
        },
        "request_id": "req-1",
    }


@pytest.mark.parametrize("error", [*ERRORS.values(), GatewayError("Oh.")])
def test_anthropics_types_follow_the_status(error: GatewayError) -> None:
    assert body_of(error, "anthropic")["error"]["type"] == ANTHROPIC_TYPES[error.status]


def test_geminis_words() -> None:
    assert body_of(RateLimited("Too fast.", details={"cap": 1}), "gemini") == {
        "error": {
            "code": 429,
            "message": "Too fast.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "rate_limited",
                    "domain": "penstock",
                    "metadata": {"request_id": "req-1"},
                    "cap": 1,
                }
            ],
        }
    }


@pytest.mark.parametrize("error", [e for e in (*ERRORS.values(), GatewayError("Oh.")) if e.status in GEMINI_STATUSES])
def test_geminis_statuses_follow_the_status(error: GatewayError) -> None:
    assert body_of(error, "gemini")["error"]["status"] == GEMINI_STATUSES[error.status]


@pytest.mark.parametrize(
    ("error", "dialect", "further"),
    [
        (ERRORS["bad_request"], "openai", []),
        (ERRORS["bad_request"], "anthropic", [(b"request-id", b"req-1")]),
        (Unauthenticated(), "openai", [(b"www-authenticate", b"Bearer")]),
        (BudgetExceeded("", retry_after_s=3600), "openai", [(b"retry-after", b"3600"), (b"x-should-retry", b"false")]),
        (BudgetHeld("", retry_after_s=1), "openai", [(b"retry-after", b"1"), (b"x-should-retry", b"true")]),
        (RateLimited("", retry_after_s=0), "openai", [(b"retry-after", b"0"), (b"x-should-retry", b"true")]),
        (RateLimited(""), "gemini", [(b"x-should-retry", b"true")]),
    ],
)
def test_headers_tell_sdks_whether_to_come_back(
    error: GatewayError, dialect: str, further: list[tuple[bytes, bytes]]
) -> None:
    _, headers, _ = error_response(error, dialect, "req-1")
    assert headers == [(b"content-type", b"application/json"), (b"x-request-id", b"req-1"), *further]


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini"])
def test_behind_the_first_byte_an_error_is_an_event_of_its_own(dialect: str) -> None:
    error = ERRORS["shutting_down"]
    event = error_event(error, dialect, "req-1")
    # Google's own SDK cannot read the name of an event.
    name = b"" if dialect == "gemini" else b"event: error\n"
    assert event == name + b"data: " + error_response(error, dialect, "req-1")[2] + b"\n\n"
    assert event.count(b"\n") == name.count(b"\n") + 2


def test_one_message_for_every_bad_credential() -> None:
    assert Unauthenticated().message == "Missing or invalid API key."
