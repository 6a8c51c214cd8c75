"""The most that a call can come to: bounded, or refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import ModelUnpriced, Unbounded
from penstock.core.limits import Amounts, Policy, WorstCase
from penstock.core.prices import ModelLimits, Priced
from penstock.core.pricing import FREE, Price, Rate, Variant
from penstock.core.provider import Asked, Endpoint
from penstock.core.usage import Unit, Usage
from penstock.core.worst_case import FREE_CALL, BoundAsk, dearest_of, is_reasoning_model, worst_case

CHAT = Endpoint("chat.completions", "POST", "/chat/completions", cap_field="max_tokens")
LEGACY = Endpoint("completions", "POST", "/completions")
POLICY = Policy("staff")
PRICED = Priced(
    "tiny",
    Price({Unit.INPUT: Rate(2), Unit.OUTPUT: Rate(8)}),
    "settings",
    ModelLimits(context=100_000, output_max=20_000),
)


def ask(asked: Asked | None = None, *, endpoint: Endpoint = CHAT) -> BoundAsk:
    return BoundAsk(endpoint, asked or Asked("tiny"), body_bytes=1000, overhead_tokens=24)


def limited(context: int | None = None, output_max: int | None = None, *, is_reasoning: bool | None = None) -> Priced:
    return replace(PRICED, limits=ModelLimits(context, output_max, is_reasoning))


def outputs(asked: Asked, priced: Priced, policy: Policy = POLICY, endpoint: Endpoint = CHAT) -> tuple[int, int | None]:
    worst = worst_case(ask(asked, endpoint=endpoint), priced, policy)
    return worst.output_tokens, worst.cap_min


def test_input_is_its_bytes_and_the_overhead_at_the_dearest_rate() -> None:
    worst = worst_case(ask(), PRICED, POLICY)
    assert (worst.input_tokens, worst.fixed_pico, worst.output_pico) == (1024, 2048, 8)
    dear = replace(PRICED, price=Price({**PRICED.price.rates, Unit.CACHE_WRITE: Rate(3)}))
    assert worst_case(ask(), dear, POLICY).fixed_pico == 1024 * 4


def test_no_model_takes_more_input_than_fits_into_it() -> None:
    assert worst_case(ask(), limited(context=500), POLICY).input_tokens == 500
    assert worst_case(ask(), limited(), POLICY).input_tokens == 1024


def test_a_tier_counts_only_where_the_input_can_reach_it() -> None:
    def fixed(start: int) -> int:
        tiered = Price({Unit.INPUT: Rate(2, 1, ((start, 4),)), Unit.OUTPUT: Rate(8)})
        return worst_case(ask(), replace(PRICED, price=tiered), POLICY).fixed_pico

    assert fixed(1024) == 2048
    assert fixed(1023) == 4096


def test_the_priority_tier_counts_though_nobody_asked_for_it() -> None:
    variant = Variant({"service_tier": "priority"}, {Unit.INPUT: Rate(4), Unit.OUTPUT: Rate(16)})
    worst = worst_case(ask(), replace(PRICED, price=Price(PRICED.price.rates, (variant,))), POLICY)
    assert (worst.fixed_pico, worst.output_pico) == (4096, 16)


def test_hidden_input_is_the_whole_context_window_and_fees_for_the_most_tool_uses() -> None:
    hidden = ask(Asked("tiny", has_hidden_input=True))
    worst = worst_case(hidden, PRICED, POLICY)
    assert (worst.input_tokens, worst.fixed_pico) == (100_000, 200_000)
    searching = replace(PRICED, price=Price({**PRICED.price.rates, Unit.SEARCHES: Rate(1_000)}))
    assert worst_case(hidden, searching, POLICY).fixed_pico == 200_000
    searches = ask(replace(hidden.asked, tool_uses=3))
    assert worst_case(searches, searching, POLICY).fixed_pico == 203_000
    assert worst_case(ask(), searching, POLICY).fixed_pico == 2048


def test_where_a_models_window_is_unknown_that_of_its_dialects_largest_counts() -> None:
    hidden = replace(ask(Asked("tiny", has_hidden_input=True)), window_max=7_000)
    assert worst_case(hidden, limited(), POLICY).input_tokens == 7_000
    assert worst_case(hidden, limited(context=9_000), POLICY).input_tokens == 9_000
    assert worst_case(replace(ask(), window_max=1_000), limited(), POLICY).input_tokens == 1_000


def test_hidden_input_is_refused_where_the_context_window_is_unknown_or_the_policy_says_so() -> None:
    hidden = ask(Asked("tiny", has_hidden_input=True))
    with pytest.raises(Unbounded, match="context window of tiny is not known"):
        worst_case(hidden, limited(output_max=5), POLICY)
    with pytest.raises(Unbounded, match="policy refuses"):
        worst_case(hidden, PRICED, replace(POLICY, unbounded="refuse"))
    assert worst_case(ask(), PRICED, replace(POLICY, unbounded="refuse")).input_tokens == 1024


def test_a_fee_per_request_is_part_of_it() -> None:
    sonar = replace(PRICED, price=Price({**PRICED.price.rates, Unit.REQUESTS: Rate(12_000)}))
    assert worst_case(ask(), sonar, POLICY).fixed_pico == 2048 + 12_000


@pytest.mark.parametrize(
    ("asked", "priced", "expected"),
    [
        (None, limited(), (4096, 256)),
        (None, limited(output_max=1000), (1000, 256)),
        (None, limited(context=700), (700, 256)),
        (None, limited(output_max=100), (100, 100)),
        (None, limited(is_reasoning=True), (4096, 1024)),
        (None, limited(output_max=900, is_reasoning=True), (900, 900)),
        (50, limited(), (50, None)),
        (9999, limited(), (9999, None)),
        (999_999_999, limited(output_max=20_000), (20_000, None)),
        (999_999_999, limited(context=30_000), (30_000, None)),
        (0, limited(), (0, None)),
    ],
)
def test_the_output_is_the_callers_cap_or_one_that_we_add(
    asked: int | None, priced: Priced, expected: tuple[int, int | None]
) -> None:
    assert outputs(Asked("tiny", output_tokens=asked), priced) == expected


def test_the_policys_cap_counts_but_never_goes_below_the_least() -> None:
    assert outputs(Asked("tiny"), limited(), replace(POLICY, output_cap=2000)) == (2000, 256)
    assert outputs(Asked("tiny"), limited(), replace(POLICY, output_cap=10)) == (256, 256)
    assert outputs(Asked("tiny"), limited(is_reasoning=True), replace(POLICY, output_cap=10)) == (1024, 1024)


def test_a_callers_cap_is_lowered_only_where_the_policy_says_so() -> None:
    lowering = replace(POLICY, lower_caps=True)
    assert outputs(Asked("tiny", output_tokens=9999), limited(), lowering) == (4096, 256)
    assert outputs(Asked("tiny", output_tokens=300), limited(), lowering) == (300, 256)
    assert outputs(Asked("tiny", output_tokens=50), limited(), lowering) == (50, 50)
    assert outputs(Asked("tiny", output_tokens=9999), limited(), lowering, LEGACY) == (9999, None)


def test_where_no_cap_can_be_added_the_models_maximum_counts_or_the_call_is_refused() -> None:
    assert outputs(Asked("tiny"), limited(output_max=700), endpoint=LEGACY) == (700, None)
    assert outputs(Asked("tiny", output_tokens=16), limited(), endpoint=LEGACY) == (16, None)
    with pytest.raises(Unbounded, match="state max_tokens") as refused:
        outputs(Asked("tiny"), limited(), endpoint=LEGACY)
    assert refused.value.param == "max_tokens"


def test_choices_multiply_the_output() -> None:
    worst = worst_case(ask(Asked("tiny", output_tokens=100, choices=3)), PRICED, POLICY)
    assert worst.amounts(worst.output_tokens) == Amounts(usd=5, requests=1, tokens=1024 + 300)


def test_more_answers_than_anybody_can_count_are_refused() -> None:
    most = Asked("tiny", output_tokens=1000, choices=1_000_000)
    assert worst_case(ask(most), limited(), POLICY).choices == 1_000_000
    with pytest.raises(Unbounded):
        worst_case(ask(replace(most, choices=1_000_001)), limited(), POLICY)


def test_a_price_that_says_nothing_about_tokens_bounds_no_call() -> None:
    with pytest.raises(ModelUnpriced):
        worst_case(ask(), replace(PRICED, price=Price({Unit.SECONDS: Rate(5)})), POLICY)


def test_reasoning_that_is_billed_beside_the_output_has_no_bound() -> None:
    apart = Price({**PRICED.price.rates, Unit.REASONING: Rate(3)})
    with pytest.raises(Unbounded, match="beside its output"):
        worst_case(ask(), replace(PRICED, price=apart), POLICY)


def test_a_free_model_costs_nothing_and_still_counts_tokens() -> None:
    worst = worst_case(ask(), replace(PRICED, price=FREE), POLICY)
    assert worst.amounts(10) == Amounts(usd=0, requests=1, tokens=1034)


def test_a_call_that_is_free_by_its_endpoint_is_one_request() -> None:
    assert FREE_CALL.amounts(FREE_CALL.output_tokens) == Amounts(usd=0, requests=1, tokens=0)


@pytest.mark.parametrize(
    "model",
    [
        "o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5.4-nano", "gpt-6-sol", "openai/gpt-oss-120b",
        "gpt-oss:20b", "claude-sonnet-4-5", "claude-opus-4-8", "anthropic/claude-3.7-sonnet",
        "gemini-2.5-flash", "gemini-3.1-pro-preview", "x-ai/grok-4", "grok-3-mini", "deepseek-reasoner",
        "deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "deepseek-v4-flash", "magistral-medium-latest",
        "Qwen/QwQ-32B", "qwen3-32b", "glm-4.5-air", "kimi-k2-thinking", "MiniMax-M2", "sonar-reasoning-pro",
        "nova-2-lite",
    ],
)  # fmt: skip
def test_models_that_think_first_are_known_by_their_names(model: str) -> None:
    assert is_reasoning_model(replace(limited(), model=model))


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o", "gpt-4.1-nano", "chatgpt-4o-latest", "gpt-5-chat-latest", "claude-3-5-haiku-latest",
        "gemini-2.0-flash", "mistral-large-latest", "llama-3.3-70b", "deepseek-chat", "grok-2",
        "command-r-plus", "phi-4", "tiny", "foo1",
    ],
)  # fmt: skip
def test_other_models_are_not(model: str) -> None:
    assert not is_reasoning_model(replace(limited(), model=model))


def test_the_settings_know_better_than_a_name() -> None:
    assert not is_reasoning_model(replace(limited(is_reasoning=False), model="o3"))
    assert is_reasoning_model(replace(limited(is_reasoning=True), model="tiny"))


RATES = st.builds(
    lambda pico, per, tiers: Rate(pico, per, tuple(sorted(tiers.items()))),
    st.integers(0, 10**8),
    st.sampled_from((1, 3600)),
    st.dictionaries(st.integers(0, 4000), st.integers(0, 10**8), max_size=2),
)
UNITS = st.sampled_from([unit for unit in Unit if unit is not Unit.REASONING])
TABLES = st.dictionaries(UNITS, RATES)
PRICES = st.builds(
    lambda base, rates, variants: Price(
        {Unit.INPUT: base, **rates}, tuple(Variant({"service_tier": "priority"}, table) for table in variants)
    ),
    RATES,
    TABLES,
    st.lists(TABLES, max_size=2),
)
ASKED = st.builds(
    Asked,
    st.just("tiny"),
    output_tokens=st.none() | st.integers(0, 10_000),
    choices=st.integers(1, 4),
    has_hidden_input=st.booleans(),
    tool_uses=st.integers(0, 20),
)


def split(draw: Callable[[st.SearchStrategy[int]], int], total: int, units: tuple[Unit, ...]) -> dict[str, int]:
    counts = {}
    for unit in units:
        counts[unit.value] = draw(st.integers(0, total))
        total -= counts[unit.value]
    return counts


@given(st.data(), PRICES, ASKED, st.integers(0, 5000), st.none() | st.integers(500, 5000))
def test_no_usage_within_the_bounds_costs_more_than_the_worst_case(
    data: st.DataObject, price: Price, asked: Asked, body_bytes: int, context: int | None
) -> None:
    priced = Priced("tiny", price, "book", ModelLimits(context=5000 if asked.has_hidden_input else context))
    call = BoundAsk(CHAT, asked, body_bytes, overhead_tokens=1024)
    worst = worst_case(call, priced, POLICY)
    draw = data.draw
    inputs = (Unit.CACHE_WRITE_1H, Unit.AUDIO_IN, Unit.CACHE_WRITE, Unit.CACHE_READ, Unit.IMAGE_IN, Unit.INPUT)
    usage = Usage(
        **split(draw, worst.input_tokens, inputs),
        **split(
            draw, worst.output_tokens * worst.choices, (Unit.AUDIO_OUT, Unit.IMAGE_OUT, Unit.REASONING, Unit.OUTPUT)
        ),
        requests=draw(st.integers(0, 1)),
        searches=draw(st.integers(0, asked.tool_uses)),
    )
    held = worst.amounts(worst.output_tokens)
    for properties in ({}, {"service_tier": "priority"}):
        assert price.under(properties).cost(usage) <= held.usd
    assert usage.tokens <= held.tokens


def test_several_models_are_covered_part_by_part() -> None:
    dear_input = WorstCase(fixed_pico=900, output_pico=1, input_tokens=10, output_tokens=500, cap_min=256)
    dear_output = WorstCase(fixed_pico=100, output_pico=7, input_tokens=20, output_tokens=300, cap_min=300)
    covering = dearest_of([dear_input, dear_output])
    assert covering == WorstCase(900, 7, 20, 500, cap_min=300)
    assert dearest_of([dear_input, replace(dear_output, cap_min=None)]).cap_min is None
    assert dearest_of([dear_input]) == dear_input
