"""The arithmetic of prices: exact, rounded once, and nothing free by accident."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.pricing import FREE, Price, Rate, Variant, cost_pico, recompute, usd_rate
from penstock.core.usage import COUNT_MAX, Unit, Usage

COUNTS = st.integers(0, 10_000_000)
USAGES = st.builds(Usage, **{unit.value: COUNTS for unit in Unit})
PICOS = st.integers(0, 100_000_000)
TIERS = st.lists(st.integers(0, 1_000_000), max_size=3, unique=True).map(sorted)


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    tiers = tuple((start, draw(PICOS)) for start in draw(TIERS))
    return Rate(draw(PICOS), draw(st.sampled_from((1, 1, 7, 3600, 1_000_000))), tiers)


PRICES = st.builds(
    Price,
    st.dictionaries(st.sampled_from(Unit), rates(), min_size=1).map(lambda rates: {Unit.INPUT: Rate(3), **rates}),
    st.lists(
        st.builds(Variant, st.just({"service_tier": "priority"}), st.dictionaries(st.sampled_from(Unit), rates())),
        max_size=2,
    ).map(tuple),
)


def price(**picos: int) -> Price:
    return Price({Unit(unit): Rate(pico) for unit, pico in picos.items()})


def test_a_usage_costs_its_counts_times_their_rates_rounded_up_once() -> None:
    gpt = price(input=2_000_000, cache_read=500_000, output=8_000_000)
    assert gpt.cost(Usage(input=1000, cache_read=200, output=300)) == 4_500_000
    assert price(input=1, output=1).cost(Usage(input=1, output=1)) == 1
    assert price(input=1, output=1).cost(Usage(input=1000, output=1)) == 2
    assert gpt.cost(Usage()) == 0


def test_a_rate_per_hour_is_exact() -> None:
    whisper = Price({Unit.SECONDS: usd_rate(Decimal("0.111"), 3600)})
    assert whisper.cost(Usage(seconds=3600)) == 111_000_000
    assert whisper.cost(Usage(seconds=10)) == 308_334
    assert whisper.used(Usage(seconds=10)) == {"seconds": [92_500_000, 3]}


def test_above_a_tier_every_token_costs_the_higher_rate() -> None:
    tiered = Price({Unit.INPUT: Rate(3, 1, ((200_000, 6),)), Unit.OUTPUT: Rate(15, 1, ((200_000, 30),))})
    assert tiered.cost_pico(Usage(input=200_000, output=10)) == 200_000 * 3 + 10 * 15
    assert tiered.cost_pico(Usage(input=200_000, cache_read=1, output=10)) == 200_001 * 6 + 10 * 30


@pytest.mark.parametrize(
    ("unit", "stated", "pico"),
    [
        (Unit.INPUT, {"output": 9}, 9),
        (Unit.CACHE_READ, {"input": 5, "output": 9}, 5),
        (Unit.CACHE_WRITE, {"input": 5, "output": 9}, 5),
        (Unit.CACHE_WRITE_1H, {"input": 5, "output": 9}, 5),
        (Unit.CACHE_WRITE_1H, {"input": 5, "cache_write": 6}, 10),
        (Unit.CACHE_WRITE_1H, {"input": 5, "cache_write": 12}, 12),
        (Unit.CACHE_WRITE_1H, {"output": 5, "cache_write": 6}, 6),
        (Unit.OUTPUT, {"input": 5}, 5),
        (Unit.REASONING, {"input": 5, "output": 9}, 9),
        (Unit.AUDIO_IN, {"input": 5, "output": 9}, 5),
        (Unit.AUDIO_OUT, {"input": 5, "output": 9}, 9),
        (Unit.IMAGE_IN, {"input": 5, "output": 9}, 5),
        (Unit.IMAGE_OUT, {"input": 5, "output": 9}, 9),
        (Unit.CHARACTERS, {"input": 5, "output": 9}, 5),
        (Unit.REQUESTS, {"input": 5, "output": 9}, 0),
        (Unit.SEARCHES, {"input": 5, "output": 9}, 0),
        (Unit.SECONDS, {"input": 5, "output": 9}, 0),
        (Unit.PAGES, {"input": 5, "output": 9}, 0),
    ],
)
def test_a_unit_without_a_rate_is_charged_at_its_stand_in(unit: Unit, stated: dict[str, int], pico: int) -> None:
    assert price(**stated).used(Usage(**{unit.value: 1})) == {unit.value: pico}


def test_an_explicit_zero_is_no_missing_rate() -> None:
    assert price(input=5, output=9, cache_read=0).cost_pico(Usage(cache_read=100)) == 0


def test_only_a_price_that_says_so_is_free() -> None:
    assert FREE.is_free
    assert FREE.cost(Usage(input=10**9, output=10**9, audio_out=7, cache_write_1h=3)) == 0
    assert not Price({}).is_free
    assert not price(input=0, output=1).is_free
    assert not Price({Unit.INPUT: Rate(0, 1, ((10, 1),))}).is_free
    assert not Price({Unit.INPUT: Rate(0)}, (Variant({"a": "b"}, {Unit.INPUT: Rate(1)}),)).is_free


def test_a_fee_per_request_is_owed_once_where_nobody_counted() -> None:
    sonar = price(input=1, output=1, requests=12_000)
    assert sonar.cost_pico(Usage()) == sonar.cost_pico(Usage(requests=1)) == 12_000
    assert sonar.cost_pico(Usage(requests=3)) == 36_000


def test_a_variant_replaces_the_rates_that_it_states_and_the_first_one_wins() -> None:
    tiered = Price(
        {Unit.INPUT: Rate(2), Unit.OUTPUT: Rate(8), Unit.CACHE_READ: Rate(1)},
        (
            Variant({"service_tier": "priority"}, {Unit.INPUT: Rate(4)}),
            Variant({"service_tier": "priority", "region": "eu"}, {Unit.INPUT: Rate(5), Unit.OUTPUT: Rate(9)}),
        ),
    )
    assert tiered.under({}).rates == tiered.rates
    assert tiered.under({"service_tier": "priority"}).rates[Unit.INPUT] == Rate(4)
    both = tiered.under({"service_tier": "priority", "region": "eu"})
    assert (both.rates[Unit.INPUT], both.rates[Unit.OUTPUT], both.rates[Unit.CACHE_READ]) == (Rate(4), Rate(9), Rate(1))


def test_the_dearest_rate_of_a_side_is_that_of_any_unit_tier_or_variant_that_can_apply() -> None:
    dear = Price(
        {
            Unit.INPUT: Rate(3, 1, ((200_000, 6),)),
            Unit.CACHE_WRITE: Rate(4),
            Unit.OUTPUT: Rate(15),
            Unit.AUDIO_OUT: Rate(80),
        },
        (
            Variant({"service_tier": "priority"}, {Unit.OUTPUT: Rate(90)}),
            Variant({"processing": "batch"}, {Unit.OUTPUT: Rate(900)}),
        ),
    )
    # Input at 3 means 6 for what is kept for an hour.
    assert dear.dearest_pico(Unit.INPUT, 200_000) == 6
    assert dear.dearest_pico(Unit.INPUT, 200_001) == dear.dearest_pico(Unit.INPUT) == 12
    assert dear.dearest_pico(Unit.OUTPUT) == 90
    assert dear.dearest_pico(Unit.SEARCHES) is None
    assert Price({}).dearest_pico(Unit.INPUT) is None


def test_a_tier_that_is_cheaper_does_not_lower_the_dearest_rate() -> None:
    assert Price({Unit.INPUT: Rate(9, 1, ((100, 3),))}).dearest_pico(Unit.INPUT) == 9


@given(PRICES, USAGES)
def test_no_usage_costs_more_than_at_the_dearest_rates(any_price: Price, usage: Usage) -> None:
    for properties in ({}, {"service_tier": "priority"}):
        cost = any_price.under(properties).cost_pico(usage)
        assert any_price.dearest(usage.tokens_in).cost_pico(usage) >= cost
        assert any_price.dearest().cost_pico(usage) >= cost


@given(PRICES, USAGES)
def test_the_rates_that_were_used_recompute_to_the_same_integer(any_price: Price, usage: Usage) -> None:
    stored = msgspec.json.decode(msgspec.json.encode(any_price.used(usage)))
    assert recompute(usage, stored) == any_price.cost(usage)


@given(PRICES, USAGES)
def test_a_cost_is_the_exact_sum_rounded_up_to_nano(any_price: Price, usage: Usage) -> None:
    exact = Fraction(0)
    for unit in Unit:
        rate = any_price.rate(unit)
        if rate is not None:
            count = getattr(usage, unit) or (unit is Unit.REQUESTS)
            exact += Fraction(count * rate.at(usage.tokens_in), rate.per)
    assert any_price.cost(usage) == ceil(exact / 1000)


def test_no_cost_passes_64_bits() -> None:
    dearest = Price(dict.fromkeys(Unit, usd_rate(Decimal("0.5"), 1)))
    assert dearest.cost(Usage(**dict.fromkeys((unit.value for unit in Unit), COUNT_MAX))) < 2**63


def test_a_cost_that_the_provider_stated_counts_as_it_is() -> None:
    assert recompute(Usage(input=5), {}, 1_001) == 2


def test_an_estimate_stays_within_the_hold_that_is_stored_with_it() -> None:
    assert recompute(Usage(input=5), {"input": 1_000, "at_most": 3}) == 3
    assert recompute(Usage(input=5), {"input": 1_000, "at_most": 9}) == 5


def test_a_fixed_amount_is_owed_beside_the_counts() -> None:
    assert recompute(Usage(input=5), {"input": 1_000, "fixed": 2_000}) == 7


def test_a_price_in_dollars_is_rounded_up_to_pico_and_reduced() -> None:
    assert usd_rate(Decimal("0.02"), 1_000_000) == Rate(20_000)
    assert usd_rate(Decimal("0.18000000000000002"), 1_000_000) == Rate(180_000_000_001, 1_000_000)
    assert usd_rate(Decimal("0.0000000000001"), 1_000_000) == Rate(1, 1_000_000)
    assert usd_rate(4, 1_000, [(10, Decimal("4.5"))]) == Rate(4_000_000_000, 1, ((10, 4_500_000_000),))
    assert usd_rate(0, 1_000_000) == Rate(0)


NOT_PRICES = [
    Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal(-1), Decimal("-0.0001"), -1,
    True, False, 1.5, 0.0, float("nan"), float("inf"), "1", "NaN", b"1", None, [], {}, (1,), 1j, 10**40,
    Decimal("1e40"),
]  # fmt: skip


@pytest.mark.parametrize("bad", NOT_PRICES, ids=repr)
def test_what_is_no_price_is_refused(bad: object) -> None:
    with pytest.raises(ValueError):
        usd_rate(bad, 1_000_000)  # type: ignore[arg-type]  # what an admin or a file may hold
    with pytest.raises(ValueError):
        usd_rate(1, 1_000_000, [(100, bad)])  # type: ignore[list-item]  # the same


@pytest.mark.parametrize(
    "tiers", [[(5, 1), (5, 2)], [(9, 1), (5, 2)], [(-1, 1)], [(10**10, 1)], [(True, 1)], [("5", 1)]]
)
def test_tiers_must_ascend_from_a_count(tiers: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError):
        usd_rate(1, 1_000_000, tiers)


@pytest.mark.parametrize(
    "stored",
    [
        '["1"]', "[true]", "[false]", "[-1]", "[1.5]", "[1e3]", "[NaN]", "[Infinity]", "[-Infinity]", "[null]", "[[]]",
        "[1,0]", "[1,-1]", "[1,true]", '[1,"1"]', "[1,2000000]", "[500000000001]", "[1000000000001,2]", "[]", "{}", "1",
        "[1,1,[[1]]]", "[1,1,[[1,-1]]]", "[1,1,[[-1,1]]]", "[1,1,[[1,true]]]", "[1,1,[[2,1],[1,1]]]",
        "[1,1,[[1,500000000001]]]", "[1,1,[],1]", "[99999999999999999999]",
    ],
)  # fmt: skip
def test_a_stored_rate_with_a_bad_number_is_refused(stored: str) -> None:
    with pytest.raises(ValueError):
        msgspec.json.decode(stored, type=Rate)


@pytest.mark.parametrize(
    "rate",
    [None, True, False, -1, 1.5, "1", [], [1], [1, -1], [-1, 1], [True, 1], [1, "1"], [1, 0], [1, 2, 3], {}, (1, 2)],
    ids=repr,
)
def test_an_entry_with_a_bad_rate_does_not_recompute(rate: object) -> None:
    with pytest.raises(ValueError):
        cost_pico(Usage(output=1), {"output": rate})
    with pytest.raises(ValueError):
        recompute(Usage(), {"at_most": rate, "fixed": rate})


def test_an_entry_that_lost_a_rate_does_not_recompute() -> None:
    with pytest.raises(ValueError, match="no rate of output"):
        recompute(Usage(input=1, output=1), {"input": 5})
