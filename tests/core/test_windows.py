from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.windows import DAY, DAY_MS, LIFETIME, OPEN, Window, WindowKind, day_period, parse_window

MONTH, WEEK = parse_window("month"), parse_window("week")
# 1970 to 2199.
INSTANTS = st.integers(0, 7_258_000_000_000)
WINDOWS = [
    "second",
    "15 minutes",
    "minute",
    "hour",
    "7 hours",
    "10000 hours",
    "day",
    "7 days",
    "366 days",
    "week",
    "month",
]


def ms(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("second", Window(WindowKind.FIXED, 1)),
        ("1 minute", Window(WindowKind.FIXED, 60)),
        ("15 minutes", Window(WindowKind.FIXED, 900)),
        ("  2   hours ", Window(WindowKind.FIXED, 7200)),
        ("day", DAY),
        ("1 days", DAY),
        ("366 days", Window(WindowKind.DAYS, 366)),
        ("week", WEEK),
        ("1 month", MONTH),
    ],
)
def test_windows_as_admins_write_them(text: str, window: Window) -> None:
    assert parse_window(text) == window


@pytest.mark.parametrize(
    "text",
    ["", " ", "0 days", "-1 days", "1.5 days", "367 days", "10001 seconds", "2 weeks", "2 months", "year", "lifetime",
     "7days", "7 days ago", "seven days", "\u0661 day", "\u00b2 days", "1" * 5000 + " days", "open"],
)  # fmt: skip
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a window|integer string conversion"):
        parse_window(text)


@pytest.mark.parametrize("text", [*WINDOWS, "30 seconds", "90 seconds", "150 minutes"])
def test_windows_are_written_as_they_read(text: str) -> None:
    assert parse_window(str(parse_window(text))) == parse_window(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1 days", "day"),
        ("2 days", "2 days"),
        ("60 seconds", "minute"),
        ("120 minutes", "2 hours"),
        ("90 seconds", "90 seconds"),
        ("24 hours", "24 hours"),
    ],
)
def test_windows_are_written_in_the_largest_unit_that_divides_them(text: str, shown: str) -> None:
    assert str(parse_window(text)) == shown


@pytest.mark.parametrize(
    ("window", "now", "span"),
    [
        (DAY, "2026-11-21T23:59:59.999", ("2026-11-21", "2026-11-21")),
        (DAY, "2026-11-22T00:00:00", ("2026-11-22", "2026-11-22")),
        (parse_window("7 days"), "2026-03-03T12:00", ("2026-02-25", "2026-03-03")),
        (parse_window("7 days"), "2028-03-03T12:00", ("2028-02-26", "2028-03-03")),
        (parse_window("366 days"), "2028-12-31T12:00", ("2028-01-01", "2028-12-31")),
        (WEEK, "2026-11-22T23:59:59.999", ("2026-11-16", "2026-11-22")),
        (WEEK, "2026-11-23T00:00", ("2026-11-23", "2026-11-23")),
        (WEEK, "2026-01-01T00:00", ("2025-12-29", "2026-01-01")),
        (MONTH, "2028-02-29T23:59:59.999", ("2028-02-01", "2028-02-29")),
        (MONTH, "2026-03-01T00:00", ("2026-03-01", "2026-03-01")),
        (parse_window("15 minutes"), "1970-01-01T00:14:59.999", ("900s0", "900s0")),
        (parse_window("15 minutes"), "1970-01-01T00:15", ("900s1", "900s1")),
        (LIFETIME, "2026-11-21T12:00", ("all", "all")),
        (OPEN, "2026-11-21T12:00", ("open", "open")),
    ],
)
def test_which_periods_count_now(window: Window, now: str, span: tuple[str, str]) -> None:
    assert window.span(ms(now)) == span
    assert window.period(ms(now)) == span[1]


@pytest.mark.parametrize(
    ("window", "period", "leaves"),
    [
        (DAY, "2026-12-31", "2027-01-01"),
        (DAY, "2028-02-28", "2028-02-29"),
        (parse_window("7 days"), "2026-11-21", "2026-11-28"),
        (WEEK, "2026-11-16", "2026-11-23"),
        (WEEK, "2026-11-22", "2026-11-23"),
        (MONTH, "2026-02-01", "2026-03-01"),
        (MONTH, "2028-02-29", "2028-03-01"),
        (MONTH, "2026-12-31", "2027-01-01"),
        (MONTH, "2026-01-31", "2026-02-01"),
        (parse_window("hour"), "3600s0", "1970-01-01T01:00"),
    ],
)
def test_when_a_period_stops_counting(window: Window, period: str, leaves: str) -> None:
    assert window.leaves_at_ms(period) == ms(leaves)


@pytest.mark.parametrize(("window", "period"), [(LIFETIME, "all"), (OPEN, "open")])
def test_a_lifetime_and_calls_in_flight_never_leave_by_time_alone(window: Window, period: str) -> None:
    assert window.leaves_at_ms(period) is None


@pytest.mark.parametrize("text", WINDOWS)
@given(now_ms=INSTANTS)
def test_an_amount_counts_from_its_moment_until_it_leaves_and_never_again(text: str, now_ms: int) -> None:
    window = parse_window(text)
    period = window.period(now_ms)
    leaves_ms = window.leaves_at_ms(period)
    assert leaves_ms is not None
    assert leaves_ms > now_ms
    first, last = window.span(leaves_ms - 1)
    assert first <= period <= last
    assert period < window.span(leaves_ms)[0] or window.kind is WindowKind.FIXED
    assert window.span(leaves_ms) != window.span(leaves_ms - 1)


@given(now_ms=INSTANTS, seconds=st.integers(1, 36_000_000))
def test_fixed_windows_are_aligned_to_the_epoch(now_ms: int, seconds: int) -> None:
    window = Window(WindowKind.FIXED, seconds)
    leaves_ms = window.leaves_at_ms(window.period(now_ms))
    assert leaves_ms is not None
    assert leaves_ms % (seconds * 1000) == 0
    assert 0 < leaves_ms - now_ms <= seconds * 1000


@given(INSTANTS)
def test_a_day_is_named_by_its_utc_date(now_ms: int) -> None:
    assert (
        day_period(now_ms // DAY_MS)
        == (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now_ms)).date().isoformat()
    )
