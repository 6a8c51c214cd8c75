"""What a new price book would change, before anybody makes it the active one.

Books are compared by the names that callers send, not by their rules: a name that moves from one model to another is a
change of price like any other. Each unit is compared twice, as it costs now and as it costs at the dearest under any
rule (tier, date, time of day, variant), so that no jump hides in a rule that is not in force yet.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from penstock.core.model_match import spelled_names
from penstock.core.price_book import PriceBook
from penstock.core.pricing import Price
from penstock.core.usage import Unit

JUMP = 3
"""A price that changes by more than this factor, either way, waits for an admin's yes (money.md, "Prices")."""


@dataclass(frozen=True, slots=True)
class Change:
    """Of one unit, in exact pico-USD. ``is_peak``: it is the dearest rule that changes, not what counts now."""

    provider: str
    model: str
    unit: Unit
    before: Fraction
    after: Fraction
    is_peak: bool

    @property
    def percent(self) -> int | None:
        """How much more it costs, rounded; None where it was free."""
        return round((self.after / self.before - 1) * 100) if self.before else None

    @property
    def is_jump(self) -> bool:
        low, high = sorted((self.before, self.after))
        return high > low * JUMP


@dataclass(frozen=True, slots=True)
class BookDiff:
    """``added`` and ``removed`` are (provider, model name)."""

    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    changed: tuple[Change, ...]

    @property
    def jumps(self) -> tuple[Change, ...]:
        """The changes that wait for an admin's yes."""
        return tuple(change for change in self.changed if change.is_jump)


def diff_books(old: PriceBook, new: PriceBook, now_ms: int) -> BookDiff:
    """What changes for callers if ``new`` takes the place of ``old``."""
    before, after = (dict(_priced_names(book, now_ms)) for book in (old, new))
    shared = sorted(before.keys() & after.keys())
    return BookDiff(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(change for name in shared for change in _changes(name, before[name], after[name])),
    )


@dataclass(frozen=True, slots=True)
class _Views:
    """A name's price as it is now, and as it is under each of its rules."""

    now: Price
    rules: tuple[Price, ...]

    def stated(self) -> set[Unit]:
        return {unit for price in self.rules for unit in price.rates}

    def standard(self, unit: Unit) -> Fraction:
        rate = self.now.rate(unit)
        return Fraction(0) if rate is None else Fraction(rate.pico, rate.per)

    def peak(self, unit: Unit) -> Fraction:
        rates = (price.rate(unit) for price in self.rules)
        return max((rate.peak for rate in rates if rate is not None), default=Fraction(0))


def _priced_names(book: PriceBook, now_ms: int) -> Iterator[tuple[tuple[str, str], _Views]]:
    for provider in book.providers:
        spelled = (name for model in book.models(provider) for name in (model.id.lower(), *spelled_names(model.match)))
        for name in dict.fromkeys(spelled):
            now, found = book.find(provider, name, now_ms), book.find_rules(provider, name)
            if now is not None and found is not None:
                varied = ({**now.rates, **variant.rates} for variant in found.variants)
                yield (
                    (provider, name),
                    _Views(now, tuple(map(Price, (*(dated.rates for dated in found.prices), *varied)))),
                )


def _changes(name: tuple[str, str], before: _Views, after: _Views) -> Iterator[Change]:
    for unit in sorted(before.stated() | after.stated()):
        now = Change(*name, unit, before.standard(unit), after.standard(unit), is_peak=False)
        peak = Change(*name, unit, before.peak(unit), after.peak(unit), is_peak=True)
        if now.before != now.after:
            yield now
        # A step that both take is told once.
        if peak.before != peak.after and now.before * peak.after != now.after * peak.before:
            yield peak
