"""What the caller is told beside an answer: what it cost, how we know, what is left, when that resets.

Headers on answers that we hold, a comment behind the end of a stream (money.md, "What the caller sees"). Amounts are
decimal dollars; instants are RFC 3339 in UTC.
"""

from penstock.core.call import Ending, Hold
from penstock.core.headers import Header
from penstock.core.limits import LimitUnit, Standing
from penstock.core.money import format_usd
from penstock.core.rate_headers import rate_headers
from penstock.core.refusals import iso_time


def cost_headers(ending: Ending, hold: Hold) -> list[Header]:
    """``x-penstock-cost`` and ``-basis``, and for the dollar limit with least left its rest and reset."""
    headers = [
        (b"x-penstock-cost", format_usd(ending.cost).encode()),
        (b"x-penstock-basis", ending.basis.value.encode()),
    ]
    tightest = _tightest(hold)
    if tightest is not None:
        headers.append((b"x-penstock-budget-remaining", _remaining(tightest, ending).encode()))
        reset_ms = tightest.resets_at_ms(hold.admitted_at_ms)
        if reset_ms is not None:
            headers.append((b"x-penstock-budget-reset", iso_time(reset_ms).encode()))
    return headers


def admission_headers(hold: Hold, dialect: str) -> list[Header]:
    """What is known before the answer: the cap that we added, and the state of request and token limits."""
    capped = [] if hold.output_cap is None else [(b"x-penstock-capped", b"max_tokens=%d" % hold.output_cap)]
    return [*capped, *rate_headers(hold, dialect)]


def cost_comment(ending: Ending, hold: Hold) -> bytes:
    """The same as an SSE comment, which every client ignores unless it looks for it."""
    tightest = _tightest(hold)
    rest = "" if tightest is None else f" remaining={_remaining(tightest, ending)}"
    return f": penstock cost={format_usd(ending.cost)} basis={ending.basis.value}{rest}\n\n".encode()


def _tightest(hold: Hold) -> Standing | None:
    dollars = (s for s in hold.standings if s.limit.unit is LimitUnit.USD)
    return min(dollars, key=lambda s: s.left, default=None)


def _remaining(standing: Standing, ending: Ending) -> str:
    return format_usd(max(0, standing.left - ending.cost))
