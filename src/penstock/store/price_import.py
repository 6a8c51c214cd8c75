"""The price book that the genai-prices package amounts to.

Its rules are taken as they are, its units become ours. A unit of ours is charged at the dearest of the rates that lead
to it. A model is left out, and so refused, rather than priced too low: where a rate has no unit of ours, or where the
package states no rate at all, which it does both for free models and for unknown prices.

    genai-prices                                        ours
    input_mtok, output_mtok                             input, output
    cache_read_mtok                                     cache_read
    cache_write_mtok, cache_write_5m_mtok               cache_write
    cache_write_1h_mtok                                 cache_write_1h
    output_reasoning_mtok                               reasoning
    input_audio_mtok, output_audio_mtok                 audio_in, audio_out
    input_image_mtok, input_video_mtok                  image_in
    output_image_mtok, output_video_mtok                image_out
    cache_audio_read_mtok, cache_image_read_mtok,       none: a cached sound or image counts as audio_in or image_in,
      cache_video_read_mtok                             which is never cheaper
    output_citation_mtok                                none: citations count as output, which is never cheaper
    requests_kcount, input_text_messages_kcount         requests
    web_, social_, storage_, rerank_searches_kcount,    searches
      code_executions_kcount
    audio_hours, input_audio_hours, output_audio_hours  seconds
    input_mchars                                        characters
    input_document_kpages,                              pages
      input_annotated_document_kpages
    no rate at all, id ends in ":free"                  input and output at 0: OpenRouter's word for a price of 0
    no rate at all otherwise                            the model is left out
    any other                                           the model is left out

Not taken: the least of 10 seconds that Groq bills for a transcription (its endpoint is not open here). The package is
imported where it is used: that takes half a second, and the gateway starts without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING

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
from penstock.core.pricing import FREE, Rate, Rates, usd_rate
from penstock.core.usage import Unit

if TYPE_CHECKING:
    from genai_prices import types

PACKAGE = "genai-prices"

_MILLION, _THOUSAND, _HOUR = 1_000_000, 1_000, 3_600
_UNITS: Mapping[str, tuple[Unit | None, int]] = {
    "input_mtok": (Unit.INPUT, _MILLION),
    "output_mtok": (Unit.OUTPUT, _MILLION),
    "cache_read_mtok": (Unit.CACHE_READ, _MILLION),
    "cache_write_mtok": (Unit.CACHE_WRITE, _MILLION),
    "cache_write_5m_mtok": (Unit.CACHE_WRITE, _MILLION),
    "cache_write_1h_mtok": (Unit.CACHE_WRITE_1H, _MILLION),
    "output_reasoning_mtok": (Unit.REASONING, _MILLION),
    "input_audio_mtok": (Unit.AUDIO_IN, _MILLION),
    "output_audio_mtok": (Unit.AUDIO_OUT, _MILLION),
    "input_image_mtok": (Unit.IMAGE_IN, _MILLION),
    "input_video_mtok": (Unit.IMAGE_IN, _MILLION),
    "output_image_mtok": (Unit.IMAGE_OUT, _MILLION),
    "output_video_mtok": (Unit.IMAGE_OUT, _MILLION),
    "cache_audio_read_mtok": (None, _MILLION),
    "cache_image_read_mtok": (None, _MILLION),
    "cache_video_read_mtok": (None, _MILLION),
    "output_citation_mtok": (None, _MILLION),
    "requests_kcount": (Unit.REQUESTS, _THOUSAND),
    "input_text_messages_kcount": (Unit.REQUESTS, _THOUSAND),
    "web_searches_kcount": (Unit.SEARCHES, _THOUSAND),
    "social_searches_kcount": (Unit.SEARCHES, _THOUSAND),
    "storage_searches_kcount": (Unit.SEARCHES, _THOUSAND),
    "rerank_searches_kcount": (Unit.SEARCHES, _THOUSAND),
    "code_executions_kcount": (Unit.SEARCHES, _THOUSAND),
    "audio_hours": (Unit.SECONDS, _HOUR),
    "input_audio_hours": (Unit.SECONDS, _HOUR),
    "output_audio_hours": (Unit.SECONDS, _HOUR),
    "input_mchars": (Unit.CHARACTERS, _MILLION),
    "input_document_kpages": (Unit.PAGES, _THOUSAND),
    "input_annotated_document_kpages": (Unit.PAGES, _THOUSAND),
}
_NO_RATE = "no rate is stated"
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A model that the book does not price, and why."""

    provider: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """``source`` names the package and its version."""

    book: PriceBook
    source: str
    left_out: tuple[LeftOut, ...]


def import_genai_prices() -> Imported:
    """The book of the installed genai-prices. Takes about half a second, nearly all of it the package's own import."""
    from genai_prices.data import providers  # noqa: PLC0415 - see above

    left_out: list[LeftOut] = []
    book = make_book([_provider(provider, left_out) for provider in providers])
    return Imported(book, f"{PACKAGE} {version(PACKAGE)}", tuple(left_out))


def _provider(provider: "types.Provider", left_out: list[LeftOut]) -> BookProvider:
    models = []
    for model in provider.models:
        prices: tuple[DatedRates, ...] = ()
        variants: tuple[DatedVariant, ...] = ()
        try:
            prices, variants = _prices(model), _variants(model)
        except ValueError as exc:
            left_out.append(LeftOut(provider.id, model.id, str(exc)))
        # A model without prices keeps its place: its name must not lead to the next one's price.
        models.append(BookModel(model.id, _clause(model.match), prices, variants, model.context_window))
    return BookProvider(
        id=provider.id,
        models=tuple(models),
        match=None if provider.provider_match is None else _clause(provider.provider_match),
        also_serves=tuple(provider.fallback_model_providers or ()),
    )


def _prices(model: "types.ModelInfo") -> tuple[DatedRates, ...]:
    if not isinstance(model.prices, list):
        return (DatedRates(_standard_rates(model.id, model.prices)),)
    if not model.prices:
        raise ValueError(_NO_RATE)
    return tuple(
        DatedRates(_standard_rates(model.id, dated.prices), _condition(dated.constraint)) for dated in model.prices
    )


def _variants(model: "types.ModelInfo") -> tuple[DatedVariant, ...]:
    variants = model.price_variants or ()
    return tuple(DatedVariant(dict(v.when), _rates(v.prices), _condition(v.constraint)) for v in variants)


def _standard_rates(model_id: str, price: "types.ModelPrice") -> Rates:
    rates = _rates(price)
    if not rates and model_id.endswith(":free"):
        return dict(FREE.rates)
    if not rates:
        raise ValueError(_NO_RATE)
    return rates


def _rates(price: "types.ModelPrice") -> Rates:
    rates: Rates = {}
    for name, value in vars(price).items():
        if value is None:
            continue
        if name not in _UNITS:
            raise ValueError(f"penstock has no unit for {name}")
        unit, per = _UNITS[name]
        if unit is not None:
            rate = _rate(value, per)
            rates[unit] = max(rate, rates.get(unit, rate), key=lambda candidate: candidate.peak)
    return rates


def _rate(value: "Decimal | types.TieredPrices", per: int) -> Rate:
    if isinstance(value, Decimal):
        return usd_rate(value, per)
    return usd_rate(value.base, per, [(tier.start, tier.price) for tier in value.tiers])


def _condition(constraint: "types.StartDateConstraint | types.TimeOfDateConstraint | None") -> Condition | None:
    from genai_prices import types  # noqa: PLC0415 - see above

    match constraint:
        case None:
            return None
        case types.StartDateConstraint():
            return FromDay((constraint.start_date - _EPOCH).days)
        case types.TimeOfDateConstraint():
            return Daily(_time_ms(constraint.start_time), _time_ms(constraint.end_time))
    raise ValueError(f"penstock knows no condition like {constraint!r}")


def _time_ms(value: time) -> int:
    moment = datetime.combine(_EPOCH, value)
    utc = moment if moment.tzinfo is None else moment.astimezone(UTC)
    return ((utc.hour * 60 + utc.minute) * 60 + utc.second) * 1000 + utc.microsecond // 1000


def _clause(clause: "types.MatchLogic") -> Clause:
    from genai_prices import types  # noqa: PLC0415 - see above

    match clause:
        case types.ClauseEquals():
            return Equals(clause.equals.lower())
        case types.ClauseStartsWith():
            return StartsWith(clause.starts_with.lower())
        case types.ClauseEndsWith():
            return EndsWith(clause.ends_with.lower())
        case types.ClauseContains():
            return Contains(clause.contains.lower())
        case types.ClauseRegex():
            return Regex(clause.regex)
        case types.ClauseOr():
            return AnyOf(tuple(_clause(inner) for inner in clause.or_))
        case types.ClauseAnd():
            return AllOf(tuple(_clause(inner) for inner in clause.and_))
    raise ValueError(f"penstock knows no clause like {clause!r}")
