import asyncio
from collections.abc import Awaitable, Callable

import pytest

from penstock.core.errors import StoreUnavailable
from tests.web.visitor import Pages


async def passing() -> bool:
    return True


async def failing() -> bool:
    return False


async def unavailable() -> bool:
    raise StoreUnavailable("The database does not answer.")


async def hanging() -> bool:
    await asyncio.Event().wait()
    return True


async def test_a_process_that_answers_is_alive() -> None:
    answer = await Pages(checks={"database": unavailable}, is_draining=True).get("/healthz", token=None)
    assert (answer.status, answer.json["status"]) == (200, "ok")


async def test_a_gateway_that_passes_every_check_is_ready() -> None:
    answer = await Pages(checks={"database": passing, "providers": passing}).get("/readyz", token=None)
    assert (answer.status, answer.json) == (
        200,
        {"status": "ready", "checks": {"database": "ok", "providers": "ok"}},
    )


@pytest.mark.parametrize("check", [failing, unavailable])
async def test_one_check_that_fails_makes_it_not_ready(check: Callable[[], Awaitable[bool]]) -> None:
    answer = await Pages(checks={"database": check, "providers": passing}).get("/readyz", token=None)
    assert (answer.status, answer.json["checks"]) == (503, {"database": "failed", "providers": "ok"})


async def test_a_check_that_hangs_has_failed() -> None:
    answer = await Pages(checks={"database": hanging}, check_s=0).get("/readyz", token=None)
    assert (answer.status, answer.json["checks"]) == (503, {"database": "failed"})


async def test_a_gateway_that_drains_is_not_ready() -> None:
    answer = await Pages(checks={"database": passing}, is_draining=True).get("/readyz", token=None)
    assert (answer.status, answer.json["status"]) == (503, "draining")
