import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.meter import WHOLE_BYTES_MAX, BodyMeter, Metered, merge_statements
from penstock.core.provider import Dialect, JsonObject
from penstock.core.usage import Usage
from penstock.providers.anthropic import ANTHROPIC
from penstock.providers.openai import COMPATIBLE
from tests.cuts import every_cut

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
KIB = 1024


def measure(parts: list[bytes], dialect: Dialect = COMPATIBLE, *, is_complete: bool = True) -> Metered:
    meter = BodyMeter(dialect)
    for part in parts:
        assert meter.feed(part) is part
    return meter.finish(is_complete=is_complete)


def usage_of(metered: Metered) -> Usage | None:
    return None if metered.reading is None else metered.reading.usage


def answer(content: object = "hi", **members: object) -> bytes:
    return json.dumps(
        {"model": "m-1", "choices": [{"message": {"content": content}}], "usage": USAGE} | members
    ).encode()


def message(tool_input: object, *, usage_first: bool = False) -> bytes:
    content = {"content": [{"type": "tool_use", "input": tool_input}]}
    usage = {"usage": {"input_tokens": 9, "output_tokens": 4}}
    members = usage | content if usage_first else content | usage
    return json.dumps({"type": "message", "model": "m-1"} | members).encode()


def test_a_body_states_usage_and_model() -> None:
    body = answer()
    assert measure([body]) == Metered(
        reading=COMPATIBLE.read_usage(USAGE),
        is_final=True,
        is_complete=True,
        model="m-1",
        bytes_out=len(body),
    )


def test_cutting_a_body_in_two_anywhere_changes_nothing() -> None:
    body = answer("\u00f6\U0001f600")
    whole = measure([body])
    assert all(measure(parts) == whole for parts in every_cut(body))


@pytest.mark.parametrize(
    "body", [b'{"model":"m-1","choices":[]}', b'{"model":"m-1","usage":null}', b'{"model":"m-1","usage":[1]}']
)
def test_a_body_without_usage_states_none(body: bytes) -> None:
    assert measure([body]) == Metered(None, is_final=False, is_complete=True, model="m-1", bytes_out=len(body))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"usage"', b"<html>", answer()[:-1], answer() + b"}", b"\xff", b'{"a":' * 100_000]
)
def test_a_body_that_is_no_json_object_is_flagged(body: bytes) -> None:
    metered = measure([body], is_complete=False)
    assert metered == Metered(
        None, is_final=False, is_complete=False, model=None, bytes_out=len(body), flags=("answer_malformed",)
    )


@pytest.mark.parametrize("broken", [b'"\\ud83d"', b'"\xf0\x9f"', b'"\x01"', b"NaN", b"1e99999999999999999999"])
def test_a_body_whose_text_is_half_broken_still_states_its_usage(broken: bytes) -> None:
    assert usage_of(measure([answer().replace(b'"hi"', broken)])) == Usage(input=9, output=4)


def test_a_senseless_statement_is_flagged() -> None:
    metered = measure([answer(usage=USAGE | {"completion_tokens": -4})])
    assert metered.flags == ("usage_malformed",)
    assert metered.reading is not None
    assert not metered.reading.has_output


LARGE = "x" * (700 * KIB)
HUGE = "x" * (WHOLE_BYTES_MAX + 300 * KIB)


@pytest.mark.parametrize("content", [LARGE, HUGE], ids=["large", "huge"])
@pytest.mark.parametrize("read_bytes", [1000, 64 * KIB, 10 * WHOLE_BYTES_MAX])
def test_a_large_body_states_its_usage_too(content: str, read_bytes: int) -> None:
    body = answer(content)
    metered = measure([body[start : start + read_bytes] for start in range(0, len(body), read_bytes)])
    assert (usage_of(metered), metered.is_final, metered.bytes_out) == (Usage(input=9, output=4), True, len(body))


def test_a_body_that_the_relay_holds_is_read_whole_wherever_its_usage_stands() -> None:
    body = json.dumps({"usage": USAGE, "choices": [LARGE], "model": "m-1"}).encode()
    metered = measure([body])
    assert (usage_of(metered), metered.model) == (Usage(input=9, output=4), "m-1")


def test_of_a_huge_body_the_model_is_known_where_it_stands_near_the_end() -> None:
    body = json.dumps({"data": HUGE, "model": "m-2", "usage": USAGE}).encode()
    assert measure([body]).model == "m-2"
    assert measure([answer(HUGE)]).model is None


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"usage": USAGE, "data": HUGE}).encode(),
        answer(HUGE)[:-1],
        answer(HUGE) + b"}",
        b"x" * (WHOLE_BYTES_MAX + 1),
        b'{"data":"' + HUGE.encode() + b'","usage":7}',
    ],
    ids=["usage first", "cut", "one brace too many", "no json", "a number"],
)
def test_a_huge_body_without_usage_at_its_end_states_none(body: bytes) -> None:
    assert usage_of(measure([body])) is None


FAKE = {"usage": {"input_tokens": 0, "output_tokens": 0}}


@pytest.mark.parametrize("filler", ["x", LARGE, HUGE], ids=["small", "large", "huge"])
@pytest.mark.parametrize("fake", [FAKE, [FAKE] * 20, {"a": [FAKE, {"b": FAKE}]}], ids=["flat", "many", "deep"])
def test_what_a_model_writes_into_a_tools_arguments_is_no_statement(filler: str, fake: object) -> None:
    behind = message([filler, fake])
    before = message([filler, fake], usage_first=True)
    assert usage_of(measure([behind], ANTHROPIC)) == Usage(input=9, output=4)
    assert usage_of(measure([before], ANTHROPIC)) in ((None,) if filler is HUGE else (Usage(input=9, output=4),))


def test_fakes_behind_the_statement_do_not_hide_it() -> None:
    body = json.dumps({"data": HUGE, "usage": USAGE, "extra": [{"usage": {"prompt_tokens": 0}}] * 5}).encode()
    assert usage_of(measure([body])) == Usage(input=9, output=4)


def test_memory_is_bounded_by_what_is_kept() -> None:
    meter = BodyMeter(COMPATIBLE)
    for _ in range(300):
        meter.feed(b"x" * 64 * KIB)
    assert sum(map(len, meter._parts)) <= 512 * KIB + 64 * KIB


@pytest.mark.parametrize(
    ("old", "new", "merged", "flags"),
    [
        (None, {"a": 1}, {"a": 1}, set()),
        ({"a": 1, "b": 2}, {"a": 3}, {"a": 3, "b": 2}, set()),
        ({"a": 3}, {"a": 3}, {"a": 3}, set()),
        ({"a": 3}, {"a": 1}, {"a": 3}, {"usage_decreased"}),
        ({"a": 3}, {"a": None}, {"a": 3}, set()),
        ({}, {"a": None}, {"a": None}, set()),
        ({"a": None}, {"a": 1}, {"a": 1}, set()),
        ({"d": {"a": 1, "b": 2}}, {"d": {"a": 5}}, {"d": {"a": 5, "b": 2}}, set()),
        ({"d": {"a": 5}}, {"d": {"a": 1}}, {"d": {"a": 5}}, {"usage_decreased"}),
        ({"d": {"a": 5}}, {"d": None}, {"d": {"a": 5}}, set()),
        ({"d": {"a": 5}}, {"d": 7}, {"d": {"a": 5}}, {"usage_malformed"}),
        ({"d": 7}, {"d": {"a": 5}}, {"d": 7}, {"usage_malformed"}),
        ({"d": "x"}, {"d": {"a": 5}}, {"d": "x"}, {"usage_malformed"}),
        ({"d": {"e": {"a": 5, "b": 1}}}, {"d": {"e": {"a": 1}}}, {"d": {"e": {"a": 1}}}, set()),
        ({"tier": "default"}, {"tier": "priority"}, {"tier": "priority"}, set()),
        ({"byok": True}, {"byok": False}, {"byok": False}, set()),
        ({"a": 3}, {"a": True}, {"a": 3}, {"usage_malformed"}),
        ({"a": 3}, {"a": "4"}, {"a": 3}, {"usage_malformed"}),
        ({"time": Decimal("0.5")}, {"time": Decimal("0.25")}, {"time": Decimal("0.5")}, {"usage_decreased"}),
        ({"time": Decimal("0.5")}, {"time": 1}, {"time": 1}, set()),
        ({}, {"time": 0, "x_tokens": 0}, {"time": 0, "x_tokens": 0}, set()),
        ({}, {"time": Decimal("NaN")}, {"time": Decimal("NaN")}, {"usage_malformed"}),
        ({"x_tokens": 3}, {"x_tokens": -1}, {"x_tokens": 3}, {"usage_malformed"}),
        ({"x_tokens": 3}, {"x_tokens": "4"}, {"x_tokens": 3}, {"usage_malformed"}),
        ({"x_tokens": 3}, {"x_tokens": True}, {"x_tokens": 3}, {"usage_malformed"}),
        ({"x_tokens": 3}, {"x_tokens": Decimal("4.5")}, {"x_tokens": 3}, {"usage_malformed"}),
        ({"x_tokens": 3}, {"x_tokens": 1_000_000_001}, {"x_tokens": 3}, {"usage_malformed"}),
        ({}, {"x_tokens": -1}, {"x_tokens": -1}, {"usage_malformed"}),
        ({"x_tokens": -1}, {"x_tokens": 3}, {"x_tokens": 3}, set()),
        ({"x_tokens": 2_000_000_000}, {"x_tokens": 3}, {"x_tokens": 3}, set()),
        ({"x_tokens": None}, {"x_tokens": "4"}, {"x_tokens": "4"}, {"usage_malformed"}),
        ({"x_tokens": {"a": 1}}, {"x_tokens": {"a": 2}}, {"x_tokens": {"a": 2}}, set()),
        ({"ticks": 1}, {"ticks": 5_000_000_000}, {"ticks": 5_000_000_000}, set()),
        ({"ticks": 1}, {"ticks": -1}, {"ticks": 1}, {"usage_malformed"}),
    ],
)
def test_a_later_statement_is_laid_over_an_earlier_one(
    old: JsonObject | None, new: JsonObject, merged: JsonObject, flags: set[str]
) -> None:
    result, odd = merge_statements(old, new)
    assert (repr(result), odd) == (repr(dict(merged)), flags)


_STATEMENTS = st.lists(
    st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens"]),
        st.integers(0, 100) | st.integers(-5, 2_000_000_000) | st.sampled_from([None, True, "7", Decimal("1.5")]),
    ),
    max_size=6,
)


@given(_STATEMENTS)
def test_each_field_ends_as_its_largest_sensible_value(statements: list[dict[str, object]]) -> None:
    merged: JsonObject | None = None
    for statement in statements:
        merged, _ = merge_statements(merged, statement)
    for name in {name for statement in statements for name in statement}:
        stated = [statement.get(name) for statement in statements]
        sensible = [n for n in stated if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 1_000_000_000]
        assert merged is not None
        assert not sensible or merged[name] == max(sensible)
