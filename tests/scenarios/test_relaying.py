"""How answers pass: large ones, slow readers, streams cut anywhere, and the end of the process."""

import asyncio
import json
from pathlib import Path

import pytest

from penstock.relay import HELD_BYTES_MAX
from tests.scenarios.raw_client import RawClient
from tests.scenarios.rig import IN, OUT, chat_body, rig
from tests.scenarios.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    Visit,
    answer,
    chat_answer,
    chat_chunk,
    chunk,
    chunked,
    events,
    stream_head,
    usage,
)

STREAM = json.dumps(chat_body(max_tokens=50, stream=True)).encode()
FRAMES = events(chat_chunk("Hällo"), chat_chunk(" wörld", finish="stop"), chat_chunk(usage=usage()))
LARGE = json.dumps(chat_answer(text="x" * (HELD_BYTES_MAX + 1))).encode()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
async def test_a_stream_cut_at_every_offset_is_the_same_and_costs_the_same(tmp_path: Path, line_end: bytes) -> None:
    raw = b"".join(FRAMES).replace(b"\n", line_end)
    shown = b"".join([*FRAMES[:2], FRAMES[3]]).replace(b"\n", line_end)
    cuts = iter(range(1, len(raw), 7))

    async def script(visit: Visit) -> None:
        at = next(cuts)
        await visit.send(stream_head() + chunk(raw[:at]), chunk(raw[at:]) + LAST_CHUNK)

    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        for _ in range(1, len(raw), 7):
            got = await rigged.post("/lab/chat/completions", STREAM)
            assert got.is_whole
            assert got.body.partition(b": penstock")[0] == shown
        assert {(entry.basis, entry.cost) for entry in await rigged.entries()} == {("provider", 10 * IN + 5 * OUT)}


async def test_an_answer_too_large_to_hold_is_pumped_and_metered_by_its_end(tmp_path: Path) -> None:
    async def script(visit: Visit) -> None:
        await visit.send(answer(LARGE))

    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.chat()
        assert got.body == LARGE
        assert "x-penstock-cost" not in got.headers
        assert [(entry.basis, entry.cost) for entry in await rigged.entries()] == [("provider", 10 * IN + 5 * OUT)]


async def test_a_large_answer_that_is_cut_is_cut_for_the_client_too(tmp_path: Path) -> None:
    async def script(visit: Visit) -> None:
        await visit.send(answer(LARGE)[:-100])
        visit.writer.close()

    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.chat()
        assert not got.is_whole
        assert [entry.basis for entry in await rigged.entries()] == ["estimated"]


async def test_a_slow_reader_holds_the_provider_back(tmp_path: Path) -> None:
    piece = b"data: " + b"x" * 65_000 + b"\n\n"
    pieces = 400
    sent = 0

    async def script(visit: Visit) -> None:
        nonlocal sent
        await visit.send(stream_head())
        for _ in range(pieces):
            await visit.send(chunk(piece))
            sent += 1
        await visit.send(chunked(FRAMES))

    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        async with RawClient(rigged.port) as client:
            await client.post("/lab/chat/completions", STREAM, rigged.with_key({}))
            await client.read_head()
            stalled = -1
            while stalled != sent:
                stalled = sent
                # Twenty other calls are turns enough for the provider to send all that anybody takes.
                for _ in range(20):
                    assert (await rigged.post("/nowhere", {})).status == 404
            assert sent < pieces / 2
            body = b""
            while (data := await client.read_chunk()) is not None:
                body += data
        assert body.startswith(piece * pieces)
        assert [entry.basis for entry in await rigged.entries()] == ["provider"]


async def test_what_the_end_of_the_process_interrupts_is_told_and_settled(tmp_path: Path) -> None:
    async def script(visit: Visit) -> None:
        await visit.send(stream_head() + chunk(FRAMES[0]))
        await asyncio.Event().wait()

    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        async with RawClient(rigged.port) as client:
            await client.post("/lab/chat/completions", STREAM, rigged.with_key({}))
            head = await client.read_head()
            assert await client.read_chunk() == FRAMES[0]
            draining = asyncio.create_task(rigged.gateway.drain(0.0))
            rest = await client.read_to_end()
            await draining
        assert head.status == 200
        assert b"event: error" in rest
        assert b"shutting_down" in rest
        assert not rest.endswith(LAST_CHUNK)
        assert [entry.basis for entry in await rigged.entries()] == ["estimated"]
        assert (await rigged.verified()).open_holds == 0


async def test_a_call_that_the_end_of_the_process_finds_on_its_way_is_refused_and_sends_nothing(tmp_path: Path) -> None:
    async def script(visit: Visit) -> None:
        await visit.send(answer(json.dumps(chat_answer()).encode()))

    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        async with RawClient(rigged.port) as client:
            headers = {**rigged.with_key({}), "expect": "100-continue", "content-length": str(len(STREAM))}
            await client.post("/lab/chat/completions", b"", headers)
            assert (await client.read_head()).status == 100
            rigged.gateway.gateway.shut_down()
            await client.send(STREAM)
            got = await client.read_answer()
        assert (got.status, got.code) == (503, "shutting_down")
        assert not upstream.visits
        assert [(entry.basis, entry.cost) for entry in await rigged.entries()] == [("void", 0)]


async def test_what_we_add_never_becomes_part_of_an_event_that_was_left_open(tmp_path: Path) -> None:
    frames = [*FRAMES[:3], b"data: [DONE]"]

    async def script(visit: Visit) -> None:
        await visit.send(stream_head() + chunked(frames))

    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post("/lab/chat/completions", STREAM)
        assert got.is_whole
        assert b"data: [DONE]\n\n: penstock cost=" in got.body


async def test_the_log_says_why_a_call_failed(tmp_path: Path) -> None:
    async def script(visit: Visit) -> None:
        visit.reset()

    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        assert (await rigged.chat()).code == "upstream_unreachable"
    (line,) = rigged.log.getvalue().splitlines()
    assert json.loads(line)["error"] == "upstream_unreachable"
