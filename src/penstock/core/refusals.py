"""How a refusal of the ledger is said to the caller: which limit, whose, what is left of it, and when to come back.

Dollar amounts are decimal text, counts are numbers, times are ISO 8601 in UTC (money.md, "What the caller sees").
"""

from datetime import UTC, datetime
from functools import lru_cache

from penstock.core.errors import BudgetExceeded, BudgetHeld, LimitExceeded, RateLimited
from penstock.core.limits import LimitUnit, Refused
from penstock.core.money import format_usd

HELD_RETRY_S = 1


def refusal(refused: Refused, now_ms: int) -> LimitExceeded:
    """The error for a refused call; ``retry_after_s`` is exact where time alone helps, None where it never does."""
    return _kind(refused)(
        _message(refused),
        retry_after_s=_retry_after_s(refused, now_ms),
        details=_details(refused),
    )


@lru_cache(maxsize=256)  # The same few resets stand on every answer.
def iso_time(at_ms: int) -> str:
    """Epoch milliseconds as ``2026-11-22T00:00:00Z``, rounded up to the second."""
    return datetime.fromtimestamp(-(-at_ms // 1000), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _kind(refused: Refused) -> type[LimitExceeded]:
    if refused.standing.limit.unit is not LimitUnit.USD:
        return RateLimited
    return BudgetHeld if refused.is_held else BudgetExceeded


def _retry_after_s(refused: Refused, now_ms: int) -> int | None:
    unit = refused.standing.limit.unit
    if refused.is_held and unit in (LimitUnit.USD, LimitUnit.CONCURRENT):
        return HELD_RETRY_S
    if refused.fits_at_ms is None:
        return None
    return max(1, -(-(refused.fits_at_ms - now_ms) // 1000))


def _details(refused: Refused) -> dict[str, object]:
    standing = refused.standing
    return {
        "limit": str(standing.limit),
        "whose": standing.subject,
        "spent": _amount(refused, standing.settled),
        "held": _amount(refused, standing.held),
        "cap": _amount(refused, standing.limit.amount),
        "needed": _amount(refused, refused.need),
        "resets_at": None if refused.fits_at_ms is None else iso_time(refused.fits_at_ms),
        "affordable_output": refused.affordable_output,
    }


def _message(refused: Refused) -> str:
    standing = refused.standing
    limit = f"The limit of {standing.limit} of {standing.subject}"
    if not standing.limit.amount:
        return f"{limit} allows no calls."
    spent, held, need = (_text(refused, amount) for amount in (standing.settled, standing.held, refused.need))
    if refused.is_held:
        return f"{limit} is taken up by calls in flight: {spent} spent, {held} held, {need} needed. Try again shortly."
    when = "." if refused.fits_at_ms is None else f"; it fits again at {iso_time(refused.fits_at_ms)}."
    return f"{limit} has no room for this call: {spent} spent, {held} held, {need} needed{when}"


def _amount(refused: Refused, amount: int) -> object:
    return format_usd(amount) if refused.standing.limit.unit is LimitUnit.USD else amount


def _text(refused: Refused, amount: int) -> str:
    unit = refused.standing.limit.unit
    return f"{_amount(refused, amount)} {unit.value}" if unit is LimitUnit.USD else str(amount)
