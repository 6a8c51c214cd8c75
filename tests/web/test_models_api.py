from dataclasses import replace

import pytest

from penstock.core.limits import Policy
from tests.web.visitor import ANN, OFFERED, Pages


@pytest.fixture
def pages() -> Pages:
    return Pages(own_prices=OFFERED)


async def test_lists_every_model_in_openais_shape_with_openrouters_prices(pages: Pages) -> None:
    answer = (await pages.get("/v1/models")).json
    assert answer["object"] == "list"
    assert [row["id"] for row in answer["data"]] == [
        "openai/gpt-mini", "openai/gpt-max", "anthropic/claude-haiku", "anthropic/gpt-mini",
    ]  # fmt: skip
    assert answer["data"][0] == {
        "id": "openai/gpt-mini",
        "object": "model",
        "created": 0,
        "owned_by": "openai",
        "name": "gpt-mini",
        "context_length": 128_000,
        "pricing": {"prompt": "0.0000001", "completion": "0.0000004", "input_cache_read": "0.000000000000025"},
        "top_provider": {"context_length": 128_000, "max_completion_tokens": 16_000},
    }


async def test_a_price_that_stands_for_another_is_shown_as_that(pages: Pages) -> None:
    answer = (await pages.get("/v1/models/openai/gpt-max")).json
    assert answer["pricing"] == {"prompt": "0.00001", "completion": "0.00001"}


async def test_lists_in_anthropics_shape_where_its_version_is_sent(pages: Pages) -> None:
    got = await pages.get("/v1/models?limit=1000", anthropic_version="2026-10-21")
    assert got.header(b"request-id") == got.header(b"x-request-id") == b"req-1"
    answer = got.json
    assert (answer["has_more"], answer["first_id"], answer["last_id"]) == (
        False,
        "openai/gpt-mini",
        "anthropic/gpt-mini",
    )
    assert answer["data"][2]["type"] == "model"
    assert answer["data"][2]["display_name"] == "anthropic/claude-haiku"
    assert answer["data"][2]["pricing"]["prompt"] == "0.0000001"


@pytest.mark.parametrize(
    ("policy", "key_models", "allowed"),
    [
        (Policy("p"), ("*",), 4),
        (Policy("p", models=("openai/*",)), ("*",), 2),
        (Policy("p", providers=("anthropic",)), ("*",), 2),
        (Policy("p"), ("*/gpt-mini",), 2),
        (Policy("p", models=("openai/*",)), ("*/gpt-mini",), 1),
        (Policy("p", models=()), ("*",), 0),
    ],
)
async def test_lists_only_what_the_caller_may_use(
    pages: Pages, policy: Policy, key_models: tuple[str, ...], allowed: int
) -> None:
    pages.callers["ann"] = replace(ANN, policy=policy, key_models=key_models)
    assert len((await pages.get("/v1/models")).json["data"]) == allowed


async def test_an_empty_list_is_a_list(pages: Pages) -> None:
    pages.own_prices = {}
    assert (await pages.get("/v1/models")).json == {"object": "list", "data": []}
    answer = (await pages.get("/v1/models", anthropic_version="2023-06-01")).json
    assert answer == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("openai/gpt-mini", "openai/gpt-mini"),
        ("anthropic/gpt-mini", "anthropic/gpt-mini"),
        ("gpt-mini", "openai/gpt-mini"),
        ("claude-haiku", "anthropic/claude-haiku"),
    ],
)
async def test_gives_one_model_by_its_name_or_its_bare_name(pages: Pages, name: str, found: str) -> None:
    assert (await pages.get(f"/v1/models/{name}")).json["id"] == found


async def test_an_unknown_model_is_not_found_and_the_nearest_are_named(pages: Pages) -> None:
    answer = await pages.get("/v1/models/openai/gpt-minni")
    assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")
    assert "openai/gpt-mini" in answer.json["error"]["message"]


async def test_a_model_that_the_caller_may_not_use_is_not_found(pages: Pages) -> None:
    pages.callers["ann"] = replace(ANN, policy=Policy("p", models=("openai/*",)))
    answer = await pages.get("/v1/models/anthropic/claude-haiku")
    assert answer.status == 404
    assert "anthropic/claude-haiku" not in answer.json["error"]["message"]
