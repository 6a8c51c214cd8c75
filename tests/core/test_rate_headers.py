from datetime import UTC, datetime

import pytest

from penstock.core.call import Hold
from penstock.core.limits import Amounts, Standing, parse_limit
from penstock.core.rate_headers import duration, rate_headers

NOON = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1000)
MINUTE = f"60s{NOON // 60_000}"


def standing(text: str, period: str, settled: int, held: int) -> Standing:
    return Standing("person:1", parse_limit(text), {period: (settled, held)})


def hold(*standings: Standing, at_ms: int = NOON) -> Hold:
    return Hold("h", Amounts(usd=5, requests=1, tokens=300), None, standings, at_ms)


REQUESTS = standing("10 requests / minute", MINUTE, 2, 3)
TOKENS = standing("5000 tokens / 7 days", "2026-11-20", 1000, 0)


def test_openai_s_names_carry_what_is_left_after_this_call() -> None:
    assert dict(rate_headers(hold(REQUESTS, TOKENS, at_ms=NOON + 20_000), "openai")) == {
        b"x-ratelimit-limit-requests": b"10",
        b"x-ratelimit-remaining-requests": b"4",
        b"x-ratelimit-reset-requests": b"40s",
        b"x-ratelimit-limit-tokens": b"5000",
        b"x-ratelimit-remaining-tokens": b"3700",
        b"x-ratelimit-reset-tokens": b"131h59m40s",
        b"ratelimit-policy": b'"requests";q=10;w=60, "tokens";q=5000;w=604800',
        b"ratelimit": b'"requests";r=4;t=40, "tokens";r=3700;t=475180',
    }


def test_anthropic_s_names_stand_on_its_routes() -> None:
    assert dict(rate_headers(hold(REQUESTS), "anthropic")) == {
        b"anthropic-ratelimit-requests-limit": b"10",
        b"anthropic-ratelimit-requests-remaining": b"4",
        b"anthropic-ratelimit-requests-reset": b"2026-11-21T12:01:00Z",
        b"ratelimit-policy": b'"requests";q=10;w=60',
        b"ratelimit": b'"requests";r=4;t=60',
    }


def test_of_several_limits_in_one_unit_the_one_with_least_left_is_told() -> None:
    day = standing("1000 requests / day", "2026-11-21", 997, 0)
    assert dict(rate_headers(hold(REQUESTS, day), "openai"))[b"x-ratelimit-limit-requests"] == b"1000"


def test_a_limit_that_time_does_not_free_has_no_reset() -> None:
    lifetime = standing("10 requests", "all", 10, 0)
    told = dict(rate_headers(hold(lifetime), "openai"))
    assert told[b"x-ratelimit-remaining-requests"] == b"0"
    assert b"x-ratelimit-reset-requests" not in told
    assert told[b"ratelimit"] == b'"requests";r=0'
    assert told[b"ratelimit-policy"] == b'"requests";q=10'
    assert b"anthropic-ratelimit-requests-reset" not in dict(rate_headers(hold(lifetime), "anthropic"))


def test_a_month_has_no_fixed_length() -> None:
    month = standing("10 requests / month", "2026-11-03", 1, 0)
    assert dict(rate_headers(hold(month), "openai"))[b"ratelimit-policy"] == b'"requests";q=10'


def test_dollars_and_calls_in_flight_are_no_rates() -> None:
    others = (standing("1 usd / day", "2026-11-21", 0, 0), standing("5 concurrent", "open", 0, 1))
    assert rate_headers(hold(*others), "openai") == []


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0ms"), (6, "6ms"), (999, "999ms"), (1000, "1s"), (1001, "2s"), (360_000, "6m0s"), (3_661_000, "1h1m1s")],
)
def test_a_duration_is_written_as_openai_writes_it(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text
