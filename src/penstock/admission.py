"""May this call be made, and what can it come to? Everything that can refuse a call before money is set aside.

The order is part of the contract: route, credential, endpoint, body, model, price, bound. A caller without a credential
learns nothing about models, and an unpriced model is refused before anything is counted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from penstock.core.call import Authenticator, HoldRequest, Inbound
from penstock.core.errors import (
    EndpointNotAllowed,
    ModelNotAllowed,
    ModelNotFound,
    ModelUnpriced,
    Unauthenticated,
    UnknownRoute,
    UnsupportedMediaType,
)
from penstock.core.headers import find_header
from penstock.core.identity import Principal
from penstock.core.limits import WorstCase, matches_any
from penstock.core.observations import Observations
from penstock.core.prices import Priced, Prices
from penstock.core.provider import NO_CHANGES, Asked, Changes, Dialect, EndpointKind, Provider
from penstock.core.routing import Route, choose_provider, nearest_names
from penstock.core.worst_case import FREE_CALL, BoundAsk, dearest_of, worst_case


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings decide about calls. ``providers`` stand in the order in which a bare model name looks."""

    providers: Mapping[str, Provider]
    unified: Sequence[Dialect]
    body_bytes_max: int = 32 * 1024 * 1024
    drain_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A call that may be made: who, where, what goes up, and what it can come to.

    ``asked`` is None for a listing, ``priced`` for every call that is free by its endpoint.
    """

    principal: Principal
    route: Route
    provider: Provider
    model: str
    asked: Asked | None
    body: bytes
    priced: Priced | None = None
    worst: WorstCase = FREE_CALL
    changes: Changes = NO_CHANGES

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that the call may be answered by."""
        return (self.model, *(self.asked.models if self.asked else ()))

    def capped(self, output_cap: int | None) -> "Plan":
        """The plan with the output cap that the limits made necessary, if any."""
        return self if output_cap is None else replace(self, changes=replace(self.changes, output_cap=output_cap))

    def hold_request(self, hold_id: str, request_id: str) -> HoldRequest:
        """What the ledger is asked to set aside."""
        return HoldRequest(
            id=hold_id,
            request_id=request_id,
            key_id=self.principal.key_id,
            person_id=self.principal.person_id,
            subjects=self.principal.subjects,
            provider=self.provider.name,
            model=self.model,
            endpoint=self.route.endpoint.name,
            price_book=self.priced.book_id if self.priced else "",
            worst=self.worst,
        )


class Admission:
    """Turns a request into a Plan, or raises the refusal. ``now_ms`` is the wall clock."""

    def __init__(
        self,
        rules: Rules,
        authenticator: Authenticator,
        prices: Prices,
        observations: Observations,
        now_ms: Callable[[], int],
    ) -> None:
        self._rules = rules
        self._authenticator = authenticator
        self._prices = prices
        self._observations = observations
        self._now_ms = now_ms

    async def plan(self, inbound: Inbound, route: Route) -> Plan:
        """Raises the GatewayError that refuses the call."""
        now_ms = self._now_ms()
        principal = await self._authenticator.authenticate(inbound, now_ms)
        if principal is None:
            raise Unauthenticated
        if not principal.policy.allows_endpoint(route.endpoint.name):
            raise EndpointNotAllowed(f"Your policy does not allow the endpoint {route.endpoint.name!r}.")
        body, asked = await self._read(inbound, route)
        provider, model = self._find_model(route, asked, now_ms)
        if route.provider is None and asked is not None:
            route = route.at(provider)
            asked = provider.dialect.read_request(route.endpoint, body, route.model)
        plan = Plan(principal, route, provider, model, asked, body)
        for name in plan.models:
            _permit(principal, provider, name)
        return plan if asked is None or route.endpoint.kind is EndpointKind.FREE else self._bound(plan, asked, now_ms)

    async def _read(self, inbound: Inbound, route: Route) -> tuple[bytes, Asked | None]:
        if route.endpoint.method == "GET":
            return b"", None
        media_type = find_header(inbound.headers, b"content-type")
        if media_type is not None and "json" not in media_type.lower():
            raise UnsupportedMediaType("Send the body as application/json.")
        body = await inbound.read_body(self._rules.body_bytes_max)
        return body, route.dialect.read_request(route.endpoint, body, route.model)

    def _find_model(self, route: Route, asked: Asked | None, now_ms: int) -> tuple[Provider, str]:
        if asked is None or route.provider is not None:
            return _named(route), asked.model if asked else route.model or ""
        providers, prices = self._rules.providers, self._prices
        try:
            return choose_provider(
                asked.model, route.dialect, providers, lambda provider, model: prices.has_price(provider, model, now_ms)
            )
        except ModelNotFound as exc:
            known = [name for provider in providers.values() for name in prices.names(provider)]
            details = {"nearest": nearest_names(asked.model, known)}
            raise ModelNotFound(exc.message, param="model", details=details) from exc

    def _bound(self, plan: Plan, asked: Asked, now_ms: int) -> Plan:
        """Add the price of the model, and a worst case that covers every model that the body names."""
        prices, bounds = [], []
        for name in plan.models:
            priced = self._prices.find(plan.provider, name, now_ms)
            if priced is None:
                raise ModelUnpriced(f"No price is known for {plan.provider.name}/{name}.", param="model")
            overhead = self._observations.overhead(plan.provider.name, name, asked.traits) + asked.media_tokens
            ask = BoundAsk(plan.route.endpoint, asked, len(plan.body), overhead, plan.provider.dialect.window_max)
            prices.append(priced)
            bounds.append(worst_case(ask, priced, plan.principal.policy))
        is_renamed = plan.model != asked.model or (plan.route.model is not None and plan.route.is_by_body)
        changes = Changes(
            model=plan.model if is_renamed else None,
            ask_usage=asked.is_stream and plan.provider.asks_usage and not asked.wants_usage,
        )
        return replace(plan, priced=prices[0], worst=dearest_of(bounds), changes=changes)


def _named(route: Route) -> Provider:
    if route.provider is None:
        raise UnknownRoute("A unified route names its model in the body.")
    return route.provider


def _permit(principal: Principal, provider: Provider, model: str) -> None:
    if model and not (
        principal.policy.allows_model(provider.name, model)
        and matches_any(f"{provider.name}/{model}", principal.key_models)
    ):
        raise ModelNotAllowed(f"You may not use the model {provider.name}/{model}.", param="model")
    if not matches_any(provider.name, principal.policy.providers):
        raise ModelNotAllowed(f"You may not use the provider {provider.name}.", param="model")
