import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.money import NANO_PER_USD, NANOUSD_MAX, format_usd, nano_from_pico, parse_usd


@pytest.mark.parametrize(
    ("text", "nanousd"),
    [
        ("0", 0),
        ("-0", 0),
        ("0.10", 100_000_000),
        ("2", 2_000_000_000),
        ("1e-9", 1),
        (" 20 ", 20_000_000_000),
        ("9223372036.854775807", NANOUSD_MAX),
    ],
)
def test_dollars_are_read_exactly(text: str, nanousd: int) -> None:
    assert parse_usd(text) == nanousd


@pytest.mark.parametrize(
    ("text", "nanousd"),
    [
        ("0.0000000019", 1),
        ("0.00000000099", 0),
        ("0.9999999999999999999999999999999999999999", NANO_PER_USD - 1),
        ("9223372036.8547758069999999999999999999999", NANOUSD_MAX - 1),
        ("1e-999999", 0),
    ],
)
def test_a_limit_never_grows_by_rounding(text: str, nanousd: int) -> None:
    assert parse_usd(text) == nanousd


NO_AMOUNT = [
    "",
    "abc",
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "-1",
    "-1e-9",
    "1 2",
    "0x10",
    "1,5",
    "true",
    "1/2",
    "1_0",
    "\uff11",
]
TOO_LARGE = ["9223372036.854775808", "1e30", "1e999999", "1e99999999999999999999"]


@pytest.mark.parametrize("text", [*NO_AMOUNT, *TOO_LARGE])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount too large|not a decimal number|must be a finite number"):
        parse_usd(text)


@pytest.mark.parametrize("value", [True, False, 0.1, 1, None, [1]])
def test_only_text_is_read(value: object) -> None:
    with pytest.raises(ValueError, match="as text"):
        parse_usd(value)  # type: ignore[arg-type] # what a settings file may hold in its place


@pytest.mark.parametrize(("pico", "nano"), [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (10**24 + 1, 10**21 + 1)])
def test_the_one_rounding_is_up(pico: int, nano: int) -> None:
    assert nano_from_pico(pico) == nano


@given(st.integers(0, 10**30))
def test_rounding_never_takes_off_and_adds_less_than_one_nano(pico: int) -> None:
    assert 0 <= nano_from_pico(pico) * 1000 - pico < 1000


@pytest.mark.parametrize(
    ("nanousd", "text"),
    [
        (0, "0"),
        (1_870_000_000, "1.87"),
        (1, "0.000000001"),
        (20_000_000_000, "20"),
        (-1_500_000_000, "-1.5"),
        (NANOUSD_MAX, "9223372036.854775807"),
    ],
)
def test_amounts_are_written_without_trailing_zeros(nanousd: int, text: str) -> None:
    assert format_usd(nanousd) == text


@given(st.integers(0, NANOUSD_MAX))
def test_what_is_written_reads_back(nanousd: int) -> None:
    assert parse_usd(format_usd(nanousd)) == nanousd
