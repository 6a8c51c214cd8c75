"""What units cost: integer pico-USD per N units, exact until the one rounding, up, to nano-USD.

A Price is what one model costs at one moment. A count whose unit has no rate of its own is charged at a stand-in's, so
that nothing is free because somebody forgot to state it; only an explicit 0 is free. What was charged is kept as the
flat rates that were used (``Price.used``), from which ``recompute`` gives the same integer for ever (money.md,
"Amounts" and "Prices").
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from math import ceil, gcd
from typing import Annotated

import msgspec
from msgspec.structs import astuple

from penstock.core.money import PICO_PER_USD, nano_from_pico
from penstock.core.usage import COUNT_MAX, Unit, Usage

# With fifteen units of up to 1e9 each, no cost can pass 64 bits of nano-USD.
PICO_PER_UNIT_MAX = PICO_PER_USD // 2
PER_MAX = 1_000_000
FIXED = "fixed"
AT_MOST = "at_most"
_PER_CALL = Unit.REQUESTS.value

_Pico = Annotated[int, msgspec.Meta(ge=0, le=PICO_PER_UNIT_MAX * PER_MAX)]
_Per = Annotated[int, msgspec.Meta(ge=1, le=PER_MAX)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]


class Rate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``pico`` pico-USD per ``per`` units; above each tier's number of input tokens its own pico counts for them all.

    Tiers are (input tokens, pico), ascending. Raises ValueError where they are not, or where a unit would cost more
    than half a dollar.
    """

    pico: _Pico
    per: _Per = 1
    tiers: tuple[tuple[_Count, _Pico], ...] = ()

    def __post_init__(self) -> None:
        dearest = self.pico
        if self.tiers:
            starts, picos = zip(*self.tiers, strict=True)
            if list(starts) != sorted(set(starts)):
                raise ValueError("tiers must ascend")
            dearest = max(dearest, *picos)
        if dearest > PICO_PER_UNIT_MAX * self.per:
            raise ValueError("a unit may cost half a dollar at most")

    def steps(self) -> tuple[tuple[int, int], ...]:
        """(above this many input tokens, pico), from the first token on."""
        return ((-1, self.pico), *self.tiers)

    def at(self, tokens_in: int) -> int:
        """The pico that count for a call with that much input."""
        reached = (pico for start, pico in reversed(self.tiers) if tokens_in > start)
        return next(reached, self.pico) if self.tiers else self.pico

    @property
    def peak(self) -> Fraction:
        """The exact pico-USD of one unit in the dearest tier."""
        return Fraction(max(pico for _, pico in self.steps()), self.per)

    def doubled(self) -> "Rate":
        """Twice the rate, where that is a rate at all."""
        most = PICO_PER_UNIT_MAX * self.per
        return Rate(
            min(2 * self.pico, most), self.per, tuple((start, min(2 * pico, most)) for start, pico in self.tiers)
        )


Rates = dict[Unit, Rate]


class Variant(msgspec.Struct, frozen=True):
    """Rates that replace the standard ones, unit by unit, where a call has all of these properties."""

    when: dict[str, str]
    rates: Rates


def usd_rate(usd: Decimal | int, per: int, tiers: Sequence[tuple[int, Decimal | int]] = ()) -> Rate:
    """The rate of a price in USD per so many units, rounded up to whole pico-USD per that many.

    ``tiers`` are (input tokens, the price above that many), ascending. Raises ValueError for anything but a finite
    Decimal or int of at least 0: no bool, no float, no text.
    """
    picos = [_pico(usd), *(_pico(price) for _, price in tiers)]
    shared = gcd(per, *picos)
    base, *above = (pico // shared for pico in picos)
    steps = [(start, pico) for (start, _), pico in zip(tiers, above, strict=True)]
    try:
        return msgspec.convert((base, per // shared, steps), Rate)
    except msgspec.ValidationError as exc:
        raise ValueError(f"not a price: {usd!r} USD per {per}: {exc}") from exc


INPUT_UNITS = (Unit.INPUT, Unit.CACHE_READ, Unit.CACHE_WRITE, Unit.CACHE_WRITE_1H, Unit.AUDIO_IN, Unit.IMAGE_IN)
OUTPUT_UNITS = (Unit.OUTPUT, Unit.REASONING, Unit.AUDIO_OUT, Unit.IMAGE_OUT)
_SIDES: Mapping[Unit, tuple[Unit, ...]] = {
    **dict.fromkeys(INPUT_UNITS, INPUT_UNITS),
    **dict.fromkeys(OUTPUT_UNITS, OUTPUT_UNITS),
}

# Where a unit has no rate of its own, the first of these that has one is charged.
_STAND_INS: Mapping[Unit, tuple[Unit, ...]] = {
    Unit.INPUT: (Unit.OUTPUT,),  # a price of answers alone: nothing says that reading is free
    Unit.CACHE_READ: (Unit.INPUT, Unit.OUTPUT),  # no discount that nobody states
    Unit.CACHE_WRITE: (Unit.INPUT, Unit.OUTPUT),  # who states no price of writing bills it as input
    Unit.CACHE_WRITE_1H: (Unit.INPUT, Unit.OUTPUT),  # or, where writing has a price: see _long_write
    Unit.OUTPUT: (Unit.INPUT,),  # embeddings and the like have no output
    Unit.REASONING: (Unit.OUTPUT, Unit.INPUT),  # thoughts are billed as output
    Unit.AUDIO_IN: (Unit.INPUT, Unit.OUTPUT),  # a text model that reports audio bills its tokens
    Unit.AUDIO_OUT: (Unit.OUTPUT, Unit.INPUT),
    Unit.IMAGE_IN: (Unit.INPUT, Unit.OUTPUT),
    Unit.IMAGE_OUT: (Unit.OUTPUT, Unit.INPUT),
    Unit.CHARACTERS: (Unit.INPUT, Unit.OUTPUT),  # a token is one character or more
    Unit.REQUESTS: (),  # these four are fees: one exists only where it is stated
    Unit.SEARCHES: (),
    Unit.SECONDS: (),
    Unit.PAGES: (),
}

# No dialect lets a body ask for these, and no provider chooses them by itself.
_NEVER_OURS = frozenset({"processing", "speed"})


@dataclass(frozen=True)
class Price:
    """What a model costs at one moment: standard rates, and the variants that may replace them."""

    rates: Mapping[Unit, Rate]
    variants: tuple[Variant, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether it is stated that nothing costs anything; a price without any rate states nothing."""
        return bool(self.rates) and not any(rate.peak for rates in self._alternatives for rate in rates.values())

    def rate(self, unit: Unit) -> Rate | None:
        """The rate that a unit is charged at: its own or a stand-in's; None for a fee that is not stated."""
        return self._readings.get(unit)

    def under(self, properties: Mapping[str, str]) -> "Price":
        """The price of a call that is known to have these properties, such as ``service_tier``.

        Of several variants that state a rate, the first counts, for each unit by itself.
        """
        chosen = [v for v in self.variants if all(properties.get(name) == value for name, value in v.when.items())]
        if not chosen:
            return self  # Its readings are worked out already: 60 us of a call that a new Price would cost.
        rates = dict(self.rates)
        for variant in reversed(chosen):
            rates |= variant.rates
        return Price(rates)

    def used(self, usage: Usage) -> dict[str, object]:
        """The flat rates that charge a usage, by unit: pico-USD of one unit, or [pico-USD, of so many units].

        A fee that is not stated is written as 0. A stated fee per request is owed once, also where nobody counted.
        """
        readings, tokens_in = self._readings, usage.tokens_in
        rates: dict[str, object] = {}
        for unit, count in zip(usage.__struct_fields__, astuple(usage), strict=True):
            if count or (unit == _PER_CALL and unit in readings):
                rate = readings.get(unit)
                rates[unit] = 0 if rate is None else _flat(rate.at(tokens_in), rate.per)
        return rates

    def cost_pico(self, usage: Usage) -> int:
        """The cost in pico-USD, rounded up only where a rate per N units leaves a fraction of one.

        Rounding this up to nano-USD is the same as rounding the exact cost up once.
        """
        return cost_pico(usage, self.used(usage))

    def cost(self, usage: Usage) -> int:
        """The cost in nano-USD, rounded up once."""
        return nano_from_pico(self.cost_pico(usage))

    def dearest_pico(self, unit: Unit, tokens_in: int = COUNT_MAX) -> int | None:
        """The most that one unit can cost in a call with at most that much input, in whole pico-USD.

        INPUT stands for everything that a model reads, OUTPUT for everything that it writes. None: it has no rate.
        """
        for start, pico in self._ceilings[unit]:
            if tokens_in > start:
                return pico
        return None

    def dearest(self, tokens_in: int = COUNT_MAX) -> "Price":
        """The flat price that charges each unit, of input and output every token, at its dearest rate."""
        dearest = {unit: self.dearest_pico(unit, tokens_in) for unit in Unit}
        return Price({unit: Rate(pico) for unit, pico in dearest.items() if pico is not None})

    @cached_property
    def _readings(self) -> Mapping[str, Rate]:
        return {unit.value: rate for unit, rate in _read_all(self.rates).items()}

    @cached_property
    def _alternatives(self) -> list[Mapping[Unit, Rate]]:
        # Several variants may apply at once, each to its own units: the dearest of each unit is among these even so.
        reachable = (variant for variant in self.variants if not _NEVER_OURS & variant.when.keys())
        return [self.rates, *({**self.rates, **variant.rates} for variant in reachable)]

    @cached_property
    def _ceilings(self) -> Mapping[Unit, list[tuple[int, int]]]:
        alternatives = [_read_all(rates) for rates in self._alternatives]
        return {unit: _ceiling(alternatives, _SIDES.get(unit, (unit,))) for unit in Unit}


FREE = Price({Unit.INPUT: Rate(0), Unit.OUTPUT: Rate(0)})


def cost_pico(usage: Usage, rates: Mapping[str, object]) -> int:
    """What a usage costs at flat rates as ``Price.used`` gives them, in pico-USD, rounded up once.

    ``fixed`` is an amount of pico-USD that is owed beside the counts. Raises ValueError where a unit was counted and
    has no rate, or a rate is no number: a stored entry that was tampered with must not recompute.
    """
    whole, parts = _amount(rates.get(FIXED, 0), FIXED), Fraction(0)
    for unit, stated in zip(usage.__struct_fields__, astuple(usage), strict=True):
        count = max(1, stated) if unit == _PER_CALL and unit in rates else stated
        if not count:
            continue
        rate = rates.get(unit)
        if isinstance(rate, list) and len(rate) == 2:
            parts += Fraction(count * _amount(rate[0], unit), _amount(rate[1], unit, least=1))
        else:
            whole += count * _amount(rate, unit)
    return whole + ceil(parts)


def recompute(usage: Usage, rates: Mapping[str, object], reported_pico: int | None = None) -> int:
    """The nano-USD of a ledger entry, from nothing but what is stored with it.

    A cost that the provider stated counts as it is. ``at_most`` among the rates is the hold, in nano-USD, where an
    estimate may not exceed it. Raises ValueError as ``cost_pico`` does.
    """
    if reported_pico is not None:
        return nano_from_pico(reported_pico)
    cost = nano_from_pico(cost_pico(usage, rates))
    return min(cost, _amount(rates[AT_MOST], AT_MOST)) if AT_MOST in rates else cost


def _pico(usd: Decimal | int) -> int:
    if isinstance(usd, bool) or not isinstance(usd, Decimal | int):
        raise ValueError(f"not a number of dollars: {usd!r}")
    amount = Decimal(usd)
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"a price must be a finite number of at least 0: {usd!r}")
    return ceil(Fraction(amount) * PICO_PER_USD)


def _flat(pico: int, per: int) -> int | list[int]:
    return pico if per == 1 else [pico, per]


def _amount(value: object, name: str, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"no rate of {name}: {value!r}")
    return value


def _read_all(rates: Mapping[Unit, Rate]) -> dict[Unit, Rate]:
    readings = {unit: _reading(rates, unit) for unit in Unit}
    return {unit: rate for unit, rate in readings.items() if rate is not None}


def _reading(rates: Mapping[Unit, Rate], unit: Unit) -> Rate | None:
    if unit in rates:
        return rates[unit]
    if unit is Unit.CACHE_WRITE_1H and Unit.CACHE_WRITE in rates:
        return _long_write(rates)
    return next((rates[other] for other in _STAND_INS[unit] if other in rates), None)


def _long_write(rates: Mapping[Unit, Rate]) -> Rate:
    # Anthropic, the only one to offer it, bills twice the input for what it keeps for an hour.
    short = rates[Unit.CACHE_WRITE]
    return max(short, rates[Unit.INPUT].doubled(), key=lambda rate: rate.peak) if Unit.INPUT in rates else short


def _ceiling(alternatives: list[dict[Unit, Rate]], units: Iterable[Unit]) -> list[tuple[int, int]]:
    """(above this many input tokens, the most that one unit can cost), the dearest first."""
    rates = [readings[unit] for unit in units for readings in alternatives if unit in readings]
    steps = sorted((start, -(-pico // rate.per)) for rate in rates for start, pico in rate.steps())
    rising = accumulate(steps, lambda before, step: (step[0], max(before[1], step[1])))
    return list(rising)[::-1]
