"""A price book: which rule a name leads to, which price is in force, and that equal rules have equal names."""

from datetime import UTC, datetime

import msgspec
import pytest

from penstock.core.model_match import AllOf, AnyOf, Clause, Contains, EndsWith, Equals, Regex, StartsWith
from penstock.core.price_book import (
    BookModel,
    BookProvider,
    Condition,
    Daily,
    DatedRates,
    DatedVariant,
    FromDay,
    PriceBook,
    make_book,
)
from penstock.core.pricing import Price, Rate, Rates
from penstock.core.usage import Unit

DAY = 20_000
HOUR_MS = 3_600_000


def at(day: int, hour: float = 0) -> int:
    return day * 24 * HOUR_MS + int(hour * HOUR_MS)


def rates(pico: int) -> Rates:
    return {Unit.INPUT: Rate(pico), Unit.OUTPUT: Rate(pico)}


def model(name: str, pico: int, match: Clause | None = None) -> BookModel:
    return BookModel(name, match or Equals(name), (DatedRates(rates(pico)),))


def book(*models: BookModel, also_serves: tuple[str, ...] = (), others: tuple[BookProvider, ...] = ()) -> PriceBook:
    return make_book([BookProvider("lab", models, also_serves=also_serves), *others])


def pico(price: Price | None) -> int | None:
    return None if price is None else price.rates[Unit.INPUT].pico


def found(prices: PriceBook, name: str, at_ms: int = at(DAY)) -> int | None:
    return pico(prices.find("lab", name, at_ms))


@pytest.mark.parametrize(
    ("clause", "matching", "other"),
    [
        (Equals("Tiny-1"), "TINY-1", "tiny-10"),
        (StartsWith("Tiny"), "tiny-1", "a-tiny"),
        (EndsWith(":Free"), "tiny:free", "free"),
        (Contains("INY"), "tiny", "tin"),
        (Regex(r"^tiny-\d$"), "Tiny-1", "tiny-x"),
        (AnyOf((Equals("a"), Equals("b"))), "b", "c"),
        (AllOf((StartsWith("a"), EndsWith("z"))), "abz", "ab"),
        (AnyOf((AllOf((StartsWith("a"), EndsWith("z"))), Equals("b"))), "az", "a"),
    ],
)
def test_a_clause_matches_as_it_says(clause: Clause, matching: str, other: str) -> None:
    prices = book(model("tiny", 5, clause))
    assert found(prices, matching) == 5
    assert found(prices, other) is None


def test_the_first_model_that_matches_counts_whether_it_names_or_describes() -> None:
    assert found(book(model("tiny", 1), model("family", 2, StartsWith("tiny"))), "tiny") == 1
    assert found(book(model("family", 2, StartsWith("tiny")), model("tiny", 1)), "tiny") == 2
    assert found(book(model("tiny", 1), model("again", 2, Equals("tiny"))), "tiny") == 1
    assert found(book(model("none", 3, Contains("z")), model("tiny", 1), model("all", 2, Contains("t"))), "tiny") == 1


def test_a_model_without_prices_is_unpriced_and_keeps_its_name_from_the_next_one() -> None:
    prices = book(BookModel("tiny", Equals("tiny"), ()), model("family", 2, StartsWith("tiny")))
    assert found(prices, "tiny") is None
    assert found(prices, "tiny-2") == 2


def test_an_unknown_provider_has_no_prices() -> None:
    prices = book(model("tiny", 1))
    assert prices.find("elsewhere", "tiny", at(DAY)) is None
    assert prices.models("elsewhere") == ()
    assert prices.context_window("elsewhere", "tiny") is None


def test_a_provider_is_found_by_id_before_it_is_found_by_another_name() -> None:
    vague = BookProvider("vague", (model("tiny", 1),), match=Contains("lab"))
    prices = make_book([vague, BookProvider("lab", (model("tiny", 2),))])
    assert pico(prices.find(" LAB ", "tiny", at(DAY))) == 2
    assert pico(prices.find("my-lab", "tiny", at(DAY))) == 1


def test_models_of_other_providers_are_served_one_step_far_and_without_their_variants() -> None:
    variant = DatedVariant({"service_tier": "priority"}, rates(9))
    tiny = BookModel("tiny", Equals("tiny"), (DatedRates(rates(1)),), (variant,))
    maker = BookProvider("maker", (tiny,), also_serves=("far",))
    far = BookProvider("far", (model("distant", 3),))
    prices = book(model("own", 2), also_serves=("missing", "maker"), others=(maker, far))
    assert found(prices, "own") == 2
    assert found(prices, "distant") is None
    served, made = prices.find("lab", "tiny", at(DAY)), prices.find("maker", "tiny", at(DAY))
    assert served is not None
    assert made is not None
    assert served.variants == ()
    assert made.variants[0].rates == rates(9)


def test_a_compact_date_is_read_as_a_dashed_one_if_nothing_matches_as_it_stands() -> None:
    prices = book(model("tiny-2025-12-11", 1), model("tiny-20250101", 2), model("tiny-2025-01-01", 3))
    assert found(prices, "tiny-20251211") == 1
    assert found(prices, "Tiny-20251211:free") is None
    assert found(prices, "tiny-20250101") == 2
    assert found(prices, "tiny-20251341") is None
    assert found(book(model("tiny-2025-02-30", 1)), "tiny-20250230") is None


def dated(*conditions: tuple[int, Condition | None]) -> PriceBook:
    return book(
        BookModel("tiny", Equals("tiny"), tuple(DatedRates(rates(n), condition) for n, condition in conditions))
    )


def test_the_last_price_in_force_counts() -> None:
    prices = dated((1, None), (2, FromDay(DAY)), (3, FromDay(DAY + 10)))
    assert [found(prices, "tiny", at(day)) for day in (DAY - 1, DAY, DAY + 9, DAY + 10, DAY - 1)] == [1, 2, 2, 3, 1]
    assert found(prices, "tiny", at(DAY) - 1) == 1


def test_before_any_price_is_in_force_the_first_one_counts() -> None:
    assert found(dated((1, FromDay(DAY)), (2, FromDay(DAY + 1))), "tiny", at(DAY - 5)) == 1


def test_a_price_may_hold_at_certain_hours() -> None:
    prices = dated((1, None), (2, Daily(1 * HOUR_MS, 4 * HOUR_MS)), (3, Daily(22 * HOUR_MS, HOUR_MS // 2)))
    hours = (0, 0.25, 0.5, 1, 3.99, 4, 21.99, 22, 23.99)
    assert [found(prices, "tiny", at(DAY, hour)) for hour in hours] == [3, 3, 1, 2, 2, 1, 1, 3, 3]
    assert [found(prices, "tiny", at(DAY, hour)) for hour in reversed(hours)] == [3, 3, 1, 1, 2, 2, 1, 3, 3]


def test_an_empty_span_of_hours_never_holds() -> None:
    assert found(dated((1, None), (2, Daily(0, 0))), "tiny", at(DAY)) == 1


@pytest.mark.parametrize("condition", [FromDay(DAY), Daily(HOUR_MS, 4 * HOUR_MS), Daily(22 * HOUR_MS, HOUR_MS)])
def test_a_condition_turns_when_it_says_and_not_before(condition: Condition) -> None:
    for hour in range(-30, 30):
        start_ms = at(DAY, hour) + 7
        turn_ms = min(condition.turns_at_ms(start_ms), at(DAY + 5))
        assert len({condition.holds(moment) for moment in range(start_ms, turn_ms, HOUR_MS // 2)}) == 1
        assert condition.holds(start_ms) == condition.holds(turn_ms - 1)


def test_the_price_is_the_same_object_as_long_as_nothing_changes() -> None:
    prices = dated((1, None), (2, FromDay(DAY)))
    before, after = prices.find("lab", "tiny", at(DAY - 2)), prices.find("lab", "tiny", at(DAY))
    assert before is prices.find("lab", "tiny", at(DAY - 1))
    assert after is prices.find("lab", "tiny", at(DAY + 900))
    assert before is prices.find("lab", "tiny", at(DAY - 1))


def test_variants_are_those_in_force() -> None:
    variants = (DatedVariant({"a": "b"}, rates(7), FromDay(DAY)), DatedVariant({"a": "c"}, rates(8)))
    prices = book(BookModel("tiny", Equals("tiny"), (DatedRates(rates(1)),), variants))
    early, late = prices.find("lab", "tiny", at(DAY - 1)), prices.find("lab", "tiny", at(DAY))
    assert early is not None
    assert late is not None
    assert [variant.when for variant in early.variants] == [{"a": "c"}]
    assert late.under({"a": "b"}).rates == rates(7)


def test_equal_rules_have_one_id_and_other_rules_another() -> None:
    first, same = book(model("tiny", 1)), book(model("tiny", 1))
    assert first.id == same.id == PriceBook(first.content).id
    assert len(first.id) == 64
    assert first.id != book(model("tiny", 2)).id


def test_a_caller_cannot_make_a_book_remember_without_end() -> None:
    prices = book(model("tiny", 1))
    for number in range(20_000):
        prices.find("lab", f"unknown-{number}", at(DAY))
    assert len(prices._remembered) < 10_000
    assert found(prices, "tiny") == 1


@pytest.mark.parametrize(
    "clause", [Regex("("), Equals(""), StartsWith(""), Contains(""), AnyOf(()), AllOf((Equals("a"), Regex("[")))]
)
def test_a_clause_that_cannot_work_makes_no_book(clause: Clause) -> None:
    with pytest.raises(ValueError):
        book(model("tiny", 1, clause))
    with pytest.raises(ValueError):
        make_book([BookProvider("lab", (), match=clause)])


TINY = b'[{"id":"lab","models":[{"id":"tiny","match":["equals","tiny"],"prices":[%s]%s}]}]'
GOOD_PRICE = b'[{"input":[1,1,[]]}]'


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"null", b'[{"id":"lab"}]',
        TINY % (b'[{"input":[true]}]', b""),
        TINY % (b'[{"input":["1"]}]', b""),
        TINY % (b'[{"input":[-1]}]', b""),
        TINY % (b'[{"input":[1.5]}]', b""),
        TINY % (b'[{"input":[NaN]}]', b""),
        TINY % (b'[{"input":1}]', b""),
        TINY % (b'[{"tokens":[1]}]', b""),
        TINY % (b'[{"input":[1]},["from","1"]]', b""),
        TINY % (b'[{"input":[1]},["from",1.5]]', b""),
        TINY % (b'[{"input":[1]},["from",true]]', b""),
        TINY % (b'[{"input":[1]},["daily",-1,5]]', b""),
        TINY % (b'[{"input":[1]},["daily",0,86400000]]', b""),
        TINY % (b'[{"input":[1]},["daily",0,false]]', b""),
        TINY % (b'[{"input":[1]},["sometimes",1]]', b""),
        TINY % (GOOD_PRICE, b',"context":0'),
        TINY % (GOOD_PRICE, b',"context":true'),
        TINY % (GOOD_PRICE, b',"context":"1"'),
        TINY % (GOOD_PRICE, b',"context":-5'),
        TINY % (GOOD_PRICE, b',"context":1e5'),
    ],
)  # fmt: skip
def test_what_is_no_price_book_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        PriceBook(content)


def test_the_template_of_the_bad_books_is_a_good_book() -> None:
    prices = PriceBook(TINY % (GOOD_PRICE, b',"context":5'))
    assert prices.context_window("lab", "tiny") == 5
    assert [listed.id for listed in prices.models("lab")] == ["tiny"]
    assert msgspec.json.decode(prices.content)


def test_days_are_counted_from_the_epoch() -> None:
    start = datetime(2026, 10, 20, tzinfo=UTC)
    condition = FromDay(20_746)
    assert condition.holds(int(start.timestamp()) * 1000)
    assert not condition.holds(int(start.timestamp()) * 1000 - 1)
