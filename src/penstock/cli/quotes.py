"""Which models there are, and what each costs now: at the providers of the settings, else in the price book."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from penstock.app import build_provider, load_prices
from penstock.cli.output import Column, number, text
from penstock.cli.rates import cell, source_of
from penstock.cli.wording import NOTHING, counted
from penstock.cli.workplace import Workplace
from penstock.core.price_book import PriceBook
from penstock.core.prices import ModelLimits, Priced, Prices
from penstock.core.provider import Provider
from penstock.core.usage import Unit
from penstock.demo import demo_provider
from penstock.providers.openai import COMPATIBLE

_UNITS = (Unit.INPUT, Unit.OUTPUT, Unit.CACHE_READ)
QUOTE_COLUMNS: tuple[Column, ...] = (
    text("model"), *map(number, ("input", "output", "cache read", "context")), text("price from"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quote:
    """What a model costs at a provider."""

    provider: str
    priced: Priced

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.priced.model}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """``providers`` are those of the settings, in the order in which a bare model name looks for one."""

    providers: Mapping[str, Provider]
    prices: Prices
    book: PriceBook
    now_ms: int

    def at(self, provider: str) -> Iterator[Quote]:
        """Every model that can be named at a provider, of the settings or of the price book."""
        known = self.providers.get(provider)
        for name in _names(self.book, provider) if known is None else self.prices.names(known):
            if quote := self.find_at(provider, name):
                yield quote

    def find(self, model: str) -> list[Quote]:
        """A model by ``provider/id`` or by its id: at the providers of the settings, else at any in the book."""
        first, _, rest = model.partition("/")
        named = self.find_at(first, rest) if rest else None
        if named is not None:
            return [named]
        return self._find_among(tuple(self.providers), model) or self._find_among(self.book.providers, model)

    def find_at(self, provider: str, model: str) -> Quote | None:
        """What one model costs at one provider; None if nobody says."""
        known = self.providers.get(provider)
        priced = self._booked(provider, model) if known is None else self.prices.find(known, model, self.now_ms)
        return None if priced is None else Quote(provider, priced)

    def names(self) -> Iterator[str]:
        """Every ``provider/id`` of the settings' providers, then every one in the book."""
        for provider in dict.fromkeys((*self.providers, *self.book.providers)):
            yield from (quote.name for quote in self.at(provider))

    def _booked(self, provider: str, model: str) -> Priced | None:
        price = self.book.find(provider, model, self.now_ms)
        limits = ModelLimits(context=self.book.context_window(provider, model))
        return None if price is None else Priced(model, price, self.book.id, limits)

    def _find_among(self, providers: tuple[str, ...], model: str) -> list[Quote]:
        quotes = (self.find_at(provider, model) for provider in providers)
        return [quote for quote in quotes if quote is not None]


def open_catalogue(workplace: Workplace) -> Catalogue:
    """The prices in force. The first time ever, the price book is imported."""
    settings = workplace.settings
    providers = {provider.name: build_provider(provider) for provider in settings.providers}
    if settings.is_demo_on:
        # Where it listens is known to the gateway's process alone, and no matter to its prices.
        providers["demo"] = demo_provider(COMPATIBLE, 0, "")
    prices = load_prices(settings, workplace.stores, lambda: workplace.now_ms)
    return Catalogue(providers, prices, prices.book or PriceBook(b"[]"), workplace.now_ms)


def quote_row(quote: Quote) -> list[str]:
    """For ``QUOTE_COLUMNS``, in dollars for a million tokens."""
    priced = quote.priced
    context = NOTHING if priced.context is None else counted(priced.context)
    return [quote.name, *(cell(priced.price, unit) for unit in _UNITS), context, source_of(priced)]


def _names(book: PriceBook, provider: str) -> tuple[str, ...]:
    # Some of the book's ids are families, which no rule takes for a name.
    return tuple(model.id for model in book.models(provider) if book.find_rules(provider, model.id) is not None)
