"""Which buckets a call of a subject touches, and which its limits read, at one moment: names only, nothing is counted.

Every call counts its dollars by day and for ever, so that a limit which is set later knows the past; beyond that it
counts what the subject's limits need (money.md, "Limits").
"""

from dataclasses import dataclass
from datetime import date

from penstock.core.limits import Limit, LimitUnit, Subject
from penstock.core.windows import DAY, DAY_MS, LIFETIME, Window, WindowKind, day_period

Key = tuple[str, str, str]
"""A bucket by its subject, unit and period."""

_DAYS = (WindowKind.DAYS, WindowKind.WEEK, WindowKind.MONTH)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Plan:
    """``touched`` are the buckets that a call now is counted in, ``read`` those that each limit sums up."""

    subject: Subject
    touched: tuple[tuple[LimitUnit, tuple[Key, ...]], ...]
    read: tuple[tuple[Limit, tuple[Key, ...]], ...]


def plan(subject: Subject, now_ms: int) -> Plan:
    """The buckets of a subject at an instant."""
    counted = [(LimitUnit.USD, DAY), (LimitUnit.USD, LIFETIME)]
    counted += [(limit.unit, limit.window) for limit in subject.limits]
    touched: dict[LimitUnit, dict[Key, None]] = {}
    for unit, window in counted:
        touched.setdefault(unit, {})[subject.name, unit.value, window.period(now_ms)] = None
    return Plan(
        subject,
        touched=tuple((unit, tuple(keys)) for unit, keys in touched.items()),
        read=tuple((limit, _read(subject, limit, now_ms)) for limit in subject.limits),
    )


def periods(window: Window, now_ms: int) -> tuple[str, ...]:
    """Every period that a window sums up now, oldest first."""
    first, last = window.span(now_ms)
    if window.kind not in _DAYS:
        return (last,)
    first_day = date.fromisoformat(first).toordinal() - _EPOCH_ORDINAL
    return tuple(day_period(day) for day in range(first_day, now_ms // DAY_MS + 1))


def _read(subject: Subject, limit: Limit, now_ms: int) -> tuple[Key, ...]:
    return tuple((subject.name, limit.unit.value, period) for period in periods(limit.window, now_ms))
