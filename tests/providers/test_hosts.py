"""What hosts of OpenAI's format do differently: where they state usage and cost, how their streams end."""

import json
from typing import Any

import pytest

from penstock.core.meter import BodyMeter, Metered, StreamMeter
from penstock.core.provider import Dialect
from penstock.core.usage import Usage
from penstock.providers.openai import AZURE, COMPATIBLE, OPENROUTER, PERPLEXITY, XAI

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def body(dialect: Dialect, text: str) -> Metered:
    meter = BodyMeter(dialect)
    meter.feed(text.encode())
    return meter.finish(is_complete=True)


def reported(dialect: Dialect, **fields: object) -> int | None:
    reading = body(dialect, json.dumps({"model": "m", "usage": {**USAGE, **fields}})).reading
    assert reading is not None
    assert reading.usage == Usage(input=10, output=5)
    return reading.reported_pico


def stream(dialect: Dialect, *chunks: dict[str, Any] | str, line_end: str = "\n") -> Metered:
    meter = StreamMeter(dialect, dialect.endpoints[0], drops_usage=False)
    for one in chunks:
        text = one if isinstance(one, str) else f"data: {json.dumps(one)}\n\n"
        meter.feed(text.replace("\n", line_end).encode())
    return meter.finish()[1]


def chunk(text: str = "", *, finish: str | None = None, **fields: object) -> dict[str, Any]:
    return {"model": "m", "choices": [{"delta": {"content": text}, "finish_reason": finish}], **fields}


DONE = "data: [DONE]\n\n"


def test_openrouter_says_what_a_call_costs() -> None:
    assert reported(OPENROUTER, cost=0.00014, is_byok=False) == 140_000_000
    assert reported(OPENROUTER, cost=1) == 10**12
    assert reported(OPENROUTER, cost=0) == 0
    assert reported(OPENROUTER) is None


def test_a_reported_cost_is_exact_to_the_pico_dollar_and_then_rounded_up() -> None:
    exact = body(OPENROUTER, '{"usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.0004970133333333333}}')
    assert exact.reading is not None
    assert exact.reading.reported_pico == 497_013_334


def test_on_a_key_of_ones_own_the_provider_behind_openrouter_bills_too() -> None:
    details = {"upstream_inference_cost": 0.002}
    assert reported(OPENROUTER, cost=0.0001, is_byok=True, cost_details=details) == 2_100_000_000
    assert reported(OPENROUTER, cost=0, is_byok=True) is None
    assert reported(OPENROUTER, cost=0, is_byok=True, cost_details={"upstream_inference_cost": None}) is None


@pytest.mark.parametrize("cost", [-1, True, "0.1", {"total_cost": 1}, None, 10**7])
def test_what_is_no_cost_is_not_believed(cost: object) -> None:
    assert reported(OPENROUTER, cost=cost) is None


def test_xai_counts_in_ticks() -> None:
    assert reported(XAI, cost_in_usd_ticks=3_206_000) == 320_600_000
    assert reported(XAI, cost_in_usd_ticks=-1) is None
    assert reported(XAI) is None


@pytest.mark.parametrize("dialect", [COMPATIBLE, PERPLEXITY, AZURE, XAI])
def test_nobody_else_is_asked_what_a_call_costs(dialect: Dialect) -> None:
    assert reported(dialect, cost=0.1) is None
    assert reported(PERPLEXITY, cost={"total_cost": 0.005}) is None
    assert reported(AZURE, cost_in_usd_ticks=0) is None


def test_openrouters_comments_and_errors_in_a_stream() -> None:
    comment = ": OPENROUTER PROCESSING\n\n"
    fine = stream(OPENROUTER, comment, chunk("a"), comment, chunk(finish="stop", usage={**USAGE, "cost": 0.1}), DONE)
    assert (fine.is_final, fine.is_complete, fine.flags) == (True, True, ())
    failed = stream(OPENROUTER, chunk("a"), chunk(finish="error", error={"code": 502, "message": "x"}), DONE)
    assert failed.has_error_event


def test_groq_states_its_usage_twice_and_fails_inside_a_stream() -> None:
    fine = stream(COMPATIBLE, chunk("a"), chunk(finish="stop", x_groq={"id": "r", "usage": USAGE}), DONE)
    assert fine.reading is not None
    assert fine.reading.usage == Usage(input=10, output=5)
    assert fine.is_final
    assert stream(COMPATIBLE, chunk("a"), 'event: error\ndata: {"error": {"message": "x"}}\n\n').has_error_event


def test_perplexity_counts_up_in_every_chunk_and_sends_no_end_mark() -> None:
    first = {**USAGE, "completion_tokens": 1, "total_tokens": 11}
    chunks = (chunk("a", usage=first), chunk("b", finish="stop", usage=USAGE))
    metered = stream(PERPLEXITY, *chunks, line_end="\r\n")
    assert metered.reading is not None
    assert metered.reading.usage == Usage(input=10, output=5)
    assert (metered.is_final, metered.is_complete) == (True, True)
    assert not stream(PERPLEXITY, chunks[0]).is_complete


def test_perplexity_states_its_searches() -> None:
    reading = body(PERPLEXITY, json.dumps({"usage": {**USAGE, "num_search_queries": 3}})).reading
    assert reading is not None
    assert reading.usage.searches == 3


def test_deepseek_states_what_it_had_in_its_cache() -> None:
    cached = {**USAGE, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}
    reading = body(COMPATIBLE, json.dumps({"usage": cached})).reading
    assert reading is not None
    assert reading.usage == Usage(input=6, cache_read=4, output=5)


def test_azures_first_chunk_has_no_choices_and_no_model() -> None:
    first = {"model": "", "choices": [], "prompt_filter_results": []}
    meter = StreamMeter(AZURE, AZURE.endpoints[0], drops_usage=True)
    sent = [f"data: {json.dumps(one)}\n\n".encode() for one in (first, chunk("a", finish="stop"))]
    usage = f"data: {json.dumps({'model': 'm', 'choices': [], 'usage': USAGE})}\n\n".encode()
    relayed = b"".join(map(meter.feed, [*sent, usage, DONE.encode()])) + meter.finish()[0]
    assert relayed == b"".join(sent) + DONE.encode()
    assert meter.finish()[1].model == "m"


def test_azure_takes_a_model_in_the_body_or_a_deployment_in_the_path() -> None:
    paths = {(e.name, e.path, e.is_rooted) for e in AZURE.endpoints}
    assert ("chat.completions", "/chat/completions", False) in paths
    assert ("embeddings", "/openai/deployments/{model}/embeddings", True) in paths
    assert (AZURE.key_header, AZURE.key_prefix) == ("api-key", "")
    endpoint = next(e for e in AZURE.endpoints if e.path.endswith("{model}/chat/completions"))
    asked = AZURE.read_request(endpoint, b'{"messages": [], "model": "other"}', "deployed")
    assert asked.model == "deployed"
