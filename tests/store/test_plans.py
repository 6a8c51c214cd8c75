from hypothesis import given
from hypothesis import strategies as st

from penstock.core.limits import LimitUnit, Subject, parse_limit
from penstock.core.windows import parse_window
from penstock.store.plans import periods, plan
from tests.store.calls import NOON, person

USD = LimitUnit.USD


def test_every_call_counts_its_dollars_by_day_and_for_ever() -> None:
    keys = (("key:7", "usd", "2026-11-21"), ("key:7", "usd", "all"))
    assert plan(Subject("key:7"), NOON).touched == ((USD, keys),)


def test_a_limit_adds_what_it_needs_once() -> None:
    made = plan(person("1 usd / month", "2 usd / week", "3 requests / 15 minutes", "4 concurrent"), NOON)
    assert {unit: [period for *_, period in keys] for unit, keys in made.touched} == {
        USD: ["2026-11-21", "all"],
        LimitUnit.REQUESTS: [f"900s{NOON // 900_000}"],
        LimitUnit.CONCURRENT: ["open"],
    }


def test_a_limit_reads_every_period_of_its_window() -> None:
    subject = person("1 usd / month", "2 usd / 3 days", "3 usd", "4 tokens / hour")
    read = {str(limit): [period for *_, period in keys] for limit, keys in plan(subject, NOON).read}
    assert read["1 usd / month"] == [f"2026-11-{day:02}" for day in range(1, 22)]
    assert read["2 usd / 3 days"] == ["2026-11-19", "2026-11-20", "2026-11-21"]
    assert read["3 usd"] == ["all"]
    assert read["4 tokens / hour"] == [f"3600s{NOON // 3_600_000}"]


@given(
    st.sampled_from(["day", "7 days", "366 days", "week", "month", "minute", "15 minutes", "2 hours"]),
    st.integers(0, 4_000_000_000_000),
)
def test_the_periods_of_a_window_are_its_span_without_a_gap(text: str, now_ms: int) -> None:
    window = parse_window(text)
    found = periods(window, now_ms)
    assert (found[0], found[-1]) == window.span(now_ms)
    assert list(found) == sorted(set(found))
    assert found[-1] == window.period(now_ms)


def test_the_plan_of_a_subject_names_its_limits_in_their_order() -> None:
    limits = ("9 usd", "1 usd / day")
    assert [limit for limit, _ in plan(person(*limits), NOON).read] == [parse_limit(limit) for limit in limits]
