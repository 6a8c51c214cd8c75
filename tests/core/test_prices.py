"""Who answers what a model costs: the settings, a pin, the book, or nobody."""

from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from penstock.core.model_match import Equals, StartsWith
from penstock.core.pins import SHIPPED_PINS
from penstock.core.price_book import BookModel, BookProvider, DatedRates, FromDay, PriceBook, make_book
from penstock.core.prices import ModelLimits, OwnPrices, Pin, Priced, Prices
from penstock.core.pricing import FREE, Price, Rate
from penstock.core.provider import Origin, Provider
from penstock.core.usage import Unit, Usage
from penstock.core.windows import DAY_MS
from penstock.providers.openai import COMPATIBLE

NOW_MS = 20_000 * DAY_MS


def provider(name: str = "lab", book_name: str = "maker") -> Provider:
    url = urlsplit("https://lab.example/v1")
    return Provider(name, COMPATIBLE, Origin(url.scheme, str(url.hostname), 443), url.path, book_name=book_name)


def price(pico: int) -> Price:
    return Price({Unit.INPUT: Rate(pico), Unit.OUTPUT: Rate(pico)})


def book() -> PriceBook:
    later = DatedRates(dict(price(4).rates), FromDay(20_001))
    tiny = BookModel("tiny", Equals("tiny"), (DatedRates(dict(price(3).rates)), later), context=1000)
    family = BookModel("huge", StartsWith("huge-"), (DatedRates(dict(price(9).rates)),))
    return make_book([BookProvider("maker", (tiny, family))])


def pin(pico: int, model: str = "tiny", from_ms: int = 0) -> Pin:
    return Pin("maker", model, price(pico), ModelLimits(context=500), from_ms, "ann@example.com", "checked")


def found(prices: Prices, model: str = "tiny", at_ms: int = NOW_MS) -> Priced:
    priced = prices.find(provider(), model, at_ms)
    assert priced is not None
    return priced


def pico(priced: Priced) -> int:
    return priced.price.rates[Unit.INPUT].pico


def test_the_settings_beat_a_pin_and_a_pin_beats_the_book() -> None:
    own = {"lab": OwnPrices(prices=(("tiny", price(1)),))}
    assert (pico(found(Prices(own, book(), [pin(2)]))), found(Prices(own, book(), [pin(2)])).book_id) == (1, "settings")
    assert (pico(found(Prices({}, book(), [pin(2)]))), found(Prices({}, book(), [pin(2)])).book_id) == (2, "pin")
    assert (pico(found(Prices({}, book(), []))), found(Prices({}, book(), [])).book_id) == (3, book().id)


def test_what_nobody_prices_has_no_price() -> None:
    assert Prices({}, book(), [pin(2)]).find(provider(), "other", NOW_MS) is None
    assert Prices({}, None, []).find(provider(), "tiny", NOW_MS) is None
    assert Prices({"lab": OwnPrices()}, book(), []).find(provider(book_name=""), "tiny", NOW_MS) is None


def test_the_settings_of_one_provider_say_nothing_about_another() -> None:
    own = {"elsewhere": OwnPrices(is_free=True)}
    assert pico(found(Prices(own, book(), []))) == 3


def test_an_exact_name_beats_a_glob_and_then_the_files_order_counts() -> None:
    own = {"lab": OwnPrices(prices=(("ti*", price(1)), ("t*", price(2)), ("Tiny", price(5))))}
    prices = Prices(own, book(), [])
    assert [pico(found(prices, model)) for model in ("tiny", "TINY", "timid", "tall")] == [5, 5, 1, 2]


def test_a_provider_that_is_free_as_a_whole_may_have_models_with_a_price() -> None:
    prices = Prices({"lab": OwnPrices(prices=(("dear-*", price(7)),), is_free=True)}, book(), [pin(2)])
    assert found(prices, "anything").price is FREE
    assert found(prices, "anything").is_free
    assert pico(found(prices, "dear-1")) == 7
    assert not found(prices, "dear-1").is_free


def test_has_price_tells_a_price_of_the_model_from_a_free_provider() -> None:
    prices = Prices({"lab": OwnPrices(prices=(("dear-*", price(7)),), is_free=True)}, book(), [])
    assert prices.has_price(provider(), "dear-1", NOW_MS) is True
    assert prices.has_price(provider(), "tiny", NOW_MS) is None
    assert prices.has_price(provider("other"), "tiny", NOW_MS) is True
    assert prices.has_price(provider("other"), "unknown", NOW_MS) is False


def test_a_pin_counts_from_its_date_the_later_one_first_and_an_exact_one_before_a_glob() -> None:
    pins = [pin(5, from_ms=NOW_MS), pin(6, from_ms=NOW_MS + 10), pin(7, "t*", NOW_MS + 20)]
    prices = Prices({}, book(), pins)
    moments = (NOW_MS - 1, NOW_MS, NOW_MS + 10, NOW_MS + 30, NOW_MS - 1)
    assert [pico(found(prices, "tiny", moment)) for moment in moments] == [3, 5, 6, 6, 3]
    assert prices.find(provider(), "tall", NOW_MS + 19) is None
    assert pico(found(prices, "tall", NOW_MS + 20)) == 7


def test_the_book_is_asked_for_every_moment() -> None:
    prices = Prices({}, book(), [])
    assert [pico(found(prices, "tiny", NOW_MS + days * DAY_MS)) for days in (0, 1, 0)] == [3, 4, 3]
    assert found(prices) is found(prices)


def test_limits_come_from_the_settings_else_the_pin_else_the_book() -> None:
    own = {"lab": OwnPrices(limits=(("ti*", ModelLimits(output_max=70, is_reasoning=True)),))}
    assert found(Prices(own, book(), [])).limits == ModelLimits(1000, 70, is_reasoning=True)
    assert found(Prices(own, book(), [pin(1)])).limits == ModelLimits(500, 70, is_reasoning=True)
    assert found(Prices(own, book(), []), "huge-1").limits == ModelLimits()
    stated = {"lab": OwnPrices(prices=(("tiny", price(1)),), limits=(("tiny", ModelLimits(context=9)),))}
    assert found(Prices(stated, book(), [pin(1)])).limits == ModelLimits(context=9)


def test_a_known_context_window_bounds_the_output_where_nothing_else_does() -> None:
    assert Priced("tiny", FREE, "settings", ModelLimits(context=100)).output_max == 100
    assert Priced("tiny", FREE, "settings", ModelLimits(context=100, output_max=10)).output_max == 10
    assert Priced("tiny", FREE, "settings").output_max is None


def test_the_names_are_those_that_can_be_called() -> None:
    own = {"lab": OwnPrices(prices=(("mine", price(1)), ("ti*", price(2))), limits=(("known", ModelLimits(5)),))}
    assert Prices(own, book(), [pin(2), pin(3, "pinned"), pin(4, "p*")]).names(provider()) == (
        "mine", "known", "tiny", "pinned",
    )  # fmt: skip
    assert Prices({}, None, []).names(provider()) == ()


def test_a_caller_cannot_make_the_prices_remember_without_end() -> None:
    prices = Prices({"lab": OwnPrices(is_free=True)}, None, [])
    for number in range(20_000):
        prices.find(provider(), f"unknown-{number}", NOW_MS)
    assert len(prices._known) < 10_000


@pytest.mark.parametrize(
    ("book_name", "model", "input_nano", "output_nano"),
    [
        ("deepseek", "deepseek-chat", 300_000_000, 1_200_000_000),
        ("mistral", "mistral-large-latest", 2_000_000_000, 6_000_000_000),
    ],
)
def test_moving_aliases_are_pinned_at_the_dearest_public_price(
    book_name: str, model: str, input_nano: int, output_nano: int
) -> None:
    now_ms = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()) * 1000
    priced = Prices({}, None, SHIPPED_PINS).find(provider(book_name=book_name), model, now_ms)
    assert priced is not None
    assert priced.price.cost(Usage(input=1_000_000)) == input_nano
    assert priced.price.cost(Usage(output=1_000_000)) == output_nano
    assert Prices({}, None, SHIPPED_PINS).find(replace(provider(), book_name=book_name), f"{model}-x", now_ms) is None


def test_every_shipped_pin_says_who_and_why() -> None:
    assert all(pin.author and len(pin.note) > 40 and pin.limits.context for pin in SHIPPED_PINS)
