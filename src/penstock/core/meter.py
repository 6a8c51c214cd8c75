"""A meter watches an answer go by and ends with what the provider stated about it.

It works on bytes and decodes JSON only where the dialect's usage key stands: JSON's escaping keeps a user's text from
faking that key inside a string. A later statement replaces an earlier one field by field, never adds to it; a value
that shrinks keeps its larger reading and is flagged (money.md, "What an answer costs"). A fault in metering never
touches the bytes: what ``feed`` returns is what it was given, but for the one usage event that only we had asked for.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from penstock.core.provider import Dialect, Endpoint, JsonObject, Reading
from penstock.core.sse import EventScanner, event_data
from penstock.core.usage import COUNT_MAX

_TAIL_BYTES = 256 * 1024
_ANY_JSON = msgspec.json.Decoder(float_hook=Decimal)
_OBJECT_SCANNER = json.JSONDecoder(parse_float=Decimal)


@dataclass(frozen=True, slots=True)
class Metered:
    """What is known of an answer once it has ended.

    ``is_complete``: the stream's last event, or a whole JSON body, was seen. ``is_final``: the statement belongs to
    the end of the output, so nothing that was delivered is missing from it.
    """

    reading: Reading | None
    is_final: bool
    is_complete: bool
    model: str | None
    bytes_out: int
    flags: tuple[str, ...] = ()
    has_error_event: bool = False


class StreamMeter:
    """For an event stream. With ``drops_usage`` bytes leave at event boundaries, without the usage event."""

    __slots__ = (
        "_dialect", "_drops_usage", "_end", "_error_seen", "_flags", "_is_complete", "_is_final", "_model",
        "_scanner", "_statement", "_usage_pattern", "bytes_out",
    )  # fmt: skip

    def __init__(self, dialect: Dialect, endpoint: Endpoint, *, drops_usage: bool) -> None:
        self._dialect = dialect
        self._end = endpoint.stream_end
        self._drops_usage = drops_usage
        self._usage_pattern = _usage_pattern(dialect)
        self._scanner = EventScanner()
        self._statement: JsonObject | None = None
        self._model: str | None = None
        self._is_final = self._is_complete = self._error_seen = False
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
        if not self._scanner.tail and self._model is not None and data.endswith(b"\n\n") and not self._is_telling(data):
            return data
        events = self._scanner.feed(data)
        kept = [event for event in events if not self._watch(event)]
        return b"".join(kept) if self._drops_usage else data

    def finish(self) -> tuple[bytes, Metered]:
        """The rest to relay, and the result. A last event without its blank line is metered all the same."""
        rest, self._scanner.tail = self._scanner.tail, b""
        is_dropped = bool(rest) and self._watch(rest)
        metered = Metered(
            reading=None if self._statement is None else self._dialect.read_usage(self._statement),
            is_final=self._is_final,
            is_complete=self._is_complete or (self._end is None and self._is_final),
            model=self._model,
            bytes_out=self.bytes_out,
            flags=tuple(sorted(self._flags)),
            has_error_event=self._error_seen,
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
            return False
        data = event_data(event)
        if data == self._end:
            self._is_complete = True
            return False
        value = _decode_object(data)
        if value is None:
            return False
        if self._end is not None and value.get("type") == self._end.decode():
            self._is_complete = True
        self._model = self._dialect.find_model(value) or self._model
        self._error_seen = self._error_seen or self._dialect.is_error_event(value)
        statement = self._dialect.find_usage(value)
        if statement is None:
            return False
        self._statement, flags = merge_statements(self._statement, statement)
        self._flags |= flags
        self._is_final = self._dialect.is_final(value)
        return self._drops_usage and value.get("choices") == []


class BodyMeter:
    """For an answer that is one JSON document; of one above ``_TAIL_BYTES`` only the end is kept and searched."""

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
        if self._size > 2 * _TAIL_BYTES and len(self._parts) > 1:
            tail = b"".join(self._parts)[-_TAIL_BYTES:]
            self._parts, self._size, self._is_whole = [tail], len(tail), False
        return data

    def finish(self, *, is_complete: bool) -> Metered:
        """The result; ``is_complete``: the body ended as its framing promised."""
        body = b"".join(self._parts)
        value = _decode_object(body) if self._is_whole else _last_statement(self._dialect, body)
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


def merge_statements(old: JsonObject | None, new: JsonObject) -> tuple[dict[str, object], set[str]]:
    """Lay a statement over an earlier one: the last value of each field wins, but never a smaller or senseless count."""
    merged: dict[str, object] = dict(old or {})
    flags: set[str] = set()
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(value, Mapping):
            merged[name], nested = merge_statements(before if isinstance(before, Mapping) else None, value)
            flags |= nested
        elif not _is_sensible(value):
            flags.add("usage_malformed")
        elif _is_number(before) and _is_number(value) and before > value:  # type: ignore[operator]
            flags.add("usage_decreased")
        elif value is not None or before is None:
            merged[name] = value
    return merged, flags


def _is_number(value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _is_sensible(value: object) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return 0 <= value
    if isinstance(value, Decimal):
        return value.is_finite() and 0 <= value <= COUNT_MAX
    return True


def _decode_object(body: bytes) -> dict[str, object] | None:
    try:
        value = _ANY_JSON.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _last_statement(dialect: Dialect, tail: bytes) -> dict[str, object] | None:
    start = tail.rfind(dialect.usage_key)
    match = _usage_pattern(dialect).match(tail, start) if start >= 0 else None
    if match is None:
        return None
    try:
        value, _ = _OBJECT_SCANNER.raw_decode(tail[match.end() - 1 :].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return {dialect.usage_key.decode().strip('"'): value}


def _usage_pattern(dialect: Dialect) -> re.Pattern[bytes]:
    return re.compile(re.escape(dialect.usage_key) + rb"\s*:\s*\{")
