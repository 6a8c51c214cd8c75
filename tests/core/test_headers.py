import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.headers import (
    CORS,
    CREDENTIAL_HEADERS,
    Header,
    answer_headers,
    find_header,
    is_loop,
    preflight_headers,
    request_headers,
)

KEY = "sk-pen-k0123456789"
PROVIDER_KEY = "Bearer sk-provider"
ADDED = [(b"accept-encoding", b"identity"), (b"via", b"1.1 penstock"), (b"authorization", PROVIDER_KEY.encode())]

PASS_UP = [
    b"accept", b"content-type", b"user-agent", b"anthropic-version", b"openai-beta", b"idempotency-key",
    b"x-client-request-id", b"traceparent", b"tracestate", b"http-referer", b"x-title", b"x-stainless-lang",
    b"x-stainless-retry-count",
]  # fmt: skip
NEVER_UP = [
    b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie", b"proxy-authorization", b"host",
    b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"content-length", b"expect",
    b"accept-encoding", b"via", b"origin", b"referer", b"x-forwarded-for", b"x-forwarded-host", b"forwarded",
    b"x-real-ip", b"openai-organization", b"openai-project", b"x-goog-user-project", b"x-host-final", b"x-stainless",
    b"session_id", b"set-cookie", b"x-penstock-cost", b"anthropic-dangerous-direct-browser-access",
]  # fmt: skip
PASS_DOWN = [
    b"content-type", b"retry-after", b"retry-after-ms", b"x-should-retry", b"openai-processing-ms", b"openai-version",
    b"openai-model",
]  # fmt: skip
NEVER_DOWN = [
    b"set-cookie", b"strict-transport-security", b"content-security-policy", b"access-control-allow-origin",
    b"access-control-allow-credentials", b"server", b"openai-organization", b"openai-project", b"alt-svc", b"location",
    b"content-length", b"content-encoding", b"transfer-encoding", b"connection", b"keep-alive", b"trailer", b"upgrade",
    b"x-request-id", b"request-id", b"x-ratelimit-remaining-requests", b"anthropic-ratelimit-tokens-remaining",
    b"anthropic-organization-id", b"cf-ray", b"via", b"date", b"www-authenticate", b"x-penstock-cost",
]  # fmt: skip


@pytest.mark.parametrize("name", PASS_UP)
def test_what_a_provider_may_know_passes_up_as_it_came(name: bytes) -> None:
    assert request_headers([(name, b"A b,c")], "authorization", PROVIDER_KEY) == [(name, b"A b,c"), *ADDED]


@pytest.mark.parametrize("name", NEVER_UP)
def test_everything_else_stays_here(name: bytes) -> None:
    assert request_headers([(name, KEY.encode())], "authorization", PROVIDER_KEY) == ADDED


@given(st.lists(st.tuples(st.sampled_from([*PASS_UP, *NEVER_UP]), st.sampled_from([KEY.encode(), b"x"])), max_size=12))
def test_the_callers_credential_never_goes_up(headers: list[Header]) -> None:
    inbound = [(name, value if name in CREDENTIAL_HEADERS else b"harmless") for name, value in headers]
    sent = request_headers(inbound, "x-api-key", "the provider's")
    assert KEY.encode() not in b"".join(value for _, value in sent)
    assert [pair for pair in sent if pair[0] in CREDENTIAL_HEADERS] == [(b"x-api-key", b"the provider's")]


def test_a_provider_without_a_key_gets_none() -> None:
    assert request_headers([(b"authorization", KEY.encode())], "authorization", None) == ADDED[:2]


def test_of_two_user_agents_the_first_goes_up() -> None:
    # pydantic-ai's Google client sends two, and some servers answer 400 to that.
    agents = [(b"user-agent", b"one"), (b"accept", b"a"), (b"user-agent", b"two"), (b"accept", b"b")]
    sent = request_headers(agents, "authorization", None)
    assert sent == [(b"user-agent", b"one"), (b"accept", b"a"), (b"accept", b"b"), *ADDED[:2]]


@pytest.mark.parametrize(
    ("value", "passed"),
    [
        (b"prompt-caching-2024-07-31", b"prompt-caching-2024-07-31"),
        (b"files-api-2025-04-14", None),
        (b"fast-mode-2026-02-01,interleaved-thinking-2025-05-14", b"interleaved-thinking-2025-05-14"),
        (
            b" claude-code-20250219 , oauth-2025-04-20,context-1m-2025-08-07",
            b"claude-code-20250219,context-1m-2025-08-07",
        ),
        (b"Prompt-Caching-2024-07-31", None),
        (b"compact-2026-01-12", None),
        (b"mcp-client-2025-04-04, code-execution-2025-05-22, skills-2025-10-02", None),
        (b"x-prompt-caching-2024-07-31", None),
        (b"", None),
        (b",,", None),
        (b"\xff", None),
    ],
)
def test_only_betas_that_change_no_price_pass(value: bytes, passed: bytes | None) -> None:
    sent = request_headers([(b"anthropic-beta", value)], "x-api-key", None)
    assert sent == ([] if passed is None else [(b"anthropic-beta", passed)]) + ADDED[:2]


@pytest.mark.parametrize("name", PASS_DOWN)
def test_what_a_caller_may_know_passes_down_as_it_came(name: bytes) -> None:
    assert answer_headers([(name, b"1")]) == [(name, b"1")]


@pytest.mark.parametrize("name", NEVER_DOWN)
def test_cookies_policies_and_the_operators_account_stay_here(name: bytes) -> None:
    assert answer_headers([(name, b"1")]) == []


def test_the_first_value_of_the_first_name_is_found() -> None:
    headers = [(b"b", b"2"), (b"a", b"1"), (b"a", b"\xe9")]
    assert find_header(headers, b"a") == "1"
    assert find_header(headers, b"x", b"b") == "2"
    assert find_header(headers[2:], b"a") == "\u00e9"
    assert find_header(headers, b"x") is None


@pytest.mark.parametrize(
    ("headers", "loops"),
    [
        ([(b"via", b"1.1 penstock")], True),
        ([(b"via", b"1.0 fred, 1.1 Penstock (x)")], True),
        ([(b"via", b"1.0 fred"), (b"via", b"1.1 penstock")], True),
        ([(b"via", b"1.1 nginx")], False),
        ([(b"user-agent", b"penstock")], False),
        ([], False),
    ],
)
def test_our_own_via_is_a_loop(headers: list[Header], *, loops: bool) -> None:
    assert is_loop(headers) is loops
    assert is_loop(request_headers(headers, "authorization", None))


def test_a_preflight_allows_the_very_headers_that_it_asks_for() -> None:
    asked = (b"access-control-request-headers", b"authorization,x-anything,\xe9")
    answer = dict(preflight_headers([(b"origin", b"https://app.example"), asked]))
    assert answer == {
        b"access-control-allow-origin": b"*",
        b"access-control-allow-headers": asked[1],
        b"access-control-allow-methods": b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        b"access-control-max-age": b"86400",
        b"access-control-expose-headers": dict(CORS)[b"access-control-expose-headers"],
        b"vary": b"access-control-request-headers",
    }


def test_a_preflight_that_asks_for_nothing_may_still_send_a_token() -> None:
    assert dict(preflight_headers([]))[b"access-control-allow-headers"] == b"authorization, content-type"


def test_no_answer_ever_allows_credentials() -> None:
    assert b"access-control-allow-credentials" not in dict([*CORS, *preflight_headers([])])


def test_every_header_of_ours_can_be_read_by_a_page() -> None:
    exposed = dict(CORS)[b"access-control-expose-headers"].decode().split(", ")
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in exposed)
    assert {
        "x-request-id", "x-penstock-cost", "x-penstock-basis", "x-penstock-budget-remaining", "x-penstock-budget-reset",
        "x-penstock-capped", "retry-after", "x-should-retry", "ratelimit", "x-ratelimit-remaining-requests",
    } <= set(exposed)  # fmt: skip
