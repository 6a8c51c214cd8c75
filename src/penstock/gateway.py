"""The story of one call: resolve, admit, reserve, send, relay, settle.

Until the reservation is committed anything may refuse and nothing has been spent; no byte goes upstream before it.
From then on one ``finally`` owns the money: whatever ends the exchange, it queues exactly one ending for the hold and
waits for nothing (design.md, invariants 1, 2 and 7).
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from penstock.admission import Admission, Plan, Rules
from penstock.auth.credentials import without_credential
from penstock.core.annotations import admission_headers
from penstock.core.call import (
    Basis,
    Call,
    Ending,
    Hold,
    HoldRequest,
    Inbound,
    Ledger,
    Outbound,
    Reply,
    Sender,
    UpstreamFault,
)
from penstock.core.error_bodies import error_response
from penstock.core.errors import GatewayError, LoopDetected, ShuttingDown
from penstock.core.headers import CORS, is_loop, request_headers
from penstock.core.observations import Observations
from penstock.core.prices import Prices
from penstock.core.routing import find_provider, passing_query, resolve
from penstock.core.settlement import AnswerKind, Charge, Outcome, Terms, settle, whole_hold
from penstock.relay import Passage, Relay

_log = logging.getLogger(__name__)
Listener = Callable[[Call], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """The other parts of the gateway, as the protocols that it knows them by. ``now_ms`` is the wall clock.

    ``on_settled`` hear of every admitted call after its end, ``on_refused`` the code of every error that we answered.
    """

    admission: Admission
    prices: Prices
    observations: Observations
    ledger: Ledger
    sender: Sender
    now_ms: Callable[[], int]
    on_settled: Sequence[Listener] = ()
    on_refused: Sequence[Callable[[str], None]] = ()


class Gateway:
    """Carries calls; ``handle`` is one call from its head to its ending."""

    def __init__(self, rules: Rules, parts: Parts) -> None:
        self._rules = rules
        self._parts = parts
        self._relays: set[Relay] = set()
        self._is_draining = False
        self._hold_ids = (f"{prefix}{number:x}" for prefix in (secrets.token_hex(8),) for number in itertools.count(1))

    async def handle(self, inbound: Inbound, reply: Reply) -> None:
        """Answer a request for a provider. Every refusal is written in the dialect of its route."""
        named = find_provider(inbound.path, self._rules.providers)
        dialect = named.dialect.name if named is not None else "openai"
        try:
            if self._is_draining:
                raise ShuttingDown("The gateway is shutting down.")
            if is_loop(inbound.headers):
                raise LoopDetected("This request has passed through a penstock already.")
            route = resolve(inbound.method, inbound.path, self._rules.providers, self._rules.unified)
            dialect = route.dialect.name
            plan = await self._parts.admission.plan(inbound, route)
            await self._carry(plan, inbound, reply)
        except GatewayError as error:
            for listener in self._parts.on_refused:
                listener(error.code)
            refuse(error, dialect, inbound.request_id, reply)

    @property
    def in_flight(self) -> int:
        """How many calls are at a provider now."""
        return len(self._relays)

    def shut_down(self) -> None:
        """Refuse new calls and end those in flight: upstream is closed, the clients are told, holds are settled."""
        self._is_draining = True
        for relay in tuple(self._relays):
            relay.shut_down()

    async def _carry(self, plan: Plan, inbound: Inbound, reply: Reply) -> None:
        request = plan.hold_request(next(self._hold_ids), inbound.request_id)
        hold: Hold | None = None
        relay: Relay | None = None
        try:
            hold = await self._parts.ledger.reserve(request)
            plan = plan.capped(hold.output_cap)
            relay = Relay(self._passage(plan, hold, inbound.request_id), reply, asyncio.get_running_loop())
            await self._exchange(plan, inbound, reply, relay)
        finally:
            outcome, charge = self._conclude(plan, hold, relay)
            ending = _ending(plan, charge, outcome, inbound, relay)
            self._parts.ledger.end(request.id, ending)
        failure = relay.error_of(outcome)
        call = _call(plan, request, inbound, relay, ending)
        self._report(call if failure is None else replace(call, error=failure.code))
        error = relay.deliver(outcome, ending, hold)
        if error is not None:
            raise error

    async def _exchange(self, plan: Plan, inbound: Inbound, reply: Reply, relay: Relay) -> None:
        """Send the request and wait until its answer has ended. A client that is gone by now costs nothing."""
        if self._is_draining:
            relay.shut_down()
        if reply.is_gone or self._is_draining:
            return
        self._relays.add(relay)
        try:
            relay.carry(await self._parts.sender.send(_outbound(plan, inbound), relay))
            await relay.ended
        except UpstreamFault as exc:
            relay.answer_ended(exc.fault)
        finally:
            self._relays.discard(relay)

    def _conclude(self, plan: Plan, hold: Hold | None, relay: Relay | None) -> tuple[Outcome, Charge]:
        """What happened and what it costs. A fault of ours in metering must not leave a hold open, or make it free."""
        if hold is None or relay is None:
            return Outcome(AnswerKind.NONE), Charge(Basis.VOID, 0, was_sent=False)
        try:
            outcome = relay.outcome()
            return outcome, self._charge(plan, hold, outcome)
        except Exception:  # noqa: BLE001  whatever is wrong with our metering, the money must be settled
            _log.exception("metering failed; the whole hold is charged")
            return Outcome(AnswerKind.NONE), whole_hold(hold.amounts, plan.worst, "meter_failed")

    def _charge(self, plan: Plan, hold: Hold, outcome: Outcome) -> Charge:
        if plan.priced is None:
            is_answered = outcome.kind in (AnswerKind.BODY, AnswerKind.STREAM)
            return Charge(Basis.PROVIDER if is_answered else Basis.VOID, 0, was_sent=outcome.was_sent)
        provider = plan.provider
        answered = outcome.metered.model if outcome.metered is not None else None
        # Whoever does not say which model answered is charged the dearest of those that may have.
        names = plan.models if answered is None else (plan.model, answered)
        found = [self._parts.prices.find(provider, name, self._parts.now_ms()) for name in dict.fromkeys(names)]
        prices = [priced.price for priced in found if priced is not None] or [plan.priced.price]
        is_stream = outcome.kind is AnswerKind.STREAM
        ratio = self._parts.observations.output_ratio(provider.name, plan.model, is_stream=is_stream)
        return settle(outcome, Terms(hold.amounts, plan.worst, tuple(prices), ratio))

    def _passage(self, plan: Plan, hold: Hold, request_id: str) -> Passage:
        return Passage(
            request_id=request_id,
            provider=plan.provider,
            endpoint=plan.route.endpoint,
            drops_usage=plan.changes.ask_usage,
            has_comment=plan.principal.policy.cost_comment and plan.provider.dialect.takes_comments,
            drain_s=self._rules.drain_s,
            headers=tuple(admission_headers(hold, plan.provider.dialect.name)),
        )

    def _report(self, call: Call) -> None:
        for listener in self._parts.on_settled:
            listener(call)


def refuse(error: GatewayError, dialect: str, request_id: str, reply: Reply) -> None:
    """Tell the caller in the words of the dialect."""
    status, headers, body = error_response(error, dialect, request_id)
    reply.start(status, [*headers, *CORS], length=len(body))
    reply.write(body)
    reply.end()


def _outbound(plan: Plan, inbound: Inbound) -> Outbound:
    provider, endpoint = plan.provider, plan.route.endpoint
    dialect = provider.dialect
    key = None if provider.key is None else dialect.key_prefix + provider.key
    query = passing_query(without_credential(inbound.query), dialect.query_names)
    base_path = "" if endpoint.is_rooted else provider.base_path
    body = plan.body
    if plan.asked is not None:
        body = dialect.prepare(endpoint, body, plan.asked, plan.changes)
    return Outbound(
        origin=provider.origin,
        method=endpoint.method,
        target=base_path + plan.route.tail + (f"?{query}" if query else ""),
        headers=request_headers(inbound.headers, dialect.key_header, key),
        body=body,
        timeouts=provider.timeouts,
        allow_private=provider.allow_private,
    )


def _call(plan: Plan, request: HoldRequest, inbound: Inbound, relay: Relay, ending: Ending) -> Call:
    return Call(
        request_id=inbound.request_id,
        hold_id=request.id,
        caller=plan.principal.label,
        key_id=request.key_id,
        provider=request.provider,
        model=request.model,
        endpoint=request.endpoint,
        client=inbound.client,
        ending=ending,
        upstream_request_id=relay.upstream_request_id,
    )


def _ending(plan: Plan, charge: Charge, outcome: Outcome, inbound: Inbound, relay: Relay | None) -> Ending:
    first_byte_s = relay.first_byte_s if relay is not None else None
    return Ending(
        basis=charge.basis,
        cost=charge.cost,
        usage=charge.usage,
        was_sent=charge.was_sent,
        rates=charge.rates,
        reported_pico=charge.reported_pico,
        flags=charge.flags,
        status=outcome.status,
        latency_ms=_since_ms(inbound, asyncio.get_running_loop().time()),
        first_byte_ms=None if first_byte_s is None else _since_ms(inbound, first_byte_s),
        is_stream=outcome.kind is AnswerKind.STREAM,
        bytes_out=outcome.metered.bytes_out if outcome.metered else 0,
        input_bytes=_visible_bytes(plan),
        traits=plan.asked.traits if plan.asked else "",
    )


def _visible_bytes(plan: Plan) -> int:
    """The body's bytes, from which the model's overhead is learned; 0 where much of the input is not in them."""
    if plan.asked is None or plan.asked.has_hidden_input or plan.asked.media_tokens:
        return 0
    return len(plan.body)


def _since_ms(inbound: Inbound, at_s: float) -> int:
    return round((at_s - inbound.received_s) * 1000)
