"""Counters of what the gateway does, for Prometheus; a listener of on_settled and on_refused.

No person, no key and no request is a label. A model is one only after its price was found, so that nobody can invent
labels. Names end in their unit; dollars are floats here, and only here: the ledger is what counts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from penstock.core.call import Call
from penstock.core.money import NANO_PER_USD

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


@dataclass(frozen=True, slots=True)
class _Row:
    """The counters of one model's calls at one endpoint, looked up by their labels once."""

    cost: Counter
    tokens_in: Counter
    tokens_out: Counter
    latency: Histogram
    first_byte: Histogram


class Metrics:
    """The registry of one process. ``in_flight`` tells how many calls are under way."""

    def __init__(self, in_flight: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._rows: dict[tuple[str, str, str], _Row] = {}
        who = ("provider", "model", "endpoint")
        self._calls = self._counter("penstock_calls", "Calls that were admitted", (*who, "status", "basis"))
        self._cost = self._counter("penstock_cost_usd", "Settled cost in US dollars", who)
        self._tokens = self._counter("penstock_tokens", "Settled tokens", (*who, "direction"))
        self._refusals = self._counter("penstock_refusals", "Calls refused before admission, by error code", ("code",))
        self._latency = self._histogram("penstock_latency_seconds", "From a request's head to its answer's end")
        self._first_byte = self._histogram(
            "penstock_first_byte_seconds", "From a request's head to the first byte back"
        )
        gauge = Gauge("penstock_calls_in_flight", "Calls under way", registry=self._registry)
        gauge.set_function(in_flight)

    def settled(self, call: Call) -> None:
        """Count an admitted call once it has ended."""
        ending, who = call.ending, (call.provider, call.model, call.endpoint)
        row = self._rows.get(who)
        if row is None:
            row = self._rows[who] = self._make_row(who)
        row.cost.inc(ending.cost / NANO_PER_USD)
        row.tokens_in.inc(ending.usage.tokens_in)
        row.tokens_out.inc(ending.usage.tokens_out)
        row.latency.observe(ending.latency_ms / 1000)
        if ending.first_byte_ms is not None:
            row.first_byte.observe(ending.first_byte_ms / 1000)
        self._calls.labels(*who, str(ending.status), ending.basis.value).inc()

    def _make_row(self, who: tuple[str, str, str]) -> "_Row":
        provider, _, endpoint = who
        return _Row(
            cost=self._cost.labels(*who),
            tokens_in=self._tokens.labels(*who, "in"),
            tokens_out=self._tokens.labels(*who, "out"),
            latency=self._latency.labels(provider, endpoint),
            first_byte=self._first_byte.labels(provider, endpoint),
        )

    def refused(self, code: str) -> None:
        """Count a refusal by its code."""
        self._refusals.labels(code).inc()

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, ("provider", "endpoint"), buckets=_SECONDS, registry=self._registry)
