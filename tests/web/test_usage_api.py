from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from penstock.core.identity import Principal, Role
from penstock.core.limits import Policy, Standing, Subject, parse_limit
from penstock.web.usage_api import ModelSpent
from tests.web.visitor import ANN, BOB, CALLS, MONTHLY, NOW_MS, OWN_DAILY, USD, Pages, Sums, day


@pytest.fixture
def pages() -> Pages:
    pages = Pages()
    pages.sums.days = {
        "person:12": {day(0): 250_000_001, day(1): USD, day(20): 3 * USD, day(21): 5 * USD},
        "person:13": {day(0): USD // 4, day(7): USD},
    }
    pages.sums.models = {"person:12": [ModelSpent("openai/gpt-mini", 250_000_001, 3, 1000, 200)]}
    pages.sums.amounts = {("person:12", MONTHLY): (4 * USD, USD // 2), ("person:12", CALLS): (12, 1)}
    pages.callers["viewer"] = replace(ANN, role=Role.VIEWER)
    pages.callers["admin"] = replace(ANN, role=Role.ADMIN)
    return pages


async def test_usage_has_the_fields_of_ai_pipe_and_more(pages: Pages) -> None:
    answer = await pages.get("/usage")
    assert answer.status == 200
    assert answer.json == {
        "email": "Ann@example.com",
        "budget": 10,
        "limit": 10,
        "days": 21,
        "cost": Decimal("4.250000001"),
        "usage": [
            {"date": day(20), "cost": 3, "calls": 1},
            {"date": day(1), "cost": 1, "calls": 1},
            {"date": day(0), "cost": Decimal("0.250000001"), "calls": 1},
        ],
        "limits": [
            {
                "limit": "10 usd / month",
                "whose": "person:12",
                "unit": "usd",
                "window": "month",
                "cap": 10,
                "spent": 4,
                "held": Decimal("0.5"),
                "left": Decimal("5.5"),
                "resets_at": "2026-12-01T00:00:00Z",
            },
            {
                "limit": "100 requests / hour",
                "whose": "person:12",
                "unit": "requests",
                "window": "hour",
                "cap": 100,
                "spent": 12,
                "held": 1,
                "left": 87,
                "resets_at": "2026-11-21T13:00:00Z",
            },
            {
                "limit": "0.5 usd / day",
                "whose": "key:7",
                "unit": "usd",
                "window": "day",
                "cap": Decimal("0.5"),
                "spent": 0,
                "held": 0,
                "left": Decimal("0.5"),
                "resets_at": "2026-11-22T00:00:00Z",
            },
        ],
        "models": [
            {
                "model": "openai/gpt-mini",
                "cost": Decimal("0.250000001"),
                "calls": 3,
                "tokens_in": 1000,
                "tokens_out": 200,
            }
        ],
    }


@pytest.mark.parametrize(
    ("days", "cost"), [(1, "0.250000001"), (2, "1.250000001"), (22, "9.250000001"), (366, "9.250000001")]
)
async def test_days_changes_the_window_and_counts_today(pages: Pages, days: int, cost: str) -> None:
    answer = (await pages.get(f"/usage?days={days}")).json
    assert (answer["days"], answer["cost"], answer["budget"]) == (days, Decimal(cost), 10)


@pytest.mark.parametrize("days", ["0", "367", "-1", "1.5", "x", "", "٣", "9999999999", "0007"])
async def test_days_must_be_a_number_of_days(pages: Pages, days: str) -> None:
    answer = await pages.get(f"/usage?days={days}")
    assert (answer.status, answer.json["error"]["code"], answer.json["error"]["param"]) == (
        400,
        "invalid_request",
        "days",
    )


@pytest.mark.parametrize(
    ("limit", "days"),
    [
        ("1 usd / 7 days", 7),
        ("1 usd / day", 1),
        ("1 usd / week", 6),
        ("1 usd / hour", 1),
        ("1 usd", 366),
        ("5 requests / day", 30),
    ],
)
async def test_without_days_the_window_is_the_budgets(pages: Pages, limit: str, days: int) -> None:
    pages.callers["ann"] = replace(ANN, subjects=(Subject("person:12", (parse_limit(limit),)),))
    assert (await pages.get("/usage")).json["days"] == days


async def test_the_budget_is_the_dollar_limit_with_least_left(pages: Pages) -> None:
    tight, loose = parse_limit("2 usd / 7 days"), parse_limit("100 usd / month")
    pages.callers["ann"] = replace(ANN, subjects=(Subject("person:12", (loose, tight)),))
    pages.sums.amounts = {("person:12", loose): (USD, 0)}
    answer = (await pages.get("/usage")).json
    assert (answer["budget"], answer["limit"], answer["days"]) == (2, 2, 7)


async def test_without_a_dollar_limit_there_is_no_budget(pages: Pages) -> None:
    pages.callers["ann"] = replace(ANN, subjects=(Subject("person:12"),))
    answer = (await pages.get("/usage")).json
    assert (answer["budget"], answer["limit"], answer["limits"]) == (None, None, [])


async def test_a_rolling_window_resets_when_its_oldest_cost_leaves_it(pages: Pages) -> None:
    class SpentOn(Sums):
        async def standings(self, subjects: Sequence[Subject], now_ms: int) -> Sequence[Standing]:
            periods = {day(6): (0, 0), day(3): (USD, 0), day(0): (0, USD)}
            return [Standing("person:12", parse_limit("5 usd / 7 days"), periods)]

    pages.sums = SpentOn()
    [row] = (await pages.get("/me")).json["limits"]
    assert (row["left"], row["resets_at"]) == (3, f"{day(-4)}T00:00:00Z")


async def test_what_is_left_is_never_below_nothing(pages: Pages) -> None:
    pages.sums.amounts[("person:12", MONTHLY)] = (11 * USD, 0)
    assert (await pages.get("/usage")).json["limits"][0]["left"] == 0


@pytest.mark.parametrize("token", ["admin", "viewer"])
async def test_admins_and_viewers_may_see_another(pages: Pages, token: str) -> None:
    answer = (await pages.get("/usage?email=Bob@example.com", token=token)).json
    assert (answer["email"], answer["budget"], answer["days"], answer["cost"]) == (
        "bob@example.com",
        1,
        7,
        Decimal("0.25"),
    )
    assert {row["whose"] for row in answer["limits"]} == {BOB.name}


@pytest.mark.parametrize("email", ["bob@example.com", "nobody@example.com"])
async def test_members_may_not_even_learn_who_is_there(pages: Pages, email: str) -> None:
    answer = await pages.get(f"/usage?email={email}")
    assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden")


async def test_an_unknown_person_is_not_found(pages: Pages) -> None:
    answer = await pages.get("/usage?email=nobody@example.com", token="admin")
    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "query", ["?email=ann@example.com", "?email=ANN@EXAMPLE.COM", "?email=", "?email=%61nn%40example.com"]
)
async def test_everybody_may_name_himself(pages: Pages, query: str) -> None:
    answer = await pages.get("/usage" + query)
    assert (answer.status, answer.json["email"]) == (200, "Ann@example.com")


async def test_a_key_without_a_person_sees_its_own_usage(pages: Pages) -> None:
    robot = Principal(9, "robot", Role.MEMBER, None, None, Policy("robots"), (Subject("key:9", (OWN_DAILY,)),))
    pages.callers["robot"] = robot
    pages.sums.days["key:9"] = {day(0): 5}
    answer = (await pages.get("/usage", token="robot")).json
    assert (answer["email"], answer["cost"], answer["budget"]) == (None, Decimal("5E-9"), Decimal("0.5"))
    assert (await pages.get("/usage?email=bob@example.com", token="robot")).status == 403


async def test_me_tells_the_key_that_calls(pages: Pages) -> None:
    pages.callers["ann"] = replace(ANN, expires_at_ms=NOW_MS, key_models=("openai/*",))
    answer = (await pages.get("/me")).json
    assert len(answer.pop("limits")) == 3
    assert answer == {
        "email": "Ann@example.com",
        "role": "member",
        "key": {"id": 7, "name": "laptop", "expires_at": "2026-11-21T12:00:00Z"},
        "policy": "staff",
        "providers": ["*"],
        "endpoints": ["*"],
        "models": ["*"],
        "key_models": ["openai/*"],
    }


async def test_a_limit_of_calls_in_flight_has_no_window_and_no_reset(pages: Pages) -> None:
    limit = parse_limit("5 concurrent")
    pages.callers["ann"] = replace(ANN, subjects=(Subject("key:7", (limit,)),))
    pages.sums.amounts = {("key:7", limit): (0, 2)}
    [row] = (await pages.get("/me")).json["limits"]
    assert row == {
        "limit": "5 concurrent",
        "whose": "key:7",
        "unit": "concurrent",
        "window": None,
        "cap": 5,
        "spent": 0,
        "held": 2,
        "left": 3,
        "resets_at": None,
    }


@pytest.mark.parametrize("path", ["/usage", "/me"])
async def test_nobody_may_store_what_is_the_callers(pages: Pages, path: str) -> None:
    answer = await pages.get(path)
    assert answer.header(b"cache-control") == b"no-store"
    assert answer.header(b"content-type") == b"application/json"
    assert answer.header(b"x-request-id") == b"req-1"
