"""What providers and clients do to a call: one entry each, with the basis and amount of reliability.md 3."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from penstock.core.settlement import MARGIN_TOKENS
from tests.scenarios.raw_client import Answer, RawClient
from tests.scenarios.rig import IN, OUT, Rig, chat_body, rig
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

CAP = 500
PLAIN = json.dumps(chat_body(max_tokens=CAP)).encode()
STREAM = json.dumps(chat_body(max_tokens=CAP, stream=True)).encode()
INPUT_BOUND = len(PLAIN) + 1024
STREAM_BOUND = len(STREAM) + 1024
HELD = INPUT_BOUND * IN + CAP * OUT
HELD_STREAM = STREAM_BOUND * IN + CAP * OUT
USE = 10 * IN + 5 * OUT


def says(*parts: bytes) -> Callable[[Visit], Awaitable[None]]:
    async def script(visit: Visit) -> None:
        await visit.send(*parts)

    return script


def says_and_cuts(*parts: bytes) -> Callable[[Visit], Awaitable[None]]:
    async def script(visit: Visit) -> None:
        await visit.send(*parts)
        visit.writer.close()

    return script


async def cuts(visit: Visit) -> None:
    visit.reset()


def body(value: object) -> bytes:
    return answer(json.dumps(value).encode())


HELLO, WORLD = events(chat_chunk("Hello"), chat_chunk(" world", finish="stop"), done=False)
(USAGE,) = events(chat_chunk(usage=usage()), done=False)
DONE = b"data: [DONE]\n\n"
EVERY = events(chat_chunk("Hello", finish=None), done=False)[0].replace(
    b'"usage": null', b'"usage": ' + json.dumps(usage(10, 3)).encode()
)
LAST = WORLD.replace(b'"usage": null', b'"usage": ' + json.dumps(usage()).encode())
NEGATIVE = {**chat_answer(), "usage": {"prompt_tokens": -10, "completion_tokens": 5, "total_tokens": -5}}
MISMATCH = {**chat_answer(), "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 30}}
TWO_LENGTHS = b"content-type: application/json\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n"
NO_USAGE = {name: value for name, value in chat_answer().items() if name != "usage"}


def estimate(bound: int, *frames: bytes) -> int:
    """in + del while no ratio is known: one token for each byte that was relayed."""
    return min(bound * IN + sum(map(len, frames)) * OUT, bound * IN + CAP * OUT)


@pytest.mark.parametrize(
    ("script", "request_body", "status", "basis", "cost"),
    [
        pytest.param(says(body(chat_answer())), PLAIN, 200, "provider", USE, id="plain"),
        pytest.param(cuts, PLAIN, 502, "estimated", INPUT_BOUND * IN, id="reset before a head"),
        pytest.param(says(answer(b"{}", status=401)), PLAIN, 502, "void", 0, id="our key is refused"),
        pytest.param(says(answer(b"{}", status=403)), PLAIN, 502, "void", 0, id="our key is forbidden"),
        pytest.param(says(answer(b'{"error":{}}', status=400)), PLAIN, 400, "void", 0, id="400"),
        pytest.param(says(answer(b'{"error":{}}', status=404)), PLAIN, 404, "void", 0, id="404"),
        pytest.param(says(answer(b"{}", status=402)), PLAIN, 503, "void", 0, id="402"),
        pytest.param(
            says(answer(b'{"error":{"code":"insufficient_quota"}}', status=429)), PLAIN, 503, "void", 0, id="429 quota"
        ),
        pytest.param(says(answer(b"{}", status=429, headers="retry-after: 3\r\n")), PLAIN, 429, "void", 0, id="429"),
        pytest.param(says(answer(b"oops", status=500, content_type="text/html")), PLAIN, 500, "void", 0, id="500"),
        pytest.param(says(answer(b"{}", status=529)), PLAIN, 529, "void", 0, id="529"),
        pytest.param(says(answer(b"", status=302, headers="location: /x\r\n")), PLAIN, 502, "void", 0, id="redirect"),
        pytest.param(
            says(answer(b"<html>", content_type="text/html")), PLAIN, 502, "worst_case", HELD, id="200 with HTML"
        ),
        pytest.param(says(answer(b'{"x":')), PLAIN, 200, "estimated", estimate(INPUT_BOUND, b'{"x":'), id="not JSON"),
        pytest.param(
            says(body(NO_USAGE)),
            PLAIN,
            200,
            "estimated",
            estimate(INPUT_BOUND, json.dumps(NO_USAGE).encode()),
            id="no usage",
        ),
        pytest.param(
            says(body(NEGATIVE)),
            PLAIN,
            200,
            "estimated",
            estimate(INPUT_BOUND, json.dumps(NEGATIVE).encode()),
            id="negative usage is as missing",
        ),
        pytest.param(says(body(MISMATCH)), PLAIN, 200, "provider", 10 * IN + 20 * OUT, id="total says more"),
        pytest.param(
            says(body(chat_answer(prompt=9000, completion=5))),
            PLAIN,
            200,
            "provider",
            9000 * IN + 5 * OUT,
            id="over hold",
        ),
        pytest.param(
            says(body(chat_answer(model="priced-dear"))), PLAIN, 200, "provider", 10 * USE, id="a dearer model answered"
        ),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\n" + TWO_LENGTHS + b"\r\n"),
            PLAIN,
            502,
            "estimated",
            INPUT_BOUND * IN,
            id="two lengths in the answer",
        ),
        pytest.param(
            says(stream_head() + chunked([HELLO, WORLD, USAGE, DONE])), STREAM, 200, "provider", USE, id="stream"
        ),
        pytest.param(
            says(stream_head() + chunked([EVERY, EVERY, LAST, DONE])), STREAM, 200, "provider", USE, id="in every chunk"
        ),
        pytest.param(
            says(stream_head() + chunked([HELLO, WORLD, DONE])),
            STREAM,
            200,
            "estimated",
            estimate(STREAM_BOUND, HELLO, WORLD, DONE),
            id="stream without usage",
        ),
    ],
)
async def test_every_end_leaves_one_entry(
    tmp_path: Path, script: Callable[[Visit], Awaitable[None]], request_body: bytes, status: int, basis: str, cost: int
) -> None:
    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post("/lab/chat/completions", request_body)
        assert got.status == status
        await expect_entry(rigged, basis, cost)
        assert b"UPSTREAM-SECRET-KEY" not in got.body + rigged.log.getvalue()


@pytest.mark.parametrize(
    ("frames", "end", "basis", "cost"),
    [
        ([HELLO], "close", "estimated", estimate(STREAM_BOUND, HELLO)),
        ([HELLO], "reset", "estimated", estimate(STREAM_BOUND, HELLO)),
        ([HELLO, WORLD, USAGE], "close", "provider", USE),
        ([HELLO, HELLO[:20]], "close", "estimated", estimate(STREAM_BOUND, HELLO, HELLO[:20])),
    ],
)
async def test_a_stream_that_dies_ends_with_an_error_and_never_with_its_terminator(
    tmp_path: Path, frames: list[bytes], end: str, basis: str, cost: int
) -> None:
    async def script(visit: Visit) -> None:
        await visit.send(stream_head() + b"".join(map(chunk, frames)))
        if end == "reset":
            visit.reset()
        visit.writer.close()

    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post("/lab/chat/completions", STREAM)
        assert not got.is_whole
        assert b"event: error\n" in got.body
        assert b"[DONE]" not in got.body
        await expect_entry(rigged, basis, cost)


async def test_an_error_event_of_the_provider_is_relayed_and_billed_by_what_was_delivered(tmp_path: Path) -> None:
    failure = b'data: {"error": {"message": "overloaded"}}\n\n'
    async with (
        ScriptedUpstream(says(stream_head() + chunked([HELLO, failure]))) as upstream,
        rig(tmp_path, upstream.port) as rigged,
    ):
        got = await rigged.post("/lab/chat/completions", STREAM)
        assert failure in got.body
        await expect_entry(rigged, "estimated", estimate(STREAM_BOUND, HELLO, failure))


async def test_a_client_that_leaves_mid_stream_is_drained_and_charged_what_the_provider_states(tmp_path: Path) -> None:
    may_end = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.send(stream_head() + chunk(HELLO))
        await may_end.wait()
        await visit.send(chunk(WORLD) + chunk(USAGE) + chunk(DONE) + LAST_CHUNK)

    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port, ["1 concurrent"]) as rigged:
        async with RawClient(rigged.port) as client:
            await client.post("/lab/chat/completions", STREAM, rigged.with_key({}))
            await client.read_head()
            await client.read_chunk()
        # The drained call keeps its place: nobody gets more calls in flight by hanging up.
        refused = await rigged.chat()
        assert (refused.status, refused.code) == (429, "rate_limited")
        may_end.set()
        await until_settled(rigged, 1)
        await expect_entry(rigged, "provider", USE)


@pytest.mark.parametrize(
    ("first", "basis", "cost"),
    [
        (b"", "worst_case", HELD_STREAM),
        (chunk(HELLO), "estimated", min(HELD_STREAM, estimate(STREAM_BOUND, HELLO) + MARGIN_TOKENS * OUT)),
    ],
)
async def test_a_client_that_leaves_where_a_closed_connection_stops_the_bill(
    tmp_path: Path, first: bytes, basis: str, cost: int
) -> None:
    ended = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.send(stream_head() + first)
        await ended.wait()

    async with (
        ScriptedUpstream(script) as upstream,
        rig(tmp_path, upstream.port, lab="cancels_billing = true") as rigged,
    ):
        async with RawClient(rigged.port) as client:
            await client.post("/lab/chat/completions", STREAM, rigged.with_key({}))
            await client.read_head()
            if first:
                await client.read_chunk()
        await until_settled(rigged, 1)
        await expect_entry(rigged, basis, cost)
        ended.set()


async def test_bytes_pass_as_they_came_and_only_our_own_usage_chunk_is_taken_out(tmp_path: Path) -> None:
    frames = [HELLO, WORLD, USAGE, DONE]
    async with (
        ScriptedUpstream(says(stream_head() + chunked(frames))) as upstream,
        rig(tmp_path, upstream.port) as rigged,
    ):
        unasked = await rigged.post("/lab/chat/completions", STREAM)
        asked = await rigged.chat(stream=True, stream_options={"include_usage": True})
        assert upstream.visits[0].json["stream_options"] == {"include_usage": True}
        comment = b": penstock cost=0.00002 basis=provider\n\n"
        assert unasked.body == b"".join([HELLO, WORLD, DONE, comment])
        assert asked.body == b"".join([*frames, comment])


async def expect_entry(rigged: Rig, basis: str, cost: int) -> None:
    entries = await rigged.entries()
    assert [(entry.basis, entry.cost) for entry in entries] == [(basis, cost)]
    report = await rigged.verified()
    assert report.is_clean, report.problems
    assert report.open_holds == 0


async def until_settled(rigged: Rig, count: int) -> None:
    """Wait for the exchange of a client that has gone: nothing else tells the test of its end."""
    async with asyncio.timeout(10):
        while len(await rigged.entries()) < count:  # noqa: ASYNC110 -- each turn is a query, not a sleep
            await asyncio.sleep(0)


def test_the_answers_above_hold_what_their_names_say() -> None:
    assert json.loads(EVERY[6:])["usage"]["completion_tokens"] == 3
    assert json.loads(LAST[6:])["choices"][0]["finish_reason"] == "stop"
    assert isinstance(Answer(200, {}, b"{}").json, dict)


async def test_input_that_is_not_in_the_body_teaches_nothing_about_bodies(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://images.test/a.png"}}
    messages = [{"role": "user", "content": [image]}]
    async with (
        ScriptedUpstream(says(body(chat_answer(prompt=50_000, completion=5)))) as upstream,
        rig(tmp_path, upstream.port) as rigged,
    ):
        observations = rigged.gateway.ledger.observations
        before = observations.overhead("lab", "priced", "")
        assert (await rigged.chat(messages=messages, max_tokens=CAP)).status == 200
        await rigged.entries()
        assert observations.overhead("lab", "priced", "") == before
        assert (await rigged.chat(max_tokens=CAP)).status == 200
        await rigged.entries()
        assert observations.overhead("lab", "priced", "") > 40_000
