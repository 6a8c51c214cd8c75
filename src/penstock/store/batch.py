"""One batch of the ledger: what becomes durable together, in one transaction.

Endings come first, then reservations in the order in which they arrived, each seeing the one before; last the endings
of holds that this very batch has made. A hold leaves "open" once, to settled, void or swept, with one final entry;
whoever comes later finds nothing to do, but for its own ending of a swept hold, which becomes an adjustment (money.md,
"The ledger").
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from penstock.core.call import Basis, Ending, Hold, HoldRequest
from penstock.core.errors import LimitExceeded
from penstock.core.limits import LimitUnit, Refused, Standing, decide
from penstock.core.refusals import refusal
from penstock.store.bulk import Row
from penstock.store.charges import Charge, charge, worst_case
from penstock.store.memory import Memory
from penstock.store.rows import HeldCall, booked, entry_row, hold_row, new_hold, write
from penstock.store.schema import OPEN, SETTLED, SWEPT, VOID

Answer = Hold | LimitExceeded


@dataclass(frozen=True, slots=True, eq=False)
class Conclusion:
    """What its owner says of a hold in the end."""

    hold_id: str
    ending: Ending


@dataclass(slots=True)
class Batch:
    """Works in the transaction that ``memory`` has entered on ``connection``; ``owner`` is the process that holds.

    For one ``apply`` or one ``sweep``; ``learned`` are then the endings booked, each with its provider and model.
    """

    connection: Connection
    memory: Memory
    owner: str
    learned: list[tuple[str, str, Ending]] = field(default_factory=list)
    _made: list[Row] = field(default_factory=list)
    _closed: dict[str, str] = field(default_factory=dict)
    _entries: list[Row] = field(default_factory=list)

    def apply(self, requests: Sequence[HoldRequest], conclusions: Sequence[Conclusion]) -> list[Answer]:
        """Decide and write everything; the answers are in the order of the requests."""
        self.memory.load_held(self.connection, [conclusion.hold_id for conclusion in conclusions])
        rest = [conclusion for conclusion in conclusions if not self._conclude(conclusion)]
        self.memory.prepare(self.connection, (subject for request in requests for subject in request.subjects))
        answers = [self._reserve(request) for request in requests]
        for conclusion in rest:
            self._conclude(conclusion)
        self._write()
        for conclusion in conclusions:
            self.memory.held.pop(conclusion.hold_id, None)
        return answers

    def sweep(self, orphans: Sequence[HeldCall]) -> None:
        """Close the open holds of dead processes at the worst case."""
        self.memory.load_buckets(self.connection, orphans)
        for held in orphans:
            self._close(held, worst_case(held.amounts), SWEPT)
        self._write()

    def _reserve(self, request: HoldRequest) -> Answer:
        memory, now_ms = self.memory, self.memory.now_ms
        plans = [memory.plan(self.connection, subject) for subject in request.subjects]
        standings: list[Standing] = []
        for plan in plans:
            standings += memory.buckets.standings(plan)
        decision = decide(request.worst, standings, now_ms)
        if isinstance(decision, Refused):
            return refusal(decision, now_ms)
        bucket_ids: dict[LimitUnit, list[int]] = {}
        for plan in plans:
            for unit, counted in memory.buckets.touched(plan):
                memory.buckets.add(counted, 0, decision.amounts.of(unit))
                bucket_ids.setdefault(unit, []).extend([bucket.id for bucket in counted])
        held = new_hold(request, decision, bucket_ids, self.owner, now_ms)
        memory.held[held.id] = held
        self._made.append(hold_row(held, request, decision.output_cap))
        return Hold(request.id, decision.amounts, decision.output_cap, tuple(standings), now_ms)

    def _conclude(self, conclusion: Conclusion) -> bool:
        """Book an ending; False if there is no such hold (yet)."""
        held = self.memory.held.get(conclusion.hold_id)
        if held is None:
            return False
        ending = conclusion.ending
        if held.owner != self.owner or held.id in self._closed:
            return True
        if held.state == OPEN:
            self._close(held, ending, VOID if ending.basis is Basis.VOID else SETTLED)
        elif held.state == SWEPT:
            self._correct(held, ending)
        return True

    def _close(self, held: HeldCall, ending: Ending, state: str) -> None:
        charged = charge(held.amounts, ending)
        self._move(held, charged, frees=True)
        self._closed[held.id] = state
        self._book(held, ending, charged, 0)

    def _correct(self, held: HeldCall, ending: Ending) -> None:
        """Book the truth about a hold that was swept: the difference to what was charged, once."""
        so_far = booked(self.connection, held.id)
        if so_far.is_late:
            return
        added = charge(held.amounts, ending).minus(so_far.charge)
        self._move(held, added, frees=False)
        self._closed[held.id] = SWEPT
        self._book(held, ending, added, so_far.entries)

    def _move(self, held: HeldCall, charged: Charge, *, frees: bool) -> None:
        amounts, buckets = held.amounts, self.memory.buckets
        for unit, ids in held.bucket_ids.items():
            freed = (1 if unit is LimitUnit.CONCURRENT else amounts.of(unit)) if frees else 0
            buckets.add(buckets.at(ids), charged.of(unit), -freed)

    def _book(self, held: HeldCall, ending: Ending, added: Charge, number: int) -> None:
        self._entries.append(entry_row(held, ending, added, number, self.memory.now_ms))
        self.learned.append((held.provider, held.model, ending))

    def _write(self) -> None:
        """A batch that only refuses writes nothing, and costs the disk nothing."""
        if self._made or self._entries:
            write(self.connection, self._made, self._closed, self._entries)
            self.memory.write(self.connection)
