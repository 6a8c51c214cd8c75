"""Amounts are rounded to the digits that matter; what people read agrees with itself."""

from decimal import Decimal

import pytest

from penstock.cli.wording import counted_nouns, dollars, exact_dollars, listed, measured, moment
from penstock.core.limits import parse_limit


@pytest.mark.parametrize(
    ("nanousd", "words"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (2_100, "$0.0000021"),
        (1_204_000, "$0.001204"),
        (123_456_789, "$0.1235"),
        (100_000_000, "$0.10"),
        (1_870_000_000, "$1.87"),
        (9_996_000_000, "$9.996"),
        (12_345_678_900, "$12.35"),
        (1_234_567_890_000, "$1,234.57"),
        (-20_000_000, "-$0.02"),
    ],
)
def test_dollars_have_cents_and_four_digits_that_matter(nanousd: int, words: str) -> None:
    assert dollars(nanousd) == words


@pytest.mark.parametrize(
    ("amount", "words"), [("1", "$1.00"), ("0.0375", "$0.0375"), ("0E-12", "$0.00"), ("-2.5", "-$2.50")]
)
def test_exact_dollars_have_every_digit(amount: str, words: str) -> None:
    assert exact_dollars(Decimal(amount)) == words


@pytest.mark.parametrize(
    ("limit", "amount", "words"),
    [("1 usd / day", 250_000_000, "$0.25"), ("9 tokens", 1_234_567, "1,234,567"), ("5 concurrent", 5, "5")],
)
def test_an_amount_is_in_the_unit_of_its_limit(limit: str, amount: int, words: str) -> None:
    assert measured(parse_limit(limit), amount) == words


@pytest.mark.parametrize(
    ("at_ms", "words"),
    [(1_795_046_400_000, "2026-11-19 00:00:00"), (1_795_046_399_999, "2026-11-18 23:59:59"), (None, "-")],
)
def test_a_moment_is_a_second_of_utc(at_ms: int | None, words: str) -> None:
    assert moment(at_ms) == words


@pytest.mark.parametrize(
    ("amount", "noun", "words"),
    [(1, "entry", "1 entry"), (0, "entry", "0 entries"), (2_000, "price", "2,000 prices")],
)
def test_nouns_agree_with_their_number(amount: int, noun: str, words: str) -> None:
    assert counted_nouns(amount, noun) == words


def test_a_list_is_one_text() -> None:
    assert (listed(["a", "b"]), listed([]), listed([], none="no limits")) == ("a, b", "-", "no limits")
