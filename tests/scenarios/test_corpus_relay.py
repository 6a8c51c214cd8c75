"""Recorded answers of OpenAI-style hosts relayed by a running gateway: the same bytes, at the cost that is owed.

Each is answered by a scripted provider of its host's name and priced from the real book. The recordings are not ours to
keep here: where ../shared/corpus is missing there is nothing to relay.
"""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from penstock.core.meter import Metered
from penstock.core.money import nano_from_pico
from penstock.core.price_book import PriceBook
from penstock.providers import BUILT_IN
from penstock.store import schema
from penstock.store.price_import import import_genai_prices
from tests.providers.test_corpus import CORPUS
from tests.providers.test_corpus_costs import AT_MS, REFUSED, UNPRICED, Record, metered, recorded_answers
from tests.scenarios.rig import Clock, Rig, rig
from tests.scenarios.scripted import LAST_CHUNK, ScriptedUpstream, Visit, answer, chunk, stream_head

HOSTS = [provider.name for provider in BUILT_IN.values() if provider.dialect.name == "openai"]
NOT_ADMITTED = {
    **REFUSED,
    **dict.fromkeys(UNPRICED, "no public source prices the model"),
    "5f4af2fd43a0": "OpenRouter: the book has no price of the answering model's bare name",
    "2c90b4b777cc": "the same",
    "54fc0906d2a4": "the same",
    "43f28fe5a59e": "a remote image, and nobody knows how much the model can read",
    "741507321c42": "the same",
}
PINNED = {
    "b88b78221e3c": "deepseek-chat is pinned at the dearer of two public prices",
    "230e6561fd0f": "the same",
}
OVER_HOLD = {
    "7646e6f857e8": "its request was not recorded: ours asks for no search, so the hold has no fee for one",
    "84481740c164": "the same",
}


@dataclass(slots=True)
class Passed:
    """What has passed so far: the cost that was owed for each, and the answers that were refused."""

    owed: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)


def section(name: str, port: int) -> str:
    base_path = urlsplit(BUILT_IN[name].base_url).path
    return f'[providers.{name}]\nbase_url = "http://127.0.0.1:{port}{base_path}"\napi_key = "UPSTREAM-SECRET-KEY"\n'


def request_of(record: Record, model: str) -> dict[str, object]:
    """The recorded request where there is one, for the very model that answered."""
    recorded = record["request_body"] if isinstance(record["request_body"], dict) else {"input": "x", "messages": []}
    asked = {**recorded, "model": model, "stream": record["stream"]}
    if record["stream"] and record["endpoint"] == "chat.completions":
        asked["stream_options"] = {"include_usage": True}
    return asked


async def send(rigged: Rig, book: PriceBook, record: Record, one: Metered, passed: Passed) -> None:
    host = BUILT_IN[record["provider"]]
    path = next(e.path for e in host.dialect.endpoints if e.name == record["endpoint"])
    request = request_of(record, one.model or "")
    got = await rigged.post(f"/{host.name}{path}", request, x_client_request_id=record["id"])
    if got.status != 200:
        passed.refused.add(record["id"])
        return
    assert got.body.startswith(record["response_body"].encode()), record["id"]
    assert one.reading is not None
    owed_pico = one.reading.reported_pico
    if owed_pico is None:
        price = book.find(host.book_name, one.model or "", AT_MS)
        assert price is not None
        owed_pico = price.under(one.reading.properties).cost_pico(one.reading.usage)
    passed.owed[record["id"]] = nano_from_pico(owed_pico)


async def test_every_recorded_answer_passes_and_is_charged(tmp_path: Path) -> None:
    if not CORPUS.exists():
        pytest.skip("the recorded answers of ../shared/corpus are not here")
    by_id = {record["id"]: record for record in recorded_answers() if record["provider"] in HOSTS}

    async def host(visit: Visit) -> None:
        record = by_id[visit.header("x-client-request-id") or ""]
        sent = record["response_body"].encode()
        await visit.send(stream_head() + chunk(sent) + LAST_CHUNK if record["stream"] else answer(sent))

    passed, book = Passed(), import_genai_prices().book
    async with ScriptedUpstream(host) as upstream:
        sections = "".join(section(name, upstream.port) for name in HOSTS)
        async with rig(tmp_path, upstream.port, lab=sections, clock=Clock(AT_MS)) as rigged:
            for record in by_id.values():
                one = metered(record)
                if one.reading is not None and one.model is not None:
                    await send(rigged, book, record, one, passed)
            report = await rigged.verified()
            with rigged.stores.database.reading() as connection:
                rows = connection.execute(
                    select(schema.entry.c.cost, schema.entry.c.flags).order_by(schema.entry.c.seq)
                )
                booked = dict(zip(passed.owed, rows.all(), strict=True))
    assert report.is_clean
    assert passed.refused == NOT_ADMITTED.keys()
    assert {name for name, (cost, _) in booked.items() if cost != passed.owed[name]} == PINNED.keys()
    assert {name for name, (_, flags) in booked.items() if "over_hold" in flags} == OVER_HOLD.keys()
    assert len(booked) > 200
