"""The ledger against a model of it that is too simple to be wrong: lists of calls, added up anew for every question."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from sqlalchemy import event, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from penstock.core.call import Hold, HoldRequest
from penstock.core.errors import LimitExceeded, StoreUnavailable
from penstock.core.limits import LimitUnit, Subject, parse_limit
from penstock.core.money import NANO_PER_USD
from penstock.core.windows import DAY, LIFETIME, Window
from penstock.store.engine import open_database
from penstock.store.instances import DEAD_AFTER_MS
from penstock.store.ledger import SqlLedger
from penstock.store.plans import periods
from penstock.store.schema import bucket
from penstock.store.verify import verify
from tests.store.calls import Clock, request, used, void

LIMITS = ["5 usd / day", "9 usd / 7 days", "30 usd", "7 requests / 15 minutes", "12 tokens / minute", "3 concurrent"]
LIMITS += ["0 usd / month", "8 usd / month", "20 usd / week"]
NOT_64_BITS = 2**70
T = TypeVar("T")


@dataclass
class Spent:
    """A call as the model sees it; ``charged`` is None while it is held."""

    subjects: tuple[Subject, ...]
    held: dict[LimitUnit, int]
    admitted_at_ms: int
    charged: dict[LimitUnit, int] | None = None
    is_swept: bool = False
    windows: list[tuple[str, LimitUnit, Window]] = field(default_factory=list)

    def amounts(self, unit: LimitUnit) -> tuple[int, int]:
        return (0, self.held[unit]) if self.charged is None else (self.charged[unit], 0)


def amounts(tokens: int, requests: int = 1, concurrent: int = 0) -> dict[LimitUnit, int]:
    """A dollar a token, as in ``tests.store.calls``."""
    return {
        LimitUnit.USD: tokens * NANO_PER_USD,
        LimitUnit.TOKENS: tokens,
        LimitUnit.REQUESTS: requests,
        LimitUnit.CONCURRENT: concurrent,
    }


class LedgerMachine(RuleBasedStateMachine):
    """``ledgers`` are two processes on one file.

    The first is taken for dead now and then, and goes on; the second stops at that moment, and another one starts.
    """

    holds: Bundle[str] = Bundle("holds")

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.clock = Clock()
        self.loop = asyncio.new_event_loop()
        self.database = open_database(f"sqlite:///{self.folder.name}/penstock.db")
        event.listen(self.database.engine, "connect", _trust_the_disk)
        self.database.engine.dispose()
        self.ledgers = [self.start(), self.start()]
        self.limits: dict[str, tuple[str, ...]] = {"person:1": (), "person:2": (), "key:1": ()}
        self.calls: dict[str, Spent] = {}
        self.owners: dict[str, SqlLedger] = {}

    def teardown(self) -> None:
        for ledger in self.ledgers:
            self.run(ledger.stop(grace_s=0))
        assert verify(self.database).is_clean
        self.database.close()
        self.loop.close()
        self.folder.cleanup()

    @rule(name=st.sampled_from(["person:1", "person:2", "key:1"]), limits=st.sets(st.sampled_from(LIMITS), max_size=3))
    def change_limits(self, name: str, limits: set[str]) -> None:
        self.limits[name] = tuple(sorted(limits))

    @rule(target=holds, who=st.sampled_from([0, 1]), names=st.sets(st.sampled_from(["person:1", "person:2", "key:1"])),
          tokens=st.lists(st.integers(0, 4), min_size=1, max_size=4), has_twin=st.booleans())  # fmt: skip
    def reserve(self, who: int, names: set[str], tokens: list[int], has_twin: bool) -> str:  # noqa: FBT001
        """Several calls at once; a twin repeats the id of the first one, which breaks whatever batch it is in."""
        subjects = tuple(Subject(name, tuple(map(parse_limit, self.limits[name]))) for name in sorted(names))
        ids = [f"h{len(self.calls) + number}" for number in range(len(tokens))]
        asked = [request(hold_id, *subjects, tokens=each) for hold_id, each in zip(ids, tokens, strict=True)]
        subjects = subjects or asked[0].subjects
        twins = [request(ids[0], *subjects, tokens=tokens[0])] if has_twin else []
        answers = self.run(_all(self.ledgers[who], [*asked, *twins]))
        for hold_id, answer, each in zip(ids, answers, tokens, strict=False):
            call = Spent(subjects, amounts(each, concurrent=1), self.clock.now_ms)
            fits = self.fits(call)
            assert isinstance(answer, Hold if fits else LimitExceeded), (answer, fits)
            if fits:
                self.admit(call)
                self.calls[hold_id] = call
                self.owners[hold_id] = self.ledgers[who]
            else:
                self.calls[hold_id] = Spent((), amounts(0), 0, amounts(0))
        if has_twin:
            # Its id may only be taken if its twin was admitted; else it is a call of its own, refused or admitted.
            assert isinstance(answers[-1], StoreUnavailable | LimitExceeded)
        return ids[0]

    @rule(hold_id=consumes(holds), tokens=st.integers(0, 6), is_void=st.booleans(), was_sent=st.booleans(),
          has_poison=st.booleans())  # fmt: skip
    def end(self, hold_id: str, tokens: int, is_void: bool, was_sent: bool, has_poison: bool) -> None:  # noqa: FBT001
        ending = void(was_sent=was_sent) if is_void else used(tokens)
        ledger = self.owners.get(hold_id, self.ledgers[0])
        if has_poison:
            ledger.end("nobody", used(1, usd=NOT_64_BITS))
        ledger.end(hold_id, ending)
        ledger.end(hold_id, used(1))
        self.run(ledger.flushed())
        call = self.calls[hold_id]
        if hold_id in self.owners and (call.charged is None or call.is_swept):
            call.charged = amounts(0, int(was_sent)) if is_void else amounts(tokens)
            call.is_swept = False

    @rule(milliseconds=st.sampled_from([1, 1000, 60_000, 900_000, 86_400_000, 7 * 86_400_000]))
    def pass_time(self, milliseconds: int) -> None:
        self.clock.now_ms += milliseconds

    @rule()
    def lose_both(self) -> None:
        """Somebody removes the first one's lock file while it is frozen, so that the new process sweeps its holds."""
        for file in self.database.folder.glob("instance-*.lock"):
            file.unlink()
        self.clock.now_ms += DEAD_AFTER_MS
        stopped = self.ledgers.pop()
        self.run(stopped.stop())
        self.ledgers.append(self.start())
        self.owners = {hold_id: owner for hold_id, owner in self.owners.items() if owner is not stopped}
        for call in self.calls.values():
            if call.charged is None:
                call.charged = {**call.held, LimitUnit.CONCURRENT: 0}
                call.is_swept = True

    @invariant()
    def every_bucket_is_what_the_calls_come_to(self) -> None:
        expected: dict[tuple[str, str, str], list[int]] = {}
        for call in self.calls.values():
            for name, unit, window in call.windows:
                sums = expected.setdefault((name, unit.value, window.period(call.admitted_at_ms)), [0, 0])
                settled, held = call.amounts(unit)
                sums[0] += settled
                sums[1] += held
        query = select(bucket.c.subject, bucket.c.unit, bucket.c.period, bucket.c.settled, bucket.c.held)
        with self.database.reading() as connection:
            stored = {(a, b, c): [settled, held] for a, b, c, settled, held in connection.execute(query)}
        assert {key: sums for key, sums in stored.items() if any(sums)} == {k: v for k, v in expected.items() if any(v)}

    def fits(self, call: Spent) -> bool:
        return all(
            limit.amount and (not call.held[limit.unit] or call.held[limit.unit] <= limit.amount - self.spent(
                subject.name, limit.unit, limit.window))
            for subject in call.subjects
            for limit in subject.limits
        )  # fmt: skip

    def spent(self, name: str, unit: LimitUnit, window: Window) -> int:
        counting = set(periods(window, self.clock.now_ms))
        return sum(
            sum(call.amounts(unit))
            for call in self.calls.values()
            if any(counted[:2] == (name, unit) and counted[2].period(call.admitted_at_ms) in counting
                   for counted in call.windows)
        )  # fmt: skip

    def admit(self, call: Spent) -> None:
        """Which buckets a call is counted in is fixed by the limits of its admission."""
        windows = [
            (subject.name, unit, window)
            for subject in call.subjects
            for unit, window in [
                (LimitUnit.USD, DAY),
                (LimitUnit.USD, LIFETIME),
                *((limit.unit, limit.window) for limit in subject.limits),
            ]
        ]
        distinct = {
            (name, unit, window.period(call.admitted_at_ms)): (name, unit, window) for name, unit, window in windows
        }
        call.windows = list(distinct.values())

    def start(self) -> SqlLedger:
        # No beat of its own: on a slow machine one would tell the others that a lost process lives.
        ledger = SqlLedger(self.database, self.clock, beat_s=3600)
        self.run(ledger.start())
        return ledger

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)


async def _all(ledger: SqlLedger, requests: list[HoldRequest]) -> list[Hold | BaseException]:
    return await asyncio.gather(*map(ledger.reserve, requests), return_exceptions=True)


def _trust_the_disk(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.cursor().execute("PRAGMA synchronous = OFF")


LedgerMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLedger = LedgerMachine.TestCase
