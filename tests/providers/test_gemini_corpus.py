"""Every recorded exchange with Gemini and Vertex AI: read, metered, and priced as genai-prices, the oracle, does.

The recordings are not ours to keep here: where ../shared/corpus is missing there is nothing to compare.
"""

import gzip
import json
from datetime import UTC, datetime
from decimal import ROUND_CEILING
from typing import Any

import pytest
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot

from penstock.core.array_meter import ArrayMeter
from penstock.core.errors import GatewayError
from penstock.core.meter import BodyMeter, Metered, StreamMeter
from penstock.core.provider import Endpoint
from penstock.core.usage import Usage
from penstock.providers.gemini import GEMINI
from penstock.store.price_import import import_genai_prices
from tests.providers.test_corpus import CORPUS

Record = dict[str, Any]
AT = datetime(2026, 11, 21, tzinfo=UTC)
AT_MS = round(AT.timestamp() * 1000)
ENDPOINTS = {endpoint.name: endpoint for endpoint in GEMINI.endpoints}
RECORDED = ("generateContent", "streamGenerateContent")

LIVE = {"5fde98907755": "the Live API, which has another format and other counts"}
WITHOUT_COUNTS = {"9bb5a4437dc7": "blocked before the model: no counts at all", "1ad2f58fd024": "no statement at all"}
SEARCHED: dict[str, str] = dict.fromkeys(
    ("6ffdb4bd5052", "effd959a761e", "89da24389be5", "d36faf56a6b6"),
    "the oracle reads no searches out of an answer; we charge the book's fee",
)
NOT_FOR_THE_ORACLE = dict.fromkeys(
    ("bcb2cb84935b", "7ce563e2c7bb", "11cea0976216"), "modalities are numbers there, which the oracle cannot read"
)


def load_records() -> list[Record]:
    """The recorded exchanges; skips where they are not here."""
    if not CORPUS.exists():
        pytest.skip("the recorded answers of ../shared/corpus are not here")
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines]
    return [r for r in read if r["provider"] in ("gemini", "vertex") and r["endpoint"] in RECORDED]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return load_records()


@pytest.fixture(scope="module")
def answers(records: list[Record]) -> list[Record]:
    return [r for r in records if r["status"] < 300 and r["id"] not in LIVE]


def endpoint_of(record: Record) -> Endpoint:
    return ENDPOINTS[record["endpoint"]]


def relay(record: Record, read_bytes: int = 1 << 30) -> tuple[bytes, Metered]:
    endpoint, sent = endpoint_of(record), record["response_body"].encode()
    parts = [sent[start : start + read_bytes] for start in range(0, len(sent), read_bytes)]
    if record["stream"]:
        meter = StreamMeter(GEMINI, endpoint, drops_usage=False)
        relayed = b"".join(map(meter.feed, parts))
        rest, metered = meter.finish()
        return relayed + rest, metered
    whole = ArrayMeter(GEMINI, endpoint) if endpoint.streams_array else BodyMeter(GEMINI)
    return b"".join(map(whole.feed, parts)), whole.finish(is_complete=True)


def stated(record: Record) -> dict[str, Any]:
    counts = (record["usage"] or {}).get("usageMetadata")
    return counts if isinstance(counts, dict) else {}


def agrees(usage: Usage, counts: dict[str, Any]) -> bool:
    read = counts["promptTokenCount"] + counts.get("toolUsePromptTokenCount", 0)
    written = counts.get("candidatesTokenCount", 0) + counts.get("thoughtsTokenCount", 0)
    is_total = usage.tokens == counts["totalTokenCount"]
    is_cached = usage.cache_read == counts.get("cachedContentTokenCount", 0)
    return (usage.tokens_in, usage.tokens_out, is_total, is_cached) == (read, written, True, True)


def oracle_nano(counts: dict[str, Any], model: str) -> int:
    answer = {"modelVersion": model, "usageMetadata": counts}
    _, usage = get_snapshot().find_provider(None, "google", None).extract_usage(answer)
    price = calc_price(usage, model, provider_id="google", genai_request_timestamp=AT).total_price
    return int((price * 10**9).to_integral_value(rounding=ROUND_CEILING))


def test_every_recorded_request_is_read(records: list[Record]) -> None:
    refused = {}
    for record in records:
        if record["request_body"] is None or record["id"] in LIVE:
            continue
        body = json.dumps(record["request_body"]).encode()
        try:
            asked = GEMINI.read_request(endpoint_of(record), body, record["request_model"])
        except GatewayError as error:
            refused[record["id"]] = error.message
            continue
        assert asked.is_stream is endpoint_of(record).streams_array
    assert refused == {}


def test_our_usage_is_the_one_that_was_stated(answers: list[Record]) -> None:
    compared = 0
    for record in answers:
        metered = relay(record)[1]
        assert metered.flags == (), record["id"]
        if record["id"] in WITHOUT_COUNTS:
            assert metered.reading is None or not metered.reading.has_input
            continue
        assert metered.reading is not None, record["id"]
        assert (metered.reading.has_input, metered.reading.has_output) == (True, True), record["id"]
        assert (metered.is_final, metered.is_complete, metered.reading.flags) == (True, True, ()), record["id"]
        assert agrees(metered.reading.usage, stated(record)), record["id"]
        compared += 1
    assert compared > 70


def test_what_was_read_and_written_stays_within_its_bounds(answers: list[Record]) -> None:
    for record in answers:
        reading = relay(record)[1].reading
        if record["request_body"] is None or reading is None:
            continue
        body = json.dumps(record["request_body"], separators=(",", ":")).encode()
        asked = GEMINI.read_request(endpoint_of(record), body, record["request_model"])
        bound = len(body) + asked.media_tokens + (4096 if asked.traits else 1024)
        assert asked.has_hidden_input or reading.usage.tokens_in <= bound, record["id"]
        assert asked.output_tokens is None or reading.usage.tokens_out <= asked.output_tokens, record["id"]


def test_our_cost_is_the_oracles_but_for_searches(answers: list[Record]) -> None:
    book, compared, differing, searched = import_genai_prices().book, 0, {}, set()
    for record in answers:
        metered = relay(record)[1]
        reading, model = metered.reading, metered.model or ""
        price = book.find("google", model, AT_MS)
        if price is None or reading is None or record["id"] in (*WITHOUT_COUNTS, *NOT_FOR_THE_ORACLE):
            continue
        ours = price.under(reading.properties).cost(reading.usage)
        difference = ours - oracle_nano(stated(record), model)
        compared += 1
        if reading.usage.searches:
            searched.add(record["id"])
        if difference:
            differing[record["id"]] = difference
    assert compared > 60
    assert all(difference > 0 for difference in differing.values()), differing
    assert differing.keys() == searched == SEARCHED.keys()


@pytest.mark.parametrize("read_bytes", [7, 100, 1460])
def test_bytes_are_identical_and_usage_too_however_they_are_read(answers: list[Record], read_bytes: int) -> None:
    for record in answers:
        relayed, metered = relay(record, read_bytes)
        assert relayed == record["response_body"].encode(), record["id"]
        assert metered == relay(record)[1], record["id"]
