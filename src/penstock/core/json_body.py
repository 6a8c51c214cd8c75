"""Reading the few fields of a JSON request body that we decide on, and editing it without touching the rest.

What we read must be what the provider will read. Parsers differ in which of two equal keys they keep, and some take a
key in other letters' case for the same, so both are refused where we decide on the key (money.md, "The worst case of a
call"). An edit is spliced in where the key is known to be absent; otherwise the top level is re-encoded and every other
value kept as the very bytes that came.
"""

import codecs
import json
import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Generic, TypeVar

import msgspec

from penstock.core.errors import InvalidJson, InvalidRequest

T = TypeVar("T", bound=msgspec.Struct)
DEPTH_MAX = 64
# The most that is billed as one list is 300,000 token numbers (OpenAI's embeddings); each value costs a microsecond.
MEMBERS_MAX = 400_000
# Nobody has this many fields at the top; each of them is looked at by itself.
_FIELDS_MAX = 1_000
_PIECE_BYTES = 1024 * 1024
# Who repeats keys in a larger body than this is not read a second time to learn which ones.
_REPEATS_BYTES_MAX = 256 * 1024
_STRING = re.compile(rb'"[^"]*"?')
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_NOT_QUOTE_OR_COMMA = bytes(byte for byte in range(256) if byte not in b'",')
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1 as signed bytes
_KEPT_ESCAPES = (rb"\\", rb"\"", rb"\u0022", rb"\u005c", rb"\u005C")
_RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_Fields = dict[str, msgspec.Raw]


class BodyReader(Generic[T]):
    """Reads bodies as one msgspec Struct; its fields, and those of Structs inside it, must not repeat."""

    def __init__(self, struct: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(struct)
        self._keys = _Keys(struct)

    def read(self, body: bytes) -> T:
        """Raises InvalidJson (malformed, too deep, too many values, repeated key) or InvalidRequest (a wrong type)."""
        _check_members(body)
        _check_depth(body)
        try:
            _check_text(body)
            value = self._decoder.decode(body)
            self._keys.check(body)
        except msgspec.ValidationError as exc:
            what, _, path = str(exc).partition(" - at `$")
            path = path.strip(".`")
            raise InvalidRequest(f"{path or 'body'}: {what}", param=path or None) from exc
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise InvalidJson(_where(exc)) from exc
        return value


class _Keys:
    """The keys of one object that we decide on, and the same for the objects inside it that we read."""

    __slots__ = ("_inner", "_names")

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        fields = msgspec.structs.fields(struct)
        self._names = frozenset(field.encode_name for field in fields)
        self._inner = {
            field.encode_name: _Keys(inner)
            for field in fields
            for inner in (field.type, *getattr(field.type, "__args__", ()))
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct)
        }

    def check(self, body: bytes) -> None:
        """Raises InvalidJson for a key of ours that stands twice, or in other letters' case; msgspec.DecodeError."""
        fields = _RAW_OBJECT.decode(body)
        if len(fields) > _FIELDS_MAX:
            raise InvalidJson(f"An object that is decided on has more than {_FIELDS_MAX} keys.")
        for name in fields.keys() - self._names:
            if (ours := name.casefold()) in self._names:
                raise InvalidJson(f"A key differs from {ours!r} in nothing but the case of its letters.", param=ours)
        if not _is_spelled_once(body, fields):
            self._refuse_repeats(body)
        for name, keys in self._inner.items():
            inner = bytes(fields.get(name, b""))
            if inner.startswith(b"{"):
                keys.check(inner)

    def _refuse_repeats(self, body: bytes) -> None:
        if len(body) > _REPEATS_BYTES_MAX:
            raise InvalidJson("A key stands twice in one object, or is written with escapes.")
        try:
            pairs = json.loads(body.decode(), object_pairs_hook=tuple, parse_int=str, parse_float=str)
        except ValueError as exc:
            raise InvalidJson("The body is not valid JSON.") from exc
        seen: set[str] = set()
        for name, _ in pairs:
            if name in self._names and name in seen:
                raise InvalidJson(f"The key {name!r} stands twice in one object.", param=name)
            seen.add(name)


def edit_object(body: bytes, edits: Mapping[str, object]) -> bytes:
    """The JSON object with these top-level keys set; ``body`` is known to parse as an object."""
    if not edits:
        return body
    fields = _RAW_OBJECT.decode(body)
    if fields and not any(name in fields for name in edits):
        start = body.index(b"{") + 1
        return body[:start] + msgspec.json.encode(edits)[1:-1] + b"," + body[start:]
    changed: dict[str, object] = {**fields, **edits}
    return msgspec.json.encode(changed)


def fields_of(body: bytes) -> _Fields:
    """The top-level values of a JSON object as the bytes that came; ``body`` is known to parse as one."""
    return _RAW_OBJECT.decode(body)


def plainly_spelled(body: bytes) -> bytes:
    r"""The body with letters and slashes that stand as escapes written out, only to be searched: ``\u0066`` is ``f``.

    What would end a string or an escape stays as it is, so that a text never looks like a key; what is not Latin-1
    becomes a question mark.
    """
    if rb"\/" not in body and rb"\u00" not in body:
        return body
    for escape in _KEPT_ESCAPES:
        body = body.replace(escape, escape.replace(b"\\", rb"\\"))
    return body.replace(rb"\/", b"/").decode("unicode_escape", "replace").encode("latin-1", "replace")


def _is_spelled_once(body: bytes, fields: _Fields) -> bool:
    """Whether the object holds each of its keys once and without escapes.

    No key can be written shorter than its own letters in quotes, and beside keys and values an object has only braces,
    colons, commas and whitespace. If it is any longer, something was said twice or disguised.
    """
    keys, values = [key.encode() for key in fields], [bytes(value) for value in fields.values()]
    brackets = 4 * len(fields) + 1 if fields else 2  # two quotes, a colon, and a comma or brace for each; the brace
    spare = len(body) - brackets - sum(map(len, keys)) - sum(map(len, values))
    return spare == 0 or spare == _spaces(body) - sum(map(_spaces, keys)) - sum(map(_spaces, values))


def _spaces(data: bytes) -> int:
    return data.count(b" ") + data.count(b"\n") + data.count(b"\t") + data.count(b"\r")


def _check_depth(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return
    # Whatever it holds, this reads the body a fixed number of times; a pair of quotes without brackets says nothing.
    structure = body.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    steps = _STRING.sub(b"", structure).translate(_STEPS)
    if b"\x01" * (DEPTH_MAX + 1) in steps or max(accumulate(memoryview(steps).cast("b")), default=0) > DEPTH_MAX:
        raise InvalidJson(f"The body is deeper than {DEPTH_MAX} levels.")


def _check_members(body: bytes) -> None:
    if body.count(b",") <= MEMBERS_MAX:
        return
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NOT_QUOTE_OR_COMMA)
    # A text is a value or the key of one, so that no more than two belong to each value.
    has_many_texts = plain.count(b'"') > 4 * MEMBERS_MAX
    if has_many_texts or _STRING.sub(b"", plain.replace(b'""', b"")).count(b",") > MEMBERS_MAX:
        raise InvalidJson(f"The body has more than {MEMBERS_MAX} values.")


def _check_text(body: bytes) -> None:
    """Raises UnicodeDecodeError. A provider that mends broken text makes three bytes of one, and tokens of those."""
    if body.isascii():
        return
    decoder, pieces = codecs.getincrementaldecoder("utf-8")(), memoryview(body)
    for start in range(0, len(body), _PIECE_BYTES):
        decoder.decode(pieces[start : start + _PIECE_BYTES])
    decoder.decode(b"", final=True)


def _where(exc: Exception) -> str:
    match = re.search(r"\(byte (\d+)\)", str(exc))
    return f"The body is not valid JSON (byte {match[1]})." if match else "The body is not valid JSON."
