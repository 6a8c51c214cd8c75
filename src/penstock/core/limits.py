"""What a caller may use, and the one decision about it: does this call's worst case fit into every limit that applies?

``decide`` is arithmetic on values: the ledger reads the standings and writes the answer in one transaction, so that the
decision is exact for any number of concurrent calls (money.md, "Limits" and "The worst case of a call").
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from penstock.core.money import PICO_PER_NANO, format_usd, nano_from_pico, parse_usd
from penstock.core.windows import LIFETIME, OPEN, Window, parse_window

CAP_MIN = 256
CAP_MIN_REASONING = 1024


class LimitUnit(StrEnum):
    USD = "usd"
    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"


@dataclass(frozen=True, slots=True)
class Limit:
    """``AMOUNT UNIT [/ WINDOW]``; the amount is nano-USD for usd, else a count."""

    amount: int
    unit: LimitUnit
    window: Window

    def __str__(self) -> str:
        amount = format_usd(self.amount) if self.unit is LimitUnit.USD else str(self.amount)
        window = "" if self.window in (LIFETIME, OPEN) else f" / {self.window}"
        return f"{amount} {self.unit.value}{window}"


def parse_limit(text: str) -> Limit:
    """Read a limit as an admin writes it; raises ValueError that says what is wrong with it."""
    head, slash, tail = text.strip().lower().partition("/")
    words = head.split()
    if len(words) != 2 or (slash and not tail.strip()):
        raise ValueError(f"not a limit: {text!r}; write AMOUNT UNIT [/ WINDOW], as in '2 usd / month'")
    number, name = words
    try:
        unit = LimitUnit({"request": "requests", "token": "tokens"}.get(name, name))
    except ValueError:
        raise ValueError(f"not a unit: {name!r}; use usd, requests, tokens or concurrent") from None
    if unit is LimitUnit.CONCURRENT:
        if slash:
            raise ValueError(f"concurrent calls have no window: {text!r}")
        return Limit(_count(number), unit, OPEN)
    amount = parse_usd(number) if unit is LimitUnit.USD else _count(number)
    return Limit(amount, unit, parse_window(tail) if slash else LIFETIME)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose limits these are, by the name under which the ledger counts: ``person:12``, ``key:7``."""

    name: str
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A named set of limits and of allowed providers, endpoints and models (globs; ``*`` crosses ``/``).

    ``unbounded`` is "hold" or "refuse": what becomes of a call whose input we cannot see. ``unpriced`` is "deny",
    "free", or a ceiling such as "10 usd" per million tokens.
    """

    name: str
    match: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    providers: tuple[str, ...] = ("*",)
    endpoints: tuple[str, ...] = ("*",)
    models: tuple[str, ...] = ("*",)
    output_cap: int = 4096
    lower_caps: bool = False
    unbounded: str = "hold"
    cost_comment: bool = True

    def allows_endpoint(self, endpoint: str) -> bool:
        return matches_any(endpoint, self.endpoints)

    def allows_model(self, provider: str, model: str) -> bool:
        return matches_any(provider, self.providers) and matches_any(f"{provider}/{model}", self.models)


ADMIN_POLICY = Policy(name="admin")
NOTHING_POLICY = Policy(name="none", limits=(Limit(0, LimitUnit.USD, LIFETIME),))


def match_policy(email: str | None, named: str | None, policies: Sequence[Policy]) -> Policy:
    """The policy of a person: by name, else by exact e-mail, ``@domain``, ``*``; earlier ones win a tie.

    A caller without an e-mail has only the policy it names. Whoever matches none may spend nothing.
    """
    if named is not None:
        if named == ADMIN_POLICY.name:
            return ADMIN_POLICY
        return next((policy for policy in policies if policy.name == named), NOTHING_POLICY)
    if email is None:
        return NOTHING_POLICY
    email = email.lower()
    for pattern in (email, "@" + email.rpartition("@")[2], "*"):
        for policy in policies:
            if any(pattern == candidate.lower() for candidate in policy.match):
                return policy
    return NOTHING_POLICY


@dataclass(frozen=True, slots=True)
class Amounts:
    """What is held or charged in each unit: nano-USD, calls, tokens, calls in flight."""

    usd: int
    requests: int
    tokens: int
    concurrent: int = 1

    def of(self, unit: LimitUnit) -> int:
        match unit:
            case LimitUnit.USD:
                return self.usd
            case LimitUnit.REQUESTS:
                return self.requests
            case LimitUnit.TOKENS:
                return self.tokens
        return self.concurrent


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The most that a call can come to, as a function of the output that one choice may have.

    ``fixed_pico`` (pico-USD) is the input at its dearest rate plus fees; ``output_pico`` is the dearest price of one
    output token. ``cap_min`` is None where ``output_tokens`` stands as it is: the caller's cap, or the model's own
    maximum. Otherwise we cap the output, at ``output_tokens`` if the limits allow it and at ``cap_min`` if they must.
    """

    fixed_pico: int
    output_pico: int
    input_tokens: int
    output_tokens: int
    choices: int = 1
    cap_min: int | None = None

    def amounts(self, output_tokens: int) -> Amounts:
        """What to hold if each choice may have that many output tokens."""
        tokens = output_tokens * self.choices
        return Amounts(
            usd=nano_from_pico(self.fixed_pico + self.output_pico * tokens),
            requests=1,
            tokens=self.input_tokens + tokens,
        )

    def output_within(self, usd: int | None, tokens: int | None) -> int:
        """The largest output of each choice that stays within an amount of nano-USD and of tokens (None: no bound)."""
        bounds = [self.output_tokens]
        if usd is not None:
            pico = usd * PICO_PER_NANO - self.fixed_pico
            if self.output_pico:
                bounds.append(pico // (self.output_pico * self.choices))
            elif pico < 0:
                bounds.append(0)  # Free output does not make the input affordable.
        if tokens is not None:
            bounds.append((tokens - self.input_tokens) // self.choices)
        return max(0, min(bounds))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a subject stands against one limit: (settled, held) by period of its window, as one transaction saw it."""

    subject: str
    limit: Limit
    periods: Mapping[str, tuple[int, int]]

    @property
    def settled(self) -> int:
        return sum(settled for settled, _ in self.periods.values())

    @property
    def held(self) -> int:
        return sum(held for _, held in self.periods.values())

    @property
    def left(self) -> int:
        """May be below 0: a provider billed more than the worst case, or an admin lowered the limit."""
        left = self.limit.amount
        for settled, held in self.periods.values():  # Asked for many times a call: half the time of two sums.
            left -= settled + held
        return left

    def fits_at_ms(self, need: int, now_ms: int) -> int | None:
        """The first instant at which this need would fit if nothing else is spent; None if time alone cannot help."""
        if need > self.limit.amount or not self.limit.amount:
            return None
        left = self.left
        at_ms: int | None = now_ms
        for period in sorted(self.periods):
            if need <= left:
                break
            left, at_ms = left + sum(self.periods[period]), self.limit.window.leaves_at_ms(period)
        return at_ms

    def is_held(self, need: int) -> bool:
        """Whether this need would fit but for calls in flight."""
        return 0 < need <= self.limit.amount - self.settled

    def resets_at_ms(self, now_ms: int) -> int | None:
        """When the oldest amount that counts stops counting, or would if there were one; None if it never does."""
        used = [period for period, amounts in self.periods.items() if any(amounts)]
        return self.limit.window.leaves_at_ms(min(used, default=self.limit.window.period(now_ms)))


@dataclass(frozen=True, slots=True)
class Admitted:
    """``output_cap`` is the cap to inject for each choice, None where the worst case stands as it came."""

    amounts: Amounts
    output_cap: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """``is_held``: it would fit but for calls in flight. ``affordable_output`` is the largest cap that would pass."""

    standing: Standing
    need: int
    is_held: bool
    fits_at_ms: int | None
    affordable_output: int


def decide(worst: WorstCase, standings: Sequence[Standing], now_ms: int) -> Admitted | Refused:
    """Admit the call with the amounts to hold, or name the limit that refuses it.

    A limit of 0 refuses everything, free calls too; otherwise a need of 0 always fits. Of several limits that refuse,
    the one that lasts longest is named.
    """
    output = worst.output_tokens
    if worst.cap_min is not None:
        roomy = worst.output_within(*_least_left(standings, share=2))
        output = min(output, max(roomy, worst.cap_min))
    amounts = worst.amounts(output)
    refusing = [s for s in standings if s.limit.amount == 0 or 0 < amounts.of(s.limit.unit) > s.left]
    if not refusing:
        return Admitted(amounts, None if worst.cap_min is None else output)
    standing = max(refusing, key=lambda s: _lasts_until_ms(s, amounts.of(s.limit.unit), now_ms))
    need = amounts.of(standing.limit.unit)
    return Refused(
        standing=standing,
        need=need,
        is_held=standing.is_held(need),
        fits_at_ms=standing.fits_at_ms(need, now_ms),
        affordable_output=worst.output_within(*_least_left(standings, share=1)) if standing.limit.amount else 0,
    )


def matches_any(text: str, patterns: Iterable[str]) -> bool:
    """Whether one of the globs matches; ``*`` crosses ``/``, case does not count."""
    text = text.lower()
    return any(pattern == "*" or _glob(pattern).fullmatch(text) is not None for pattern in patterns)


def _least_left(standings: Iterable[Standing], *, share: int) -> tuple[int | None, int | None]:
    left: dict[LimitUnit, int] = {}
    for standing in standings:
        unit = standing.limit.unit
        left[unit] = min(standing.left // share, left.get(unit, standing.left))
    return left.get(LimitUnit.USD), left.get(LimitUnit.TOKENS)


def _lasts_until_ms(standing: Standing, need: int, now_ms: int) -> tuple[bool, float]:
    """How long a refusal lasts, to compare it with others: a limit of 0 outlasts everything.

    Calls in flight give their dollars and their place back within moments; the requests that they hold never come back,
    and few of their tokens.
    """
    limit = standing.limit
    if limit.unit in (LimitUnit.USD, LimitUnit.CONCURRENT) and standing.is_held(need):
        return False, now_ms
    fits_at_ms = standing.fits_at_ms(need, now_ms)
    return limit.amount == 0, float("inf") if fits_at_ms is None else fits_at_ms


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 10**15:
        raise ValueError(f"not a whole number: {text!r}")
    return int(text)


@lru_cache(maxsize=4096)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern.lower()))
