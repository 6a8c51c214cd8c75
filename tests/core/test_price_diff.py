"""What a new book would change, told by the names that callers send."""

from fractions import Fraction

from penstock.core.model_match import AnyOf, Equals
from penstock.core.price_book import BookModel, BookProvider, DatedRates, DatedVariant, FromDay, PriceBook, make_book
from penstock.core.price_diff import BookDiff, Change, diff_books
from penstock.core.pricing import Rate, Rates
from penstock.core.usage import Unit
from penstock.core.windows import DAY_MS

DAY = 20_000
NOW_MS = DAY * DAY_MS


def rates(tokens_in: int, tokens_out: int = 10) -> Rates:
    return {Unit.INPUT: Rate(tokens_in), Unit.OUTPUT: Rate(tokens_out)}


def model(name: str, *prices: DatedRates | Rates, variants: tuple[DatedVariant, ...] = ()) -> BookModel:
    dated = tuple(price if isinstance(price, DatedRates) else DatedRates(price) for price in prices)
    return BookModel(name, Equals(name), dated, variants)


def book(*models: BookModel) -> PriceBook:
    return make_book([BookProvider("lab", models)])


def diff(old: PriceBook, new: PriceBook) -> BookDiff:
    return diff_books(old, new, NOW_MS)


def test_equal_books_do_not_differ() -> None:
    assert diff(book(model("tiny", rates(1))), book(model("tiny", rates(1)))) == BookDiff((), (), ())


def test_models_that_come_and_go_are_told() -> None:
    changes = diff(
        book(model("old", rates(1)), model("both", rates(1))), book(model("new", rates(1)), model("both", rates(1)))
    )
    assert changes == BookDiff(added=(("lab", "new"),), removed=(("lab", "old"),), changed=())


def test_a_model_that_loses_its_price_is_removed() -> None:
    assert diff(book(model("tiny", rates(1))), book(model("tiny"))).removed == (("lab", "tiny"),)


def test_a_changed_price_is_told_once_by_unit_and_percent() -> None:
    changes = diff(book(model("tiny", rates(100))), book(model("tiny", rates(125)))).changed
    assert changes == (Change("lab", "tiny", Unit.INPUT, Fraction(100), Fraction(125), is_peak=False),)
    assert changes[0].percent == 25
    assert not changes[0].is_jump


def test_more_than_three_times_either_way_is_a_jump() -> None:
    def is_jump(before: int, after: int) -> bool:
        return bool(diff(book(model("tiny", rates(before))), book(model("tiny", rates(after)))).jumps)

    assert [is_jump(10, after) for after in (30, 31, 4, 3, 0)] == [False, True, False, True, True]
    assert is_jump(0, 1)
    assert diff(book(model("tiny", rates(0))), book(model("tiny", rates(1)))).changed[0].percent is None


def test_a_jump_cannot_hide_in_a_rule_that_is_not_in_force_yet() -> None:
    before = book(model("tiny", rates(10)))
    for after in (
        book(model("tiny", rates(10), DatedRates(rates(50), FromDay(DAY + 1)))),
        book(model("tiny", rates(10), variants=(DatedVariant({"service_tier": "priority"}, rates(50)),))),
        book(model("tiny", {Unit.INPUT: Rate(10, 1, ((200_000, 50),)), Unit.OUTPUT: Rate(10)})),
    ):
        (change,) = diff(before, after).jumps
        assert change == Change("lab", "tiny", Unit.INPUT, Fraction(10), Fraction(50), is_peak=True)


def test_a_name_that_moves_to_another_model_is_a_change_of_price() -> None:
    def aliased(small: tuple[Equals, ...], large: tuple[Equals, ...]) -> PriceBook:
        return book(
            BookModel("small", AnyOf(small), (DatedRates(rates(1)),)),
            BookModel("large", AnyOf(large), (DatedRates(rates(20)),)),
        )

    latest, small, large = Equals("latest"), Equals("small"), Equals("large")
    (change,) = diff(aliased((small, latest), (large,)), aliased((small,), (large, latest))).changed
    assert change == Change("lab", "latest", Unit.INPUT, Fraction(1), Fraction(20), is_peak=False)
    assert change.is_jump


def test_a_unit_that_gets_a_rate_of_its_own_changes_from_what_stood_in_for_it() -> None:
    cached = {**rates(100), Unit.CACHE_READ: Rate(10)}
    (change,) = diff(book(model("tiny", rates(100))), book(model("tiny", cached))).changed
    assert (change.unit, change.before, change.after) == (Unit.CACHE_READ, Fraction(100), Fraction(10))
