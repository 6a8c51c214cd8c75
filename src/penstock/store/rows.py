"""Holds and entries between values and rows: the one place that knows how each is written down.

An entry is appended and never changed. Of a hold only the state changes, once, away from open.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from penstock.core.call import Ending, HoldRequest
from penstock.core.limits import Admitted, LimitUnit
from penstock.core.windows import DAY
from penstock.store.bulk import Bulk, Row
from penstock.store.charges import Charge
from penstock.store.schema import ADJUST, FINAL, MODEL_LENGTH_MAX, OPEN, entry, hold

BucketIds = Mapping[LimitUnit, Sequence[int]]
"""The buckets that a hold is counted in, by unit: each holds the hold's whole amount in that unit."""

LATE = "late"
"""The flag of the adjustment that a swept hold's own ending becomes; there is one at most."""

OVER_HOLD = "over_hold"
"""The flag of an entry that exceeds its hold: only a provider's own statement can."""

_encode = msgspec.json.Encoder().encode
_bucket_ids = msgspec.json.Decoder(dict[LimitUnit, list[int]])
_decode_flags = msgspec.json.Decoder(tuple[str, ...]).decode


class HeldCall(NamedTuple):
    """A hold as its ending needs it."""

    id: str
    state: str
    owner: str
    usd: int
    tokens_in: int
    tokens_out: int
    requests: int
    buckets: str
    person_id: int | None
    key_id: int | None
    provider: str
    model: str
    endpoint: str
    admitted_at_ms: int

    @property
    def amounts(self) -> Charge:
        return Charge(self.usd, self.tokens_in, self.tokens_out, self.requests)

    @property
    def bucket_ids(self) -> BucketIds:
        return _decode_bucket_ids(self.buckets)


class Booked(NamedTuple):
    """What the entries of a hold come to, how many they are, and whether its own ending is among the adjustments."""

    charge: Charge
    entries: int
    is_late: bool


_HELD = select(*(hold.c[name] for name in HeldCall._fields))
_HELD_BY_ID = _HELD.where(hold.c.id.in_(bindparam("ids", expanding=True)))
# The literal, so that the partial index of the open holds is used.
_is_open = hold.c.state == bindparam(None, OPEN, literal_execute=True)
_OPEN_OF = _HELD.where(_is_open, hold.c.owner.in_(bindparam("owners", expanding=True))).limit(bindparam("count"))
_OPEN_OWNERS = select(hold.c.owner).where(_is_open).distinct()
_INSERT_HOLDS = Bulk(insert(hold), [column.name for column in hold.c])
_INSERT_ENTRIES = Bulk(insert(entry), [column.name for column in entry.c if column.name != "seq"])
_CLOSE = Bulk(
    update(hold).where(hold.c.id == bindparam("hold_id")).values(state=bindparam("to_state")), ["hold_id", "to_state"]
)
_BOOKED = select(entry.c.cost, entry.c.tokens_in, entry.c.tokens_out, entry.c.requests, entry.c.flags).where(
    entry.c.hold_id == bindparam("hold_id")
)


def find_held(connection: Connection, ids: Sequence[str]) -> dict[str, HeldCall]:
    """The holds with these ids, whatever their state."""
    return {row.id: row for row in map(HeldCall._make, connection.execute(_HELD_BY_ID, {"ids": ids}))}


def find_open_of(connection: Connection, owners: Sequence[str], count: int) -> list[HeldCall]:
    """Open holds of these instances, at most so many."""
    return [HeldCall._make(row) for row in connection.execute(_OPEN_OF, {"owners": owners, "count": count})]


def find_open_owners(connection: Connection) -> set[str]:
    """The instances that have open holds."""
    return set(connection.scalars(_OPEN_OWNERS))


def booked(connection: Connection, hold_id: str) -> Booked:
    """What stands in the ledger for a hold that is closed."""
    total, entries, is_late = Charge(), 0, False
    for cost, tokens_in, tokens_out, requests, flags in connection.execute(_BOOKED, {"hold_id": hold_id}):
        total = total.plus(Charge(cost, tokens_in, tokens_out, requests))
        entries += 1
        is_late = is_late or LATE in _decode_flags(flags)
    return Booked(total, entries, is_late)


def write(connection: Connection, holds: Sequence[Row], closed: Mapping[str, str], entries: Sequence[Row]) -> None:
    """Insert new holds, set the new state of ended ones by id, append entries."""
    if holds:
        _INSERT_HOLDS.run(connection, holds)
    if closed:
        _CLOSE.run(connection, [{"hold_id": hold_id, "to_state": state} for hold_id, state in closed.items()])
    if entries:
        _INSERT_ENTRIES.run(connection, entries)


def new_hold(request: HoldRequest, admitted: Admitted, buckets: BucketIds, owner: str, now_ms: int) -> HeldCall:
    """A hold as it will be stored."""
    amounts = admitted.amounts
    tokens_in = min(request.worst.input_tokens, amounts.tokens)
    return HeldCall(
        id=request.id,
        state=OPEN,
        owner=owner,
        usd=amounts.usd,
        tokens_in=tokens_in,
        tokens_out=amounts.tokens - tokens_in,
        requests=amounts.requests,
        buckets=_text(buckets),
        person_id=request.person_id,
        key_id=request.key_id,
        provider=request.provider,
        model=request.model[:MODEL_LENGTH_MAX],
        endpoint=request.endpoint,
        admitted_at_ms=now_ms,
    )


def hold_row(held: HeldCall, request: HoldRequest, output_cap: int | None) -> Row:
    """A new hold as a row: what its ending needs, and what explains it."""
    return {
        **dict(zip(HeldCall._fields, held, strict=True)),
        "request_id": request.request_id,
        "price_book": request.price_book,
        "worst": _text(request.worst),
        "output_cap": output_cap,
    }


def entry_row(held: HeldCall, ending: Ending, added: Charge, number: int, now_ms: int) -> Row:
    """An entry as a row: number 0 is the final one, ``added`` what it adds to the hold's buckets."""
    return {
        "hold_id": held.id,
        "kind": ADJUST if number else FINAL,
        "number": number,
        "cost": added.usd,
        "tokens_in": added.tokens_in,
        "tokens_out": added.tokens_out,
        "requests": added.requests,
        "usage": _text(ending.usage),
        "rates": _text(ending.rates),
        "basis": ending.basis.value,
        "flags": _text(_flags(held, ending, number)),
        "reported_pico": ending.reported_pico,
        "latency_ms": ending.latency_ms,
        "first_byte_ms": ending.first_byte_ms,
        "status": ending.status,
        "is_stream": ending.is_stream,
        "bytes_out": ending.bytes_out,
        "at_ms": now_ms,
        "day": DAY.period(held.admitted_at_ms),
        "person_id": held.person_id,
        "key_id": held.key_id,
        "provider": held.provider,
        "model": held.model,
        "endpoint": held.endpoint,
    }


def _flags(held: HeldCall, ending: Ending, number: int) -> tuple[str, ...]:
    flags = dict.fromkeys(ending.flags)
    if ending.cost > held.usd:
        flags[OVER_HOLD] = None
    if number:
        flags[LATE] = None
    return tuple(flags)


@lru_cache(maxsize=4096)
def _decode_bucket_ids(text: str) -> BucketIds:
    return _bucket_ids.decode(text)


def _text(value: object) -> str:
    return _encode(value).decode()
