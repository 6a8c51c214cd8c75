"""The operator's log: start, alarms, drain. JSON lines with fields from an allow-list, cleaned of secrets.

``open_log`` is for our own lines. ``catch_logging`` takes what libraries say through the standard library's logging
and puts it through the same rule. Nothing here is global but what ``catch_logging`` installs when it is called.
"""

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import BinaryIO

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger

from penstock.observe.lines import Redactor, describe_exception, log_time

# A field that is not here is dropped and its name is written instead, so that it is missed and added, or left out.
FIELDS = frozenset({
    "address", "attempts", "basis", "budget", "calls", "cost", "count", "database", "deadline_s", "detail",
    "endpoint", "entries", "exception", "fault", "flags", "grace_s", "hint", "holds", "host", "instance",
    "level", "limit", "logger", "loop", "migration", "model", "models", "name", "origin", "pid", "policy",
    "port", "prices", "provider", "providers", "python", "reason", "request_id", "setting", "signal", "source",
    "status", "time", "took_ms", "url", "version", "where", "workers",
})  # fmt: skip
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def open_log(out: BinaryIO, redactor: Redactor, clock: Callable[[], int], level: str = "info") -> FilteringBoundLogger:
    """A structlog logger that writes to ``out``; ``level`` is debug, info, warning or error."""
    rule = LineRule(redactor, clock)
    log: FilteringBoundLogger = structlog.wrap_logger(
        LineWriter(out),
        processors=[structlog.processors.add_log_level, rule, _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
    )
    return log


def catch_logging(log: FilteringBoundLogger, redactor: Redactor, level: str = "warning") -> logging.Handler:
    """Send the standard library's log records of ``level`` and above to our log; gives the handler, to remove it."""
    handler = RecordHandler(log, redactor, _LEVELS[level])
    logging.getLogger().addHandler(handler)
    return handler


class LineWriter:
    """Where structlog hands a finished line. An output that fails loses the line: a log must not stop the gateway."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, line: bytes) -> None:
        with suppress(OSError, ValueError):
            self._out.write(line + b"\n")
            self._out.flush()

    debug = info = warning = error = critical = exception = write


class LineRule:
    """A structlog processor: keeps the fields of the allow-list, cleans them, and shows exceptions without messages."""

    def __init__(self, redactor: Redactor, clock: Callable[[], int]) -> None:
        self._redactor = redactor
        self._clock = clock

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        line: EventDict = {"time": log_time(self._clock()), "level": event.pop("level"), "event": ""}
        line["event"] = self._redactor.value(event.pop("event", ""))
        error = _exception_of(event)
        for name, value in event.items():
            if name in FIELDS:
                line[name] = self._redactor.value(value)
        if error is not None:
            line.update(describe_exception(error))
        if dropped := sorted(event.keys() - FIELDS):
            line["dropped_fields"] = dropped
        return line


class RecordHandler(logging.Handler):
    """Turns records of the standard library's logging into lines of ours."""

    def __init__(self, log: FilteringBoundLogger, redactor: Redactor, level: int) -> None:
        super().__init__(level)
        self._log = log
        self._redactor = redactor

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        level = min(record.levelno // 10 * 10, logging.CRITICAL)  # structlog knows the five levels only
        self._log.log(level, self._message(record), logger=record.name, exc_info=error)

    def _message(self, record: logging.LogRecord) -> str:
        """The first line, its arguments cleaned one by one: asyncio quotes exceptions in the lines behind it."""
        template = str(record.msg).partition("\n")[0] if isinstance(record.msg, str) else type(record.msg).__name__
        args = record.args
        with suppress(TypeError, ValueError, KeyError):  # A number was wanted, and we give the name of a class.
            if isinstance(args, tuple) and args:
                return template % tuple(self._redactor.value(arg) for arg in args)
            if isinstance(args, Mapping):
                return template % {name: self._redactor.value(arg) for name, arg in args.items()}
        return template


def _exception_of(event: MutableMapping[str, object]) -> BaseException | None:
    given = event.pop("exc_info", None)
    if isinstance(given, tuple):
        given = given[1]
    if given is True:
        given = sys.exception()
    return given if isinstance(given, BaseException) else None


def _as_json(_logger: object, _method: str, event: EventDict) -> bytes:
    return msgspec.json.encode(event)
