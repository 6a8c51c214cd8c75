"""Gemini's format end to end: the three ways in which it answers, what becomes of them, and where its keys stand."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.scenarios.raw_client import Answer, RawClient
from tests.scenarios.rig import IN, OUT, Rig, rig
from tests.scenarios.scripted import LAST_CHUNK, ScriptedUpstream, Visit, answer, chunk, chunked, stream_head

PATH = "/gemini/v1beta/models/priced"
CAP = 500
BODY = json.dumps(
    {"contents": [{"parts": [{"text": "What is 2 + 2?"}]}], "generationConfig": {"maxOutputTokens": CAP}}
).encode()
BOUND = len(BODY) + 1024
USE = 9 * IN + 5 * OUT


def generation(text: str, finish: str | None = None, prompt: int = 9, **counts: int) -> dict[str, object]:
    return {
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": finish, "index": 0}],
        "usageMetadata": {"promptTokenCount": prompt, **counts},
        "modelVersion": "priced",
    }


FIRST = generation("Four", prompt=12, totalTokenCount=12)
LAST = generation(".", "STOP", candidatesTokenCount=2, thoughtsTokenCount=3, totalTokenCount=14)
WHOLE = generation("Four.", "STOP", candidatesTokenCount=2, thoughtsTokenCount=3, totalTokenCount=14)
EVENTS = [b"data: " + json.dumps(value).encode() + b"\r\n\r\n" for value in (FIRST, LAST)]
ARRAY = [b"[" + json.dumps(FIRST, indent=2).encode(), b"\n,\r\n" + json.dumps(LAST, indent=2).encode(), b"\n]\n"]
Script = Callable[[Visit], Awaitable[None]]


def says(*parts: bytes) -> Script:
    async def script(visit: Visit) -> None:
        await visit.send(*parts)

    return script


def says_and_cuts(*parts: bytes) -> Script:
    async def script(visit: Visit) -> None:
        await visit.send(*parts)
        visit.writer.close()

    return script


def estimate(*frames: bytes) -> int:
    """The stated input of the first chunk, and one token for each byte that was relayed, up to what was held."""
    return min(12 * IN + sum(map(len, frames)) * OUT, BOUND * IN + CAP * OUT)


async def expect_entry(rigged: Rig, basis: str, cost: int) -> None:
    assert [(entry.basis, entry.cost) for entry in await rigged.entries()] == [(basis, cost)]
    report = await rigged.verified()
    assert report.is_clean, report.problems
    assert report.open_holds == 0


async def get(rigged: Rig, path: str) -> Answer:
    async with RawClient(rigged.port) as client:
        await client.send(f"GET {path} HTTP/1.1\r\nhost: g.test\r\nx-goog-api-key: {rigged.key}\r\n\r\n".encode())
        return await client.read_answer()


async def post(rigged: Rig, path: str, body: bytes = BODY, **headers: str) -> Answer:
    """A call as Google's own clients make it, without an Authorization header."""
    async with RawClient(rigged.port) as client:
        await client.post(path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return await client.read_answer()


async def test_a_plain_answer_is_relayed_and_metered(tmp_path: Path) -> None:
    sent = json.dumps(WHOLE, indent=1).encode()
    async with ScriptedUpstream(says(answer(sent))) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await post(rigged, f"{PATH}:generateContent", x_goog_api_key=rigged.key)
        assert (got.status, got.body) == (200, sent)
        assert got.headers["x-penstock-cost"] == "0.000019"
        await expect_entry(rigged, "provider", USE)
        (visit,) = upstream.visits
        assert visit.head.startswith(b"POST /v1beta/models/priced:generateContent HTTP/1.1\r\n")
        assert visit.header("x-goog-api-key") == "UPSTREAM-SECRET-KEY"
        assert visit.body == BODY


async def test_an_event_stream_is_relayed_without_a_comment_that_googles_sdk_cannot_read(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(says(stream_head() + chunked(EVENTS))) as upstream,
        rig(tmp_path, upstream.port) as rigged,
    ):
        got = await post(rigged, f"{PATH}:streamGenerateContent?alt=sse", x_goog_api_key=rigged.key)
        assert got.body == b"".join(EVENTS)
        await expect_entry(rigged, "provider", USE)
        assert upstream.visits[0].head.startswith(b"POST /v1beta/models/priced:streamGenerateContent?alt=sse HTTP")
        assert upstream.visits[0].body == BODY


async def test_an_array_is_relayed_element_by_element_and_metered(tmp_path: Path) -> None:
    may_end = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.send(stream_head("application/json; charset=UTF-8") + chunk(ARRAY[0]))
        await may_end.wait()
        await visit.send(chunk(ARRAY[1]) + chunk(ARRAY[2]) + LAST_CHUNK)

    async with (
        ScriptedUpstream(script) as upstream,
        rig(tmp_path, upstream.port) as rigged,
        RawClient(rigged.port) as client,
    ):
        await client.post(f"{PATH}:streamGenerateContent", BODY, rigged.with_key({}))
        await client.read_head()
        assert await client.read_chunk() == ARRAY[0]
        may_end.set()
        rest = b""
        while (data := await client.read_chunk()) is not None:
            rest += data
        assert rest == ARRAY[1] + ARRAY[2]
        await expect_entry(rigged, "provider", USE)


@pytest.mark.parametrize("frames", [[EVENTS[0]], [EVENTS[0], EVENTS[1][:30]]])
async def test_a_stream_that_is_cut_ends_with_an_error_in_geminis_words(tmp_path: Path, frames: list[bytes]) -> None:
    script = says_and_cuts(stream_head() + b"".join(map(chunk, frames)))
    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post(f"{PATH}:streamGenerateContent?alt=sse", BODY)
        assert not got.is_whole
        assert b"event:" not in got.body
        last = json.loads(got.body.rpartition(b"data: ")[2])
        assert (last["error"]["code"], last["error"]["details"][0]["reason"]) == (502, "upstream_unreachable")
        await expect_entry(rigged, "partial", estimate(*frames))


async def test_an_array_that_is_cut_is_cut_for_the_client_too(tmp_path: Path) -> None:
    script = says_and_cuts(stream_head("application/json") + chunk(ARRAY[0]) + chunk(ARRAY[1][:9]))
    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post(f"{PATH}:streamGenerateContent", BODY)
        assert (got.is_whole, got.body) == (False, ARRAY[0] + ARRAY[1][:9])
        await expect_entry(rigged, "partial", estimate(ARRAY[0], ARRAY[1][:9]))


async def test_an_error_of_google_is_relayed_and_costs_nothing(tmp_path: Path) -> None:
    sent = b'{"error":{"code":400,"message":"Bad","status":"INVALID_ARGUMENT"}}'
    async with ScriptedUpstream(says(answer(sent, status=400))) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post(f"{PATH}:streamGenerateContent?alt=sse", BODY)
        assert (got.status, got.body) == (400, sent)
        await expect_entry(rigged, "void", 0)


async def test_a_call_without_a_cap_gets_one_in_its_own_spelling(tmp_path: Path) -> None:
    body = b'{"contents":[],"generation_config":{"temperature":0.10}}'
    async with (
        ScriptedUpstream(says(answer(json.dumps(WHOLE).encode()))) as upstream,
        rig(tmp_path, upstream.port, ["3 usd"]) as rigged,
    ):
        got = await rigged.post(f"{PATH}:generateContent", body)
        cap = upstream.visits[0].json["generation_config"]
        assert isinstance(cap, dict)
        assert got.headers["x-penstock-capped"] == f"max_tokens={cap['maxOutputTokens']}"
        assert b'"temperature":0.10' in upstream.visits[0].body


async def test_a_search_at_google_is_bounded_by_the_largest_window_and_charged(tmp_path: Path) -> None:
    grounding = {"webSearchQueries": ["2 + 2", "two plus two"]}
    found = {**WHOLE, "candidates": [{"finishReason": "STOP", "groundingMetadata": grounding}]}
    body = b'{"contents":[],"tools":[{"googleSearch":{}}],"generationConfig":{"maxOutputTokens":500}}'
    async with (
        ScriptedUpstream(says(answer(json.dumps({**found, "modelVersion": "gemini-2.5-pro"}).encode()))) as upstream,
        rig(tmp_path, upstream.port) as rigged,
    ):
        # The price book states no window of this model, and a fee of 0.035 USD for an answer with any search.
        assert (await rigged.post("/gemini/v1beta/models/gemini-2.5-pro:generateContent", body)).status == 200
        await expect_entry(rigged, "provider", 9 * 1_250 + 5 * 10_000 + 35_000_000)


@pytest.mark.parametrize("query", ["?key={key}", "?alt=json&key={key}&pageSize=3", "?%6bey={key}"])
async def test_a_key_in_the_url_counts_and_goes_nowhere(tmp_path: Path, query: str) -> None:
    async with (
        ScriptedUpstream(says(answer(json.dumps(WHOLE).encode()))) as upstream,
        rig(tmp_path, upstream.port) as rigged,
    ):
        got = await post(rigged, f"{PATH}:generateContent" + query.format(key=rigged.key))
        assert got.status == 200
        assert rigged.key.encode() not in upstream.visits[0].head + rigged.log.getvalue() + got.body
        assert b"alt=json" not in upstream.visits[0].head or b"?alt=json&pageSize=3 HTTP" in upstream.visits[0].head
        # Elsewhere a key in the URL is none.
        elsewhere = await post(rigged, "/lab/chat/completions" + query.format(key=rigged.key))
        assert elsewhere.status == 401


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/gemini/v1beta/interactions", b"{}", 403, "endpoint_not_allowed"),
        ("/gemini/v1beta/openai/chat/completions", b"{}", 403, "endpoint_not_allowed"),
        ("/gemini/v1beta/models/unknown:generateContent", BODY, 400, "model_unpriced"),
        (f"{PATH}:generateContent", b"{", 400, "invalid_json"),
        (
            f"{PATH}:generateContent",
            b'{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":100000}}',
            400,
            "invalid_request",
        ),
    ],
)
async def test_a_refusal_is_in_geminis_words(tmp_path: Path, path: str, body: bytes, status: int, code: str) -> None:
    async with ScriptedUpstream(says()) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await rigged.post(path, body)
        error = got.json["error"]
        assert isinstance(error, dict)
        assert (got.status, error["code"], error["details"][0]["reason"]) == (status, status, code)
        assert upstream.visits == []


async def test_who_shows_no_key_is_told_in_geminis_words(tmp_path: Path) -> None:
    async with ScriptedUpstream(says()) as upstream, rig(tmp_path, upstream.port) as rigged:
        got = await post(rigged, f"{PATH}:generateContent")
        assert (got.status, got.code) == (401, 401)


async def test_an_embedding_is_metered_by_its_input_alone(tmp_path: Path) -> None:
    body = b'{"model":"models/priced","content":{"parts":[{"text":"hi"}]}}'
    stated = b'{"embedding":{"values":[0.1,0.2]},"usageMetadata":{"promptTokenCount":2}}'
    silent = b'{"embedding":{"values":[0.1,0.2]}}'
    answers = iter([stated, silent])

    async def script(visit: Visit) -> None:
        await visit.send(answer(next(answers)))

    async with ScriptedUpstream(script) as upstream, rig(tmp_path, upstream.port) as rigged:
        assert (await rigged.post(f"{PATH}:embedContent", body)).body == stated
        assert (await rigged.post(f"{PATH}:embedContent", body)).body == silent
        entries = [(entry.basis, entry.cost) for entry in await rigged.entries()]
        assert entries == [("provider", 2 * IN), ("estimated", (len(body) + 1024) * IN)]


async def test_listings_and_counting_are_free_and_answer_over_budget(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(says(answer(b'{"totalTokens":7}'))) as upstream,
        rig(tmp_path, upstream.port, ["0.000001 usd"]) as rigged,
    ):
        assert (await rigged.post(f"{PATH}:generateContent", BODY)).status == 429
        assert (await rigged.post(f"{PATH}:countTokens", BODY)).body == b'{"totalTokens":7}'
        assert (await get(rigged, "/gemini/v1/models?pageSize=5")).status == 200
        assert (await get(rigged, "/gemini/models/priced")).status == 200
        assert [visit.head.split(b" ")[1] for visit in upstream.visits] == [
            b"/v1beta/models/priced:countTokens",
            b"/v1/models?pageSize=5",
            b"/v1beta/models/priced",
        ]
        assert [(entry.basis, entry.cost) for entry in await rigged.entries()] == [("provider", 0)] * 3
