"""Limits at their edge, with many calls at once against an upstream that answers only when all are decided (M1)."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.scenarios.raw_client import Answer
from tests.scenarios.rig import IN, OUT, Rig, add_key, chat_body, rig
from tests.scenarios.scripted import ScriptedUpstream, Visit, answer, chat_answer

CALLS = 200
FITTING = 20
CAP = 7
BODY = json.dumps(chat_body(max_tokens=CAP)).encode()
OVERHEAD = 1024
TOKENS = len(BODY) + OVERHEAD + CAP
COST = (len(BODY) + OVERHEAD) * IN + CAP * OUT


class Gate:
    """A script that answers nobody until the test opens it."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, visit: Visit) -> None:
        await self.opened.wait()
        full = chat_answer(prompt=len(BODY) + OVERHEAD, completion=CAP)
        await visit.send(answer(json.dumps(full).encode()))


async def rush(rigged: Rig, upstream: ScriptedUpstream, gate: Gate, refused: int) -> list[Answer]:
    """All calls at once; the gate opens when every call but those that are refused has reached the upstream."""
    calls = [asyncio.create_task(rigged.post("/lab/chat/completions", BODY)) for _ in range(CALLS)]
    pending = set(calls)
    decided: list[Answer] = []
    while len(decided) < refused:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        decided += [task.result() for task in done]
    gate.opened.set()
    return [await call for call in calls]


@pytest.mark.parametrize(
    ("limit", "fitting", "code"),
    [
        (f"{COST * FITTING / 1e9:.9f} usd / month", FITTING, "budget_held"),
        (f"{COST * FITTING / 1e9:.9f} usd", FITTING, "budget_held"),
        ("5 concurrent", 5, "rate_limited"),
        ("100 requests / 15 minutes", 100, "rate_limited"),
        (f"{TOKENS * FITTING} tokens / minute", FITTING, "rate_limited"),
    ],
)
async def test_exactly_as_many_calls_as_fit_reach_the_upstream(
    tmp_path: Path, limit: str, fitting: int, code: str
) -> None:
    gate = Gate()
    async with ScriptedUpstream(gate) as upstream, rig(tmp_path, upstream.port, [limit]) as rigged:
        answers = await rush(rigged, upstream, gate, CALLS - fitting)
        passed = [each for each in answers if each.status == 200]
        refused = [each for each in answers if each.status == 429]
        assert (len(passed), len(refused)) == (fitting, CALLS - fitting)
        assert len(upstream.visits) == fitting
        assert {each.code for each in refused} == {code}
        assert len(await rigged.entries()) == fitting
        report = await rigged.verified()
        assert report.is_clean, report.problems
        assert report.open_holds == 0


async def test_a_full_budget_is_refused_for_good_and_says_everything(tmp_path: Path) -> None:
    gate = Gate()
    gate.opened.set()
    limit = f"{COST / 1e9:.9f} usd / month"
    async with ScriptedUpstream(gate) as upstream, rig(tmp_path, upstream.port, [limit]) as rigged:
        first = await rigged.post("/lab/chat/completions", BODY)
        assert first.status == 200
        assert first.headers["x-penstock-budget-remaining"] == "0"
        second = await rigged.post("/lab/chat/completions", BODY)
        assert (second.status, second.code) == (429, "budget_exceeded")
        assert second.headers["x-should-retry"] == "false"
        error = second.json["error"]
        assert isinstance(error, dict)
        assert error["type"] == "insufficient_quota"
        assert error["spent"] == error["cap"] == f"{COST / 1e9:.9f}".rstrip("0")
        assert error["held"] == "0"
        assert error["affordable_output"] == 0
        assert error["resets_at"] == "2026-12-01T00:00:00Z"
        assert len(upstream.visits) == 1


async def test_a_fixed_window_opens_again_when_its_time_has_come(tmp_path: Path) -> None:
    gate = Gate()
    gate.opened.set()
    async with ScriptedUpstream(gate) as upstream, rig(tmp_path, upstream.port, ["2 requests / minute"]) as rigged:
        statuses = [(await rigged.chat()).status for _ in range(2)]
        refused = await rigged.chat()
        assert (statuses, refused.code) == ([200, 200], "rate_limited")
        wait_s = int(refused.headers["retry-after"])
        rigged.clock.at_ms += wait_s * 1000 - 1
        assert (await rigged.chat()).status == 429
        rigged.clock.at_ms += 1
        assert (await rigged.chat()).status == 200


async def test_a_key_has_limits_of_its_own_inside_the_person_s(tmp_path: Path) -> None:
    gate = Gate()
    gate.opened.set()
    async with ScriptedUpstream(gate) as upstream, rig(tmp_path, upstream.port, ["3 requests / day"]) as rigged:
        first, second = add_key(rigged, limit="1 requests / day"), add_key(rigged)
        codes = []
        for key in (first, first, second, second, second):
            rigged.key = key
            codes.append((await rigged.chat()).status)
        assert codes == [200, 429, 200, 200, 429]


async def test_a_zero_limit_blocks_everything_and_nothing_goes_up(tmp_path: Path) -> None:
    gate = Gate()
    async with ScriptedUpstream(gate) as upstream, rig(tmp_path, upstream.port, ["0 usd"]) as rigged:
        refused = await rigged.chat()
        assert (refused.status, refused.code) == (429, "budget_exceeded")
        assert not upstream.visits
