from datetime import UTC, datetime

import pytest

from penstock.core.annotations import admission_headers, cost_comment, cost_headers
from penstock.core.call import Basis, Ending, Hold
from penstock.core.limits import Amounts, Standing, parse_limit
from penstock.core.usage import Usage

NOON = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1000)
ENDING = Ending(basis=Basis.PROVIDER, cost=123_000, usage=Usage(input=3), was_sent=True)


def standing(text: str, **periods: tuple[int, int]) -> Standing:
    limit = parse_limit(text)
    return Standing("person:1", limit, {period.replace("_", "-"): amounts for period, amounts in periods.items()})


def hold(*standings: Standing, output_cap: int | None = None, at_ms: int = NOON) -> Hold:
    return Hold("h", Amounts(usd=500_000, requests=1, tokens=300), output_cap, standings, at_ms)


def test_an_answer_says_what_it_cost_and_how_we_know() -> None:
    headers = [(b"x-penstock-cost", b"0.000123"), (b"x-penstock-basis", b"provider")]
    assert cost_headers(ENDING, hold()) == headers
    assert cost_headers(ENDING, hold(standing("5 requests / day"))) == headers


@pytest.mark.parametrize("basis", list(Basis))
def test_each_basis_is_said_in_the_ledgers_words(basis: Basis) -> None:
    ending = Ending(basis=basis, cost=0, usage=Usage(), was_sent=True)
    assert cost_headers(ending, hold())[1] == (b"x-penstock-basis", basis.value.encode())
    assert cost_comment(ending, hold()) == f": penstock cost=0 basis={basis.value}\n\n".encode()


WEEK = standing("2 usd / 7 days", **{"2026_11_18": (129_877_000, 0), "2026_11_20": (0, 0)})
LIFETIME = standing("5 usd", all=(3_000_000_000, 100_000_000))


def test_of_several_dollar_limits_the_one_with_least_left_is_told() -> None:
    told = dict(cost_headers(ENDING, hold(LIFETIME, WEEK, standing("1 requests / minute"))))
    assert told[b"x-penstock-budget-remaining"] == b"1.87"
    assert told[b"x-penstock-budget-reset"] == b"2026-11-25T00:00:00Z"


def test_a_lifetime_limit_has_no_reset() -> None:
    told = dict(cost_headers(ENDING, hold(LIFETIME)))
    assert told[b"x-penstock-budget-remaining"] == b"1.899877"
    assert b"x-penstock-budget-reset" not in told


def test_what_remains_is_never_below_zero() -> None:
    over = standing("1 usd / day", **{"2026_11_21": (1_500_000_000, 0)})
    assert dict(cost_headers(ENDING, hold(over)))[b"x-penstock-budget-remaining"] == b"0"
    assert b" remaining=0\n\n" in cost_comment(ENDING, hold(over))


def test_a_stream_ends_with_a_comment_that_clients_ignore() -> None:
    assert cost_comment(ENDING, hold(WEEK)) == b": penstock cost=0.000123 basis=provider remaining=1.87\n\n"
    assert cost_comment(ENDING, hold()) == b": penstock cost=0.000123 basis=provider\n\n"


def test_a_cap_of_ours_is_said_and_nothing_else_where_there_are_no_rates() -> None:
    assert admission_headers(hold(WEEK, output_cap=256), "openai") == [(b"x-penstock-capped", b"max_tokens=256")]
    assert admission_headers(hold(WEEK), "openai") == []
