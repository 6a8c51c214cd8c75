"""What the gateway asks about prices: what does this model cost at this provider now, and how large may a call be?

The first that knows the model answers: the settings of its provider, a pin, the active book. None means that nobody
does, and then there is no call: no model is free by accident (design.md, invariant 5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from penstock.core.limits import matches_any
from penstock.core.price_book import PriceBook
from penstock.core.pricing import FREE, Price
from penstock.core.provider import Provider

SETTINGS = "settings"
PIN = "pin"
# Callers choose the names that they ask for: what is remembered of them has an end.
_NAMES_MAX = 8192
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What a model can do, in tokens: taken at once, answer included; written at most. None: nobody says."""

    context: int | None = None
    output_max: int | None = None
    is_reasoning: bool | None = None

    def over(self, other: "ModelLimits") -> "ModelLimits":
        """These, and the other's where these say nothing."""
        return ModelLimits(
            context=other.context if self.context is None else self.context,
            output_max=other.output_max if self.output_max is None else self.output_max,
            is_reasoning=other.is_reasoning if self.is_reasoning is None else self.is_reasoning,
        )


UNKNOWN_LIMITS = ModelLimits()


@dataclass(frozen=True, slots=True)
class Priced:
    """A model with its price. ``book_id`` says whose: "settings", "pin", or the id of a price book."""

    model: str
    price: Price
    book_id: str
    limits: ModelLimits = UNKNOWN_LIMITS

    @property
    def is_free(self) -> bool:
        return self.price.is_free

    @property
    def context(self) -> int | None:
        return self.limits.context

    @property
    def output_max(self) -> int | None:
        """The model's output maximum; where only its context window is known, that."""
        return self.limits.context if self.limits.output_max is None else self.limits.output_max


@dataclass(frozen=True, slots=True)
class OwnPrices:
    """What the settings say about one provider, by model glob. An exact name beats a glob, then the file's order."""

    prices: tuple[tuple[str, Price], ...] = ()
    limits: tuple[tuple[str, ModelLimits], ...] = ()
    is_free: bool = False


@dataclass(frozen=True, slots=True)
class Pin:
    """A price that overrules the book from a moment on. ``provider`` is the book's name of it, ``model`` a glob."""

    provider: str
    model: str
    price: Price
    limits: ModelLimits
    from_ms: int
    author: str
    note: str


class Prices:
    """Prices by provider and model. Immutable: a new book or new settings make a new one."""

    __slots__ = ("_known", "_own", "_pins", "book")

    def __init__(self, own: Mapping[str, OwnPrices], book: PriceBook | None, pins: Sequence[Pin]) -> None:
        """``own`` is by the provider's name."""
        self.book = book
        self._own = own
        self._pins = pins
        self._known: dict[tuple[str, str], _Known] = {}

    def find(self, provider: Provider, model: str, at_ms: int) -> Priced | None:
        """What a model costs at a moment, by the first who knows; None: nobody does."""
        key = (provider.name, model)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _NAMES_MAX:
                self._known.clear()
            known = self._known[key] = self._learn(provider, model)
        return known.priced(at_ms)

    def has_price(self, provider: Provider, model: str, at_ms: int) -> bool | None:
        """True for a price of that very model, None where the provider is free as a whole, else False."""
        own = self._own.get(provider.name, _NOTHING_OWN)
        if own.is_free and _first_match(own.prices, model) is None:
            return None
        return self.find(provider, model, at_ms) is not None

    def names(self, provider: Provider) -> tuple[str, ...]:
        """The models of a provider that can be named: those of the settings without wildcards, of pins, of the book."""
        own, book, book_name = self._own.get(provider.name, _NOTHING_OWN), self.book, provider.book_name
        stated = [glob for glob, _ in (*own.prices, *own.limits)]
        pinned = [pin.model for pin in self._pins if pin.provider == book_name]
        names = dict.fromkeys(name for name in (*stated, *pinned) if not _is_glob(name))
        # Some of the book's ids are families, which no rule takes for a name.
        if book is not None:
            ids = (model.id for model in book.models(book_name))
            names |= dict.fromkeys(name for name in ids if book.find_rules(book_name, name) is not None)
        return tuple(names)

    def _learn(self, provider: Provider, model: str) -> "_Known":
        own = self._own.get(provider.name, _NOTHING_OWN)
        book_name, book = provider.book_name, self.book
        context = book.context_window(book_name, model) if book is not None else None
        limits = _first_match(own.limits, model) or UNKNOWN_LIMITS
        booked = ModelLimits(context=context)
        price = _first_match(own.prices, model) or (FREE if own.is_free else None)
        stated = None if price is None else Priced(model, price, SETTINGS, limits.over(booked))
        pins = [pin for pin in self._pins if pin.provider == book_name and matches_any(model, (pin.model,))]
        pins.sort(key=lambda pin: (_is_glob(pin.model), -pin.from_ms))
        pinned = [(pin.from_ms, Priced(model, pin.price, PIN, limits.over(pin.limits).over(booked))) for pin in pins]
        return _Known(model, stated, pinned, None if book is None else _Listing(book, book_name, limits.over(booked)))


@dataclass(frozen=True, slots=True)
class _Listing:
    """Where the book is asked about a model, and what else is known of it."""

    book: PriceBook
    provider: str
    limits: ModelLimits


class _Known:
    """All that is known about a model's price. ``pins`` are (from_ms, price), the one that wins first."""

    __slots__ = ("_booked", "_listing", "_model", "_pins", "_stated")

    def __init__(
        self, model: str, stated: Priced | None, pins: Sequence[tuple[int, Priced]], listing: _Listing | None
    ) -> None:
        self._model = model
        self._stated = stated
        self._pins = pins
        self._listing = listing
        self._booked: Priced | None = None

    def priced(self, at_ms: int) -> Priced | None:
        if self._stated is not None:
            return self._stated
        for from_ms, priced in self._pins:
            if at_ms >= from_ms:
                return priced
        listing = self._listing
        price = None if listing is None else listing.book.find(listing.provider, self._model, at_ms)
        if listing is None or price is None:
            return None
        # The book gives the same object as long as the same rules are in force.
        if self._booked is None or self._booked.price is not price:
            self._booked = Priced(self._model, price, listing.book.id, listing.limits)
        return self._booked


_NOTHING_OWN = OwnPrices()


def _first_match(table: Sequence[tuple[str, T]], model: str) -> T | None:
    exact = (value for glob, value in table if glob.lower() == model.lower())
    globbed = (value for glob, value in table if matches_any(model, (glob,)))
    return next(exact, None) or next(globbed, None)


def _is_glob(text: str) -> bool:
    return any(sign in text for sign in "*?[")
