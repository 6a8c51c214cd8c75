"""Gemini's and Vertex AI's recorded answers relayed by a running gateway: the same bytes, at the cost that is owed.

The recordings are not ours to keep here: where ../shared/corpus is missing there is nothing to relay.
"""

from pathlib import Path

import pytest
from sqlalchemy import select

from penstock.store.price_import import import_genai_prices
from penstock.store.schema import entry
from tests.providers.test_gemini_corpus import AT_MS, WITHOUT_COUNTS, Record, load_records, relay
from tests.scenarios.rig import Clock, Rig, rig
from tests.scenarios.scripted import LAST_CHUNK, ScriptedUpstream, Visit, answer, chunk, stream_head


@pytest.fixture(scope="module")
def priced() -> dict[str, tuple[Record, int]]:
    """The answers that the book can price, each with what it costs, by their ids."""
    book, found = import_genai_prices().book, {}
    for record in load_records():
        metered = relay(record)[1]
        price = book.find("google", metered.model or "", AT_MS)
        is_counted = record["status"] < 300 and record["id"] not in WITHOUT_COUNTS
        if is_counted and price is not None and metered.reading is not None:
            found[record["id"]] = (record, price.under(metered.reading.properties).cost(metered.reading.usage))
    return found


async def ask_again(rigged: Rig, record: Record) -> bytes:
    """Call the model that answered with the recorded request, as a stream of the same kind."""
    query = "?alt=sse" if record["stream"] else ""
    path = f"/gemini/v1beta/models/{relay(record)[1].model}:{record['endpoint']}{query}"
    got = await rigged.post(path, record["request_body"] or {"contents": []}, x_client_request_id=record["id"])
    assert got.is_whole, record["id"]
    return got.body


async def test_every_recorded_answer_passes_and_is_charged(
    priced: dict[str, tuple[Record, int]], tmp_path: Path
) -> None:
    async def google(visit: Visit) -> None:
        record, _ = priced[visit.header("x-client-request-id") or ""]
        sent = record["response_body"].encode()
        if record["stream"]:
            await visit.send(stream_head() + chunk(sent) + LAST_CHUNK)
        elif record["endpoint"] == "streamGenerateContent":
            await visit.send(stream_head("application/json; charset=UTF-8") + chunk(sent) + LAST_CHUNK)
        else:
            await visit.send(answer(sent))

    async with (
        ScriptedUpstream(google) as upstream,
        rig(tmp_path, upstream.port, clock=Clock(AT_MS)) as rigged,
    ):
        for record, _ in priced.values():
            assert await ask_again(rigged, record) == record["response_body"].encode(), record["id"]
        entries = await rigged.entries()
        assert [(line.basis, line.cost) for line in entries] == [("provider", cost) for _, cost in priced.values()]
        assert len(entries) > 60
        assert (await rigged.verified()).is_clean
        with rigged.stores.database.reading() as connection:
            flags = connection.execute(select(entry.c.flags)).scalars().all()
        assert not any("over_hold" in stated for stated in flags)
