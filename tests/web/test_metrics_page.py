from dataclasses import replace

import pytest

from tests.exchange import request
from tests.web.visitor import METRICS_TOKEN, Pages, fetch


@pytest.mark.parametrize("client", ["127.0.0.1", "127.9.9.9", "::1"])
async def test_this_machine_reads_metrics_without_a_token(client: str) -> None:
    answer = await fetch(Pages().web(), replace(request("GET", "/metrics"), client=client))
    assert (answer.status, answer.body) == (200, b"penstock_calls_total 1\n")


async def test_elsewhere_the_token_of_the_settings_is_needed() -> None:
    assert (await Pages().get("/metrics", token=METRICS_TOKEN)).status == 200
    for token in (None, "ann", METRICS_TOKEN + "x"):
        assert (await Pages().get("/metrics", token=token)).status == 401
