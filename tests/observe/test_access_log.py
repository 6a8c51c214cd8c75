import io
import json
import threading
from typing import Any

import pytest

from penstock.core.call import Call
from penstock.core.identity import KeyType, mint_key
from penstock.observe.access_log import LINES_PER_WRITE, AccessFormat, AccessLog, pseudonym
from penstock.observe.lines import Redactor
from tests.observe.calls import CALL, NOW_MS, call

FORM = AccessFormat(b"k" * 32, Redactor())


def lines_of(*calls: Call, form: AccessFormat = FORM) -> list[dict[str, Any]]:
    """What stands in the output once the log has been stopped."""
    out = io.BytesIO()
    log = AccessLog(out, form, lambda: NOW_MS)
    log.start()
    for one in calls:
        log(one)
    log.stop()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_call_is_one_line_with_these_fields_and_no_other() -> None:
    assert lines_of(CALL) == [
        {
            "time": "2026-11-21T00:00:00.123Z",
            "event": "call",
            "request_id": "req-1",
            "caller": pseudonym(b"k" * 32, "ann@example.com"),
            "provider": "openai",
            "model": "gpt-4.1-nano",
            "endpoint": "chat.completions",
            "status": 200,
            "basis": "provider",
            "cost": "0.001870001",
            "tokens_in": 25,
            "tokens_out": 8,
            "latency_ms": 320,
            "first_byte_ms": 110,
            "is_stream": True,
            "flags": ["capped"],
            "error": None,
            "upstream_request_id": "up-1",
        }
    ]


def test_the_clients_address_stands_there_only_if_the_setting_allows_it() -> None:
    assert "203.0.113.9" not in json.dumps(lines_of(CALL))
    [line] = lines_of(CALL, form=AccessFormat(b"k" * 32, Redactor(), with_client=True))
    assert line["client"] == "203.0.113.9"


def test_a_pseudonym_is_the_same_for_a_caller_and_says_nothing_without_its_key() -> None:
    assert pseudonym(b"a", "ann@example.com") == pseudonym(b"a", "ann@example.com")
    assert pseudonym(b"a", "ann@example.com") != pseudonym(b"b", "ann@example.com")
    assert len(pseudonym(b"a", "ann@example.com")) == 16


@pytest.mark.parametrize("name", ["model", "request_id", "upstream_request_id"])
def test_a_key_that_a_caller_or_provider_put_into_a_name_does_not_show(name: str) -> None:
    key = mint_key(KeyType.API)
    written = json.dumps(lines_of(call(**{name: f"x-{key}"})))
    assert key not in written
    assert key[20:40] not in written


def test_a_name_cannot_forge_a_second_line() -> None:
    [line] = lines_of(call(model='x"}\n{"event": "call", "cost": "0'))
    assert line["cost"] == "0.001870001"


def test_nothing_is_lost_at_stop() -> None:
    count = 10 * LINES_PER_WRITE + 1
    lines = lines_of(*(call(request_id=str(number)) for number in range(count)))
    assert [line["request_id"] for line in lines] == [str(number) for number in range(count)]


def test_lines_are_written_while_calls_go_on() -> None:
    written = threading.Event()

    class Announced(io.BytesIO):
        def flush(self) -> None:
            written.set()

    log = AccessLog(Announced(), FORM, lambda: NOW_MS, interval_s=0.001)
    log.start()
    log(CALL)
    assert written.wait(5)
    log.stop()


def test_more_than_fits_is_counted_and_said() -> None:
    out = io.BytesIO()
    log = AccessLog(out, FORM, lambda: NOW_MS, pending_max=2)
    for _ in range(5):
        log(CALL)
    log.start()
    log.stop()
    *calls, notice = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(calls) == 2
    assert (notice["event"], notice["count"]) == ("access_lines_dropped", 3)


def test_an_output_that_fails_costs_its_lines_and_nothing_else() -> None:
    class FullOnce(io.BytesIO):
        failures = 1

        def write(self, data: Any) -> int:
            if self.failures:
                self.failures -= 1
                raise OSError(28, "no space left")
            return super().write(data)

    out = FullOnce()
    log = AccessLog(out, FORM, lambda: NOW_MS, interval_s=60)
    for _ in range(LINES_PER_WRITE + 1):
        log(CALL)
    log._write_pending()
    log.start()
    log.stop()
    call_line, notice = [json.loads(line) for line in out.getvalue().splitlines()]
    assert call_line["event"] == "call"
    assert notice["count"] == LINES_PER_WRITE


def test_a_closed_output_does_not_hold_up_the_stop() -> None:
    out = io.BytesIO()
    out.close()
    log = AccessLog(out, FORM, lambda: NOW_MS)
    log.start()
    log(CALL)
    log.stop()
