"""Every database that the store must work on, by its URL: a new one is done when these tests pass with it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from penstock.store.engine import Database, open_database
from penstock.store.ledger import SqlLedger
from tests.store.calls import Clock

DATABASES = {"sqlite": "sqlite:///{folder}/data/penstock.db"}


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    template: str = DATABASES[request.param]
    return template.format(folder=tmp_path)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ledger(database: Database, clock: Clock) -> AsyncIterator[SqlLedger]:
    started = SqlLedger(database, clock)
    await started.start()
    yield started
    await started.stop()
