import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.demo.model import calculate, count_tokens, cut, fill, say


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("What is 2 + 2?", "2 + 2 = 4"),
        ("2+2", "2+2 = 4"),
        ("Tell me 12 * 12 please", "12 * 12 = 144"),
        ("7 x 6", "7 x 6 = 42"),
        ("1 + 2 * 3 - 4", "1 + 2 * 3 - 4 = 3"),
        ("9 / 3 / 2 =", "9 / 3 / 2 = 1.5"),
        ("0.1 + 0.2", "0.1 + 0.2 = 0.3"),
        ("1 / 3", "1 / 3 = 0.333333"),
        ("5 / 0", "5 / 0 = undefined"),
        ("3 - 10", "3 - 10 = -7"),
        ("Count to 5.", "1, 2, 3, 4, 5"),
        ("count from 1 to 3", "1, 2, 3"),
    ],
)
def test_knows_sums_and_counting(text: str, answer: str) -> None:
    assert say(text) == answer


@pytest.mark.parametrize("text", ["Hello", "On 2026-11-21 it rained", "3 apples and 4 pears", "+ +", ""])
def test_repeats_what_it_does_not_know(text: str) -> None:
    assert say(text).endswith(f"You said: {text}")


def test_sums_up_what_is_long() -> None:
    answer = say("word " * 500)
    assert "500 words" in answer
    assert len(answer) < 400


@given(st.text())
def test_gives_the_same_answer_to_the_same_text(text: str) -> None:
    assert say(text) == say(text)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("ä€", 2), ("😀", 1)])
def test_counts_a_token_for_every_four_bytes(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


@given(st.text(), st.integers(0, 50))
def test_a_cut_text_is_a_beginning_within_its_tokens(text: str, tokens: int) -> None:
    kept = cut(text, tokens)
    assert text.startswith(kept)
    assert count_tokens(kept) <= tokens
    if count_tokens(text) <= tokens:
        assert kept == text


def test_calculates_exactly() -> None:
    assert calculate("999999999999999 * 999999999999999") == "999999999999998000000000000001"


SCHEMA = {
    "type": "object",
    "$defs": {"City": {"type": "object", "properties": {"name": {"type": "string"}, "zip": {"type": "integer"}}}},
    "properties": {
        "city": {"$ref": "#/$defs/City"},
        "unit": {"enum": ["celsius", "kelvin"]},
        "days": {"type": ["integer", "null"]},
        "exact": {"type": "boolean"},
        "tags": {"type": "array", "items": {"const": "x"}},
        "note": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        "list": {"type": "array"},
    },
}


def test_fills_a_schema() -> None:
    assert fill(SCHEMA, "Weather in Rome for 3 days") == {
        "city": {"name": "Weather in Rome for 3 days", "zip": 3},
        "unit": "celsius",
        "days": 3,
        "exact": True,
        "tags": ["x"],
        "note": None,
        "list": [],
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"type": "object", "properties": {str(number): {"$ref": "#"} for number in range(50)}},
        {"type": "object", "properties": {"x": {"$ref": "#/nowhere/else"}}},
        {"type": "object", "properties": {str(number): {"type": "string"} for number in range(5000)}},
        {"type": 5, "enum": "x", "anyOf": {}},
        {"type": "object", "properties": []},
    ],
    ids=["itself", "itself, many times", "nowhere", "huge", "nonsense", "no properties"],
)
def test_a_schema_cannot_make_it_work_for_ever(schema: dict[str, object]) -> None:
    assert len(json.dumps(fill(schema, "x" * 100_000))) < 400_000
