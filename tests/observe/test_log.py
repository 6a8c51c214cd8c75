import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.typing import FilteringBoundLogger

from penstock.core.identity import KeyType, mint_key
from penstock.observe.lines import Redactor
from penstock.observe.log import catch_logging, open_log
from tests.observe.calls import NOW_MS

PROVIDER_KEY = "provider key of an odd shape"


class Written(io.BytesIO):
    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def out() -> Written:
    return Written()


@pytest.fixture
def log(out: Written) -> FilteringBoundLogger:
    return open_log(out, Redactor([PROVIDER_KEY]), lambda: NOW_MS)


@pytest.fixture
def caught(log: FilteringBoundLogger) -> Iterator[logging.Handler]:
    handler = catch_logging(log, Redactor([PROVIDER_KEY]))
    yield handler
    logging.getLogger().removeHandler(handler)


def test_a_line_is_json_with_time_level_event_and_fields(log: FilteringBoundLogger, out: Written) -> None:
    log.info("started", port=8787, version="0.1.0", providers=["demo", "openai"])
    assert list(out.lines[0].items()) == [
        ("time", "2026-11-21T00:00:00.123Z"),
        ("level", "info"),
        ("event", "started"),
        ("port", 8787),
        ("version", "0.1.0"),
        ("providers", ["demo", "openai"]),
    ]


def test_levels_below_the_chosen_one_are_silent(out: Written) -> None:
    log = open_log(out, Redactor(), lambda: NOW_MS, level="warning")
    log.info("started")
    log.warning("draining")
    assert [line["event"] for line in out.lines] == ["draining"]


def test_a_field_that_is_not_on_the_list_is_named_and_not_shown(log: FilteringBoundLogger, out: Written) -> None:
    log.warning("alarm", headers={"authorization": "x"}, body="prompt", provider="openai")
    assert out.lines[0]["dropped_fields"] == ["body", "headers"]
    assert "prompt" not in json.dumps(out.lines)


def test_no_secret_shows_in_any_place(log: FilteringBoundLogger, out: Written) -> None:
    key = mint_key(KeyType.ADMIN)
    texts = [f"https://u:{key}@host", f"for ann@example.com, {PROVIDER_KEY}"]
    log.info(texts[0], detail=texts[1], host=texts, reason=key.encode())
    written = out.getvalue().decode()
    for secret in (key, key[10:30], "ann@example.com", PROVIDER_KEY):
        assert secret not in written


def test_an_exception_shows_its_class_and_place_only(log: FilteringBoundLogger, out: Written) -> None:
    try:
        json.loads("prompt of a user")
    except ValueError as error:
        log.exception("alarm")
        log.warning("alarm", exc_info=error)
    for line in out.lines:
        assert line["exception"][0] == "JSONDecodeError"
        assert "prompt" not in json.dumps(line)


def test_an_exception_given_as_a_field_shows_its_class(log: FilteringBoundLogger, out: Written) -> None:
    log.error("alarm", fault=ValueError("prompt of a user"))
    assert out.lines[0]["fault"] == "ValueError"


def test_what_libraries_log_follows_the_same_rule(caught: logging.Handler, out: Written) -> None:
    logger = logging.getLogger("some.library")
    logger.warning("lost %s after %d bytes: %r", PROVIDER_KEY, 12, ValueError("prompt of a user"))
    logger.info("chatter")
    [line] = out.lines
    assert line["event"] == "lost *** after 12 bytes: 'ValueError'"
    assert (line["level"], line["logger"]) == ("warning", "some.library")


@pytest.mark.parametrize(
    ("message", "args", "event"),
    [
        ("%d bytes", (ValueError("prompt"),), "%d bytes"),
        ("%(what)s", ({"what": ValueError("prompt")},), "ValueError"),
        ("%(other)s", ({"what": 1},), "%(other)s"),
        ("100 % plain", (), "100 % plain"),
        (ValueError("prompt"), (), "ValueError"),
        ("Task was never retrieved\nfuture: <exception=ValueError('prompt')>", (), "Task was never retrieved"),
    ],
)
def test_a_library_cannot_quote_what_it_was_given(
    caught: logging.Handler, out: Written, message: object, args: tuple[object, ...], event: str
) -> None:
    caught.handle(logging.LogRecord("some.library", logging.ERROR, "x.py", 1, message, args, None))
    assert out.lines[0]["event"] == event
    assert "prompt" not in out.getvalue().decode()


def test_a_level_of_a_librarys_own_counts_as_the_one_below(caught: logging.Handler, out: Written) -> None:
    caught.handle(logging.LogRecord("some.library", 35, "x.py", 1, "notice", (), None))
    assert out.lines[0]["level"] == "warning"


def test_an_output_that_fails_does_not_stop_the_gateway(
    caught: logging.Handler, log: FilteringBoundLogger, out: Written
) -> None:
    out.close()
    log.error("alarm")
    logging.getLogger("some.library").error("alarm")


def test_the_exception_of_a_librarys_record_shows_no_message(caught: logging.Handler, out: Written) -> None:
    try:
        raise OSError("prompt of a user")
    except OSError:
        logging.getLogger("some.library").exception("failed")
    assert out.lines[0]["exception"] == ["OSError"]
    assert "prompt" not in out.getvalue().decode()
