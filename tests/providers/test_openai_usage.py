import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.provider import Reading
from penstock.core.usage import COUNT_MAX, Usage
from penstock.providers.openai import COMPATIBLE


def read(prompt: object, completion: object, total: object, **more: object) -> Reading:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    return COMPATIBLE.read_usage({**{name: value for name, value in counts.items() if value is not None}, **more})


def inside(**counts: object) -> dict[str, object]:
    return {"prompt_tokens_details": counts}


def outside(**counts: object) -> dict[str, object]:
    return {"completion_tokens_details": counts}


@pytest.mark.parametrize(
    ("reading", "usage"),
    [
        (read(9, 4, 13), Usage(input=9, output=4)),
        (read(9, 4, None), Usage(input=9, output=4)),
        (read(9, 4, 13, **inside(cached_tokens=6)), Usage(input=3, cache_read=6, output=4)),
        (read(9, 4, 13, **inside(cached_tokens=9)), Usage(cache_read=9, output=4)),
        (read(9, 4, 13, prompt_cache_hit_tokens=6, prompt_cache_miss_tokens=3), Usage(input=3, cache_read=6, output=4)),
        (read(9, 4, 13, **inside(cached_tokens=2), prompt_cache_hit_tokens=6), Usage(input=7, cache_read=2, output=4)),
        (
            read(9, 4, 13, **inside(cached_tokens=2, cache_write_tokens=3)),
            Usage(input=4, cache_read=2, cache_write=3, output=4),
        ),
        (read(9, 4, 13, **inside(audio_tokens=5)), Usage(input=4, audio_in=5, output=4)),
        (read(9, 4, 13, **inside(audio_tokens=5, cached_tokens=9)), Usage(audio_in=5, cache_read=4, output=4)),
        (read(9, 4, 13, **outside(audio_tokens=3)), Usage(input=9, output=1, audio_out=3)),
        (read(9, 4, 13, **outside(audio_tokens=4)), Usage(input=9, audio_out=4)),
        (read(9, 4, 13, **outside(reasoning_tokens=3)), Usage(input=9, output=4)),
        (read(9, 4, 16, **outside(reasoning_tokens=3)), Usage(input=9, output=4, reasoning=3)),
        (read(9, 4, 388, **inside(audio_tokens=375)), Usage(input=9, audio_in=375, output=4)),
        (read(9, 4, 16, **inside(audio_tokens=3), **outside(reasoning_tokens=3)), Usage(input=9, audio_in=3, output=4)),
        (read(9, None, 9), Usage(input=9)),
        (read(0, 0, 0), Usage()),
        (read(9, 4, 13, prompt_tokens_details=None, completion_tokens_details=7), Usage(input=9, output=4)),
        (
            read(9, 4, 13, **inside(cached_tokens=-1, audio_tokens="5", cache_write_tokens=True)),
            Usage(input=9, output=4),
        ),
    ],
)
def test_overlapping_counts_become_disjoint(reading: Reading, usage: Usage) -> None:
    assert reading == Reading(usage, has_input=True, has_output=True)


@pytest.mark.parametrize(
    ("reading", "usage"),
    [
        (read(9, 4, 20), Usage(input=9, output=11)),
        (read(9, 4, 12), Usage(input=9, output=4)),
        (read(9, 4, 20, **outside(reasoning_tokens=3)), Usage(input=9, output=11)),
        (read(9, 4, 20, **inside(audio_tokens=3)), Usage(input=6, audio_in=3, output=11)),
        (read(9, 4, 13, **inside(cached_tokens=99)), Usage(input=9, cache_read=99, output=4)),
        (
            read(9, 4, 13, **inside(cached_tokens=7, cache_write_tokens=7)),
            Usage(input=2, cache_read=7, cache_write=7, output=4),
        ),
        (read(9, 4, 13, **inside(cache_write_tokens=10)), Usage(input=9, cache_write=10, output=4)),
        (read(9, 4, 13, **inside(audio_tokens=10)), Usage(input=9, audio_in=10, output=4)),
        (read(9, 4, 13, **outside(audio_tokens=5)), Usage(input=9, output=4, audio_out=5)),
    ],
)
def test_what_contradicts_is_read_the_dearer_way_and_flagged(reading: Reading, usage: Usage) -> None:
    assert reading == Reading(usage, has_input=True, has_output=True, flags=("usage_mismatch",))


@pytest.mark.parametrize(
    ("reading", "has_input", "has_output"),
    [
        (read(None, None, None), False, False),
        (read(None, 4, 13), False, True),
        (read(9, None, None), True, False),
        (read(9, None, 13), True, False),
        (read(9, "4", 9), True, False),
        (read(9, -4, 9), True, False),
        (read("9", 4, 13), False, True),
        (read(True, 4, 5), False, True),
        (read(COUNT_MAX + 1, None, COUNT_MAX + 1), False, False),
        (read(9, COUNT_MAX + 1, None), True, False),
        (read(9, 4.0, 13), True, False),
    ],
)
def test_a_count_that_is_missing_or_makes_no_sense_is_not_stated(
    reading: Reading, *, has_input: bool, has_output: bool
) -> None:
    assert (reading.has_input, reading.has_output) == (has_input, has_output)


_COUNTS = st.integers(0, 50)


@given(_COUNTS, _COUNTS, st.none() | st.integers(0, 150), st.lists(_COUNTS, min_size=5, max_size=5))
def test_the_parts_sum_to_the_providers_total(
    prompt: int, completion: int, total: int | None, details: list[int]
) -> None:
    cached, sound, written, thoughts, voice = details
    more = inside(cached_tokens=cached, audio_tokens=sound, cache_write_tokens=written)
    reading = read(prompt, completion, total, **more, **outside(reasoning_tokens=thoughts, audio_tokens=voice))
    usage, rest = reading.usage, (total - prompt - completion if total is not None else 0)
    heard = 0 if 0 < rest == sound else sound
    uncached = prompt - (heard if heard <= prompt else 0)
    uncached -= min(cached, uncached) if cached <= prompt else 0
    beside = sum(n for n in (cached, heard) if n > prompt) + (voice if voice > completion else 0)
    beside += written if written > uncached else 0
    assert usage.tokens == max(prompt + completion, total or 0) + beside
    assert min(usage.input, usage.output, usage.cache_read, usage.cache_write, usage.audio_in, usage.audio_out) >= 0
    assert usage.tokens_in >= prompt
    assert usage.tokens_out >= completion
    assert bool(reading.flags) is (rest not in {0, sound, thoughts} or beside > 0)


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        ({"usage": {"a": 1}}, {"a": 1}),
        ({"usage": {"a": 1}, "service_tier": "priority"}, {"a": 1, "service_tier": "priority"}),
        ({"usage": {"service_tier": "flex"}, "service_tier": "priority"}, {"service_tier": "flex"}),
        ({"usage": {"a": 1}, "service_tier": None}, {"a": 1}),
        ({"usage": None, "x_groq": {"usage": {"a": 2}}}, {"a": 2}),
        ({"usage": {"a": 1}, "x_groq": {"usage": {"a": 2}}}, {"a": 1}),
        ({"x_groq": {"id": "r"}}, None),
        ({"x_groq": None}, None),
        ({"usage": None}, None),
        ({"usage": 7}, None),
        ({"choices": [{"usage": {"a": 1}}]}, None),
        ({}, None),
    ],
)
def test_where_the_statement_stands(value: dict[str, object], usage: dict[str, object] | None) -> None:
    found = COMPATIBLE.find_usage(value)
    assert (None if found is None else dict(found)) == usage


def test_the_tier_that_was_served_is_a_property_of_the_price() -> None:
    assert read(1, 1, 2, service_tier="priority").properties == {"service_tier": "priority"}
    assert read(1, 1, 2, service_tier=None).properties == {}


@pytest.mark.parametrize(
    ("value", "is_final"),
    [
        ({"choices": []}, True),
        ({}, True),
        ({"choices": None}, True),
        ({"choices": [{"finish_reason": None}]}, False),
        ({"choices": [{"finish_reason": "stop"}]}, True),
        ({"choices": [{"finish_reason": None}, {"finish_reason": "length"}]}, True),
        ({"choices": [7]}, False),
    ],
)
def test_a_statement_is_final_where_the_output_has_ended(value: dict[str, object], *, is_final: bool) -> None:
    assert COMPATIBLE.is_final(value) is is_final


@pytest.mark.parametrize(("model", "found"), [("m", "m"), ("", None), (None, None), (7, None)])
def test_the_model_that_answered(model: object, found: str | None) -> None:
    assert COMPATIBLE.find_model({"model": model}) == found


@pytest.mark.parametrize(("error", "is_error"), [({"code": 500}, True), ("oh", True), (None, False), ({}, False)])
def test_an_error_in_a_stream(error: object, *, is_error: bool) -> None:
    assert COMPATIBLE.is_error_event({"error": error}) is is_error
    assert not COMPATIBLE.is_error_event({"choices": []})
