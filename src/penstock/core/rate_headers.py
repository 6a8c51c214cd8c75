"""The state of request and token limits, in the names that each SDK knows and in the IETF's.

OpenAI's ``x-ratelimit-*`` (reset as a Go duration), on Anthropic's routes ``anthropic-ratelimit-*`` (reset as RFC
3339), and everywhere ``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers-11). Of several
limits in one unit, the one with least left is told.
"""

from dataclasses import dataclass

from penstock.core.call import Hold
from penstock.core.headers import Header
from penstock.core.limits import LimitUnit, Standing
from penstock.core.refusals import iso_time

_UNITS = (LimitUnit.REQUESTS, LimitUnit.TOKENS)


@dataclass(frozen=True, slots=True)
class _Rate:
    """One unit's tightest limit after a call was admitted; ``reset_ms`` None: time alone frees nothing."""

    unit: LimitUnit
    standing: Standing
    left: int
    reset_ms: int | None


def rate_headers(hold: Hold, dialect: str) -> list[Header]:
    """The headers of a call that was admitted; none where no limit in requests or tokens applies."""
    rates = [rate for unit in _UNITS if (rate := _find(hold, unit)) is not None]
    if not rates:
        return []
    named = _anthropic if dialect == "anthropic" else _openai
    headers = [header for rate in rates for header in named(rate, hold.admitted_at_ms)]
    policies = ", ".join(_policy(rate) for rate in rates)
    states = ", ".join(_state(rate, hold.admitted_at_ms) for rate in rates)
    return [*headers, (b"ratelimit-policy", policies.encode()), (b"ratelimit", states.encode())]


def duration(milliseconds: int) -> str:
    """As OpenAI writes it: ``6ms``, ``1s``, ``6m0s``, ``1h0m0s``; a part of a second above one counts as a whole."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, seconds = divmod(-(-milliseconds // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _find(hold: Hold, unit: LimitUnit) -> _Rate | None:
    standings = [standing for standing in hold.standings if standing.limit.unit is unit]
    if not standings:
        return None
    standing = standings[0] if len(standings) == 1 else min(standings, key=lambda each: each.left)
    left = max(0, standing.left - hold.amounts.of(unit))
    return _Rate(unit, standing, left, standing.resets_at_ms(hold.admitted_at_ms))


def _openai(rate: _Rate, now_ms: int) -> list[Header]:
    name = rate.unit.value.encode()
    headers = [
        (b"x-ratelimit-limit-" + name, b"%d" % rate.standing.limit.amount),
        (b"x-ratelimit-remaining-" + name, b"%d" % rate.left),
    ]
    if rate.reset_ms is not None:
        headers.append((b"x-ratelimit-reset-" + name, duration(rate.reset_ms - now_ms).encode()))
    return headers


def _anthropic(rate: _Rate, _now_ms: int) -> list[Header]:
    name = b"anthropic-ratelimit-" + rate.unit.value.encode()
    headers = [(name + b"-limit", b"%d" % rate.standing.limit.amount), (name + b"-remaining", b"%d" % rate.left)]
    if rate.reset_ms is not None:
        headers.append((name + b"-reset", iso_time(rate.reset_ms).encode()))
    return headers


def _policy(rate: _Rate) -> str:
    window_s = rate.standing.limit.window.seconds
    window = "" if window_s is None else f";w={window_s}"
    return f'"{rate.unit.value}";q={rate.standing.limit.amount}{window}'


def _state(rate: _Rate, now_ms: int) -> str:
    reset = "" if rate.reset_ms is None else f";t={-(-(rate.reset_ms - now_ms) // 1000)}"
    return f'"{rate.unit.value}";r={rate.left}{reset}'
