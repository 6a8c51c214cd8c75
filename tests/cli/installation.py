"""An admin's folder with settings and a real database, and the commands that are run in it."""

import asyncio
import io
import json
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.app import now_ms
from penstock.auth.api_key import principal_of
from penstock.cli import main
from penstock.core.call import Basis, Ending, HoldRequest
from penstock.core.identity import KeyRecord, key_kid
from penstock.core.limits import WorstCase
from penstock.core.usage import Usage
from penstock.providers import BUILT_IN, DIALECTS
from penstock.settings import load
from penstock.store.accounts import Accounts
from penstock.store.engine import Database, open_database
from penstock.store.ledger import SqlLedger

ANN = "ann@example.com"
COMMAND = (sys.executable, "-c", "from penstock.cli import main; main()")
SETTINGS = """
demo = "off"

[providers.lab]
base_url = "http://127.0.0.1:9/v1"
prices = { small = { input = 1, output = 2 }, large = { input = 2.5, output = 10, cache_read = 0.125 } }
models = { small = { context = 128000, output_max = 4096 } }

[[policies]]
name = "staff"
match = ["@example.com"]
limits = ["10 usd / month", "20 concurrent"]
"""
PICO = {"input": 1_000_000, "output": 2_000_000}
"""What ``small`` costs: pico-USD of a token."""


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def has_line(self, *cells: str) -> bool:
        """Whether a line consists of these cells, whatever the columns' widths."""
        return " ".join(cells) in (" ".join(line.split()) for line in self.out.splitlines())


class Installation:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write(SETTINGS)

    def write(self, toml: str) -> None:
        (self.folder / "penstock.toml").write_text(toml, encoding="utf-8")

    def run(self, *arguments: str) -> Outcome:
        """A command, in this process."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main(arguments)
        code = end.value.code
        return Outcome(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())

    def ok(self, *arguments: str) -> Outcome:
        outcome = self.run(*arguments)
        assert outcome.code == 0, outcome.err
        return outcome

    def refuse(self, *arguments: str) -> str:
        """What the admin is told, in one line; nothing else is printed."""
        outcome = self.run(*arguments)
        assert outcome.code == 1
        assert outcome.out == ""
        assert outcome.err.startswith("penstock: ")
        assert outcome.err.count("\n") == 1
        return outcome.err.removeprefix("penstock: ").rstrip()

    def misuse(self, *arguments: str) -> str:
        """What is said to a command that was used wrongly."""
        outcome = self.run(*arguments)
        assert outcome.code == 2
        assert outcome.out == ""
        return outcome.err

    def make_key(self, *arguments: str) -> str:
        return self.ok("keys", "create", *arguments).out.strip()

    def open(self) -> Database:
        return open_database(f"sqlite:///{self.folder / 'data' / 'penstock.db'}")

    def call(self, token: str, tokens_in: int, tokens_out: int, *, is_ended: bool = True) -> None:
        """A call of ``lab/small`` as the ledger sees one: held at twice what it comes to, then settled.

        One that is not ended stays held, until the next call's process sweeps it.
        """
        usage = Usage(input=tokens_in, output=tokens_out)
        pico = usage.input * PICO["input"] + usage.output * PICO["output"]
        ending = Ending(Basis.PROVIDER, pico // 1000, usage, was_sent=True, rates=PICO, status=200)
        asyncio.run(self._call(token, ending, is_ended=is_ended))

    def charge(self, token: str, ending: Ending) -> None:
        """A call with an ending of the test's own."""
        asyncio.run(self._call(token, ending, is_ended=True))

    async def _call(self, token: str, ending: Ending, *, is_ended: bool) -> None:
        database = self.open()
        ledger = SqlLedger(database, now_ms)
        await ledger.start()
        worst = WorstCase(2000 * ending.cost, 0, 2 * ending.usage.input, 2 * ending.usage.output)
        hold = await ledger.reserve(self._request(token, worst))
        if is_ended:
            ledger.end(hold.id, ending)
        await ledger.stop()
        database.close()

    def _request(self, token: str, worst: WorstCase) -> HoldRequest:
        record = self.record(token)
        policies = load(self.folder / "penstock.toml", {}, None, BUILT_IN, DIALECTS).policies
        caller = principal_of(record, policies)
        return HoldRequest(
            id=f"hold-{time.perf_counter_ns()}",
            request_id="r",
            key_id=record.id,
            person_id=record.person_id,
            subjects=caller.subjects,
            provider="lab",
            model="small",
            endpoint="chat.completions",
            price_book="settings",
            worst=worst,
        )

    def record(self, token: str) -> KeyRecord:
        database = self.open()
        record = Accounts(database, now_ms, b"").find_key(key_kid(token))
        database.close()
        assert record is not None
        return record
