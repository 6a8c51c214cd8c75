"""``GET /usage`` and ``GET /me``: what was spent, what is held, what is left, and when that resets.

Both answer over budget too: who is refused must be able to see why. ``/usage`` has AI Pipe's fields and more, so that
its pages keep working; amounts are dollars as JSON numbers.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from starlette.responses import Response

from penstock.core.errors import Forbidden, InvalidRequest, NotFound
from penstock.core.identity import Principal, Role
from penstock.core.limits import LimitUnit, Standing, Subject
from penstock.core.refusals import iso_time
from penstock.core.windows import DAY_MS, OPEN, WindowKind, day_period
from penstock.web.answers import json_answer, usd
from penstock.web.visit import Visit

DAYS_MAX = 366
_DAYS_WITHOUT_LIMIT = 30


@dataclass(frozen=True, slots=True)
class DaySpent:
    """What a subject's calls of one UTC day came to; ``cost`` is nano-USD."""

    day: str
    cost: int
    calls: int


@dataclass(frozen=True, slots=True)
class ModelSpent:
    """What a subject's calls of one model came to; ``model`` is ``provider/id``, ``cost`` nano-USD."""

    model: str
    cost: int
    calls: int
    tokens_in: int
    tokens_out: int


class UsageReader(Protocol):
    """The ledger's sums. Each sees every call that ended before it was asked. Days are ISO dates, both inclusive."""

    async def by_day(self, subject: str, first_day: str, last_day: str) -> Sequence[DaySpent]:
        """The days with calls, in order."""

    async def by_model(self, subject: str, first_day: str, last_day: str) -> Sequence[ModelSpent]:
        """The models that were called, the dearest first."""

    async def standings(self, subjects: Sequence[Subject], now_ms: int) -> Sequence[Standing]:
        """Where the subjects stand against each of their limits, in the order in which these stand there."""


FindPerson = Callable[[str], Awaitable[Subject | None]]


@dataclass(frozen=True, slots=True)
class UsageApi:
    """``find_person`` finds by lower-case e-mail the subject under which a person's calls count, with its limits."""

    usage: UsageReader
    find_person: FindPerson

    async def usage_page(self, visit: Visit, caller: Principal) -> Response:
        """``?days=`` changes the window; ``?email=`` shows another person to admins and viewers, 403 to others."""
        email = visit.query.get("email", "").strip().lower()
        is_own = not email or email == (caller.email or "").lower()
        subject = caller.subjects[0] if is_own else await self._other(caller, email)
        days = _asked_days(visit.query.get("days"))
        standings = await self.usage.standings(caller.subjects if is_own else (subject,), visit.now_ms)
        budget = _budget(standings, subject.name)
        days = days or _days_of(budget, visit.now_ms)
        first, last = day_period(visit.now_ms // DAY_MS - days + 1), day_period(visit.now_ms // DAY_MS)
        by_day = await self.usage.by_day(subject.name, first, last)
        by_model = await self.usage.by_model(subject.name, first, last)
        amount = None if budget is None else usd(budget.limit.amount)
        answer = {
            "email": caller.email if is_own else email,
            "budget": amount,
            "limit": amount,
            "days": days,
            "cost": usd(sum(day.cost for day in by_day)),
            "usage": [{"date": day.day, "cost": usd(day.cost), "calls": day.calls} for day in by_day],
            "limits": [limit_row(standing, visit.now_ms) for standing in standings],
            "models": [_model_row(model) for model in by_model],
        }
        return json_answer(visit.inbound, answer)

    async def me_page(self, visit: Visit, caller: Principal) -> Response:
        """The key that calls: whose it is, what it may call, and where its limits stand."""
        standings = await self.usage.standings(caller.subjects, visit.now_ms)
        expires = None if caller.expires_at_ms is None else iso_time(caller.expires_at_ms)
        answer = {
            "email": caller.email,
            "role": caller.role.value,
            "key": {"id": caller.key_id, "name": caller.key_name, "expires_at": expires},
            "policy": caller.policy.name,
            "providers": caller.policy.providers,
            "endpoints": caller.policy.endpoints,
            "models": caller.policy.models,
            "key_models": caller.key_models,
            "limits": [limit_row(standing, visit.now_ms) for standing in standings],
        }
        return json_answer(visit.inbound, answer)

    async def _other(self, caller: Principal, email: str) -> Subject:
        if caller.role not in (Role.ADMIN, Role.VIEWER):
            raise Forbidden("Only admins and viewers may see what another person has used.")
        subject = await self.find_person(email)
        if subject is None:
            raise NotFound("Nobody here has this e-mail address.", param="email")
        return subject


def _asked_days(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:4]) <= DAYS_MAX or len(text) > 3:
        raise InvalidRequest(f"days must be a whole number from 1 to {DAYS_MAX}.", param="days")
    return int(text)


def _budget(standings: Sequence[Standing], subject: str) -> Standing | None:
    """The subject's dollar limit with least left."""
    dollars = (s for s in standings if s.subject == subject and s.limit.unit is LimitUnit.USD)
    return min(dollars, key=lambda standing: standing.left, default=None)


def _days_of(budget: Standing | None, now_ms: int) -> int:
    """How many days the budget's window reaches back, today included: the days whose costs count against it."""
    if budget is None:
        return _DAYS_WITHOUT_LIMIT
    window = budget.limit.window
    match window.kind:
        case WindowKind.DAYS | WindowKind.WEEK | WindowKind.MONTH:
            first, last = window.span(now_ms)
            return (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
        case WindowKind.LIFETIME:
            return DAYS_MAX
    return 1


def limit_row(standing: Standing, now_ms: int) -> dict[str, object]:
    """Where somebody stands against a limit, in words that pages and the command line share."""
    limit = standing.limit
    amounts = {"cap": limit.amount, "spent": standing.settled, "held": standing.held, "left": max(0, standing.left)}
    is_money = limit.unit is LimitUnit.USD
    resets_ms = standing.resets_at_ms(now_ms)
    return {
        "limit": str(limit),
        "whose": standing.subject,
        "unit": limit.unit.value,
        "window": None if limit.window == OPEN else str(limit.window),
        **{name: usd(amount) if is_money else amount for name, amount in amounts.items()},
        "resets_at": None if resets_ms is None else iso_time(resets_ms),
    }


def _model_row(model: ModelSpent) -> dict[str, object]:
    return {
        "model": model.model,
        "cost": usd(model.cost),
        "calls": model.calls,
        "tokens_in": model.tokens_in,
        "tokens_out": model.tokens_out,
    }
