"""A finished call, as the listeners of on_settled see it."""

from dataclasses import replace

from penstock.core.call import Basis, Call, Ending
from penstock.core.usage import Usage

NOW_MS = 1_795_219_200_123

CALL = Call(
    request_id="req-1",
    hold_id="hold-1",
    caller="ann@example.com",
    key_id=7,
    provider="openai",
    model="gpt-4.1-nano",
    endpoint="chat.completions",
    client="203.0.113.9",
    ending=Ending(
        basis=Basis.PROVIDER,
        cost=1_870_001,
        usage=Usage(input=20, cache_read=5, output=7, reasoning=1),
        was_sent=True,
        rates={"input": 100_000},
        status=200,
        latency_ms=320,
        first_byte_ms=110,
        is_stream=True,
        flags=("capped",),
    ),
    upstream_request_id="up-1",
)


def call(**changes: object) -> Call:
    return replace(CALL, **changes)  # type: ignore[arg-type] # any field
