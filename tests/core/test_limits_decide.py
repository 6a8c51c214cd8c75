"""``decide``: money.md's promise as tables. Amounts are small, so that they can be checked in the head."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.limits import Admitted, Amounts, LimitUnit, Refused, Standing, WorstCase, decide, parse_limit
from penstock.core.windows import DAY_MS

NOON = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1000)
MIDNIGHT = NOON + DAY_MS // 2
NEXT_MONTH = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000)
NEXT_MINUTE = NOON + 60_000
FREE = WorstCase(fixed_pico=0, output_pico=0, input_tokens=0, output_tokens=0)


def call(nanousd: int, *, tokens: int = 0) -> WorstCase:
    """A call of exactly that cost and number of tokens, with nothing to cap."""
    return WorstCase(fixed_pico=nanousd * 1000, output_pico=0, input_tokens=tokens, output_tokens=0)


def standing(text: str, settled: int = 0, held: int = 0, subject: str = "person:1") -> Standing:
    limit = parse_limit(text)
    return Standing(subject, limit, {limit.window.period(NOON): (settled, held)} if settled or held else {})


def nano(amount: int) -> str:
    return f"0.{amount:09d} usd / day"


class Case(NamedTuple):
    limit: str
    settled: int
    held: int
    need: int
    is_admitted: bool
    is_held: bool = False
    fits_at_ms: int | None = None


@pytest.mark.parametrize(
    "case",
    [
        Case(nano(100), 0, 0, 50, is_admitted=True),
        Case(nano(100), 0, 0, 100, is_admitted=True),
        Case(nano(100), 60, 30, 10, is_admitted=True),
        Case(nano(100), 0, 0, 101, is_admitted=False, fits_at_ms=None),
        Case(nano(100), 91, 0, 10, is_admitted=False, fits_at_ms=MIDNIGHT),
        Case(nano(100), 60, 31, 10, is_admitted=False, is_held=True, fits_at_ms=MIDNIGHT),
        Case(nano(100), 90, 1, 10, is_admitted=False, is_held=True, fits_at_ms=MIDNIGHT),
        Case(nano(100), 91, 1, 10, is_admitted=False, fits_at_ms=MIDNIGHT),
        Case(nano(100), 150, 0, 1, is_admitted=False, fits_at_ms=MIDNIGHT),
        Case(nano(100), 150, 20, 0, is_admitted=True),
        Case(nano(100), 100, 0, 0, is_admitted=True),
        Case("0 usd", 0, 0, 0, is_admitted=False),
        Case("0 usd / day", 0, 0, 5, is_admitted=False),
        Case("0.000000100 usd", 91, 0, 10, is_admitted=False, fits_at_ms=None),
        Case("0.000000100 usd", 90, 0, 10, is_admitted=True),
        Case("0.000000100 usd", 0, 91, 10, is_admitted=False, is_held=True, fits_at_ms=None),
        Case("0.000000100 usd / month", 91, 0, 10, is_admitted=False, fits_at_ms=NEXT_MONTH),
    ],
)
def test_one_limit_in_dollars(case: Case) -> None:
    verdict = decide(call(case.need), [standing(case.limit, case.settled, case.held)], NOON)
    if case.is_admitted:
        assert verdict == Admitted(Amounts(usd=case.need, requests=1, tokens=0), None)
    else:
        assert isinstance(verdict, Refused)
        assert (verdict.need, verdict.is_held, verdict.fits_at_ms) == (case.need, case.is_held, case.fits_at_ms)


@pytest.mark.parametrize(
    ("limit", "settled", "held", "is_admitted", "fits_at_ms"),
    [
        ("2 requests / minute", 1, 0, True, None),
        ("2 requests / minute", 1, 1, False, NEXT_MINUTE),
        ("2 requests / minute", 2, 0, False, NEXT_MINUTE),
        ("0 requests / minute", 0, 0, False, None),
        ("10 tokens / minute", 3, 0, True, None),
        ("10 tokens / minute", 3, 1, False, NEXT_MINUTE),
        ("6 tokens / minute", 0, 0, False, None),
        ("2 concurrent", 0, 1, True, None),
        ("2 concurrent", 0, 2, False, None),
        ("0 concurrent", 0, 0, False, None),
    ],
)
def test_other_units_are_limits_of_the_same_kind(
    limit: str, settled: int, held: int, fits_at_ms: int | None, *, is_admitted: bool
) -> None:
    verdict = decide(call(0, tokens=7), [standing(limit, settled, held)], NOON)
    assert isinstance(verdict, Admitted) is is_admitted
    assert not isinstance(verdict, Refused) or verdict.fits_at_ms == fits_at_ms


def test_a_call_without_limits_is_admitted_as_it_came() -> None:
    worst = WorstCase(fixed_pico=1500, output_pico=300, input_tokens=10, output_tokens=20, choices=2)
    assert decide(worst, [], NOON) == Admitted(Amounts(usd=14, requests=1, tokens=50), None)


def test_a_free_call_passes_over_budget_but_counts_as_a_request() -> None:
    over = standing("1 usd", 5_000_000_000)
    assert decide(FREE, [over], NOON) == Admitted(Amounts(usd=0, requests=1, tokens=0), None)
    spent = standing("1 requests / minute", 1)
    assert isinstance(decide(FREE, [over, spent], NOON), Refused)


LASTING = [
    standing("0 usd / day", subject="zero"),
    standing("0.000000001 usd", 1, subject="lifetime"),
    standing("0.000000001 usd / month", 1, subject="month"),
    standing("0.000000001 usd / day", 1, subject="day"),
    standing("1 requests / minute", 1, subject="minute"),
    standing("0.000000001 usd", 0, 1, subject="held"),
]


@pytest.mark.parametrize("longest", range(5))
@pytest.mark.parametrize("order", ["as written", "reversed"])
def test_of_several_refusals_the_one_that_lasts_longest_is_named(longest: int, order: str) -> None:
    refusing: Sequence[Standing] = LASTING[longest:]
    verdict = decide(call(1), refusing if order == "as written" else refusing[::-1], NOON)
    assert isinstance(verdict, Refused)
    assert verdict.standing.subject == LASTING[longest].subject


@pytest.mark.parametrize("held", [standing("1 concurrent", 0, 1), standing("0.000000001 usd", 0, 1)])
def test_calls_in_flight_are_named_only_where_nothing_else_refuses(held: Standing) -> None:
    rate = standing("1 requests / second", 1, subject="rate")
    refused = decide(call(1), [held, rate], NOON)
    alone = decide(call(1), [held, standing("1 usd")], NOON)
    assert isinstance(refused, Refused)
    assert isinstance(alone, Refused)
    assert (refused.standing, alone.standing) == (rate, held)
    assert alone.is_held


CAPPED = WorstCase(fixed_pico=10_000, output_pico=1000, input_tokens=10, output_tokens=4096, cap_min=256)


@pytest.mark.parametrize(
    ("left", "cap"),
    [
        (20_000, 4096),
        (8212, 4096),
        (8211, 4095),
        (1020, 500),
        (532, 256),
        (300, 256),
        (266, 256),
    ],
)
def test_the_cap_fits_into_half_of_what_is_left_but_never_below_its_floor(left: int, cap: int) -> None:
    verdict = decide(CAPPED, [standing(nano(left))], NOON)
    assert verdict == Admitted(Amounts(usd=10 + cap, requests=1, tokens=10 + cap), cap)


@pytest.mark.parametrize(("left", "affordable"), [(265, 255), (11, 1), (10, 0), (9, 0)])
def test_below_the_floor_the_call_is_refused_with_what_would_pass(left: int, affordable: int) -> None:
    verdict = decide(CAPPED, [standing(nano(10_000), 10_000 - left)], NOON)
    assert isinstance(verdict, Refused)
    assert (verdict.need, verdict.affordable_output) == (266, affordable)


def test_tokens_cap_as_dollars_do_and_the_tightest_limit_counts() -> None:
    standings = [standing(nano(20_000)), standing("2020 tokens / day"), standing("1 usd"), standing("9000 tokens")]
    verdict = decide(CAPPED, standings, NOON)
    assert verdict == Admitted(Amounts(usd=1010, requests=1, tokens=1010), 1000)


def test_each_of_several_choices_gets_its_share() -> None:
    worst = WorstCase(fixed_pico=0, output_pico=1000, input_tokens=0, output_tokens=4096, choices=4, cap_min=1)
    assert decide(worst, [standing(nano(807))], NOON) == Admitted(Amounts(usd=400, requests=1, tokens=400), 100)


def test_a_cap_of_our_own_is_said_where_nothing_is_tight() -> None:
    verdict = decide(CAPPED, [], NOON)
    assert isinstance(verdict, Admitted)
    assert verdict.output_cap == 4096


@pytest.mark.parametrize(
    ("worst", "limit", "settled", "affordable"),
    [
        (WorstCase(1000, 1000, 1, 500), nano(100), 0, 99),
        (WorstCase(1000, 0, 1, 500), nano(100), 0, 500),
        (WorstCase(1000, 0, 1, 500), nano(1), 1, 0),
        (WorstCase(0, 0, 1, 500), "0 usd", 0, 0),
        (WorstCase(0, 0, 1, 500), "100 tokens", 0, 99),
        (WorstCase(0, 0, 1, 500, choices=3), "100 tokens", 0, 33),
        (WorstCase(1000, 1000, 1, 500), nano(100), 300, 0),
    ],
)
def test_the_largest_affordable_output(worst: WorstCase, limit: str, settled: int, affordable: int) -> None:
    verdict = decide(worst, [standing(limit, settled), standing("1 requests", 1)], NOON)
    assert isinstance(verdict, Refused)
    assert verdict.affordable_output == affordable


@pytest.mark.parametrize(
    ("need", "fits_on"),
    [
        (10, "2026-11-21"),
        (11, "2026-11-22"),
        (40, "2026-11-22"),
        (41, "2026-11-25"),
        (60, "2026-11-25"),
        (100, "2026-11-28"),
    ],
)
def test_a_rolling_window_frees_a_call_day_by_day(need: int, fits_on: str) -> None:
    limit = parse_limit("0.000000100 usd / 7 days")
    periods = {"2026-11-15": (30, 0), "2026-11-18": (15, 5), "2026-11-21": (30, 10)}
    day_ms = int(datetime.fromisoformat(fits_on).replace(tzinfo=UTC).timestamp() * 1000)
    assert Standing("s", limit, periods).fits_at_ms(need, NOON) == max(NOON, day_ms)


@pytest.mark.parametrize("text", ["0.000000100 usd / week", "0.000000100 usd / month"])
def test_a_calendar_window_frees_everything_at_once(text: str) -> None:
    limit = parse_limit(text)
    periods = {"2026-11-16": (50, 0), "2026-11-20": (50, 0)}
    ends = {"week": datetime(2026, 11, 23, tzinfo=UTC), "month": datetime(2026, 12, 1, tzinfo=UTC)}
    end_ms = int(ends[str(limit.window)].timestamp() * 1000)
    assert [Standing("s", limit, periods).fits_at_ms(need, NOON) for need in (0, 1, 100, 101)] == [
        NOON,
        end_ms,
        end_ms,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "periods", "resets"),
    [
        ("1 usd / 7 days", {}, "2026-11-28"),
        ("1 usd / 7 days", {"2026-11-15": (0, 0), "2026-11-18": (1, 0)}, "2026-11-25"),
        ("1 usd / 7 days", {"2026-11-16": (0, 1), "2026-11-18": (1, 0)}, "2026-11-23"),
        ("1 usd / month", {}, "2026-12-01"),
        ("1 usd", {"all": (1, 0)}, None),
    ],
)
def test_a_limit_resets_when_its_oldest_amount_leaves(
    text: str, periods: dict[str, tuple[int, int]], resets: str | None
) -> None:
    wanted = None if resets is None else int(datetime.fromisoformat(resets).replace(tzinfo=UTC).timestamp() * 1000)
    assert Standing("s", parse_limit(text), periods).resets_at_ms(NOON) == wanted


AMOUNT = st.integers(0, 2000)


@given(
    amounts=st.lists(st.tuples(st.sampled_from(["usd", "tokens", "requests"]), AMOUNT, AMOUNT, AMOUNT), max_size=4),
    worst=st.builds(
        WorstCase,
        fixed_pico=st.integers(0, 2_000_000),
        output_pico=st.integers(0, 5000),
        input_tokens=AMOUNT,
        output_tokens=AMOUNT,
        choices=st.integers(1, 3),
        cap_min=st.none() | st.integers(0, 300),
    ),
)
def test_what_is_admitted_fits_and_what_is_refused_says_the_truth(
    amounts: list[tuple[str, int, int, int]], worst: WorstCase
) -> None:
    standings = [
        standing(f"0.{cap:09d} usd / day" if unit == "usd" else f"{cap} {unit} / day", settled, held)
        for unit, cap, settled, held in amounts
    ]
    verdict = decide(worst, standings, NOON)
    if isinstance(verdict, Admitted):
        assert all(s.limit.amount for s in standings)
        assert all(s.left >= (need := verdict.amounts.of(s.limit.unit)) or not need for s in standings)
        assert (verdict.output_cap is None) is (worst.cap_min is None)
        assert verdict.amounts == worst.amounts(
            worst.output_tokens if worst.cap_min is None else verdict.output_cap or 0
        )
    else:
        assert verdict.standing in standings
        assert verdict.standing.limit.amount == 0 or verdict.need > verdict.standing.left
        affordable = worst.amounts(verdict.affordable_output)
        dollars = [s.left for s in standings if s.limit.unit is LimitUnit.USD]
        assert not verdict.affordable_output or all(affordable.usd <= left for left in dollars)
