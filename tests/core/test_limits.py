import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.limits import (
    ADMIN_POLICY,
    NOTHING_POLICY,
    Limit,
    LimitUnit,
    Policy,
    match_policy,
    matches_any,
    parse_limit,
)
from penstock.core.windows import DAY, LIFETIME, OPEN, Window, WindowKind, parse_window

WINDOWS = st.sampled_from(["second", "15 minutes", "hour", "day", "7 days", "week", "month"]).map(parse_window)
COUNTED = st.sampled_from([LimitUnit.USD, LimitUnit.REQUESTS, LimitUnit.TOKENS])
LIMITS = st.builds(Limit, st.integers(0, 10**15), COUNTED, WINDOWS | st.just(LIFETIME)) | st.builds(
    Limit, st.integers(0, 10**15), st.just(LimitUnit.CONCURRENT), st.just(OPEN)
)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0.10 usd / 7 days", Limit(100_000_000, LimitUnit.USD, Window(WindowKind.DAYS, 7))),
        ("2 usd / month", Limit(2_000_000_000, LimitUnit.USD, Window(WindowKind.MONTH))),
        ("  2 USD/day ", Limit(2_000_000_000, LimitUnit.USD, DAY)),
        ("20 usd", Limit(20_000_000_000, LimitUnit.USD, LIFETIME)),
        ("0 usd", Limit(0, LimitUnit.USD, LIFETIME)),
        ("100 requests / 15 minutes", Limit(100, LimitUnit.REQUESTS, Window(WindowKind.FIXED, 900))),
        ("1 request / second", Limit(1, LimitUnit.REQUESTS, Window(WindowKind.FIXED, 1))),
        ("200000 tokens / minute", Limit(200_000, LimitUnit.TOKENS, Window(WindowKind.FIXED, 60))),
        ("1 token", Limit(1, LimitUnit.TOKENS, LIFETIME)),
        ("5 concurrent", Limit(5, LimitUnit.CONCURRENT, OPEN)),
    ],
)
def test_limits_as_admins_write_them(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a limit"),
        ("5", "not a limit"),
        ("usd", "not a limit"),
        ("5 usd day", "not a limit"),
        ("5 usd /", "not a limit"),
        ("/ day", "not a limit"),
        ("5 eur / day", "not a unit"),
        ("usd 5", "not a unit"),
        ("5 usd / day / day", "not a window"),
        ("5 usd / fortnight", "not a window"),
        ("5 concurrent / day", "no window"),
        ("-1 usd", "at least 0"),
        ("nan usd", "at least 0"),
        ("inf usd / day", "at least 0"),
        ("true requests", "not a whole number"),
        ("1.5 requests / day", "not a whole number"),
        ("-1 tokens", "not a whole number"),
        ("1e3 tokens", "not a whole number"),
        ("\u0661 requests", "not a whole number"),
        ("1000000000000001 tokens", "not a whole number"),
        ("1.5 concurrent", "not a whole number"),
        ("9223372037 usd", "too large"),
    ],
)
def test_what_is_no_limit_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_limit(text)


@pytest.mark.parametrize(
    "text", ["0.1 usd / 7 days", "20 usd", "100 requests / 15 minutes", "5 concurrent", "0 usd / month"]
)
def test_limits_are_written_as_admins_write_them(text: str) -> None:
    assert str(parse_limit(text)) == text


@given(LIMITS)
def test_what_is_written_reads_back(limit: Limit) -> None:
    assert parse_limit(str(limit)) == limit


EXACT = Policy("exact", match=("Ada@Example.com",))
DOMAIN = Policy("domain", match=("@example.com", "@other.example"))
EVERYONE = Policy("everyone", match=("*",))
LATER = Policy("later", match=("ada@example.com", "@example.com", "*"))
NAMED = Policy("named")


@pytest.mark.parametrize(
    ("email", "named", "policy"),
    [
        ("ada@example.com", None, EXACT),
        ("ADA@EXAMPLE.COM", None, EXACT),
        ("bob@Example.com", None, DOMAIN),
        ("bob@other.example", None, DOMAIN),
        ("bob@sub.example.com", None, EVERYONE),
        ("example.com", None, DOMAIN),
        ("ada@example.com", "named", NAMED),
        (None, "named", NAMED),
        ("ada@example.com", "gone", NOTHING_POLICY),
        ("ada@example.com", "admin", ADMIN_POLICY),
        (None, None, NOTHING_POLICY),
    ],
)
@pytest.mark.parametrize("order", ["as written", "reversed"])
def test_the_most_exact_match_wins_in_any_order(
    email: str | None, named: str | None, policy: Policy, order: str
) -> None:
    policies = [EVERYONE, NAMED, DOMAIN, EXACT]
    assert match_policy(email, named, policies if order == "as written" else policies[::-1]) is policy


@pytest.mark.parametrize(
    ("email", "policy"), [("ada@example.com", EXACT), ("bob@example.com", DOMAIN), ("eve@evil.example", EVERYONE)]
)
def test_the_earlier_policy_wins_a_tie(email: str, policy: Policy) -> None:
    assert match_policy(email, None, [EVERYONE, DOMAIN, EXACT, LATER]) is policy


def test_whoever_matches_nothing_may_spend_nothing() -> None:
    assert match_policy("ada@example.com", None, [DOMAIN_ELSEWHERE]) is NOTHING_POLICY
    assert NOTHING_POLICY.limits == (parse_limit("0 usd"),)


DOMAIN_ELSEWHERE = Policy("elsewhere", match=("@elsewhere.example",))


@pytest.mark.parametrize(
    ("text", "pattern", "is_match"),
    [
        ("openai/gpt-4.1-nano", "*", True),
        ("openai/gpt-4.1-nano", "openai/*", True),
        ("openrouter/meta/llama", "openrouter/*", True),
        ("OpenAI/GPT-4.1-nano", "openai/gpt-4.1-NANO", True),
        ("openai/gpt-4.1-nano-2", "openai/gpt-4.1-nano", False),
        ("xopenai/gpt-4.1-nano", "openai/*", False),
        ("openai/gpt-4x1-nano", "openai/gpt-4.1-nano", False),
        ("openai/gpt-4.1-nano\nx", "openai/gpt-4.1-nano", False),
        ("openai/gpt-4o", "openai/gpt-4?", True),
        ("openai/gpt-4o", "openai/gpt-[45]o", True),
        ("openai/gpt-4o", "", False),
    ],
)
def test_globs(text: str, pattern: str, *, is_match: bool) -> None:
    assert matches_any(text, [pattern]) is is_match
    assert matches_any(text, ["nothing", pattern]) is is_match


def test_no_pattern_allows_nothing() -> None:
    assert not matches_any("openai", [])


@pytest.mark.parametrize(
    ("provider", "model", "is_allowed"),
    [
        ("openai", "gpt-4.1-nano", True),
        ("openai", "o1-pro", False),
        ("openrouter", "openai/gpt-4.1-nano", False),
        ("gemini", "gemini-2.5-flash-lite", False),
    ],
)
def test_a_model_must_be_allowed_and_so_must_its_provider(provider: str, model: str, *, is_allowed: bool) -> None:
    policy = Policy("p", providers=("openai", "openrouter"), models=("openai/gpt-4.1-nano", "gemini/*"))
    assert policy.allows_model(provider, model) is is_allowed


def test_endpoints_are_allowed_by_name() -> None:
    policy = Policy("p", endpoints=("chat.*", "models"))
    assert [policy.allows_endpoint(name) for name in ("chat.completions", "models", "completions")] == [
        True,
        True,
        False,
    ]


def test_a_policy_that_says_only_its_name_allows_everything_and_caps_at_4096() -> None:
    assert Policy("p") == Policy(
        "p",
        match=(),
        limits=(),
        providers=("*",),
        endpoints=("*",),
        models=("*",),
        output_cap=4096,
        lower_caps=False,
        unbounded="hold",
        cost_comment=True,
    )
