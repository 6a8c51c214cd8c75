import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.core.call import Basis
from penstock.observe.metrics import Metrics
from tests.observe.calls import call


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value for family in families for sample in family.samples
    }


def test_a_settled_call_is_counted_with_its_cost_tokens_and_times() -> None:
    metrics = Metrics(lambda: 3)
    settled = call()
    metrics.settled(settled)
    metrics.settled(settled)
    told = samples(metrics)
    ending, who = settled.ending, (settled.provider, settled.model, settled.endpoint)
    assert told["penstock_calls_total", *sorted([*who, str(ending.status), ending.basis.value])] == 2
    assert told["penstock_cost_usd_total", *sorted(who)] == pytest.approx(2 * ending.cost / 1e9)
    assert told["penstock_tokens_total", *sorted([*who, "in"])] == 2 * ending.usage.tokens_in
    assert told["penstock_tokens_total", *sorted([*who, "out"])] == 2 * ending.usage.tokens_out
    assert told["penstock_latency_seconds_count", *sorted([settled.provider, settled.endpoint])] == 2
    assert told["penstock_calls_in_flight",] == 3


def test_refusals_are_counted_by_their_code() -> None:
    metrics = Metrics(lambda: 0)
    metrics.refused("budget_exceeded")
    assert samples(metrics)["penstock_refusals_total", "budget_exceeded"] == 1


def test_no_person_and_no_request_is_a_label() -> None:
    metrics = Metrics(lambda: 0)
    settled = call()
    metrics.settled(settled)
    text = metrics.exposition().decode()
    assert settled.caller not in text
    assert settled.request_id not in text
    assert {basis.value for basis in Basis if basis.value in text} == {settled.ending.basis.value}
