"""What an answer cost as the host itself states it: exact, and believed of those that document it as what they bill.

OpenRouter: https://openrouter.ai/docs/use-cases/usage-accounting. xAI:
https://docs.x.ai/developers/cost-tracking.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from math import ceil

from penstock.core.money import PICO_PER_USD
from penstock.core.provider import JsonObject, Reading
from penstock.providers.statements import read_usage

PICO_PER_TICK = PICO_PER_USD // 10**10
# No single answer costs this much: a larger number is no cost.
_USD_MAX = 1_000_000


def read_openrouter_usage(usage: JsonObject) -> Reading:
    """The counts, and ``cost`` in USD; a call on a key of one's own costs what its provider bills as well."""
    cost = _pico(usage.get("cost"), PICO_PER_USD)
    details = usage.get("cost_details")
    if cost is not None and usage.get("is_byok") is True:
        upstream = details.get("upstream_inference_cost") if isinstance(details, Mapping) else None
        billed = _pico(upstream, PICO_PER_USD)
        cost = None if billed is None else cost + billed
    return replace(read_usage(usage), reported_pico=cost)


def read_xai_usage(usage: JsonObject) -> Reading:
    """The counts, and the cost in ticks of 1e-10 USD."""
    return replace(read_usage(usage), reported_pico=_pico(usage.get("cost_in_usd_ticks"), PICO_PER_TICK))


def _pico(amount: object, pico_each: int) -> int | None:
    """The amount in pico-USD, rounded up; None where it is no amount."""
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal):
        return None
    exact = Decimal(amount)
    if not exact.is_finite() or not 0 <= exact * pico_each <= _USD_MAX * PICO_PER_USD:
        return None
    return ceil(exact * pico_each)
