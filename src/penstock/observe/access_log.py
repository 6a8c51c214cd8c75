"""One line of JSON per call. The event loop only appends to a list; a thread formats and writes.

The fields are an allow-list: no body, no header, no query, no name of a person. A caller is shown by a pseudonym, the
same for all of its calls as long as the secret behind it stays (reliability.md 4.15).
"""

import hmac
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from penstock.core.call import Call
from penstock.core.money import format_usd
from penstock.observe.lines import Redactor, log_time

LINES_PER_WRITE = 64
_ENCODER = msgspec.json.Encoder()


class Output(Protocol):
    """Where lines go: standard error, or a file opened in binary mode."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> None: ...


class AccessLine(msgspec.Struct, frozen=True):
    """The line of a call. ``cost`` is decimal USD, ``client`` stands only where a setting wants it."""

    time: str
    event: str
    request_id: str
    caller: str
    provider: str
    model: str
    endpoint: str
    status: int
    basis: str
    cost: str
    tokens_in: int
    tokens_out: int
    latency_ms: int
    first_byte_ms: int | None
    is_stream: bool
    flags: tuple[str, ...]
    error: str | None
    upstream_request_id: str | None
    client: str | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class AccessFormat:
    """How a call becomes a line. ``pseudonym_key`` is secret: who has it can tell whose calls these are."""

    pseudonym_key: bytes
    redactor: Redactor
    with_client: bool = False

    def line(self, call: Call, ended_ms: int) -> AccessLine:
        ending, clean = call.ending, self.redactor.text
        return AccessLine(
            time=log_time(ended_ms),
            event="call",
            request_id=clean(call.request_id),
            caller=pseudonym(self.pseudonym_key, call.caller),
            provider=call.provider,
            model=clean(call.model),
            endpoint=call.endpoint,
            status=ending.status,
            basis=ending.basis.value,
            cost=format_usd(ending.cost),
            tokens_in=ending.usage.tokens_in,
            tokens_out=ending.usage.tokens_out,
            latency_ms=ending.latency_ms,
            first_byte_ms=ending.first_byte_ms,
            is_stream=ending.is_stream,
            flags=ending.flags,
            error=call.error,
            upstream_request_id=None if call.upstream_request_id is None else clean(call.upstream_request_id),
            client=call.client if self.with_client else msgspec.UNSET,
        )


class AccessLog:
    """A listener of on_settled. ``start`` and ``stop`` bracket its thread; after ``stop`` every line is written.

    Where the output cannot keep up, lines beyond ``pending_max`` are dropped and their number is written instead.
    """

    def __init__(
        self,
        out: Output,
        form: AccessFormat,
        clock: Callable[[], int],
        *,
        interval_s: float = 0.05,
        pending_max: int = 100_000,
    ) -> None:
        self._out = out
        self._form = form
        self._clock = clock
        self._interval_s = interval_s
        self._pending_max = pending_max
        self._pending: deque[tuple[int, Call]] = deque()
        # Each counter has one writer: the loop, and the thread.
        self._overflowed = 0
        self._unwritten = 0
        self._reported = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)

    def __call__(self, call: Call) -> None:
        if len(self._pending) < self._pending_max:
            self._pending.append((self._clock(), call))
        else:
            self._overflowed += 1

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Write what waits. Blocks; gives up after ``timeout_s`` on an output that nobody reads."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._write_pending()
        self._write_pending()

    def _write_pending(self) -> None:
        # A write lets go of the interpreter: small batches keep the event loop from waiting for us.
        while lines := self._next_lines():
            try:
                self._out.write(_ENCODER.encode_lines(lines))
                self._out.flush()
            except (OSError, ValueError):  # Nobody reads any more, or the output is closed: calls go on without it.
                self._unwritten += len(lines)
                return

    def _next_lines(self) -> list[object]:
        lines: list[object] = []
        while self._pending and len(lines) < LINES_PER_WRITE:
            ended_ms, call = self._pending.popleft()
            lines.append(self._form.line(call, ended_ms))
        if lines and (dropped := self._overflowed + self._unwritten - self._reported):
            self._reported += dropped
            lines.append({"time": log_time(self._clock()), "event": "access_lines_dropped", "count": dropped})
        return lines


def pseudonym(key: bytes, caller: str) -> str:
    """Sixteen hex digits that stand for a caller."""
    return hmac.digest(key, caller.encode(), "sha256").hex()[:16]
