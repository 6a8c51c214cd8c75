"""Every recorded answer of an OpenAI-style host: its usage is the one stated, its cost the host's own or the oracle's.

genai-prices is the oracle: it reads the recorded statement and prices it, and that rounded up to nano-USD is our cost.
The recordings are not ours to keep here: where ../shared/corpus is missing there is nothing to compare.
"""

import gzip
import json
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot

from penstock.core.errors import GatewayError
from penstock.core.meter import BodyMeter, Metered, StreamMeter
from penstock.core.price_book import PriceBook
from penstock.core.provider import Dialect
from penstock.providers import BUILT_IN
from penstock.providers.openai import COMPATIBLE
from penstock.store.price_import import import_genai_prices
from tests.providers.test_corpus import CORPUS

Record = dict[str, Any]
AT = datetime(2026, 11, 21, tzinfo=UTC)
AT_MS = round(AT.timestamp() * 1000)
FLAVORS = {"chat.completions": "chat", "completions": "chat", "responses": "responses", "embeddings": "embeddings"}
# Hosts of another format, recorded under the same endpoint's name.
OTHER_FORMATS = {"bedrock", "vertex", "cohere"}

SEARCHED = dict.fromkeys(
    (
        "11ebd70c2818", "8e90444b10d7", "5ef55be1f2e6", "b4d1ad5b43fb", "b72372675eb5", "fe3df593898e", "48928dc9c903",
        "7646e6f857e8", "84481740c164",
    ),
    "the oracle reads no searches out of an answer's items; we charge the book's fee for each",
)  # fmt: skip
OTHER_COSTS = {
    **SEARCHED,
    "93e5f94fa72e": "Gemini's OpenAI side: the total holds thoughts that stand nowhere else, and they are charged",
    "c03f766c21a4": "Mistral: 375 tokens of sound stand beside the 9 of the prompt, and are charged",
    "6f1f5ab6fcea": "OpenRouter, on a key of one's own: what the provider behind it bills is a cost too",
    "cea9c9088c50": "the same",
}
# Of models that no public source prices: in real life refused before they are sent.
UNPRICED = {"207b8f8afde5", "b740387a8354", "ef412f1b2ba8", "243dd3bad99e", "109c634a4b49", "ea82f6c39df5"}
# The oracle refuses more cached than prompted tokens, and a completion that is not stated.
NOT_FOR_THE_ORACLE = {"911a0f4c773b", "93b8aa5d5e07", "07386bcc6067"}

REFUSED = {
    "34b3e9160068": "makes an image, which another model bills beside the answer's tokens",
    "aa39aad17944": "the same",
}


def recorded_answers() -> list[Record]:
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [r for r in records if r["endpoint"] in FLAVORS and r["status"] < 300 and r["provider"] not in OTHER_FORMATS]


@pytest.fixture(scope="module")
def answers() -> list[Record]:
    if not CORPUS.exists():
        pytest.skip("the recorded answers of ../shared/corpus are not here")
    return recorded_answers()


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return import_genai_prices().book


def dialect_of(record: Record) -> Dialect:
    known = BUILT_IN.get(record["provider"])
    return known.dialect if known is not None and known.dialect.name == "openai" else COMPATIBLE


def metered(record: Record, read_bytes: int = 1 << 30) -> Metered:
    dialect, sent = dialect_of(record), record["response_body"].encode()
    endpoint = next(e for e in dialect.endpoints if e.name == record["endpoint"])
    parts = [sent[start : start + read_bytes] for start in range(0, len(sent), read_bytes)]
    meter = StreamMeter(dialect, endpoint, drops_usage=False) if record["stream"] else BodyMeter(dialect)
    assert b"".join(map(meter.feed, parts)) == sent, record["id"]
    if isinstance(meter, StreamMeter):
        return meter.finish()[1]
    return meter.finish(is_complete=True)


def stated(record: Record) -> dict[str, Any] | None:
    return (record["usage"] or {}).get("usage")


def reported(record: Record) -> Decimal | None:
    """The cost that the host names, in pico-USD."""
    counts = stated(record) or {}
    if record["provider"] == "openrouter" and counts.get("cost") is not None:
        return Decimal(repr(counts["cost"])) * 10**12
    if record["provider"] == "xai" and "cost_in_usd_ticks" in counts:
        return Decimal(counts["cost_in_usd_ticks"]) * 100
    return None


def oracle_nano(record: Record, book_name: str, model: str, properties: dict[str, str]) -> int:
    answer, flavor = {"model": model, "usage": stated(record)}, FLAVORS[record["endpoint"]]
    flavors = {e.api_flavor for e in get_snapshot().find_provider(None, book_name, None).extractors or ()}
    reader = book_name if flavor in flavors else "openai"
    usage = get_snapshot().find_provider(None, reader, None).extract_usage(answer, api_flavor=flavor)[1]
    price = calc_price(
        usage, model, provider_id=book_name, genai_request_timestamp=AT, price_context=properties
    ).total_price
    return int((price * 10**9).to_integral_value(rounding=ROUND_CEILING))


def test_the_usage_is_the_one_that_was_stated(answers: list[Record]) -> None:
    compared = 0
    for record in answers:
        counts, one = stated(record), metered(record)
        assert (one.reading is None) is (counts is None), record["id"]
        if counts is None or one.reading is None or record["id"] in OTHER_COSTS or one.reading.flags:
            continue
        assert one.is_final, record["id"]
        assert one.is_complete, record["id"]
        total = counts.get("total_tokens", one.reading.usage.tokens)
        assert one.reading.usage.tokens == total, record["id"]
        prompt = counts.get("prompt_tokens", counts.get("input_tokens", total))
        assert one.reading.usage.tokens_in == prompt, record["id"]
        compared += 1
    assert compared > 240


def test_the_cost_is_the_hosts_own_or_the_oracles(answers: list[Record], book: PriceBook) -> None:
    differing, unpriced, compared = set(), set(), 0
    for record in answers:
        one, known = metered(record), BUILT_IN.get(record["provider"])
        if known is None or one.reading is None or record["id"] in NOT_FOR_THE_ORACLE:
            continue
        if (cost := reported(record)) is not None:
            is_equal = one.reading.reported_pico is not None and 0 <= one.reading.reported_pico - cost < 1
        else:
            price = book.find(known.book_name, one.model or "", AT_MS)
            if price is None:
                unpriced.add(record["id"])
                continue
            properties = dict(one.reading.properties)
            ours = price.under(properties).cost(one.reading.usage)
            is_equal = ours == oracle_nano(record, known.book_name, one.model or "", properties)
        compared += 1
        if not is_equal:
            differing.add(record["id"])
    assert differing == OTHER_COSTS.keys()
    assert unpriced == UNPRICED
    assert compared > 200


@pytest.mark.parametrize("read_bytes", [7, 1460])
def test_it_does_not_matter_how_an_answer_is_read(answers: list[Record], read_bytes: int) -> None:
    for record in answers:
        if record["endpoint"] in ("responses", "embeddings"):
            assert metered(record, read_bytes) == metered(record), record["id"]


def test_every_recorded_request_is_read(answers: list[Record]) -> None:
    refused = set()
    for record in answers:
        if record["endpoint"] not in ("responses", "embeddings") or not isinstance(record["request_body"], dict):
            continue
        dialect = dialect_of(record)
        endpoint = next(e for e in dialect.endpoints if e.name == record["endpoint"])
        try:
            asked = dialect.read_request(endpoint, json.dumps(record["request_body"]).encode(), None)
        except GatewayError:
            refused.add(record["id"])
            continue
        assert asked.model == record["request_body"]["model"]
        assert asked.is_stream is record["stream"]
    assert refused == REFUSED.keys()
