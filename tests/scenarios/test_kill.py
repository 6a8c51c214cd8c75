"""kill -9 under load: what was set aside is still set aside, and the next process closes it (M4)."""

import asyncio
import json
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from penstock.app import open_stores
from penstock.providers import BUILT_IN, DIALECTS
from penstock.settings import Settings, load
from penstock.store.accounts import NewKey
from penstock.store.ledger import SqlLedger
from penstock.store.usage import last_entries
from penstock.store.verify import verify
from tests.scenarios.raw_client import RawClient
from tests.scenarios.rig import PERSON, Clock, chat_body, settings_file
from tests.scenarios.scripted import ScriptedUpstream, Visit, answer, chat_answer

ROUNDS = 6
CALLERS = 16
LIMIT_USD = 1
SERVE = """
import sys
from pathlib import Path
from penstock.providers import BUILT_IN, DIALECTS
from penstock.serving import serve
from penstock.settings import load
serve(load(Path(sys.argv[1]), {}, None, BUILT_IN, DIALECTS))
"""


async def answers(visit: Visit) -> None:
    await visit.send(answer(json.dumps(chat_answer()).encode()))


async def call_until_cut(port: int, key: str, answered: asyncio.Semaphore) -> None:
    body = json.dumps(chat_body(max_tokens=50)).encode()
    with suppress(OSError, asyncio.IncompleteReadError):
        async with RawClient(port) as client:
            while True:
                await client.post("/lab/chat/completions", body, {"authorization": f"Bearer {key}"})
                assert (await client.read_answer()).status == 200
                answered.release()


async def start_gateway(settings: Path) -> tuple[asyncio.subprocess.Process, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(settings), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    while True:
        line = await process.stderr.readline()
        assert line, "the gateway did not start"
        if json.loads(line)["event"] == "started":
            return process, json.loads(line)["port"]


def read_settings(file: Path) -> Settings:
    return load(file, {}, None, BUILT_IN, DIALECTS)


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_a_killed_process_leaves_holds_that_the_next_one_sweeps(tmp_path: Path, seed: int) -> None:
    async with ScriptedUpstream(answers) as upstream:
        file = settings_file(tmp_path, upstream.port, [f"{LIMIT_USD} usd / month"])
        stores = open_stores(read_settings(file))
        key, _ = stores.accounts.create_key(NewKey(email=PERSON))
        process, port = await start_gateway(file)
        answered = asyncio.Semaphore(0)
        callers = [asyncio.create_task(call_until_cut(port, key, answered)) for _ in range(CALLERS)]
        for _ in range(random.Random(seed).randint(5, 120)):
            await answered.acquire()
        process.send_signal(signal.SIGKILL)
        await asyncio.gather(*callers)
        await process.wait()

        assert verify(stores.database).is_clean
        ledger = SqlLedger(stores.database, Clock())
        await ledger.start()
        await ledger.stop()
        report = verify(stores.database)
        assert report.is_clean, report.problems
        assert report.open_holds == 0
        with stores.database.reading() as connection:
            entries = last_entries(connection, None, 100_000)
        # Nothing went up without a hold, and nothing that was held is forgotten.
        assert len(entries) >= len(upstream.visits)
        assert sum(entry.cost for entry in entries) <= LIMIT_USD * 10**9
        assert {entry.basis for entry in entries} <= {"provider", "worst_case"}
        stores.database.close()
