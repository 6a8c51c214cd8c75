"""Every recorded exchange of the endpoints that we relay: read, metered and compared with what the provider stated.

The recordings are not ours to keep here (../shared/corpus/README.md): where the folder is missing, as in a clean clone,
there is nothing to compare, and our own scenarios cover the same ground.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import GatewayError
from penstock.core.meter import BodyMeter, Metered, StreamMeter
from penstock.core.provider import Asked, Dialect
from penstock.core.usage import Usage
from penstock.providers.anthropic import ANTHROPIC
from penstock.providers.openai import COMPATIBLE, OPENAI

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "responses.jsonl.gz"
if not CORPUS.exists():
    pytest.skip("the recorded answers of ../shared/corpus are not here", allow_module_level=True)

ENDPOINTS = ("chat.completions", "completions", "messages")
Record = dict[str, Any]

REFUSED_REQUESTS = {
    "0186748d605e": "max_tokens is -1: a recorded error",
    "70f27cb22481": "an advisor tool: another model is called beside what max_tokens bounds",
}
# These bodies name none; stage 2 brings the routes of Azure.
MODEL_IN_THE_PATH = {
    "a708ab4a3692", "7716ac67078c", "7b7cfbc66dab", "99d8b83dab98", "6c68293f9b62", "7249d184f667", "ec8bee2c5aad",
    "94500ff79952",
}  # fmt: skip
OTHER_KIND_OF_ANSWER = {"fda8caabc7cd": "recorded as a stream, but its request does not ask for one"}
OTHER_USAGE = {
    "c03f766c21a4": "Mistral: 375 tokens of sound stand beside the 9 of the prompt, as its total says",
    "911a0f4c773b": "Grok at Azure: more tokens cached than prompted, so they stand beside the prompt",
    "93b8aa5d5e07": "the same",
    "1796b29d0189": "Gemini behind OpenRouter: 2,161 tokens both written to a cache and read from it; its cost says so",
    "2d58d5c7bb7e": "Anthropic: the pass that made a summary is billed beside the message's own counts",
    "70f27cb22481": "Anthropic: the advisor's pass is billed beside the message's own counts",
}
FLAGGED = {
    "93e5f94fa72e": "Gemini's OpenAI side: the total holds thoughts that stand nowhere else",
    "1796b29d0189": "the parts of the prompt are more than the prompt",
    "911a0f4c773b": "more cached than prompted",
    "93b8aa5d5e07": "more cached than prompted",
    "2d58d5c7bb7e": "passes beside the message",
    "70f27cb22481": "passes beside the message",
}
WITHOUT_END_MARK = {"b781d2df3ef2": "Perplexity sends no [DONE]"}
WITHOUT_MODEL = {
    "614a3e5c4f9d": "Snowflake's answer names none",
    "be375a544db1": "a page of the costs API, recorded under this endpoint's name",
    "76641f4efd48": "an answer of the recording tool itself",
    "add9d4eeb14d": "a stored skill, recorded under this endpoint's name",
}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        return [record for line in lines if (record := json.loads(line))["endpoint"] in ENDPOINTS]


@pytest.fixture(scope="module")
def answers(records: list[Record]) -> list[Record]:
    return [record for record in records if record["status"] < 300]


def dialect_of(record: Record) -> Dialect:
    if record["endpoint"] == "messages":
        return ANTHROPIC
    return OPENAI if record["provider"] == "openai" else COMPATIBLE


def read(record: Record) -> Asked:
    dialect = dialect_of(record)
    endpoint = next(e for e in dialect.endpoints if e.name == record["endpoint"])
    return dialect.read_request(endpoint, json.dumps(record["request_body"]).encode(), None)


def relay(record: Record, read_bytes: int = 1 << 30, *, drops_usage: bool = False) -> tuple[bytes, Metered]:
    dialect, sent = dialect_of(record), record["response_body"].encode()
    endpoint = next(e for e in dialect.endpoints if e.name == record["endpoint"])
    parts = [sent[start : start + read_bytes] for start in range(0, len(sent), read_bytes)]
    if not record["stream"]:
        body_meter = BodyMeter(dialect)
        return b"".join(map(body_meter.feed, parts)), body_meter.finish(is_complete=True)
    meter = StreamMeter(dialect, endpoint, drops_usage=drops_usage)
    relayed = b"".join(map(meter.feed, parts))
    rest, metered = meter.finish()
    return relayed + rest, metered


def stated(record: Record) -> dict[str, Any] | None:
    """The usage field as the provider stated it, merged over the stream by those who recorded it."""
    return (record["usage"] or {}).get("usage")


def agrees(usage: Usage, counts: dict[str, Any]) -> bool:
    """Whether our disjoint units are the provider's own counts."""
    if "input_tokens" in counts:
        written = counts.get("cache_creation_input_tokens") or 0
        return (usage.input, usage.cache_read, usage.cache_write + usage.cache_write_1h, usage.output) == (
            counts["input_tokens"],
            counts.get("cache_read_input_tokens") or 0,
            written,
            counts["output_tokens"],
        )
    prompt, total = counts["prompt_tokens"], counts["total_tokens"]
    cached = (counts.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return (usage.tokens_in, usage.tokens_out, usage.cache_read) == (prompt, total - prompt, cached)


def test_every_recorded_request_is_read(records: list[Record]) -> None:
    refused, other_kind = set(), set()
    for record in records:
        if record["request_body"] is None:
            continue
        try:
            asked = read(record)
        except GatewayError:
            refused.add(record["id"])
            continue
        assert asked.model == record["request_body"]["model"]
        if asked.is_stream is not record["stream"] and record["status"] < 300:
            other_kind.add(record["id"])
    assert refused == REFUSED_REQUESTS.keys() | MODEL_IN_THE_PATH
    assert other_kind == OTHER_KIND_OF_ANSWER.keys()


def test_our_usage_is_what_each_provider_stated(answers: list[Record]) -> None:
    differing = set()
    for record in answers:
        counts, metered = stated(record), relay(record)[1]
        assert (metered.reading is None) is (counts is None), record["id"]
        if metered.reading is not None and counts is not None:
            assert metered.is_final, record["id"]
            assert metered.reading.has_input, record["id"]
            assert metered.reading.has_output, record["id"]
            if not agrees(metered.reading.usage, counts):
                differing.add(record["id"])
    assert differing == OTHER_USAGE.keys()


def test_nothing_else_is_odd(answers: list[Record]) -> None:
    metered = {record["id"]: relay(record)[1] for record in answers}
    read_flags = {name: one.reading.flags if one.reading is not None else () for name, one in metered.items()}
    assert {name for name, one in metered.items() if one.flags or read_flags[name]} == FLAGGED.keys()
    assert {name for name, one in metered.items() if not one.is_complete} == WITHOUT_END_MARK.keys()
    assert {name for name, one in metered.items() if one.model is None} == WITHOUT_MODEL.keys()


@pytest.mark.parametrize("read_bytes", [7, 100, 1460])
def test_bytes_are_identical_and_usage_too_however_they_are_read(answers: list[Record], read_bytes: int) -> None:
    for record in answers:
        relayed, metered = relay(record, read_bytes)
        assert relayed == record["response_body"].encode(), record["id"]
        assert metered == relay(record)[1], record["id"]


def test_only_the_usage_event_is_taken_out(answers: list[Record]) -> None:
    taken_out = 0
    for record in answers:
        if not record["stream"] or record["endpoint"] == "messages":
            continue
        sent = record["response_body"]
        separator = "\r\n\r\n" if "\r\n\r\n" in sent else "\n\n"
        kept = [event for event in sent.split(separator) if not is_only_usage(event)]
        assert relay(record, 100, drops_usage=True)[0] == separator.join(kept).encode(), record["id"]
        taken_out += sent.count(separator) + 1 - len(kept)
    assert taken_out == 15


def is_only_usage(event: str) -> bool:
    data = event.strip().removeprefix("data:").strip()
    value = json.loads(data) if data.startswith("{") else {}
    return value.get("choices") == [] and isinstance(value.get("usage"), dict)
