"""A meter watches an answer go by and ends with what the provider stated about it.

It works on bytes and decodes JSON only where the dialect's usage key stands: JSON's escaping keeps a user's text from
faking that key inside a string, and only the top level of an event or answer is believed. A later statement replaces an
earlier one field by field, never adds to it; a value that shrinks or makes no sense keeps its earlier reading and is
flagged (money.md, "What an answer costs"). A fault in metering never touches the bytes: what ``feed`` returns is what
it was given, but for the one usage event that only we had asked for.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeGuard

import msgspec

from penstock.core.provider import Dialect, Endpoint, JsonObject, Reading
from penstock.core.sse import EVENT_BYTES_MAX, EventScanner, event_data
from penstock.core.usage import count

# A body up to this size is held by the relay anyway, and kept here as the same bytes; of a larger one only the end.
WHOLE_BYTES_MAX = 4 * 1024 * 1024
_TAIL_BYTES = 256 * 1024
# No statement is this large: a longer value is an answer's content, which tells us nothing.
_VALUE_BYTES_MAX = 64 * 1024
# Of so many places where a body's end has the key of its top level, one is the top level's.
_PLACES_MAX = 8
# Statements hold objects in one level; what is deeper is taken as it comes.
_LEVELS_MAX = 2


@dataclass(frozen=True, slots=True)
class Metered:
    """What is known of an answer once it has ended.

    ``is_complete``: the stream's last event, or a whole JSON body, was seen. ``is_final``: the statement belongs to
    the end of the output, so nothing that was delivered is missing from it. ``ends_event``: the stream's last event has
    its blank line, so that what we add behind it stands alone.
    """

    reading: Reading | None
    is_final: bool
    is_complete: bool
    model: str | None
    bytes_out: int
    flags: tuple[str, ...] = ()
    has_error_event: bool = False
    ends_event: bool = True


class StreamMeter:
    """For an event stream. With ``drops_usage`` bytes leave at event boundaries, without the usage event."""

    __slots__ = (
        "_dialect", "_drops_usage", "_end", "_error_seen", "_flags", "_is_complete", "_is_final", "_is_last_word",
        "_model", "_scanner", "_statement", "_usage_pattern", "bytes_out",
    )  # fmt: skip

    def __init__(self, dialect: Dialect, endpoint: Endpoint, *, drops_usage: bool) -> None:
        self._dialect = dialect
        self._end = endpoint.stream_end
        self._drops_usage = drops_usage
        self._usage_pattern = _usage_pattern(dialect)
        self._scanner = EventScanner()
        self._statement: JsonObject | None = None
        self._model: str | None = None
        self._is_final = self._is_last_word = self._is_complete = self._error_seen = False
        self._flags: set[str] = set()
        self.bytes_out = 0

    @property
    def is_complete(self) -> bool:
        """Whether the last event of the stream has gone by."""
        return self._is_complete

    def feed(self, data: bytes) -> bytes:
        """Take what the provider sent; returns what to relay now."""
        self.bytes_out += len(data)
        # Most reads are whole events of plain text: three searches instead of cutting and decoding them.
        if (
            self._scanner.is_between_events
            and self._model is not None
            and data.endswith(b"\n\n")
            and not self._is_telling(data)
        ):
            self._is_last_word = False
            return data
        kept = [event for event in self._scanner.feed(data) if not self._watch(event)]
        return b"".join(kept) if self._drops_usage else data

    def finish(self) -> tuple[bytes, Metered]:
        """The rest to relay, and the result. A last event without its blank line is metered all the same."""
        rest = self._scanner.take_rest()
        is_dropped = self._watch(rest)
        # OpenRouter states usage in one more chunk behind the end of the output, with a choice that has not ended.
        is_final = self._is_final or (self._is_last_word and self._is_complete)
        metered = Metered(
            reading=None if self._statement is None else self._dialect.read_usage(self._statement),
            is_final=is_final,
            is_complete=self._is_complete,
            model=self._model,
            bytes_out=self.bytes_out,
            flags=tuple(sorted(self._flags)),
            has_error_event=self._error_seen,
            ends_event=not rest or rest.endswith((b"\r\r", b"\n\r")),  # A last CR may be all of its line end.
        )
        return (rest if self._drops_usage and not is_dropped else b""), metered

    def _is_telling(self, data: bytes) -> bool:
        return (
            (self._dialect.usage_key in data and self._usage_pattern.search(data) is not None)
            or (self._end is not None and self._end in data)
            or b'"error"' in data
        )

    def _watch(self, event: bytes) -> bool:
        """Learn from one event; returns whether it is the usage event that only we asked for."""
        if self._model is not None and not self._is_telling(event):
            self._is_last_word = self._is_last_word and b"data:" not in event
            return False
        data = event_data(event)
        if data == self._end:
            self._is_complete = True
        elif (value := _decode_object(data)) is not None:
            return self._learn(value)
        elif data and event.endswith((b"\n", b"\r")):  # one without its line's end was cut off, which says enough
            self._flags.add("event_malformed")
        return False

    def _learn(self, value: JsonObject) -> bool:
        is_end = self._end is not None and value.get("type") == self._end.decode()
        self._is_complete = self._is_complete or is_end
        self._model = self._dialect.find_model(value) or self._model
        is_error = self._dialect.is_error_event(value)
        self._error_seen = self._error_seen or is_error
        statement = self._dialect.find_usage(value)
        if statement is None:
            self._is_last_word = self._is_last_word and is_end
            return False
        self._statement, flags = merge_statements(self._statement, statement, revised=self._dialect.revised_counts)
        self._flags |= flags
        self._is_final, self._is_last_word = self._dialect.is_final(value), True
        # Without an event that marks the end, a stream is complete once a statement has counted the whole output.
        self._is_complete = self._is_complete or (self._end is None and self._is_final)
        is_only_usage = value.get("choices") == [] and isinstance(value.get("usage"), Mapping) and not is_error
        return self._drops_usage and is_only_usage


class BodyMeter:
    """For an answer that is one JSON document; of one above ``WHOLE_BYTES_MAX`` only the end is kept and searched."""

    __slots__ = ("_dialect", "_is_whole", "_parts", "_size", "bytes_out")

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._parts: list[bytes] = []
        self._size = 0
        self._is_whole = True
        self.bytes_out = 0

    def feed(self, data: bytes) -> bytes:
        """Take what the provider sent; returns it."""
        self.bytes_out += len(data)
        self._parts.append(data)
        self._size += len(data)
        if self._size > (WHOLE_BYTES_MAX if self._is_whole else 2 * _TAIL_BYTES):
            tail = b"".join(self._parts)[-_TAIL_BYTES:]
            self._parts, self._size, self._is_whole = [tail], len(tail), False
        return data

    def finish(self, *, is_complete: bool) -> Metered:
        """The result; ``is_complete``: the body ended as its framing promised."""
        body = b"".join(self._parts)
        longest = self._dialect.value_bytes_max
        value = _decode_object(body, longest) if self._is_whole else _find_at_end(self._dialect, body)
        if value is None:
            return Metered(None, False, is_complete, None, self.bytes_out, ("answer_malformed",))
        statement = self._dialect.find_usage(value)
        merged, flags = merge_statements(None, statement) if statement is not None else (None, set[str]())
        return Metered(
            reading=None if merged is None else self._dialect.read_usage(merged),
            is_final=merged is not None,
            is_complete=is_complete,
            model=self._dialect.find_model(value),
            bytes_out=self.bytes_out,
            flags=tuple(sorted(flags)),
        )


def merge_statements(
    old: JsonObject | None, new: JsonObject, levels: int = _LEVELS_MAX, *, revised: Collection[str] = ()
) -> tuple[dict[str, object], set[str]]:
    """Lay a statement over an earlier one: the last of each field wins, but never a senseless count.

    A smaller one counts only of those that the provider itself is known to revise.
    """
    merged: dict[str, object] = dict(old or {})
    flags: set[str] = set()
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(value, Mapping) and levels > 1 and (before is None or isinstance(before, Mapping)):
            merged[name], odd = merge_statements(before, value, levels - 1, revised=revised)
        elif name in revised and before is not None and count(value) is not None:
            merged[name], odd = value, set()
        else:
            merged[name], odd = _later(name, before, value)
        flags |= odd
    return merged, flags


def _later(name: str, before: object, value: object) -> tuple[object, set[str]]:
    """The value that counts of two, and what is odd about the later one.

    A senseless value stays where it is the first: the dialect must see that there is none to rely on.
    """
    if value is None:
        return before, set()
    if not _is_sensible(name, value):
        return (value if before is None else before), {"usage_malformed"}
    if before is None or not _is_sensible(name, before):
        return value, set()
    if _is_number(before) is not _is_number(value) or isinstance(before, Mapping) is not isinstance(value, Mapping):
        return before, {"usage_malformed"}
    if _is_number(before) and _is_number(value) and value < before:
        return before, {"usage_decreased"}
    return value, set()


def _is_number(value: object) -> TypeGuard[int | Decimal]:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _is_sensible(name: str, value: object) -> bool:
    """Tokens are counts; any other number must be finite and not below 0. A cost in small coin may pass 1e9."""
    if name.endswith("tokens") and not isinstance(value, Mapping):
        return count(value) is not None
    return not _is_number(value) or (Decimal(value).is_finite() and value >= 0)


def _decode_object(data: bytes, value_bytes_max: int = EVENT_BYTES_MAX) -> dict[str, object] | None:
    """The values of a JSON object but for the longer ones, which are no statement; None if it is no object."""
    try:
        fields = _FIELDS.decode(data)
        return {name: _VALUE.decode(raw) for name, raw in fields.items() if len(bytes(raw)) <= value_bytes_max}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_leniently(data)


def _decode_leniently(data: bytes) -> dict[str, object] | None:
    """The same where only a text is broken: half a character, a lone surrogate, NaN. Such an answer costs no less."""
    try:
        value = _LENIENT.decode(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return Decimal("NaN")


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_VALUE = msgspec.json.Decoder(float_hook=_decimal)
_LENIENT = json.JSONDecoder(parse_float=_decimal, parse_constant=_decimal, strict=False)


def _find_at_end(dialect: Dialect, tail: bytes) -> dict[str, object] | None:
    """Usage and model of a document of which only the end is there; None without usage at its top level."""
    statement = _members_from(dialect.usage_key, tail)
    return None if statement is None else {**(_members_from(b'"model"', tail) or {}), **statement}


def _members_from(key: bytes, tail: bytes) -> dict[str, object] | None:
    """The members of the outermost object from the last of that key on.

    Behind a brace of our own only what belongs to the outermost object is whole again: a key further inside leaves a
    closing bracket too many. So what a model writes into the arguments of a tool is never taken for a statement.
    """
    start = len(tail)
    for _ in range(_PLACES_MAX):
        start = tail.rfind(key, 0, start)
        if start < 0:
            return None
        members = _decode_object(b"{" + tail[start:], _VALUE_BYTES_MAX)
        if members is not None:
            return members
    return None


def _usage_pattern(dialect: Dialect) -> re.Pattern[bytes]:
    return re.compile(re.escape(dialect.usage_key) + rb"\s*:\s*\{")
