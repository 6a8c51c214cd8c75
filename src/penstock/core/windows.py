"""The windows of limits, and the periods into which the ledger's buckets are cut.

Every window is a sum over one kind of period: fixed spans of seconds aligned to the epoch, UTC days, or the subject's
lifetime. A month and the last seven days are both sums over days, so a changed limit still knows the past. All
boundaries are UTC; times are epoch milliseconds (money.md, "Limits").
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

DAY_MS = 86_400_000
LIFETIME_PERIOD = "all"
OPEN_PERIOD = "open"
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}
_DAYS_MAX = 366


class WindowKind(StrEnum):
    FIXED = "fixed"
    DAYS = "days"
    WEEK = "week"
    MONTH = "month"
    LIFETIME = "lifetime"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Window:
    """``length`` is seconds for FIXED, days for DAYS, and 1 otherwise. OPEN is now: what is in flight."""

    kind: WindowKind
    length: int = 1

    def span(self, now_ms: int) -> tuple[str, str]:
        """The first and last period that count now; within one window they sort as text."""
        match self.kind:
            case WindowKind.FIXED:
                period = f"{self.length}s{now_ms // (self.length * 1000)}"
                return period, period
            case WindowKind.LIFETIME:
                return LIFETIME_PERIOD, LIFETIME_PERIOD
            case WindowKind.OPEN:
                return OPEN_PERIOD, OPEN_PERIOD
        return day_period(self._first_day(now_ms)), day_period(now_ms // DAY_MS)

    @property
    def seconds(self) -> int | None:
        """How long it is; None where that varies (a month) or has no end."""
        match self.kind:
            case WindowKind.FIXED:
                return self.length
            case WindowKind.DAYS | WindowKind.WEEK:
                return (7 if self.kind is WindowKind.WEEK else self.length) * DAY_MS // 1000
        return None

    def period(self, now_ms: int) -> str:
        """Where an amount that is admitted now belongs."""
        return self.span(now_ms)[1]

    def leaves_at_ms(self, period: str) -> int | None:
        """When the amounts of a period stop counting; None if they never do by time alone."""
        match self.kind:
            case WindowKind.FIXED:
                return (int(period.partition("s")[2]) + 1) * self.length * 1000
            case WindowKind.LIFETIME | WindowKind.OPEN:
                return None
        day = date.fromisoformat(period)
        match self.kind:
            case WindowKind.DAYS:
                end = day + timedelta(days=self.length)
            case WindowKind.WEEK:
                end = day + timedelta(days=7 - day.weekday())
            case _:
                end = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        return _day_number(end) * DAY_MS

    def _first_day(self, now_ms: int) -> int:
        today = now_ms // DAY_MS
        if self.kind is WindowKind.DAYS:
            return today - self.length + 1
        day = date.fromisoformat(day_period(today))
        return today - (day.weekday() if self.kind is WindowKind.WEEK else day.day - 1)

    def __str__(self) -> str:
        if self.kind is WindowKind.DAYS:
            return "day" if self.length == 1 else f"{self.length} days"
        if self.kind is WindowKind.FIXED:
            name = next(name for name in ("hour", "minute", "second") if self.length % _SECONDS[name] == 0)
            number = self.length // _SECONDS[name]
            return name if number == 1 else f"{number} {name}s"
        return str(self.kind.value)


LIFETIME = Window(WindowKind.LIFETIME)
OPEN = Window(WindowKind.OPEN)
DAY = Window(WindowKind.DAYS)


def parse_window(text: str) -> Window:
    """Read ``month``, ``7 days``, ``15 minutes``...; raises ValueError with what is allowed."""
    words = text.split()
    number, name = (words[0], words[1]) if len(words) == 2 else ("1", words[0] if len(words) == 1 else "")
    name = name.removesuffix("s")
    if not (number.isascii() and number.isdigit()) or not 1 <= int(number) <= 10_000:
        raise ValueError(f"not a window: {text!r}")
    length = int(number)
    if name in _SECONDS:
        return Window(WindowKind.FIXED, length * _SECONDS[name])
    if name == "day" and length <= _DAYS_MAX:
        return Window(WindowKind.DAYS, length)
    if name in ("week", "month") and length == 1:
        return Window(WindowKind(name))
    raise ValueError(f"not a window: {text!r}; use N seconds, minutes, hours or days (at most 366), week, or month")


@lru_cache(maxsize=1024)
def day_period(day: int) -> str:
    """The name of a UTC day, counted from the epoch: ``2026-11-21``."""
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def _day_number(day: date) -> int:
    return (day - date(1970, 1, 1)).days
