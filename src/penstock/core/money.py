"""Money is an integer number of nano-dollars (1e-9 USD), and it is rounded once, up.

Prices are finer: integer pico-dollars (1e-12 USD) per unit, so that no price of today's providers needs a fraction.
No float touches money; text is read with Decimal. Bad amounts raise ValueError with a message for the admin who wrote
them (money.md, "Amounts").
"""

from decimal import Decimal, InvalidOperation

NANO_PER_USD = 1_000_000_000
PICO_PER_NANO = 1_000
PICO_PER_USD = NANO_PER_USD * PICO_PER_NANO
NANOUSD_MAX = 2**63 - 1


def parse_usd(text: str) -> int:
    """Read a decimal dollar amount such as ``"0.10"`` as nano-USD, rounding a finer amount down.

    A limit must not grow by rounding, hence down. Raises ValueError for anything but a finite, non-negative decimal
    that fits into 64 bits.
    """
    amount = _decimal(text) * NANO_PER_USD
    if amount > NANOUSD_MAX:
        raise ValueError(f"amount too large: {text!r}")
    return int(amount)


def parse_price(usd_per_million: str | int | Decimal) -> int:
    """Read a price in USD per million units as pico-USD per unit, rounding a finer price up.

    Raises ValueError for anything but a finite, non-negative number.
    """
    pico = _decimal(usd_per_million) * (PICO_PER_USD // 1_000_000)
    return int(pico.to_integral_value(rounding="ROUND_CEILING"))


def nano_from_pico(pico: int) -> int:
    """The one rounding: pico-USD to nano-USD, up."""
    return -(-pico // PICO_PER_NANO)


def format_usd(nanousd: int) -> str:
    """Write nano-USD as a plain decimal of dollars without trailing zeros: ``1870000000`` is ``"1.87"``."""
    sign = "-" if nanousd < 0 else ""
    dollars, nano = divmod(abs(nanousd), NANO_PER_USD)
    if not nano:
        return f"{sign}{dollars}"
    return f"{sign}{dollars}.{nano:09d}".rstrip("0")


def _decimal(value: str | int | Decimal) -> Decimal:
    if isinstance(value, bool | float):
        raise ValueError(f"not an exact decimal number: {value!r}")
    try:
        amount = Decimal(value)
    except (InvalidOperation, TypeError) as exc:
        raise ValueError(f"not a decimal number: {value!r}") from exc
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"must be a finite number of at least 0: {value!r}")
    return amount
