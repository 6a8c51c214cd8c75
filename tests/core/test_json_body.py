import json
import time
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidJson, InvalidRequest
from penstock.core.json_body import BodyReader, edit_object, fields_of, plainly_spelled


class Inner(msgspec.Struct):
    include: bool | None = None


class Body(msgspec.Struct):
    model: str
    n: int | None = None
    best_of: int | None = None
    options: Inner | None = None
    tools: list[msgspec.Raw] | None = None


READER = BodyReader(Body)


def test_the_fields_that_are_asked_for_are_read_and_others_ignored() -> None:
    body = b'{ "x": {"model": 1}, "model": "m", "n": 2, "options": {"include": true, "y": [1]}, "tools": [{}] }'
    asked = READER.read(body)
    assert (asked.model, asked.n, asked.options) == ("m", 2, Inner(include=True))


def test_a_key_with_escapes_is_the_key() -> None:
    assert READER.read(b'{"\\u006d\\u006Fdel":"m","a\\/b":1}').model == "m"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"nonsense",
        b'{"model":"m"',
        b'{"model":"m"} x',
        b'{"model":"m",}',
        b"{'model':'m'}",
        b'\xef\xbb\xbf{"model":"m"}',
        '{"model":"m"}'.encode("utf-16"),
        b'{"model":"\xff"}',
        b'{"model":"\\ud800"}',
        b'{"model":"m","\xff":1}',
        b'{"model":"m","\\udc00":1}',
        b'{"model":"m","x":"\\ud800"}',
        b'{"model":"m","x":NaN}',
        b'{"model":"m","x":-Infinity}',
        b'{"model":"m","x":01}',
        b'{"model":"m","x":"\x01"}',
        b'{"model":"m","x":"\\x"}',
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson, match="not valid JSON"):
        READER.read(body)


def test_the_position_is_said_and_the_content_is_not() -> None:
    with pytest.raises(InvalidJson) as caught:
        READER.read(b'{"model":"m","secret":hunter2}')
    assert caught.value.message == "The body is not valid JSON (byte 22)."


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (b"[]", None, "body: Expected `object`, got `array`"),
        (b'"' + b"[" * 500 + b'"', None, "body: Expected `object`, got `str`"),
        (b"{}", None, "body: Object missing required field `model`"),
        (b'{"model":7}', "model", "model: Expected `str`, got `int`"),
        (b'{"model":null}', "model", "model: Expected `str`, got `null`"),
        (b'{"model":"m","n":true}', "n", "n: Expected `int | null`, got `bool`"),
        (b'{"model":"m","n":"1"}', "n", "n: Expected `int | null`, got `str`"),
        (b'{"model":"m","n":1.0}', "n", "n: Expected `int | null`, got `float`"),
        (b'{"model":"m","n":' + b"9" * 5000 + b"}", "n", "n: Integer value out of range"),
        (
            b'{"model":"m","options":{"include":1}}',
            "options.include",
            "options.include: Expected `bool | null`, got `int`",
        ),
    ],
)
def test_a_field_of_the_wrong_type_is_named(body: bytes, param: str | None, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        READER.read(body)
    assert (caught.value.param, caught.value.message) == (param, message)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"model":"a","model":"a"}', "model"),
        (b'{"model":"a","mod\\u0065l":"b"}', "model"),
        (b'{"mo\\u0064el":"a","mod\\u0065l":"b"}', "model"),
        (b'{ "model" : "a" ,\n\t"n": 1,\r\n "n" : 1 }', "n"),
        (b'{"model":"a","n":1,"x":{"n":2},"n":null}', "n"),
        (b'{"model":"a","best_of":1,"best\\u005fof":2}', "best_of"),
        (b'{"model":"a","options":{"include":true,"include":false}}', "include"),
        (b'{"model":"a","options":{"include":true,"\\u0069nclude":false}}', "include"),
        (b'{"model":"a","options":null,"options":{}}', "options"),
        (b'{"model":"a","n":1,"n":' + b"1" * 5000 + b"}", None),
    ],
)
def test_a_key_that_we_decide_on_must_not_repeat(body: bytes, param: str | None) -> None:
    with pytest.raises((InvalidJson, InvalidRequest)) as caught:
        READER.read(body)
    assert param is None or (type(caught.value), caught.value.param) == (InvalidJson, param)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","temperature":1,"temperature":2}',
        b'{"model":"a","temperature":1,"temper\\u0061ture":2}',
        b'{"model":"a","x":{"model":1,"model":2}}',
        b'{"model":"a","tools":[{"n":1},{"n":2}]}',
        b'{"model":"a","options":{"y":1,"y":2}}',
        b'{"model":"a","x":"\\"model\\":\\"b\\"","y":"model"}',
        b'{"model":"a","x":' + b"1" * 5000 + b',"x":1e999999999}',
        b'{"model":"a","a b\\n":1,"\\u00e9":"\\ud83d\\ude00"}',
    ],
)
def test_what_we_do_not_decide_on_may_repeat(body: bytes) -> None:
    assert READER.read(body).model == "a"


def test_a_repetition_behind_broken_text_is_no_json_either() -> None:
    with pytest.raises(InvalidJson):
        READER.read(b'{"model":"a","model":"b","x":"\xff"}')


@pytest.mark.parametrize("key", [b"Model", b"MODEL", b"mo\\u0044el", b"Best_Of", b"N", b"option\xc5\xbf"])
def test_a_key_in_other_letters_case_is_refused(key: bytes) -> None:
    # Go's decoder takes it for the same key; U+017F is an s to it.
    with pytest.raises(InvalidJson, match="case"):
        READER.read(b'{"model":"a","' + key + b'":1}')


def test_inside_other_objects_keys_may_be_written_as_one_likes() -> None:
    assert READER.read(b'{"model":"a","tools":[{"Model":1}],"x":{"N":2}}').model == "a"


def test_a_large_body_with_a_suspicious_key_is_not_read_twice() -> None:
    with pytest.raises(InvalidJson, match="twice"):
        READER.read(b'{"model":"a","x":1,"x":2,"y":"' + b"y" * 300_000 + b'"}')


@pytest.mark.parametrize("indent", [None, 1])
def test_a_large_body_without_one_is_read(indent: int | None) -> None:
    body = json.dumps({"a b": ["x y"] * 100_000, "model": "m", "é": None}, indent=indent, ensure_ascii=False)
    assert READER.read(body.encode()).model == "m"


_SPELLING = st.sampled_from(["plain", "escaped"])
_MEMBER = st.tuples(
    st.sampled_from(["model", "n", "x", "é", "a b", 'q"\\', "\n"]),
    _SPELLING,
    st.sampled_from(["1", '"t x"', "{ }", '{"n": 1, "n":2}', "[1, 2]", "null"]),
    st.sampled_from(["", " ", "\n\t "]),
)


def _written(members: list[tuple[str, str, str, str]]) -> bytes:
    parts = []
    for key, spelling, value, space in members:
        plain = json.dumps(key, ensure_ascii=False)
        text = plain if spelling == "plain" else '"' + "".join(f"\\u{ord(letter):04x}" for letter in key) + '"'
        parts.append(f"{space}{text}{space}:{value}{space}")
    return ("{" + ",".join(parts) + "}").encode()


@given(st.lists(_MEMBER, max_size=7))
def test_exactly_the_repetitions_of_our_keys_are_refused(members: list[tuple[str, str, str, str]]) -> None:
    ours = [key for key, *_ in members if key in ("model", "n")]
    reader = BodyReader(Loose)
    if len(ours) == len(set(ours)):
        reader.read(_written(members))
    else:
        with pytest.raises(InvalidJson, match="twice"):
            reader.read(_written(members))


class Loose(msgspec.Struct):
    model: object = None
    n: object = None


def deep(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    """A body of that many levels, its own braces counted."""
    half = levels - 1
    inner = (opening * half)[: len(opening) * half] + b"1" + (closing * half)
    return b'{"model":"m","x":' + inner + b"}"


MIXED = (b'[{"k":', b"}]")


@pytest.mark.parametrize(
    ("body", "is_read"),
    [
        (deep(64), True),
        (deep(63)[:-1] + b',"y":[[]],"z":[]}', True),
        (deep(64)[:-1] + b',"y":[[]],"z":[]}', True),
        (deep(65), False),
        (deep(64, b'{"k":', b"}"), True),
        (deep(65, b'{"k":', b"}"), False),
        (b'{"model":"m","x":' + MIXED[0] * 31 + b"[1]" + MIXED[1] * 31 + b"}", True),
        (b'{"model":"m","x":' + MIXED[0] * 32 + b"1" + MIXED[1] * 32 + b"}", False),
        (b'{"model":"m","x":[' + b"[]," * 500 + b"1]}", True),
        (b'{"model":"m","x":"' + b"[" * 500 + b'"}', True),
        (b'{"model":"m","x":"\\\\\\"' + b"{" * 500 + b'"}', True),
        (b'{"model":"m","x":["\\\\",' + b"[" * 64 + b"1" + b"]" * 64 + b"]}", False),
        (b'{"model":"m","x":["",' + b'"[]",' * 100 + b'""]}', True),
        (b'{"model":"m","x":"' + b"]" * 500 + b'","y":' + b"[" * 64 + b"]" * 64 + b"}", False),
    ],
)
def test_64_levels_are_read_and_65_are_not(body: bytes, *, is_read: bool) -> None:
    if is_read:
        assert READER.read(body).model == "m"
    else:
        with pytest.raises(InvalidJson, match="deeper than 64"):
            READER.read(body)


_BRACKETS = st.text('[]{}"\\a', max_size=3)
_NESTED = st.recursive(
    _BRACKETS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_BRACKETS, inner, max_size=3), max_leaves=30
)


@given(_NESTED, st.integers(55, 64))
def test_brackets_inside_texts_are_no_levels(value: object, levels: int) -> None:
    body = b'{"model":"m","x":' + b"[" * levels + json.dumps(value).encode() + b"]" * levels + b"}"
    if 1 + levels + _levels(value) <= 64:
        assert READER.read(body).model == "m"
    else:
        with pytest.raises(InvalidJson, match="deeper"):
            READER.read(body)


def _levels(value: object) -> int:
    if isinstance(value, list | dict):
        inner = value if isinstance(value, list) else list(value.values())
        return 1 + max(map(_levels, inner), default=0)
    return 0


MIB = 1024 * 1024


@pytest.mark.parametrize(
    "body",
    [
        b"[" * (32 * MIB),
        b"{" * (32 * MIB),
        b'{"a":' * (6 * MIB),
        b"[" * 65 + b'"' + b'\\"' * (15 * MIB),
        b'{"a":' * 65 + b'"' * (31 * MIB),
        b"\\" * (16 * MIB) + b"[" * (16 * MIB),
    ],
    ids=["lists", "objects", "keys", "escaped quotes", "quotes", "backslashes"],
)
def test_no_large_nonsense_takes_long_to_refuse(body: bytes) -> None:
    started_s = time.process_time()
    with pytest.raises(InvalidJson):
        READER.read(body)
    # Two tenths of a second here; what grows with the square of the length takes minutes.
    assert time.process_time() - started_s < 5


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","x":[' + b"1," * 400_001 + b"1]}",
        b'{"model":"m","tools":[' + b"{}," * 10_000_000 + b"{}]}",
        b'{"model":"m","x":[' + b'"a,",' * 6_000_000 + b'""]}',
        b"{" + b",".join(b'"k%d":1' % number for number in range(2_000_000)) + b',"model":"m"}',
        b'{"model":"m",' + b",".join(b'"k%d":1' % number for number in range(1_001)) + b"}",
    ],
    ids=["numbers", "tools", "texts", "keys", "keys at the top"],
)
def test_a_body_of_very_many_values_is_refused_before_they_are_read(body: bytes) -> None:
    started_s = time.process_time()
    with pytest.raises(InvalidJson, match="more than"):
        READER.read(body)
    # A tenth of a second here; reading them took eight.
    assert time.process_time() - started_s < 2


def test_commas_inside_texts_are_no_values() -> None:
    assert READER.read(b'{"model":"m","x":["' + b'\\",' * 500_000 + b'"]}').model == "m"


def test_a_large_body_of_escapes_is_spelled_out_soon() -> None:
    started_s = time.process_time()
    assert plainly_spelled(b'"' + b"\\u0061" * (5 * MIB) + b'"') == b'"' + b"a" * (5 * MIB) + b'"'
    # Three tenths of a second here; one by one it took six.
    assert time.process_time() - started_s < 2


@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"a" * MIB + b"\xe2\x82"])
def test_broken_text_is_refused_wherever_it_stands(text: bytes) -> None:
    with pytest.raises(InvalidJson):
        READER.read(b'{"model":"m","x":"' + text + b'"}')


def test_whole_text_is_read_wherever_it_is_cut() -> None:
    assert READER.read(b'{"model":"m","x":"' + "\U0001f600".encode() * MIB + b'"}').model == "m"


def test_what_needs_no_edit_is_the_very_body() -> None:
    body = b' { "model" : "m" } '
    assert edit_object(body, {}) is body


@pytest.mark.parametrize(
    ("body", "edits", "edited"),
    [
        (b'{"a":1}', {"n": 2}, b'{"n":2,"a":1}'),
        (
            b' \n{ "a" : 1.0e5 , "b":"\\u0041" }',
            {"n": 2, "m": "x"},
            b' \n{"n":2,"m":"x", "a" : 1.0e5 , "b":"\\u0041" }',
        ),
        (b"{}", {"n": 2}, b'{"n":2}'),
        (b'{"a":1.0e5,"n":1,"b":[1 , 2]}', {"n": 2}, b'{"a":1.0e5,"n":2,"b":[1 , 2]}'),
        (b'{"a":1,"\\u006e":1}', {"n": 2}, b'{"a":1,"n":2}'),
        (b'{"n":null}', {"n": 2}, b'{"n":2}'),
    ],
)
def test_an_edit_touches_nothing_else(body: bytes, edits: Mapping[str, object], edited: bytes) -> None:
    assert edit_object(body, edits) == edited


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(["model", "n", "x", "é", ""])
_ENCODERS = [
    json.JSONEncoder(indent=indent, ensure_ascii=is_ascii) for indent in (None, 1) for is_ascii in (True, False)
]


@given(st.dictionaries(_KEYS, _JSON), st.dictionaries(_KEYS, _JSON), st.sampled_from(_ENCODERS))
def test_an_edited_body_means_what_a_re_encoded_one_means(
    value: dict[str, object], edits: dict[str, object], encoder: json.JSONEncoder
) -> None:
    body = encoder.encode(value).encode()
    edited = edit_object(body, edits)
    assert json.loads(edited) == value | edits
    before, after = fields_of(body), fields_of(edited)
    assert all(bytes(after[name]) == bytes(before[name]) for name in before.keys() - edits.keys())


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        (b'{"a":"b"}', b'{"a":"b"}'),
        (b'"\\u0066ile"', b'"file"'),
        (b'"application\\/pdf"', b'"application/pdf"'),
        (b'"base\\u00364\\u005f\\u002F"', b'"base64_/"'),
        (b'"\\u0022file\\u0022 \\u005c\\u005C"', b'"\\u0022file\\u0022 \\u005c\\u005C"'),
        (b'"\\u00e9\\u0000\\u0141"', b'"\xe9\x00?"'),
        (b'"\\\\u0066ile \\"file\\""', b'"\\\\u0066ile \\"file\\""'),
        (b'"\\/ \\\\\\u0022file\\u0022"', b'"/ \\\\\\u0022file\\u0022"'),
    ],
)
def test_disguised_letters_are_searched_as_what_they_are(body: bytes, plain: bytes) -> None:
    assert plainly_spelled(body) == plain
