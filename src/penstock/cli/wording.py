"""Amounts, times and prices as people read them in a table; the exact values are in the JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from penstock.core.limits import Limit, LimitUnit
from penstock.core.money import format_usd

NOTHING = "-"
_SIGNIFICANT = 4


def dollars(nanousd: int) -> str:
    """An amount to the cent, or to four digits where it is small: ``$12.35``, ``$0.0000021``."""
    amount = Decimal(format_usd(nanousd))
    places = max(2, _SIGNIFICANT - 1 - amount.adjusted()) if amount else 2
    return exact_dollars(Decimal(f"{amount:.{places}f}"))


def exact_dollars(amount: Decimal) -> str:
    """Every digit of an amount, and cents at least: ``$0.10``."""
    whole, _, places = f"{abs(amount):,f}".partition(".")
    return f"{'-' if amount < 0 else ''}${whole}.{places.rstrip('0').ljust(2, '0')}"


def counted(amount: int) -> str:
    """A count with its thousands apart."""
    return f"{amount:,}"


def measured(limit: Limit, amount: int) -> str:
    """An amount in the unit of a limit."""
    return dollars(amount) if limit.unit is LimitUnit.USD else counted(amount)


def moment(at_ms: int | None) -> str:
    """Epoch milliseconds as a second of UTC."""
    if at_ms is None:
        return NOTHING
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def listed(items: Sequence[object], none: str = NOTHING) -> str:
    """Things as one text."""
    return ", ".join(map(str, items)) or none


def counted_nouns(amount: int, noun: str) -> str:
    """``1 entry``, ``2 entries``, ``3 prices``."""
    if amount == 1:
        return f"1 {noun}"
    return f"{counted(amount)} {noun.removesuffix('y') + 'ies' if noun.endswith('y') else noun + 's'}"
