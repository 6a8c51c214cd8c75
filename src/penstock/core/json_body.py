"""Reading the few fields of a JSON request body that we decide on, and editing it without touching the rest.

What we read must be what the provider will read. Parsers differ in which of two equal keys they keep, so a repeated key
that we decide on is refused, also when it is spelled with escapes (money.md, "The worst case of a call"). An edit is
spliced in where the key is known to be absent; otherwise the top level is re-encoded and every other value kept as the
very bytes that came.
"""

import json
import re
from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from penstock.core.errors import InvalidJson, InvalidRequest

T = TypeVar("T", bound=msgspec.Struct)
DEPTH_MAX = 64
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
# Encoders escape control characters, <, >, & and non-ASCII, never letters: only a disguised key needs these.
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class BodyReader(Generic[T]):
    """Reads bodies as one msgspec Struct; the Struct's fields, nested ones too, are those that must not repeat."""

    def __init__(self, struct: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(struct)
        self._names = frozenset(_field_names(struct))
        self._needles = tuple(f'"{name}"'.encode() for name in self._names)

    def read(self, body: bytes) -> T:
        """Raises InvalidJson (malformed, too deep, repeated key) or InvalidRequest (a field of the wrong type)."""
        _check_depth(body)
        try:
            value = self._decoder.decode(body)
        except msgspec.ValidationError as exc:
            match = _PATH.match(str(exc))
            what, path = (match["what"], match["path"]) if match else ("wrong type", None)
            raise InvalidRequest(f"{path or 'body'}: {what}", param=path or None) from exc
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise InvalidJson(_where(exc)) from exc
        if any(body.count(needle) > 1 for needle in self._needles) or _ESCAPED_LETTER.search(body):
            self._refuse_repeats(body)
        return value

    def _refuse_repeats(self, body: bytes) -> None:
        def check(pairs: list[tuple[str, object]]) -> None:
            seen = set()
            for name, _ in pairs:
                if name in self._names and name in seen:
                    raise InvalidJson(f"The key {name!r} stands twice in one object.", param=name)
                seen.add(name)

        json.loads(body, object_pairs_hook=check)


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


def _check_depth(body: bytes) -> None:
    # Each pass removes the innermost brackets, in C: what is left after 64 passes is deeper than 64, or does not pair.
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    for _ in range(DEPTH_MAX):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise InvalidJson(f"The body is not JSON, or deeper than {DEPTH_MAX} levels.")


def _where(exc: Exception) -> str:
    match = re.search(r"\(byte (\d+)\)", str(exc))
    return f"The body is not valid JSON (byte {match[1]})." if match else "The body is not valid JSON."


def _field_names(struct: type[msgspec.Struct]) -> list[str]:
    names: list[str] = []
    for field in msgspec.structs.fields(struct):
        names.append(field.encode_name)
        for nested in (field.type, *getattr(field.type, "__args__", ())):
            if isinstance(nested, type) and issubclass(nested, msgspec.Struct):
                names.extend(_field_names(nested))
    return names
