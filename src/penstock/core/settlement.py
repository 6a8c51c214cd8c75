"""What a call costs once its exchange is over, however it ended: the table of reliability.md 3.1 as one function.

The names are those of the table. H is the amount held; use is the provider's final statement; in is the input it
stated, else the bound; del is the larger of the output stated so far and the output delivered; margin is what a
provider may have produced before it noticed that we left. Only use may exceed H.
"""

from dataclasses import dataclass
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
from penstock.core.money import nano_from_pico
from penstock.core.pricing import Price
from penstock.core.usage import Usage

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
    """What to book. ``cost`` (nano-USD) is ``price`` x ``usage``, at most ``at_most`` where that is not None."""

    basis: Basis
    cost: int
    usage: Usage = Usage()
    price: Price | None = None
    reported_pico: int | None = None
    at_most: int | None = None
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
        return _whole_hold(terms)
    metered = outcome.metered
    if metered is None:
        return Charge(Basis.VOID, 0)
    flags = metered.flags + (("error_event",) if metered.has_error_event else ())
    if metered.reading is not None and metered.is_final and metered.reading.has_output:
        return _by_statement(metered, terms, flags)
    was_cut = outcome.fault is not None and outcome.fault.kind is FaultKind.CANCELLED
    if was_cut and not metered.bytes_out:
        return _whole_hold(terms)
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
    if fault.kind in (FaultKind.CONNECT_TIMEOUT, FaultKind.HEAD_TIMEOUT, FaultKind.IDLE_TIMEOUT, FaultKind.TOTAL_TIMEOUT):
        return UpstreamTimeout(f"The provider did not answer in time ({fault.kind.value}).")
    if fault.kind is FaultKind.BAD_FRAMING:
        return UpstreamBadResponse("The provider's answer is not valid HTTP.")
    return UpstreamUnreachable(f"The connection to the provider failed ({fault.kind.value}).")


def recompute(charge: Charge) -> int:
    """The cost in nano-USD that the stored parts of a charge come to: what ``ledger verify`` compares."""
    if charge.reported_pico is not None:
        return nano_from_pico(charge.reported_pico)
    cost = 0 if charge.price is None else charge.price.cost(charge.usage)
    return cost if charge.at_most is None else min(cost, charge.at_most)


def _without_head(fault: Fault | None, terms: Terms) -> Charge:
    if fault is None or not fault.was_sent:
        return Charge(Basis.VOID, 0, was_sent=False)
    if fault.kind in (FaultKind.HEAD_TIMEOUT, FaultKind.TOTAL_TIMEOUT, FaultKind.CANCELLED):
        return _whole_hold(terms)
    return _estimate(_dearest(terms), Usage(input=terms.worst.input_tokens), Basis.ESTIMATED, terms, ())


def _whole_hold(terms: Terms, *flags: str) -> Charge:
    usage = Usage(input=terms.worst.input_tokens, output=terms.held.tokens - terms.worst.input_tokens)
    return Charge(Basis.WORST_CASE, terms.held.usd, usage=usage, at_most=terms.held.usd, flags=flags)


def _by_statement(metered: Metered, terms: Terms, flags: tuple[str, ...]) -> Charge:
    reading = metered.reading
    assert reading is not None
    flags += reading.flags
    if reading.reported_pico is not None:
        cost, basis = nano_from_pico(reading.reported_pico), Basis.REPORTED_COST
        price = None
    else:
        price = max(terms.prices, key=lambda candidate: candidate.cost(reading.usage))
        cost, basis = price.cost(reading.usage), Basis.PROVIDER
    if cost > terms.held.usd:
        flags += ("over_hold",)
    return Charge(basis, cost, reading.usage, price, reading.reported_pico, flags=flags)


def _by_estimate(metered: Metered, terms: Terms, margin: int, flags: tuple[str, ...]) -> Charge:
    reading = metered.reading
    delivered = _tokens_delivered(metered.bytes_out, terms.bytes_per_token)
    if reading is None or not reading.has_input:
        stated_out = reading.usage.output if reading is not None else 0
        usage = Usage(input=terms.worst.input_tokens, output=max(stated_out, delivered) + margin)
        return _estimate(_dearest(terms), usage, Basis.ESTIMATED, terms, flags)
    output = max(reading.usage.output, delivered) + margin
    usage = msgspec.structs.replace(reading.usage, output=output)
    price = max(terms.prices, key=lambda candidate: candidate.cost(usage))
    return _estimate(price, usage, Basis.PARTIAL, terms, flags + reading.flags)


def _estimate(price: Price, usage: Usage, basis: Basis, terms: Terms, flags: tuple[str, ...]) -> Charge:
    at_most = terms.held.usd
    return Charge(basis, min(price.cost(usage), at_most), usage, price, at_most=at_most, flags=flags)


def _tokens_delivered(bytes_out: int, ratio: tuple[int, int] | None) -> int:
    if ratio is None:
        return bytes_out
    lowest_bytes, tokens = ratio
    return -(-bytes_out * tokens // lowest_bytes)


def _dearest(terms: Terms) -> Price:
    """A price that charges every token of input and output at the dearest rate that can apply to it."""
    candidates = [price.dearest() for price in terms.prices]
    probe = Usage(input=terms.worst.input_tokens, output=max(1, terms.worst.output_tokens))
    return max(candidates, key=lambda candidate: candidate.cost(probe))


