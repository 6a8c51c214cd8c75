"""Every way in which a call can be refused or fail, with the HTTP status and the code that the caller sees.

    GatewayError
    ├── BadRequest 400                 framing
    │   ├── InvalidJson                a body that does not parse, is too deep, or repeats a field we decide on
    │   ├── InvalidRequest             a body that parses and cannot be served
    │   ├── ModelUnpriced              no price, no call
    │   └── Unbounded                  this body has no worst case
    ├── Unauthenticated 401
    ├── Forbidden 403                  ModelNotAllowed, EndpointNotAllowed, OriginNotAllowed, AddressNotAllowed,
    │                                  PlainHttpRefused
    ├── NotFound 404                   UnknownRoute, ModelNotFound
    ├── MethodNotAllowed 405, RequestTimeout 408, BodyTooLarge 413, UnsupportedMediaType 415, ExpectationFailed 417,
    │   HeadersTooLarge 431, NotImplementedHere 501, LoopDetected 508
    ├── LimitExceeded 429              BudgetExceeded (do not retry), BudgetHeld (retry in a second), RateLimited
    ├── Unavailable 503                StoreUnavailable, ShuttingDown, Overloaded
    └── UpstreamError 502              UpstreamUnreachable, UpstreamAuth, UpstreamBadResponse, UpstreamRedirect,
                                       UpstreamQuota 503, UpstreamTimeout 504

Messages are for the caller and hold no secret. Codes are those of money.md, "What the caller sees".
"""

from collections.abc import Mapping
from typing import ClassVar


class GatewayError(Exception):
    """A refusal or failure. ``details`` are JSON values that stand beside the message in the body.

    ``retry_after_s`` becomes ``Retry-After``; ``should_retry`` becomes ``x-should-retry``, which the SDKs obey.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    should_retry: ClassVar[bool | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.details = dict(details or {})


class BadRequest(GatewayError):
    status, code = 400, "bad_request"


class InvalidJson(BadRequest):
    code = "invalid_json"


class InvalidRequest(BadRequest):
    code = "invalid_request"


class ModelUnpriced(BadRequest):
    code = "model_unpriced"


class Unbounded(BadRequest):
    code = "unbounded"


class Unauthenticated(GatewayError):
    """One message for every reason a key is bad, so that nobody learns which keys exist."""

    status, code = 401, "invalid_api_key"

    def __init__(self, message: str = "Missing or invalid API key.") -> None:
        super().__init__(message)


class Forbidden(GatewayError):
    status, code = 403, "forbidden"


class ModelNotAllowed(Forbidden):
    code = "model_not_allowed"


class EndpointNotAllowed(Forbidden):
    code = "endpoint_not_allowed"


class OriginNotAllowed(Forbidden):
    code = "origin_not_allowed"


class AddressNotAllowed(Forbidden):
    code = "address_not_allowed"


class PlainHttpRefused(Forbidden):
    code = "plain_http_refused"


class NotFound(GatewayError):
    status, code = 404, "not_found"


class UnknownRoute(NotFound):
    code = "unknown_route"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(GatewayError):
    status, code = 405, "method_not_allowed"


class RequestTimeout(GatewayError):
    status, code = 408, "request_timeout"


class BodyTooLarge(GatewayError):
    status, code = 413, "body_too_large"


class UnsupportedMediaType(GatewayError):
    status, code = 415, "unsupported_media_type"


class ExpectationFailed(GatewayError):
    status, code = 417, "expectation_failed"


class HeadersTooLarge(GatewayError):
    status, code = 431, "headers_too_large"


class NotImplementedHere(GatewayError):
    status, code = 501, "not_implemented"


class LoopDetected(GatewayError):
    status, code = 508, "loop_detected"


class LimitExceeded(GatewayError):
    status = 429


class BudgetExceeded(LimitExceeded):
    """It can never fit into this window: a retry would only be refused again."""

    code, should_retry = "budget_exceeded", False


class BudgetHeld(LimitExceeded):
    """It fits, but calls in flight hold the money: worth a retry."""

    code, should_retry = "budget_held", True


class RateLimited(LimitExceeded):
    code, should_retry = "rate_limited", True


class Unavailable(GatewayError):
    status, should_retry = 503, True


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class ShuttingDown(Unavailable):
    code = "shutting_down"


class Overloaded(Unavailable):
    code = "overloaded"


class UpstreamError(GatewayError):
    """Something went wrong behind us. Whether the call must be paid for is settlement's question, not the status's."""

    status = 502


class UpstreamUnreachable(UpstreamError):
    code = "upstream_unreachable"


class UpstreamAuth(UpstreamError):
    code, should_retry = "upstream_auth", False


class UpstreamBadResponse(UpstreamError):
    code, should_retry = "upstream_bad_response", False


class UpstreamRedirect(UpstreamError):
    code, should_retry = "upstream_redirect", False


class UpstreamQuota(UpstreamError):
    status, code, should_retry = 503, "upstream_quota", False


class UpstreamTimeout(UpstreamError):
    status, code, should_retry = 504, "upstream_timeout", False
