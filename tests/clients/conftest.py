"""The real model server that the clients' calls end at."""

from collections.abc import Iterator

import pytest

from tests.upstreams.llama import Llama, running_llama


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    with running_llama(tmp_path_factory.mktemp("llama")) as server:
        yield server
