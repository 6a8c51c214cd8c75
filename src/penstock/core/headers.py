"""Which headers pass, both ways: allow-lists, because a header that nobody thought of must not carry a secret.

Up: never the caller's credential, nothing about our own site, nothing that picks another account at the provider.
Down: never a cookie, a policy for our origin, or the operator's account (reliability.md 4.13).
"""

import fnmatch
from collections.abc import Iterable, Sequence

Header = tuple[bytes, bytes]

CREDENTIAL_HEADERS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie"})
VIA = b"1.1 penstock"

_UP = {
    b"accept": "content negotiation is between the two ends",
    b"content-type": "multipart boundaries stand here",
    b"user-agent": "providers adapt to SDKs",
    b"anthropic-version": "selects the wire format",
    b"openai-beta": "selects features of an endpoint",
    b"idempotency-key": "the provider's own protection against a repeated call",
    b"x-client-request-id": "the caller's id for the provider's support",
    b"traceparent": "W3C trace context goes on",
    b"tracestate": "W3C trace context goes on",
    b"http-referer": "names the app at OpenRouter",
    b"x-title": "names the app at OpenRouter",
}
_UP_PREFIXES = (b"x-stainless-",)  # The SDKs describe themselves here; providers read it for support.

# A beta can change what a call costs, or store things in the shared account; these do neither.
_ANTHROPIC_BETAS = (
    "adaptive-thinking-*", "advanced-tool-use-*", "claude-code-*", "computer-use-*", "context-1m-*",
    "context-management-*", "effort-*", "extended-cache-ttl-*", "fine-grained-tool-streaming-*",
    "interleaved-thinking-*", "max-tokens-*", "output-128k-*", "pdfs-*", "prompt-caching-*", "redact-thinking-*",
    "structured-outputs-*", "token-counting-*", "token-efficient-tools-*", "tool-search-tool-*",
)  # fmt: skip

_DOWN = {
    b"content-type": "what the body is",
    b"retry-after": "SDKs wait for it",
    b"retry-after-ms": "SDKs wait for it",
    b"x-should-retry": "SDKs obey it",
    b"openai-processing-ms": "the provider's own time",
    b"openai-version": "the provider's API version",
    b"openai-model": "the model that answered",
}
UPSTREAM_REQUEST_IDS = (b"x-request-id", b"request-id", b"x-goog-request-id", b"apim-request-id")

_EXPOSED = (
    b"x-request-id, request-id, x-penstock-cost, x-penstock-basis, x-penstock-budget-remaining, "
    b"x-penstock-budget-reset, x-penstock-capped, retry-after, retry-after-ms, x-should-retry, ratelimit, "
    b"ratelimit-policy, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    b"x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "
    b"anthropic-ratelimit-requests-limit, anthropic-ratelimit-requests-remaining, anthropic-ratelimit-requests-reset, "
    b"anthropic-ratelimit-tokens-limit, anthropic-ratelimit-tokens-remaining, anthropic-ratelimit-tokens-reset"
)
CORS: tuple[Header, ...] = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", _EXPOSED),
)


def request_headers(inbound: Iterable[Header], key_header: str, key_value: str | None) -> list[Header]:
    """The headers of the request to the provider, with the provider's own key as the only credential."""
    headers: list[Header] = []
    for name, value in inbound:
        # Some SDKs send two user agents, and some servers refuse that: the first one says enough.
        if name == b"user-agent" and any(sent == name for sent, _ in headers):
            continue
        if name in _UP or name.startswith(_UP_PREFIXES):
            headers.append((name, value))
        elif name == b"anthropic-beta" and (betas := _allowed_betas(value)):
            headers.append((name, betas))
    headers.append((b"accept-encoding", b"identity"))
    headers.append((b"via", VIA))
    if key_value is not None:
        headers.append((key_header.encode(), key_value.encode()))
    return headers


def answer_headers(upstream: Iterable[Header]) -> list[Header]:
    """The headers of a provider's answer that the caller may see."""
    return [(name, value) for name, value in upstream if name in _DOWN]


def find_header(headers: Iterable[Header], *names: bytes) -> str | None:
    """The first value of the first of these lower-case names that is there."""
    for wanted in names:
        for name, value in headers:
            if name == wanted:
                return value.decode("latin-1")
    return None


def is_loop(headers: Iterable[Header]) -> bool:
    """Whether this request has already passed through a penstock."""
    return any(name == b"via" and b"penstock" in value.lower() for name, value in headers)


def preflight_headers(inbound: Sequence[Header]) -> list[Header]:
    """The answer to a CORS preflight: any origin, any method, the very headers that were asked for.

    ``*`` would not cover Authorization, hence the echo. No cookies are ever allowed (reliability.md S14).
    """
    asked = find_header(inbound, b"access-control-request-headers") or "authorization, content-type"
    return [
        *CORS,
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        (b"access-control-allow-headers", asked.encode("latin-1")),
        (b"access-control-max-age", b"86400"),
        (b"vary", b"access-control-request-headers"),
    ]


def _allowed_betas(value: bytes) -> bytes:
    names = (name.strip() for name in value.decode("latin-1").split(","))
    return ",".join(n for n in names if any(fnmatch.fnmatchcase(n, p) for p in _ANTHROPIC_BETAS)).encode("latin-1")
