"""``GET /v1/models``: the models that the caller may use, with their prices; our own page, so nothing is sent upstream.

Ids are ``provider/id``, as every unified route takes them. The shape is OpenAI's with OpenRouter's ``pricing``, USD per
token as text; Anthropic's where ``anthropic-version`` is sent.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from starlette.responses import Response

from penstock.core.errors import ModelNotFound
from penstock.core.identity import Principal
from penstock.core.limits import matches_any
from penstock.core.prices import Priced, Prices
from penstock.core.pricing import Price
from penstock.core.provider import Provider
from penstock.core.routing import nearest_names
from penstock.core.usage import Unit
from penstock.web.answers import dialect_of, json_answer
from penstock.web.visit import Visit

# OpenRouter's names of what we call units (https://openrouter.ai/docs/api-reference/list-available-models).
_PRICING = {
    "prompt": Unit.INPUT,
    "completion": Unit.OUTPUT,
    "request": Unit.REQUESTS,
    "web_search": Unit.SEARCHES,
    "internal_reasoning": Unit.REASONING,
    "input_cache_read": Unit.CACHE_READ,
    "input_cache_write": Unit.CACHE_WRITE,
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A model at a provider, and what it costs now."""

    provider: str
    priced: Priced

    @property
    def id(self) -> str:
        return f"{self.provider}/{self.priced.model}"


@dataclass(frozen=True, slots=True)
class ModelsApi:
    """``providers`` stand in the order in which a bare model name looks; ``prices`` gives those in force."""

    providers: Mapping[str, Provider]
    prices: Callable[[], Prices]

    async def list_page(self, visit: Visit, caller: Principal) -> Response:
        """Every model, on one page: clients that page through lists find that there is no more."""
        rows = [_row(offer, visit) for offer in self._offers(caller, visit.now_ms)]
        if dialect_of(visit.inbound) == "anthropic":
            ends = {"first_id": rows[0]["id"] if rows else None, "last_id": rows[-1]["id"] if rows else None}
            return json_answer(visit.inbound, {"data": rows, "has_more": False, **ends})
        return json_answer(visit.inbound, {"object": "list", "data": rows})

    async def one_page(self, visit: Visit, caller: Principal) -> Response:
        """A model by ``provider/id``, or by a bare id: then the first provider that has it."""
        name = visit.path["model"]
        offers = list(self._offers(caller, visit.now_ms))
        found = next((offer for offer in offers if offer.id == name), None)
        found = found or next((offer for offer in offers if offer.priced.model == name), None)
        if found is None:
            near = ", ".join(nearest_names(name, (offer.id for offer in offers)))
            hint = f" Did you mean {near}?" if near else ""
            raise ModelNotFound(f"You can use no model of that name.{hint}", param="model")
        return json_answer(visit.inbound, _row(found, visit))

    def _offers(self, caller: Principal, now_ms: int) -> Iterator[Offer]:
        prices = self.prices()
        for provider in self.providers.values():
            for name in prices.names(provider):
                is_allowed = caller.policy.allows_model(provider.name, name)
                if not is_allowed or not matches_any(f"{provider.name}/{name}", caller.key_models):
                    continue
                if (priced := prices.find(provider, name, now_ms)) is not None:
                    yield Offer(provider.name, priced)


def _row(offer: Offer, visit: Visit) -> dict[str, object]:
    limits = {"context_length": offer.priced.context, "pricing": _pricing(offer.priced.price)}
    if dialect_of(visit.inbound) == "anthropic":
        return {
            "type": "model",
            "id": offer.id,
            "display_name": offer.id,
            "created_at": "1970-01-01T00:00:00Z",
            **limits,
        }
    top = {"context_length": offer.priced.context, "max_completion_tokens": offer.priced.output_max}
    row = {"id": offer.id, "object": "model", "created": 0, "owned_by": offer.provider, "name": offer.priced.model}
    return {**row, **limits, "top_provider": top}


def _pricing(price: Price) -> dict[str, str]:
    """What a unit costs in the first tier; only what has a rate of its own, prompt and completion always."""
    pricing = {}
    for name, unit in _PRICING.items():
        rate = price.rate(unit) if name in ("prompt", "completion") else price.rates.get(unit)
        if rate is not None:
            pricing[name] = _usd_text(rate.pico, rate.per)
    return pricing


@lru_cache(maxsize=4096)  # a thousand models share a few hundred prices
def _usd_text(pico: int, per: int) -> str:
    """A rate as plain decimal dollars of one unit, to 28 digits: 100,000 pico-USD are ``"0.0000001"``."""
    return f"{(Decimal(pico) / per).scaleb(-12).normalize():f}"
