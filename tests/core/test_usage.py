import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.usage import COUNT_MAX, Unit, Usage, count

TOKENS_IN = {Unit.INPUT, Unit.CACHE_READ, Unit.CACHE_WRITE, Unit.CACHE_WRITE_1H, Unit.AUDIO_IN, Unit.IMAGE_IN}
TOKENS_OUT = {Unit.OUTPUT, Unit.REASONING, Unit.AUDIO_OUT, Unit.IMAGE_OUT}


@pytest.mark.parametrize("value", [0, 1, COUNT_MAX])
def test_a_count_is_a_whole_number_up_to_a_billion(value: int) -> None:
    assert count(value) == value


@pytest.mark.parametrize(
    "value",
    [None, True, False, -1, COUNT_MAX + 1, 2**63, 1.0, 1.5, float("nan"), float("inf"), "1", "", [1], {"count": 1}],
)
def test_what_is_no_count_states_nothing(value: object) -> None:
    assert count(value) is None


def test_usage_has_one_field_for_each_unit() -> None:
    assert [field.name for field in msgspec.structs.fields(Usage)] == [unit.value for unit in Unit]


@pytest.mark.parametrize("unit", list(Unit))
def test_each_unit_counts_on_one_side_of_the_model_or_is_no_token(unit: Unit) -> None:
    usage = Usage(**{unit.value: 7})
    assert (usage.tokens_in, usage.tokens_out) == (7 * (unit in TOKENS_IN), 7 * (unit in TOKENS_OUT))
    assert usage.tokens == usage.tokens_in + usage.tokens_out


@given(st.fixed_dictionaries({unit.value: st.integers(0, COUNT_MAX) for unit in Unit}))
def test_tokens_are_the_sum_of_their_units(counts: dict[str, int]) -> None:
    assert Usage(**counts).tokens == sum(counts[unit] for unit in TOKENS_IN | TOKENS_OUT)


def test_only_what_was_counted_is_written() -> None:
    assert msgspec.json.encode(Usage(input=3, searches=1)) == b'{"input":3,"searches":1}'
