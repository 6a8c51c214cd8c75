"""What a call costs once its exchange is over, however it ended: the table of reliability.md 3.1 as one function.

The names are those of the table. H is the amount held; use is the provider's final statement; in is the input it
stated, else the bound; del is the larger of the output stated so far and the output delivered; margin is what a
provider may have produced before it noticed that we left. Only use may exceed H.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from penstock.core.call import Basis, Fault, FaultKind
from penstock.core.errors import (
    GatewayError,
    UpstreamAuth,
    UpstreamBadResponse,
    UpstreamQuota,
    UpstreamRedirect,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from penstock.core.limits import Amounts, WorstCase
from penstock.core.meter import Metered
from penstock.core.money import PICO_PER_NANO
from penstock.core.pricing import AT_MOST, FIXED, Price, recompute
from penstock.core.provider import Reading
from penstock.core.usage import NO_USAGE, Unit, Usage

MARGIN_TOKENS = 256


class AnswerKind(StrEnum):
    """What a provider's head announces, as far as it decides about relaying and money."""

    NONE = "none"
    STREAM = "stream"
    BODY = "body"
    ERROR = "error"
    AUTH = "auth"
    QUOTA = "quota"
    REDIRECT = "redirect"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an exchange ended. ``metered`` is None where no 2xx answer was relayed."""

    kind: AnswerKind
    status: int = 0
    fault: Fault | None = None
    metered: Metered | None = None

    @property
    def was_sent(self) -> bool:
        """Whether the provider may have counted this request."""
        return self.kind is not AnswerKind.NONE or (self.fault is not None and self.fault.was_sent)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the call was admitted under.

    ``prices`` are those of the model asked for and of the one that answered, where both are known: the dearer counts.
    ``bytes_per_token`` is the lowest ratio seen, as (bytes, tokens); None: one byte may be one token.
    """

    held: Amounts
    worst: WorstCase
    prices: tuple[Price, ...]
    bytes_per_token: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What to book: ``cost`` (nano-USD) is what ``rates.recompute`` makes of the three values behind it."""

    basis: Basis
    cost: int
    usage: Usage = NO_USAGE
    rates: Mapping[str, object] = field(default_factory=dict)
    reported_pico: int | None = None
    was_sent: bool = True
    flags: tuple[str, ...] = ()


def answer_kind(status: int, content_type: str | None) -> AnswerKind:
    """Read a provider's head. A 2xx that is neither JSON nor an event stream is not an answer of an LLM API."""
    if status in (401, 403):
        return AnswerKind.AUTH
    if status == 402:
        return AnswerKind.QUOTA
    if 300 <= status < 400:
        return AnswerKind.REDIRECT
    if not 200 <= status < 300:
        return AnswerKind.ERROR
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        return AnswerKind.STREAM
    return AnswerKind.BODY if media_type.endswith("json") else AnswerKind.UNREADABLE


def is_quota_error(status: int, body: bytes) -> bool:
    """Whether a 429 means that the operator's account is empty, rather than that the caller should slow down."""
    return status == 429 and b'"insufficient_quota"' in body


def settle(outcome: Outcome, terms: Terms) -> Charge:
    """The charge of a finished exchange."""
    if outcome.kind is AnswerKind.NONE:
        return _without_head(outcome.fault, terms)
    if outcome.kind is AnswerKind.UNREADABLE:
        return whole_hold(terms.held, terms.worst)
    metered = outcome.metered
    if metered is None:
        return Charge(Basis.VOID, 0)
    flags = metered.flags + (("error_event",) if metered.has_error_event else ())
    reading = metered.reading
    if reading is not None and metered.is_final and reading.has_input and reading.has_output:
        return _by_statement(reading, terms, flags + reading.flags)
    was_cut = outcome.fault is not None and outcome.fault.kind is FaultKind.CANCELLED
    if was_cut and not metered.bytes_out:
        return whole_hold(terms.held, terms.worst)
    return _by_estimate(metered, terms, MARGIN_TOKENS if was_cut else 0, flags)


def failure_of(outcome: Outcome) -> GatewayError | None:
    """The error that the caller sees, None where the provider's own answer can be shown as it came."""
    match outcome.kind:
        case AnswerKind.AUTH:
            return UpstreamAuth("The provider refused the gateway's own key; its operator has been told.")
        case AnswerKind.QUOTA:
            return UpstreamQuota("The gateway's account at the provider is exhausted; its operator has been told.")
        case AnswerKind.REDIRECT:
            return UpstreamRedirect("The provider answered with a redirect, which is never followed.")
        case AnswerKind.UNREADABLE:
            return UpstreamBadResponse("The provider's answer is neither JSON nor an event stream.")
    fault = outcome.fault
    if fault is None:
        metered = outcome.metered
        if outcome.kind is AnswerKind.STREAM and metered is not None and not metered.is_complete:
            return None if metered.has_error_event else UpstreamBadResponse("The provider's stream ended early.")
        return None
    if fault.kind in (
        FaultKind.CONNECT_TIMEOUT,
        FaultKind.HEAD_TIMEOUT,
        FaultKind.IDLE_TIMEOUT,
        FaultKind.TOTAL_TIMEOUT,
    ):
        return UpstreamTimeout(f"The provider did not answer in time ({fault.kind.value}).")
    if fault.kind is FaultKind.BAD_FRAMING:
        return UpstreamBadResponse("The provider's answer is not valid HTTP.")
    return UpstreamUnreachable(f"The connection to the provider failed ({fault.kind.value}).")


def whole_hold(held: Amounts, worst: WorstCase, *flags: str) -> Charge:
    """The charge where nothing at all is known of what the provider did."""
    usage = Usage(input=worst.input_tokens, output=max(0, held.tokens - worst.input_tokens))
    rates = {Unit.INPUT.value: 0, Unit.OUTPUT.value: 0, FIXED: held.usd * PICO_PER_NANO}
    return Charge(Basis.WORST_CASE, held.usd, usage, rates, flags=flags)


def _without_head(fault: Fault | None, terms: Terms) -> Charge:
    if fault is None or not fault.was_sent:
        return Charge(Basis.VOID, 0, was_sent=False)
    if fault.kind in (FaultKind.HEAD_TIMEOUT, FaultKind.TOTAL_TIMEOUT, FaultKind.CANCELLED):
        return whole_hold(terms.held, terms.worst)
    return _estimate(Usage(input=terms.worst.input_tokens), terms, ())


def _by_statement(reading: Reading, terms: Terms, flags: tuple[str, ...]) -> Charge:
    usage = reading.usage
    if reading.reported_pico is not None:
        basis, rates = Basis.REPORTED_COST, {}
    else:
        prices = tuple(price.under(reading.properties) for price in terms.prices)
        basis, rates = Basis.PROVIDER, _dearer(prices, usage).used(usage)
    cost = recompute(usage, rates, reading.reported_pico)
    if cost > terms.held.usd:
        flags += ("over_hold",)
    return Charge(basis, cost, usage, rates, reading.reported_pico, flags=flags)


def _by_estimate(metered: Metered, terms: Terms, margin: int, flags: tuple[str, ...]) -> Charge:
    reading = metered.reading
    delivered = _tokens_delivered(metered.bytes_out, terms.bytes_per_token)
    output = max(reading.usage.tokens_out if reading is not None else 0, delivered) + margin
    if reading is None or not reading.has_input:
        return _estimate(Usage(input=terms.worst.input_tokens, output=output), terms, flags)
    usage = msgspec.structs.replace(reading.usage, output=output, reasoning=0, audio_out=0, image_out=0)
    price = _dearer(_dearest(terms), Usage(output=output))
    rates = {
        **_dearer(terms.prices, usage).used(usage),
        Unit.OUTPUT.value: price.dearest_pico(Unit.OUTPUT) or 0,
        AT_MOST: terms.held.usd,
    }
    return Charge(Basis.PARTIAL, recompute(usage, rates), usage, rates, flags=flags + reading.flags)


def _estimate(usage: Usage, terms: Terms, flags: tuple[str, ...]) -> Charge:
    """Input at its bound and every token at the dearest rate, plus the fees that were held; never above the hold."""
    price = _dearer(_dearest(terms), usage)
    fees = terms.worst.fixed_pico - price.cost_pico(Usage(input=terms.worst.input_tokens))
    rates = {**price.used(usage), FIXED: max(0, fees), AT_MOST: terms.held.usd}
    return Charge(Basis.ESTIMATED, recompute(usage, rates), usage, rates, flags=flags)


def _tokens_delivered(bytes_out: int, ratio: tuple[int, int] | None) -> int:
    if ratio is None:
        return bytes_out
    lowest_bytes, tokens = ratio
    return -(-bytes_out * tokens // lowest_bytes)


def _dearest(terms: Terms) -> tuple[Price, ...]:
    return tuple(price.dearest(terms.worst.input_tokens) for price in terms.prices)


def _dearer(prices: tuple[Price, ...], usage: Usage) -> Price:
    return max(prices, key=lambda price: price.cost_pico(usage))
