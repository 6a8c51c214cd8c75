"""A whole gateway in the test's own process: real sockets, a real database in a temporary folder, injected time.

The provider is named ``lab`` and speaks OpenAI's format (at the same port ``claude`` Anthropic's, ``gemini`` Google's).
Its model ``priced`` costs 1,000 nano-USD per input token and 2,000 per output token; ``unknown`` has no price.
"""

import io
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock.app import Running, Stores, Surroundings, open_stores, running
from penstock.core.limits import parse_limit
from penstock.providers import BUILT_IN, DIALECTS
from penstock.settings import load
from penstock.store.accounts import NewKey
from penstock.store.usage import EntryLine, last_entries
from penstock.store.verify import VerifyReport, verify
from tests.scenarios.raw_client import Answer, RawClient

IN, OUT = 1_000, 2_000
START_MS = 1_795_000_000_000
PERSON = "ann@example.com"


class Clock:
    """The wall clock of a test: it moves when the test says so."""

    def __init__(self, at_ms: int = START_MS) -> None:
        self.at_ms = at_ms

    def __call__(self) -> int:
        return self.at_ms


@dataclass(slots=True)
class Rig:
    """The running gateway and what a test does with it. ``key`` is of a person whose limits are the test's."""

    gateway: Running
    stores: Stores
    clock: Clock
    key: str
    log: io.BytesIO

    @property
    def port(self) -> int:
        return self.gateway.server.port

    async def post(self, path: str, body: object, **headers: str) -> Answer:
        """One whole call on a connection of its own. A body of bytes goes as it is."""
        async with RawClient(self.port) as client:
            await client.post(
                path, body if isinstance(body, bytes) else json.dumps(body).encode(), self.with_key(headers)
            )
            return await client.read_answer()

    async def chat(self, model: str = "priced", **fields: object) -> Answer:
        return await self.post("/lab/chat/completions", chat_body(model=model, **fields))

    def with_key(self, headers: dict[str, str]) -> dict[str, str]:
        return {
            "authorization": f"Bearer {self.key}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }

    async def entries(self) -> list[EntryLine]:
        """Every entry, the oldest first, once all that is queued is written."""
        await self.gateway.ledger.flushed()
        with self.stores.database.reading() as connection:
            return last_entries(connection, None, 10_000)[::-1]

    async def verified(self) -> VerifyReport:
        await self.gateway.ledger.flushed()
        return verify(self.stores.database)


def chat_body(*, model: str = "priced", **fields: object) -> dict[str, object]:
    """The body of a chat completion."""
    return {"model": model, "messages": [{"role": "user", "content": "What is 2 + 2?"}], **fields}


def settings_file(folder: Path, upstream_port: int, limits: Sequence[str] = (), *, lab: str = "") -> Path:
    """The penstock.toml of a rig, with everything in its folder."""
    file = folder / "penstock.toml"
    file.write_text(_TOML.format(folder=folder, port=upstream_port, limits=json.dumps(list(limits)), lab=lab))
    return file


@asynccontextmanager
async def rig(
    folder: Path, upstream_port: int, limits: Sequence[str] = (), *, clock: Clock | None = None, lab: str = ""
) -> AsyncIterator[Rig]:
    """A gateway in front of a provider on that port. ``lab`` are further settings of the provider."""
    clock = clock or Clock()
    read = load(settings_file(folder, upstream_port, limits, lab=lab), {}, None, BUILT_IN, DIALECTS)
    stores = open_stores(read, clock)
    key, _ = stores.accounts.create_key(NewKey(email=PERSON))
    log = io.BytesIO()
    try:
        async with running(read, stores, Surroundings(log, clock, port=0)) as gateway:
            yield Rig(gateway, stores, clock, key, log)
    finally:
        stores.database.close()


def add_key(rigged: Rig, **fields: object) -> str:
    """Another key of the same person; ``limit`` is text."""
    limit = fields.pop("limit", None)
    limits = (parse_limit(str(limit)),) if limit is not None else ()
    token, _ = rigged.stores.accounts.create_key(NewKey(email=PERSON, limits=limits, **fields))  # type: ignore[arg-type]
    return token


_TOML = """
listen = "127.0.0.1:0"
data_dir = "{folder}"
admins = ["root@example.com"]

[[policies]]
name = "tested"
match = ["*"]
limits = {limits}

[providers.lab]
base_url = "http://127.0.0.1:{port}/v1"
api_key = "UPSTREAM-SECRET-KEY"
{lab}
[providers.lab.prices]
priced = {{ input = 1, output = 2 }}
"priced-*" = {{ input = 10, output = 20 }}
[providers.lab.models.priced]
context = 100000
output_max = 10000

[providers.gemini]
base_url = "http://127.0.0.1:{port}"
api_key = "UPSTREAM-SECRET-KEY"
[providers.gemini.prices]
priced = {{ input = 1, output = 2 }}
[providers.gemini.models.priced]
output_max = 10000

[providers.claude]
dialect = "anthropic"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "UPSTREAM-SECRET-KEY"
[providers.claude.prices]
priced = {{ input = 1, output = 2 }}
"""
