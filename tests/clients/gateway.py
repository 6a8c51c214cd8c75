"""penstock as a user has it: a folder with settings, its commands, and ``penstock serve`` in a process of its own."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.store.engine import open_database
from penstock.store.usage import EntryLine, last_entries
from tests.scenarios.raw_client import RawClient

PERSON = "ann@example.com"
START_S = STOP_S = SETTLED_S = 30
_STARTED = re.compile(rb'"event":"started".*"port":(\d+)')
_COMMAND = (sys.executable, "-c", "from penstock.cli import main; main()")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with a penstock.toml, and what is done there."""

    folder: Path

    async def run(self, *arguments: str) -> str:
        """What a command prints; it must succeed."""
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, *arguments, cwd=self.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return out.decode()

    def entries(self) -> list[EntryLine]:
        database = open_database(f"sqlite:///{self.folder}/data/penstock.db")
        try:
            with database.reading() as connection:
                return last_entries(connection, None, 10_000)
        finally:
            database.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Gateway"]:
        """The gateway from its first answer on; at the end it drains as it would for a service manager."""
        key = (await self.run("keys", "create", "--email", PERSON)).strip()
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, "serve", "--port", "0", cwd=self.folder, stderr=asyncio.subprocess.PIPE
        )
        port = asyncio.get_running_loop().create_future()
        reading = asyncio.create_task(_read_log(process, port))
        try:
            async with asyncio.timeout(START_S):
                gateway = Gateway(await port, key)
                while (await gateway.get("/readyz"))[0] != 200:
                    pass
            yield gateway
        finally:
            with suppress(ProcessLookupError):  # it ended by itself, and the log says why
                process.terminate()
            async with asyncio.timeout(STOP_S):
                await process.wait()
            await reading


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that answers, and the key of a person whom its policy lets in."""

    port: int
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def get(self, path: str) -> tuple[int, Any]:
        async with RawClient(self.port) as client:
            await client.send(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.key}\r\n\r\n".encode())
            answer = await client.read_answer()
            return answer.status, answer.json

    async def settled(self) -> None:
        """Wait until no call is under way any more, also none whose client has left."""
        async with asyncio.timeout(SETTLED_S):
            while any(limit["held"] for limit in (await self.get("/usage"))[1]["limits"]):
                pass


async def _read_log(process: asyncio.subprocess.Process, port: asyncio.Future[int]) -> None:
    """Read all that the gateway logs, so that it never waits for us; its start says the port."""
    assert process.stderr is not None
    lines = []
    async for line in process.stderr:
        lines.append(line)
        started = _STARTED.search(line)
        if started is not None and not port.done():
            port.set_result(int(started[1]))
    if not port.done():
        port.set_exception(AssertionError(f"the gateway did not start:\n{b''.join(lines).decode()}"))
