"""What a hold comes to at its end: pure arithmetic between the amounts held and the ending.

Only a provider's own statement may exceed what was held; an estimate may not, in tokens as in dollars.
"""

from dataclasses import dataclass
from typing import Self

from penstock.core.call import Basis, Ending
from penstock.core.limits import LimitUnit
from penstock.core.money import PICO_PER_NANO
from penstock.core.pricing import FIXED
from penstock.core.usage import Unit, Usage

_STATED = (Basis.REPORTED_COST, Basis.PROVIDER)


@dataclass(frozen=True, slots=True)
class Charge:
    """What moves from held to settled: nano-USD, tokens each way, requests."""

    usd: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    requests: int = 0

    def of(self, unit: LimitUnit) -> int:
        """The amount for a bucket of this unit; calls in flight are held, and never settled."""
        match unit:
            case LimitUnit.USD:
                return self.usd
            case LimitUnit.TOKENS:
                return self.tokens_in + self.tokens_out
            case LimitUnit.REQUESTS:
                return self.requests
        return 0

    def plus(self, other: Self) -> "Charge":
        return Charge(
            self.usd + other.usd,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.requests + other.requests,
        )

    def minus(self, other: Self) -> "Charge":
        return Charge(
            self.usd - other.usd,
            self.tokens_in - other.tokens_in,
            self.tokens_out - other.tokens_out,
            self.requests - other.requests,
        )


def charge(held: Charge, ending: Ending) -> Charge:
    """The charge of a hold of these amounts. A void call that was sent still counts as a request."""
    if ending.basis is Basis.VOID:
        return Charge(requests=held.requests if ending.was_sent else 0)
    tokens_in, tokens_out = ending.usage.tokens_in, ending.usage.tokens_out
    if ending.basis not in _STATED:
        most = held.tokens_in + held.tokens_out
        tokens_in = min(tokens_in, most)
        tokens_out = min(tokens_out, most - tokens_in)
    return Charge(ending.cost, tokens_in, tokens_out, held.requests)


def worst_case(held: Charge) -> Ending:
    """The ending of a hold whose process died: nobody knows better than what was held."""
    usage = Usage(input=held.tokens_in, output=held.tokens_out)
    rates = {Unit.INPUT.value: 0, Unit.OUTPUT.value: 0, FIXED: held.usd * PICO_PER_NANO}
    return Ending(Basis.WORST_CASE, held.usd, usage, was_sent=True, rates=rates, flags=("swept",))
