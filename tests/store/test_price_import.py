"""genai-prices is the oracle: its rules and its arithmetic, rounded up to nano-USD, are ours."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal

import pytest
from genai_prices import Usage as OracleUsage
from genai_prices import calc_price
from genai_prices.data import providers
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from penstock.core.model_match import spelled_names
from penstock.core.price_book import PriceBook
from penstock.core.pricing import Price
from penstock.core.usage import Unit, Usage
from penstock.store.price_import import Imported, import_genai_prices

NOW_MS = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()) * 1000
# What several of their units lead to, or what has no unit of ours, is dearer here, not equal.
FOLDED = {
    "input_video_mtok", "output_video_mtok", "output_citation_mtok", "storage_searches_kcount",
    "social_searches_kcount", "input_text_messages_kcount", "input_annotated_document_kpages",
}  # fmt: skip
FEES = (Unit.SEARCHES, Unit.SECONDS, Unit.CHARACTERS, Unit.PAGES)


@pytest.fixture(scope="module")
def imported() -> Imported:
    return import_genai_prices()


@pytest.fixture(scope="module")
def book(imported: Imported) -> PriceBook:
    return imported.book


@dataclass(frozen=True)
class Question:
    provider: str
    name: str
    at: datetime
    properties: Mapping[str, str]

    @property
    def at_ms(self) -> int:
        return round(self.at.timestamp() * 1000)


def price_tables(model: ModelInfo) -> Iterator[ModelPrice]:
    yield from [model.prices] if isinstance(model.prices, ModelPrice) else [dated.prices for dated in model.prices]
    yield from (variant.prices for variant in model.price_variants or ())


def is_equal_here(model: ModelInfo) -> bool:
    """Whether every rate has a unit of its own here, and is no finer than a pico-dollar per N units."""
    tables = [vars(table) for table in price_tables(model)]
    return all(not FOLDED & table.keys() for table in tables) and all(
        rate * 10**12 % 1 == 0 for table in tables for price in table.values() for rate in each_rate(price)
    )


def each_rate(price: Decimal | TieredPrices) -> list[Decimal]:
    return [price] if isinstance(price, Decimal) else [price.base, *(tier.price for tier in price.tiers)]


def question(draw: random.Random, provider: Provider, model: ModelInfo) -> Question:
    at = datetime.fromtimestamp(draw.choice((draw.randrange(1_700_000_000, 1_800_000_000), NOW_MS // 1000)), UTC)
    if draw.random() < 0.3:
        at = at.replace(hour=draw.choice((0, 1, 4, 6, 10, 16)), minute=draw.choice((0, 30)), second=0)
    whens = [variant.when for variant in model.price_variants or ()]
    return Question(provider.id, model.id, at, draw.choice([{}, *whens]))


def usage_for(draw: random.Random, price: Price) -> Usage:
    """A usage that means the same to both: our readings of units without a rate of their own are dearer than theirs."""
    counts = {unit: draw.choice((0, draw.randrange(10), draw.randrange(400_000))) for unit in Unit}
    for unit in (Unit.INPUT, Unit.OUTPUT, *FEES):
        if unit not in price.rates:
            counts[unit] = 0
    if Unit.INPUT not in price.rates:
        counts |= dict.fromkeys(
            (Unit.CACHE_READ, Unit.CACHE_WRITE, Unit.CACHE_WRITE_1H, Unit.AUDIO_IN, Unit.IMAGE_IN), 0
        )
    if Unit.OUTPUT not in price.rates:
        counts |= dict.fromkeys((Unit.REASONING, Unit.AUDIO_OUT, Unit.IMAGE_OUT), 0)
    if Unit.CACHE_WRITE in price.rates and Unit.CACHE_WRITE_1H not in price.rates:
        counts[Unit.CACHE_WRITE_1H] = 0
    if counts[Unit.SECONDS]:
        counts[Unit.SECONDS] += 10  # Groq's least, which we do not take over
    counts[Unit.REQUESTS] = 1
    return Usage(**{unit.value: count for unit, count in counts.items()})


def as_theirs(usage: Usage) -> OracleUsage:
    """Our disjoint counts in their overlapping ones."""
    return OracleUsage(
        input_tokens=usage.tokens_in,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write + usage.cache_write_1h,
        cache_write_1h_tokens=usage.cache_write_1h,
        input_audio_tokens=usage.audio_in,
        cache_audio_read_tokens=0,
        input_image_tokens=usage.image_in,
        cache_image_read_tokens=0,
        input_video_tokens=0,
        output_tokens=usage.tokens_out,
        output_reasoning_tokens=usage.reasoning,
        output_audio_tokens=usage.audio_out,
        output_image_tokens=usage.image_out,
        output_video_tokens=0,
        output_citation_tokens=0,
        web_searches=usage.searches,
        audio_seconds=usage.seconds,
        input_audio_seconds=usage.seconds,
        input_characters=usage.characters,
        input_document_pages=usage.pages,
        input_annotated_document_pages=0,
        storage_searches=0,
        input_text_messages=0,
    )


def their_cost(asked: Question, usage: Usage) -> int:
    price = calc_price(
        as_theirs(usage),
        asked.name,
        provider_id=asked.provider,
        genai_request_timestamp=asked.at,
        price_context=asked.properties,
    )
    return int((price.total_price * 10**9).to_integral_value(rounding=ROUND_CEILING))


def our_price(book: PriceBook, asked: Question) -> Price | None:
    price = book.find(asked.provider, asked.name, asked.at_ms)
    return None if price is None else price.under(asked.properties)


def test_ten_thousand_usages_cost_what_the_oracle_says_rounded_up(book: PriceBook) -> None:
    draw = random.Random(20261121)
    models = [(provider, model) for provider in providers for model in provider.models]
    rich = [(provider, model) for provider, model in models if model.price_variants or isinstance(model.prices, list)]
    compared = 0
    while compared < 10_000:
        provider, model = draw.choice(draw.choice((models, rich)))
        asked = question(draw, provider, model)
        price = our_price(book, asked)
        if price is None or not is_equal_here(
            get_snapshot().find_provider_model(asked.name, None, provider.id, None)[1]
        ):
            continue
        usage = usage_for(draw, price)
        assert price.cost(usage) == their_cost(asked, usage), (asked, usage)
        compared += 1


def test_where_units_are_folded_no_usage_is_cheaper_here(book: PriceBook) -> None:
    draw = random.Random(7)
    folded = [(p, m) for p in providers for m in p.models if not is_equal_here(m)]
    for provider, model in folded:
        asked = question(draw, provider, model)
        price = our_price(book, asked)
        assert price is not None
        usage = usage_for(draw, price)
        assert price.cost(usage) >= their_cost(asked, usage), (asked, usage)


def test_every_name_leads_to_the_model_that_the_oracle_finds(book: PriceBook) -> None:
    draw = random.Random(3)
    for provider in providers:
        models = book.models(provider.id)
        names = {model.id for model in models} | {name for model in models for name in spelled_names(model.match)}
        names |= {f"{name}-20260101" for name in names} | {name.replace("-2025-", "-2025") for name in names}
        for name in draw.sample(sorted(names), min(60, len(names))):
            assert found_here(book, provider.id, name) == found_there(provider.id, name), (provider.id, name)


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("azure", "gpt-5.2-20251211"), ("azure", "claude-sonnet-4-5"), ("google", "claude-opus-4-5@20251101"),
        ("xai", "grok-4"), ("bedrock", "anthropic.claude-3-haiku"), ("together_ai", "x"),
        ("gemini", "gemini-2.5-flash"), ("openai", "GPT-4.1"), ("mistral-ai", "mistral-large-latest"),
        ("nobody", "gpt-4.1"),
    ],
)  # fmt: skip
def test_names_that_clients_use_lead_where_the_oracle_says(book: PriceBook, provider: str, name: str) -> None:
    assert found_here(book, provider, name) == found_there(provider, name)


def found_here(book: PriceBook, provider: str, name: str) -> str | None:
    rules = book.find_rules(provider, name)
    return None if rules is None else rules.id


def found_there(provider: str, name: str) -> str | None:
    try:
        return get_snapshot().find_provider_model(name, None, provider, None)[1].id
    except LookupError:
        return None


def test_a_model_whose_price_is_not_stated_is_unpriced(imported: Imported) -> None:
    left_out = {(left.provider, left.model) for left in imported.left_out}
    assert ("openai", "moderation") in left_out
    assert len(left_out) < 40
    assert all(imported.book.find(provider, name, NOW_MS) is None for provider, name in left_out)
    assert imported.book.find("openai", "omni-moderation-latest", NOW_MS) is None


def test_a_model_that_is_called_free_is_free(book: PriceBook) -> None:
    free = [model.id for model in book.models("openrouter") if model.id.endswith(":free")]
    assert len(free) > 100
    for name in free:
        price = book.find("openrouter", name, NOW_MS)
        assert price is not None
        assert price.is_free


def test_a_cached_image_or_sound_needs_no_rate_of_its_own(book: PriceBook) -> None:
    # The dialects count it as sound or image that was sent: never cheaper than what the provider bills.
    for provider in providers:
        for model in provider.models:
            for table in map(vars, price_tables(model)):
                for kind in ("audio", "image", "video"):
                    cached, sent = table.get(f"cache_{kind}_read_mtok"), table.get(f"input_{kind}_mtok")
                    if cached is not None and sent is not None:
                        assert max(each_rate(cached)) <= max(each_rate(sent)), model.id


def test_the_import_names_its_source(imported: Imported) -> None:
    assert imported.source.startswith("genai-prices 0.")
    assert import_genai_prices().book.id == imported.book.id


def test_a_context_window_comes_along(book: PriceBook) -> None:
    assert book.context_window("openai", "gpt-4.1") == 1_000_000
