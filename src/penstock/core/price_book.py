"""The price book: an immutable set of price rules, named by the sha256 of its content.

The rules mean what they mean in genai-prices: the first model of a provider whose clause matches the name counts, then
those of the providers whose models it also serves; of its dated prices the last one that is in force, and if none is,
the first. A name is looked up once: afterwards its price is a dictionary look-up (performance.md).
"""

import re
from collections.abc import Sequence
from datetime import date
from hashlib import sha256
from typing import Annotated

import msgspec

from penstock.core.model_match import Clause, check_clause, literal_names
from penstock.core.pricing import Price, Rates, Variant
from penstock.core.windows import DAY_MS

# Callers choose the names that they ask for: what is remembered of them has an end.
_NAMES_MAX = 8192
_NEVER_MS = 2**63
_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")
_TimeOfDay = Annotated[int, msgspec.Meta(ge=0, lt=DAY_MS)]


class FromDay(msgspec.Struct, frozen=True, array_like=True, tag="from"):
    """In force from the start of a UTC day, counted from the epoch."""

    day: int

    def holds(self, at_ms: int) -> bool:
        return at_ms >= self.day * DAY_MS

    def turns_at_ms(self, at_ms: int) -> int:
        """The next moment at which it may hold or cease to."""
        start_ms = self.day * DAY_MS
        return start_ms if at_ms < start_ms else _NEVER_MS


class Daily(msgspec.Struct, frozen=True, array_like=True, tag="daily"):
    """In force between two times of every UTC day, in milliseconds; past midnight if the end is the earlier one."""

    start_ms: _TimeOfDay
    end_ms: _TimeOfDay

    def holds(self, at_ms: int) -> bool:
        time_ms = at_ms % DAY_MS
        if self.end_ms < self.start_ms:
            return time_ms >= self.start_ms or time_ms < self.end_ms
        return self.start_ms <= time_ms < self.end_ms

    def turns_at_ms(self, at_ms: int) -> int:
        """The next moment at which it may hold or cease to."""
        return at_ms + min((edge_ms - at_ms - 1) % DAY_MS + 1 for edge_ms in (self.start_ms, self.end_ms))


Condition = FromDay | Daily


class DatedRates(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """Rates, and when they are in force: always, if nothing is said."""

    rates: Rates
    condition: Condition | None = None


class DatedVariant(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    when: dict[str, str]
    rates: Rates
    condition: Condition | None = None


class BookModel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model and its prices; none: known, but unpriced. ``context`` is its context window in tokens, if known."""

    id: str
    match: Clause
    prices: tuple[DatedRates, ...]
    variants: tuple[DatedVariant, ...] = ()
    context: Annotated[int, msgspec.Meta(ge=1)] | None = None


class BookProvider(msgspec.Struct, frozen=True, omit_defaults=True):
    """A provider's models. ``match`` are its other names; ``also_serves`` are providers whose models it offers too."""

    id: str
    models: tuple[BookModel, ...]
    match: Clause | None = None
    also_serves: tuple[str, ...] = ()


class PriceBook:
    """Prices by provider and model name. Raises ValueError for content that is not a price book."""

    __slots__ = ("_providers", "_remembered", "content", "id")

    def __init__(self, content: bytes) -> None:
        providers = msgspec.json.decode(content, type=list[BookProvider])
        self.content = content
        self.id = sha256(content).hexdigest()
        self._providers = {provider.id: _Catalogue(provider) for provider in providers}
        self._remembered: dict[tuple[str, str], _Found | None] = {}

    def find(self, book_provider: str, model: str, at_ms: int) -> Price | None:
        """What a model costs at a moment; None: the book has no price, which never means that it is free."""
        found = self._found(book_provider, model)
        return None if found is None else found.price(at_ms)

    def find_rules(self, book_provider: str, model: str) -> BookModel | None:
        """The rules that a model's name leads to."""
        found = self._found(book_provider, model)
        return None if found is None else found.model

    def context_window(self, book_provider: str, model: str) -> int | None:
        """In tokens; None where the book does not know it."""
        rules = self.find_rules(book_provider, model)
        return None if rules is None else rules.context

    def models(self, book_provider: str) -> tuple[BookModel, ...]:
        """A provider's own models, in the book's order; none for a provider that it does not know."""
        catalogue = self._provider(book_provider)
        return () if catalogue is None else catalogue.provider.models

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(self._providers)

    def _found(self, book_provider: str, model: str) -> "_Found | None":
        key = (book_provider, model)
        try:
            return self._remembered[key]
        except KeyError:
            if len(self._remembered) >= _NAMES_MAX:
                self._remembered.clear()
            found = self._remembered[key] = self._search(book_provider, model.lower())
            return found

    def _search(self, book_provider: str, name: str) -> "_Found | None":
        catalogue = self._provider(book_provider)
        if catalogue is None:
            return None
        # Some clients and providers write a date of release as -20251211 where the rules say -2025-12-11.
        for candidate in dict.fromkeys((name, _with_dashed_dates(name))):
            own = catalogue.find(candidate)
            if own is not None:
                return _Found(own, own.variants)
            for other in catalogue.provider.also_serves:
                served = self._providers[other].find(candidate) if other in self._providers else None
                if served is not None:
                    # The variants are offers of the other provider.
                    return _Found(served, ())
        return None

    def _provider(self, name: str) -> "_Catalogue | None":
        name = name.lower().strip()
        if name in self._providers:
            return self._providers[name]
        matching = (found for found in self._providers.values() if found.answers_to(name))
        return next(matching, None)


def make_book(providers: Sequence[BookProvider]) -> PriceBook:
    """The book of these rules. Equal rules give equal ids. Raises ValueError for rules that cannot work."""
    for provider in providers:
        for model in provider.models:
            check_clause(model.match)
        if provider.match is not None:
            check_clause(provider.match)
    return PriceBook(msgspec.json.encode(providers, order="deterministic"))


class _Catalogue:
    """One provider's models, those that are matched by whole names alone behind a dictionary."""

    __slots__ = ("_loose", "_named", "provider")

    def __init__(self, provider: BookProvider) -> None:
        self.provider = provider
        self._named: dict[str, int] | None = None
        self._loose: list[tuple[int, BookModel]] = []

    def answers_to(self, name: str) -> bool:
        return self.provider.match is not None and self.provider.match.matches(name)

    def find(self, name: str) -> BookModel | None:
        """The first model, in the book's order, that the name matches."""
        if self._named is None:
            self._named = self._sort()
        position = self._named.get(name, len(self.provider.models))
        for other, model in self._loose:
            if other >= position:
                break
            if model.match.matches(name):
                return model
        return self.provider.models[position] if position < len(self.provider.models) else None

    def _sort(self) -> dict[str, int]:
        named: dict[str, int] = {}
        for position, model in enumerate(self.provider.models):
            names = literal_names(model.match)
            if names is None:
                self._loose.append((position, model))
            for name in names or ():
                named.setdefault(name, position)
        return named


class _Found:
    """A model's rules, with the price that they last gave and how long it stays in force."""

    __slots__ = ("_last", "_prices", "_variants", "model")

    def __init__(self, model: BookModel, variants: tuple[DatedVariant, ...]) -> None:
        self.model = model
        self._variants = variants
        self._prices: dict[tuple[int, ...], Price] = {}
        # In force from and until which moment; one tuple, so that no thread sees half of it.
        self._last: tuple[int, int, Price | None] = (0, 0 if model.prices else _NEVER_MS, None)

    def price(self, at_ms: int) -> Price | None:
        """The same object for as long as the same rules are in force."""
        from_ms, until_ms, price = self._last
        if not from_ms <= at_ms < until_ms:
            price = self._price_at(at_ms)
            self._last = (at_ms, self._turns_at_ms(at_ms), price)
        return price

    def _price_at(self, at_ms: int) -> Price:
        prices = self.model.prices
        standard = next((n for n in reversed(range(len(prices))) if _holds(prices[n].condition, at_ms)), 0)
        active = [n for n, variant in enumerate(self._variants) if _holds(variant.condition, at_ms)]
        key = (standard, *active)
        if key not in self._prices:
            variants = (self._variants[n] for n in active)
            self._prices[key] = Price(
                prices[standard].rates, tuple(Variant(variant.when, variant.rates) for variant in variants)
            )
        return self._prices[key]

    def _turns_at_ms(self, at_ms: int) -> int:
        conditions = [*(dated.condition for dated in self.model.prices), *(v.condition for v in self._variants)]
        return min((c.turns_at_ms(at_ms) for c in conditions if c is not None), default=_NEVER_MS)


def _holds(condition: Condition | None, at_ms: int) -> bool:
    return condition is None or condition.holds(at_ms)


def _with_dashed_dates(name: str) -> str:
    return _COMPACT_DATE.sub(_dashed, name)


def _dashed(match: re.Match[str]) -> str:
    year, month, day = (int(part) for part in match.groups())
    try:
        return f"-{date(year, month, day).isoformat()}"
    except ValueError:
        return match[0]
