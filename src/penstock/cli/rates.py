"""Prices as people state them: dollars for a million tokens, a thousand requests, an hour of sound."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from penstock.cli.wording import NOTHING, counted, exact_dollars
from penstock.core.money import PICO_PER_USD
from penstock.core.prices import PIN, SETTINGS, Priced
from penstock.core.pricing import Price, Rate
from penstock.core.usage import Unit

_MILLION = 1_000_000
_PER: Mapping[Unit, int] = {Unit.REQUESTS: 1000, Unit.SEARCHES: 1000, Unit.PAGES: 1000, Unit.SECONDS: 3600}
_PER_NAMES = {_MILLION: "million", 1000: "thousand", 3600: "hour"}


def usual_number(unit: Unit) -> int:
    """Of how many units one states the price."""
    return _PER.get(unit, _MILLION)


def usd_of(pico: Fraction, number: int) -> Decimal:
    """So many units in dollars, from the pico-USD of one."""
    total = pico * number
    return Decimal(total.numerator) / (total.denominator * PICO_PER_USD)


def per(unit: Unit) -> str:
    """``million``, ``thousand``, ``hour``."""
    return _PER_NAMES[usual_number(unit)]


def rate_steps(unit: Unit, rate: Rate) -> list[tuple[int, Decimal]]:
    """(above this many input tokens, dollars of the usual number), from 0 on."""
    number = usual_number(unit)
    return [(max(0, start), usd_of(Fraction(pico, rate.per), number)) for start, pico in rate.steps()]


def cell(price: Price, unit: Unit) -> str:
    """A stated rate in a table; of several tiers, the least and the most."""
    rate = price.rates.get(unit)
    if rate is None:
        return NOTHING
    amounts = [usd for _, usd in rate_steps(unit, rate)]
    least, most = exact_dollars(min(amounts)), exact_dollars(max(amounts))
    return least if least == most else f"{least} to {most}"


def rates_json(rates: Mapping[Unit, Rate]) -> dict[str, object]:
    """Rates by unit; ``steps`` where the price depends on the number of input tokens."""
    return {unit.value: _rate_json(unit, rate) for unit, rate in rates.items()}


def priced_json(provider: str, priced: Priced) -> dict[str, object]:
    """A model with all that is known of its price."""
    return {
        "model": f"{provider}/{priced.model}",
        "source": source_of(priced),
        "context": priced.context,
        "output_max": priced.output_max,
        "rates": rates_json(priced.price.rates),
        "variants": [{"when": variant.when, "rates": rates_json(variant.rates)} for variant in priced.price.variants],
    }


def source_of(priced: Priced) -> str:
    """Who states a price: the settings, a pin, or the book."""
    return priced.book_id if priced.book_id in (SETTINGS, PIN) else "book"


def rate_rows(rates: Mapping[Unit, Rate], when: str = "") -> list[list[str]]:
    """A row for each step of each rate: unit, dollars, of how many, and when it counts."""
    return [
        [unit.value, exact_dollars(usd), per(unit), f"{when} {f'above {counted(above)} in' if above else ''}".strip()]
        for unit in Unit
        if unit in rates
        for above, usd in rate_steps(unit, rates[unit])
    ]


def _rate_json(unit: Unit, rate: Rate) -> dict[str, object]:
    (_, usd), *above = rate_steps(unit, rate)
    steps = [{"above_input_tokens": start, "usd": amount} for start, amount in above]
    return {"usd": usd, "per": usual_number(unit), **({"steps": steps} if steps else {})}
