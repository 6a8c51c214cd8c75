"""The pins that penstock ships: prices of moving aliases about which public sources disagree.

Each is the dearest that a public source states for what the alias has stood for since its date, so that a call is never
charged below its price. An admin's own price in the settings overrules a pin.
"""

from datetime import UTC, datetime
from decimal import Decimal

from penstock.core.prices import ModelLimits, Pin
from penstock.core.pricing import Price, Rate, usd_rate
from penstock.core.usage import Unit


def _per_million(usd: str) -> Rate:
    return usd_rate(Decimal(usd), 1_000_000)


def _from(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1000


SHIPPED_PINS = (
    Pin(
        provider="deepseek",
        model="deepseek-chat",
        price=Price(
            {
                Unit.INPUT: _per_million("0.3"),
                Unit.CACHE_READ: _per_million("0.07"),
                Unit.OUTPUT: _per_million("1.2"),
            }
        ),
        limits=ModelLimits(context=1_000_000),
        from_ms=_from(2026, 4, 24),
        author="penstock",
        note=(
            "genai-prices 0.2.3 still lists V3 (0.27/1.1 by day, 0.135/0.55 by night, cached 0.07, 64,000 tokens). "
            "DeepSeek routes the alias to V4 Flash since 2026-04-24: 0.14/0.28 at first, at peak hours 0.3/1.2 since "
            "2026-09-10, 1,000,000 tokens. The dearest of each."
        ),
    ),
    Pin(
        provider="mistral",
        model="mistral-large-latest",
        price=Price({Unit.INPUT: _per_million("2"), Unit.OUTPUT: _per_million("6")}),
        limits=ModelLimits(context=1_048_576),
        from_ms=_from(2025, 12, 2),
        author="penstock",
        note=(
            "genai-prices 0.2.3 lists the alias as Large 2 (2/6, no discount for cached input). Others list what came "
            "after: Large 3 at 0.5/1.5, Large 4 at 1.36/4.18 or 0.7/2.1 with 1,048,576 tokens. The dearest of each."
        ),
    ),
)
