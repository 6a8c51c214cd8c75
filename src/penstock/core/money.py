"""Money is an integer number of nano-dollars (1e-9 USD), and it is rounded once, up.

Prices are finer: integer pico-dollars (1e-12 USD) per so many units (core/pricing.py). No float touches money; text is
read with Decimal. Bad amounts raise ValueError with a message for the admin who wrote them (money.md, "Amounts").
"""

from decimal import ROUND_DOWN, Decimal, InvalidOperation

NANO_PER_USD = 1_000_000_000
PICO_PER_NANO = 1_000
PICO_PER_USD = NANO_PER_USD * PICO_PER_NANO
NANOUSD_MAX = 2**63 - 1
_NANO = Decimal(1).scaleb(-9)
_USD_MAX = Decimal(NANOUSD_MAX).scaleb(-9)


def parse_usd(text: str) -> int:
    """Read a decimal dollar amount such as ``"0.10"`` as nano-USD, rounding a finer amount down.

    A limit must not grow by rounding, hence down. Raises ValueError for anything but a finite, non-negative decimal
    that fits into 64 bits.
    """
    amount = _decimal(text)
    if amount > _USD_MAX:
        raise ValueError(f"amount too large: {text!r}")
    # A product would first be rounded to the context's 28 digits, and half of what is finer up; quantize never is.
    return int(amount.quantize(_NANO, rounding=ROUND_DOWN).scaleb(9))


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


def _decimal(text: str) -> Decimal:
    if not isinstance(text, str):
        raise ValueError(f"write the amount as text: {text!r}")
    # Decimal reads 1_000 and other scripts' digits too; a limit has one spelling.
    if not text.isascii() or "_" in text:
        raise ValueError(f"not a decimal number: {text!r}")
    try:
        amount = Decimal(text)
    except InvalidOperation as exc:
        raise ValueError(f"not a decimal number: {text!r}") from exc
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"must be a finite number of at least 0: {text!r}")
    return amount
