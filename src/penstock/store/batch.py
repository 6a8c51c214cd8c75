"""One batch of the ledger: reservations and endings that become durable together, in one transaction.

Endings come first, then reservations in the order in which they arrived, each seeing the one before; last the endings
of holds that this very batch has made. A hold moves from open to settled, void or swept, once; whoever comes later
finds nothing to do, but for a late truth about a swept hold, which becomes an adjustment (money.md, "The ledger").
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from penstock.core.call import Basis, Ending, Hold, HoldRequest
from penstock.core.errors import LimitExceeded
from penstock.core.limits import Admitted, LimitUnit, Refused, decide
from penstock.core.refusals import refusal
from penstock.core.windows import DAY_MS, day_period
from penstock.store.buckets import Bucket, Buckets
from penstock.store.charges import Charge, charge, worst_case
from penstock.store.schema import ADJUST, FINAL, OPEN, SETTLED, SWEPT, VOID, entry, hold

Answer = Hold | LimitExceeded


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The ending of a hold; ``is_sweep``: by somebody else, because its owner is dead."""

    hold_id: str
    ending: Ending
    is_sweep: bool = False


@dataclass(slots=True)
class _Kept:
    """A hold as it stands in the database, or will; ``row`` has its columns but ``buckets`` in memory."""

    row: dict[str, object]
    buckets: dict[str, list[Bucket]]
    held: Charge
    admitted_at_ms: int
    state: str = OPEN


@dataclass(slots=True)
class Batch:
    """Works inside a transaction of ``connection``; ``now_ms`` is its one time, ``owner`` the process that holds.

    After ``apply``, ``answers`` has one for every reservation by its hold's id, and ``learned`` the endings from which
    something can be learned, with the provider and model of each.
    """

    connection: Connection
    owner: str
    now_ms: int
    answers: dict[str, Answer] = field(default_factory=dict)
    learned: list[tuple[str, str, Ending]] = field(default_factory=list)
    _made: dict[str, _Kept] = field(default_factory=dict)
    _entries: list[dict[str, object]] = field(default_factory=list)
    _moves: list[dict[str, object]] = field(default_factory=list)

    def apply(self, reservations: Sequence[HoldRequest], conclusions: Sequence[Conclusion]) -> None:
        """Decide and write everything."""
        buckets = Buckets(self.connection)
        kept = self._load(buckets, [conclusion.hold_id for conclusion in conclusions]) if conclusions else {}
        for conclusion in conclusions:
            if conclusion.hold_id in kept:
                self._conclude(kept[conclusion.hold_id], conclusion)
        subjects = {id(request.subjects): request.subjects for request in reservations}
        buckets.load((subject for group in subjects.values() for subject in group), self.now_ms)
        for request in reservations:
            self.answers[request.id] = self._reserve(buckets, request)
        for conclusion in conclusions:
            if conclusion.hold_id in self._made:
                self._conclude(self._made[conclusion.hold_id], conclusion)
        buckets.save()
        self._write()

    def _load(self, buckets: Buckets, ids: Iterable[str]) -> dict[str, _Kept]:
        found = {}
        rows = list(self.connection.execute(_HOLDS, {"ids": list(ids)}).mappings())
        numbers = {row["id"]: msgspec.json.decode(row["buckets"], type=dict[str, list[int]]) for row in rows}
        buckets.load_ids({number for by_unit in numbers.values() for group in by_unit.values() for number in group})
        for row in rows:
            touched = {unit: [buckets.find(n) for n in group] for unit, group in numbers[row["id"]].items()}
            held = Charge(row["usd"], row["tokens_in"], row["tokens_out"], row["requests"])
            found[row["id"]] = _Kept(dict(row), touched, held, row["admitted_at_ms"], row["state"])
        return found

    def _reserve(self, buckets: Buckets, request: HoldRequest) -> Answer:
        standings = buckets.standings(request.subjects, self.now_ms)
        decision = decide(request.worst, standings, self.now_ms)
        if isinstance(decision, Refused):
            return refusal(decision, self.now_ms)
        touched = buckets.hold(request.subjects, decision.amounts, self.now_ms)
        self._made[request.id] = self._make(request, decision, touched)
        return Hold(request.id, decision.amounts, decision.output_cap, tuple(standings), self.now_ms)

    def _make(self, request: HoldRequest, decision: Admitted, touched: dict[str, list[Bucket]]) -> _Kept:
        amounts = decision.amounts
        tokens_in = min(request.worst.input_tokens, amounts.tokens)
        held = Charge(amounts.usd, tokens_in, amounts.tokens - tokens_in, amounts.requests)
        row: dict[str, object] = {
            "id": request.id,
            "request_id": request.request_id,
            "key_id": request.key_id,
            "person_id": request.person_id,
            "provider": request.provider,
            "model": request.model[:200],
            "endpoint": request.endpoint,
            "price_book": request.price_book,
            "usd": held.usd,
            "tokens_in": held.tokens_in,
            "tokens_out": held.tokens_out,
            "requests": held.requests,
            "worst": msgspec.json.encode(request.worst).decode(),
            "output_cap": decision.output_cap,
            "owner": self.owner,
            "admitted_at_ms": self.now_ms,
        }
        return _Kept(row, touched, held, self.now_ms)

    def _conclude(self, kept: _Kept, conclusion: Conclusion) -> None:
        ending = conclusion.ending
        booked = charge(kept.held, ending)
        if kept.state == OPEN:
            state = SWEPT if conclusion.is_sweep else VOID if ending.basis is Basis.VOID else SETTLED
            for unit, rows in kept.buckets.items():
                for row in rows:
                    row.add(settled=booked.of(LimitUnit(unit)), held=-_held(kept.held, LimitUnit(unit)))
            self._book(kept, ending, booked, kind=FINAL)
        elif kept.state == SWEPT and not conclusion.is_sweep:
            state = SETTLED
            booked = booked.minus(charge(kept.held, worst_case(kept.held)))
            for unit, rows in kept.buckets.items():
                for row in rows:
                    row.add(settled=booked.of(LimitUnit(unit)))
            self._book(kept, ending, booked, kind=ADJUST)
        else:
            return
        kept.state = state
        self._moves.append({"hold_id": kept.row["id"], "to": state})

    def _book(self, kept: _Kept, ending: Ending, booked: Charge, *, kind: str) -> None:
        names = ("person_id", "key_id", "provider", "model", "endpoint")
        self._entries.append(
            {
                "hold_id": kept.row["id"],
                "kind": kind,
                "number": 0 if kind == FINAL else 1,
                "cost": booked.usd,
                "tokens_in": booked.tokens_in,
                "tokens_out": booked.tokens_out,
                "requests": booked.requests,
                "usage": msgspec.json.encode(ending.usage).decode(),
                "rates": msgspec.json.encode(ending.rates).decode(),
                "basis": ending.basis.value,
                "flags": msgspec.json.encode(ending.flags).decode(),
                "reported_pico": ending.reported_pico,
                "latency_ms": ending.latency_ms,
                "first_byte_ms": ending.first_byte_ms,
                "status": ending.status,
                "is_stream": ending.is_stream,
                "bytes_out": ending.bytes_out,
                "at_ms": self.now_ms,
                "day": day_period(kept.admitted_at_ms // DAY_MS),
                **{name: kept.row[name] for name in names},
            }
        )
        self.learned.append((str(kept.row["provider"]), str(kept.row["model"]), ending))

    def _write(self) -> None:
        made = [{**kept.row, "state": kept.state, "buckets": _numbers(kept.buckets)} for kept in self._made.values()]
        if made:
            self.connection.execute(insert(hold), made)
        moves = [move for move in self._moves if move["hold_id"] not in self._made]
        if moves:
            self.connection.execute(_MOVE, moves)
        if self._entries:
            self.connection.execute(insert(entry), self._entries)


_HOLDS = select(hold).where(hold.c.id.in_(bindparam("ids", expanding=True)))
_MOVE = update(hold).where(hold.c.id == bindparam("hold_id")).values(state=bindparam("to"))


def _held(held: Charge, unit: LimitUnit) -> int:
    return 1 if unit is LimitUnit.CONCURRENT else held.of(unit)


def _numbers(buckets: dict[str, list[Bucket]]) -> str:
    return msgspec.json.encode({unit: [row.id for row in rows] for unit, rows in buckets.items()}).decode()
