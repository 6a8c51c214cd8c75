from datetime import UTC, datetime

from penstock.core.errors import BudgetExceeded, BudgetHeld, LimitExceeded, RateLimited
from penstock.core.limits import Refused, Standing, WorstCase, decide, parse_limit
from penstock.core.money import parse_usd
from penstock.core.refusals import refusal

NOW = int(datetime(2026, 11, 21, 12, 0, 0, 500_000, tzinfo=UTC).timestamp() * 1000)


def refused(text: str, settled: int, held: int, worst: WorstCase) -> LimitExceeded:
    limit = parse_limit(text)
    standing = Standing("person:1", limit, {limit.window.period(NOW): (settled, held)})
    verdict = decide(worst, [standing], NOW)
    assert isinstance(verdict, Refused)
    return refusal(verdict, NOW)


def usd_call(dollars: str) -> WorstCase:
    return WorstCase(parse_usd(dollars) * 1000, 0, 10, 10)


def test_a_spent_budget_says_everything_a_caller_needs() -> None:
    error = refused("2 usd / day", parse_usd("1.5"), 0, usd_call("0.75"))
    assert isinstance(error, BudgetExceeded)
    assert error.details == {
        "limit": "2 usd / day",
        "whose": "person:1",
        "spent": "1.5",
        "held": "0",
        "cap": "2",
        "needed": "0.75",
        "resets_at": "2026-11-22T00:00:00Z",
        "affordable_output": 0,
    }
    assert error.retry_after_s == 12 * 3600
    assert "2 usd / day" in error.message
    assert error.should_retry is False


def test_a_budget_that_calls_in_flight_hold_is_worth_a_retry_in_a_second() -> None:
    error = refused("2 usd / day", parse_usd("1"), parse_usd("0.5"), usd_call("0.75"))
    assert isinstance(error, BudgetHeld)
    assert (error.retry_after_s, error.should_retry) == (1, True)


def test_a_call_that_can_never_fit_names_no_time() -> None:
    error = refused("2 usd / day", 0, 0, usd_call("3"))
    assert isinstance(error, BudgetExceeded)
    assert error.retry_after_s is None
    assert error.details["resets_at"] is None


def test_a_rate_names_the_exact_second_rounded_up() -> None:
    error = refused("1 requests / minute", 1, 0, WorstCase(0, 0, 1, 1))
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 60
    assert (error.details["spent"], error.details["cap"]) == (1, 1)


def test_concurrency_is_worth_a_retry_in_a_second() -> None:
    error = refused("1 concurrent", 0, 1, WorstCase(0, 0, 1, 1))
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 1


def test_a_limit_of_zero_allows_nothing() -> None:
    error = refused("0 usd", 0, 0, WorstCase(0, 0, 1, 1))
    assert isinstance(error, BudgetExceeded)
    assert "allows no calls" in error.message
