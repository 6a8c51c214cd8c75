"""The edges run on uvloop and on plain asyncio, and their tests on both: the two differ where a socket ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from penstock.wire.upstream import Upstream
from tests.wire.raw_upstream import Clock, closing, local_resolve


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def upstream(clock: Clock) -> AsyncIterator[Upstream]:
    async with closing(Upstream(clock=clock, resolve=local_resolve)) as made:
        yield made
