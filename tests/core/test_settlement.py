"""The ledger column of reliability.md 3.1, row by row: H, use, in, del and margin as amounts."""

import pytest

from penstock.core.call import Basis, Fault, FaultKind
from penstock.core.errors import (
    UpstreamAuth,
    UpstreamBadResponse,
    UpstreamQuota,
    UpstreamRedirect,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from penstock.core.limits import Amounts, WorstCase
from penstock.core.meter import Metered
from penstock.core.pricing import Price, Rate, recompute
from penstock.core.provider import Reading
from penstock.core.settlement import (
    MARGIN_TOKENS,
    AnswerKind,
    Outcome,
    Terms,
    answer_kind,
    failure_of,
    is_quota_error,
    settle,
    whole_hold,
)
from penstock.core.usage import Unit, Usage

# Input 1,000 nano-USD a token, output 2,000: the amounts below can be checked in the head.
IN, OUT = 1_000, 2_000
PRICE = Price({Unit.INPUT: Rate(IN * 1000), Unit.OUTPUT: Rate(OUT * 1000)})
WORST = WorstCase(fixed_pico=100 * IN * 1000, output_pico=OUT * 1000, input_tokens=100, output_tokens=1000)
HELD = WORST.amounts(1000)
TERMS = Terms(HELD, WORST, (PRICE,))
RATIO_10 = Terms(HELD, WORST, (PRICE,), bytes_per_token=(10, 1))


def metered(
    reading: Reading | None = None,
    *,
    is_final: bool = False,
    is_complete: bool = False,
    bytes_out: int = 0,
    has_error_event: bool = False,
) -> Metered:
    return Metered(reading, is_final, is_complete, "m", bytes_out, has_error_event=has_error_event)


def stated(tokens_in: int | None, tokens_out: int | None, **more: object) -> Reading:
    usage = Usage(input=tokens_in or 0, output=tokens_out or 0)
    return Reading(usage, tokens_in is not None, tokens_out is not None, **more)  # type: ignore[arg-type]


def fault(kind: FaultKind, *, was_sent: bool = True) -> Fault:
    return Fault(kind, was_sent)


USE = stated(10, 20)
COST_OF_USE = 10 * IN + 20 * OUT


@pytest.mark.parametrize(
    ("outcome", "terms", "basis", "cost"),
    [
        pytest.param(
            Outcome(AnswerKind.NONE, fault=fault(FaultKind.UNREACHABLE, was_sent=False)),
            TERMS,
            Basis.VOID,
            0,
            id="refused",
        ),
        pytest.param(
            Outcome(AnswerKind.NONE, fault=fault(FaultKind.CONNECT_TIMEOUT, was_sent=False)),
            TERMS,
            Basis.VOID,
            0,
            id="connect timeout",
        ),
        pytest.param(Outcome(AnswerKind.NONE), TERMS, Basis.VOID, 0, id="client gone before dispatch"),
        pytest.param(
            Outcome(AnswerKind.NONE, fault=fault(FaultKind.LOST)),
            TERMS,
            Basis.ESTIMATED,
            100 * IN,
            id="lost, fully sent",
        ),
        pytest.param(
            Outcome(AnswerKind.NONE, fault=fault(FaultKind.LOST, was_sent=False)),
            TERMS,
            Basis.VOID,
            0,
            id="lost, not sent",
        ),
        pytest.param(
            Outcome(AnswerKind.NONE, fault=fault(FaultKind.HEAD_TIMEOUT)),
            TERMS,
            Basis.WORST_CASE,
            HELD.usd,
            id="no head",
        ),
        pytest.param(
            Outcome(AnswerKind.NONE, fault=fault(FaultKind.CANCELLED)),
            TERMS,
            Basis.WORST_CASE,
            HELD.usd,
            id="left before the first byte, not drained",
        ),
        *[
            pytest.param(Outcome(kind, status), TERMS, Basis.VOID, 0, id=f"upstream {status}")
            for kind, status in [
                (AnswerKind.AUTH, 401),
                (AnswerKind.ERROR, 400),
                (AnswerKind.QUOTA, 402),
                (AnswerKind.ERROR, 429),
                (AnswerKind.ERROR, 500),
                (AnswerKind.REDIRECT, 302),
            ]
        ],
        pytest.param(Outcome(AnswerKind.UNREADABLE, 200), TERMS, Basis.WORST_CASE, HELD.usd, id="200 with HTML"),
        pytest.param(
            Outcome(AnswerKind.BODY, 200, metered=metered(USE, is_final=True, is_complete=True, bytes_out=500)),
            TERMS,
            Basis.PROVIDER,
            COST_OF_USE,
            id="use",
        ),
        pytest.param(
            Outcome(AnswerKind.BODY, 200, metered=metered(stated(10, 20, reported_pico=1500), is_final=True)),
            TERMS,
            Basis.REPORTED_COST,
            2,
            id="reported cost, rounded up once",
        ),
        pytest.param(
            Outcome(AnswerKind.STREAM, 200, fault(FaultKind.TRUNCATED), metered(USE, is_final=True, bytes_out=500)),
            TERMS,
            Basis.PROVIDER,
            COST_OF_USE,
            id="cut behind the usage chunk: use was seen",
        ),
        pytest.param(
            Outcome(AnswerKind.STREAM, 200, metered=metered(bytes_out=300)),
            RATIO_10,
            Basis.ESTIMATED,
            100 * IN + 30 * OUT,
            id="no usage at all: in + del",
        ),
        pytest.param(
            Outcome(AnswerKind.STREAM, 200, metered=metered(bytes_out=301)),
            RATIO_10,
            Basis.ESTIMATED,
            100 * IN + 31 * OUT,
            id="part of a token counts as one",
        ),
        pytest.param(
            Outcome(AnswerKind.STREAM, 200, metered=metered(bytes_out=300)),
            TERMS,
            Basis.ESTIMATED,
            100 * IN + 300 * OUT,
            id="ratio not known: one token per byte",
        ),
        pytest.param(
            Outcome(AnswerKind.STREAM, 200, fault(FaultKind.TRUNCATED), metered(stated(10, None), bytes_out=300)),
            RATIO_10,
            Basis.PARTIAL,
            10 * IN + 30 * OUT,
            id="stated input, estimated output",
        ),
        pytest.param(
            Outcome(AnswerKind.STREAM, 200, fault(FaultKind.TRUNCATED), metered(stated(10, 50), bytes_out=300)),
            RATIO_10,
            Basis.PARTIAL,
            10 * IN + 50 * OUT,
            id="the output stated so far is more than was delivered",
        ),
        pytest.param(
            Outcome(AnswerKind.STREAM, 200, fault(FaultKind.CANCELLED), metered(stated(10, 1), bytes_out=300)),
            RATIO_10,
            Basis.PARTIAL,
            10 * IN + (30 + MARGIN_TOKENS) * OUT,
            id="left and not drained: + margin",
        ),
        pytest.param(
            Outcome(AnswerKind.STREAM, 200, fault(FaultKind.CANCELLED), metered(bytes_out=100_000)),
            TERMS,
            Basis.ESTIMATED,
            HELD.usd,
            id="an estimate is never above the hold",
        ),
        pytest.param(
            Outcome(AnswerKind.STREAM, 200, fault(FaultKind.CANCELLED), metered()),
            TERMS,
            Basis.WORST_CASE,
            HELD.usd,
            id="left after the head, no byte seen",
        ),
        pytest.param(
            Outcome(AnswerKind.STREAM, 200, fault(FaultKind.IDLE_TIMEOUT), metered(bytes_out=50)),
            RATIO_10,
            Basis.ESTIMATED,
            100 * IN + 5 * OUT,
            id="slow-loris upstream",
        ),
        pytest.param(
            Outcome(AnswerKind.BODY, 200, metered=metered(stated(None, 7), is_final=True, bytes_out=50)),
            RATIO_10,
            Basis.ESTIMATED,
            100 * IN + 7 * OUT,
            id="output stated, input not",
        ),
    ],
)
def test_the_ledger_column_of_the_fault_matrix(outcome: Outcome, terms: Terms, basis: Basis, cost: int) -> None:
    charge = settle(outcome, terms)
    assert (charge.basis, charge.cost) == (basis, cost)
    assert recompute(charge.usage, charge.rates, charge.reported_pico) == charge.cost
    assert charge.was_sent == outcome.was_sent


def test_only_a_final_statement_may_exceed_the_hold_and_is_flagged() -> None:
    charge = settle(Outcome(AnswerKind.BODY, 200, metered=metered(stated(10, 5000), is_final=True)), TERMS)
    assert charge.cost == 10 * IN + 5000 * OUT > HELD.usd
    assert "over_hold" in charge.flags


def test_of_two_models_the_dearer_price_counts() -> None:
    dear = Price({Unit.INPUT: Rate(3 * IN * 1000), Unit.OUTPUT: Rate(3 * OUT * 1000)})
    outcome = Outcome(AnswerKind.BODY, 200, metered=metered(USE, is_final=True))
    for prices in [(PRICE, dear), (dear, PRICE)]:
        assert settle(outcome, Terms(HELD, WORST, prices)).cost == 3 * COST_OF_USE


def test_an_estimate_counts_the_dearest_rates_and_the_fees_that_were_held() -> None:
    price = Price({Unit.INPUT: Rate(1000), Unit.CACHE_WRITE: Rate(5000), Unit.OUTPUT: Rate(2000)})
    worst = WorstCase(fixed_pico=100 * 5000 + 77_000, output_pico=2000, input_tokens=100, output_tokens=1000)
    charge = settle(
        Outcome(AnswerKind.STREAM, 200, metered=metered(bytes_out=10)), Terms(worst.amounts(1000), worst, (price,))
    )
    assert charge.cost == 500 + 77 + 20
    assert recompute(charge.usage, charge.rates) == charge.cost


def test_flags_of_the_meter_and_of_the_statement_are_kept() -> None:
    seen = metered(stated(10, 20, flags=("usage_mismatch",)), is_final=True, has_error_event=True)
    assert set(settle(Outcome(AnswerKind.STREAM, 200, metered=seen), TERMS).flags) == {"error_event", "usage_mismatch"}


def test_the_whole_hold_recomputes_and_counts_its_tokens() -> None:
    charge = whole_hold(HELD, WORST, "meter_failed")
    assert recompute(charge.usage, charge.rates) == HELD.usd
    assert charge.usage.tokens == HELD.tokens
    assert whole_hold(Amounts(usd=0, requests=1, tokens=0), WORST).usage.output == 0


@pytest.mark.parametrize(
    ("status", "content_type", "kind"),
    [
        (200, "application/json", AnswerKind.BODY),
        (200, "application/json; charset=utf-8", AnswerKind.BODY),
        (200, "application/problem+json", AnswerKind.BODY),
        (201, "APPLICATION/JSON", AnswerKind.BODY),
        (200, "text/event-stream; charset=utf-8", AnswerKind.STREAM),
        (200, "text/html", AnswerKind.UNREADABLE),
        (200, None, AnswerKind.UNREADABLE),
        (204, None, AnswerKind.UNREADABLE),
        (301, "text/html", AnswerKind.REDIRECT),
        (400, "text/html", AnswerKind.ERROR),
        (401, "application/json", AnswerKind.AUTH),
        (402, "application/json", AnswerKind.QUOTA),
        (403, "application/json", AnswerKind.AUTH),
        (429, "application/json", AnswerKind.ERROR),
        (529, "application/json", AnswerKind.ERROR),
    ],
)
def test_a_head_announces_a_kind_of_answer(status: int, content_type: str | None, kind: AnswerKind) -> None:
    assert answer_kind(status, content_type) is kind


def test_an_empty_account_of_the_operator_is_no_fault_of_the_caller() -> None:
    assert is_quota_error(429, b'{"error":{"type":"insufficient_quota"}}')
    assert is_quota_error(429, b'{"error":{"code":"insufficient_quota"}}')
    assert not is_quota_error(429, b'{"error":{"message":"say \\"insufficient_quota\\" slowly"}}')
    assert not is_quota_error(400, b'{"error":{"type":"insufficient_quota"}}')


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome(AnswerKind.AUTH, 401), UpstreamAuth),
        (Outcome(AnswerKind.QUOTA, 402), UpstreamQuota),
        (Outcome(AnswerKind.REDIRECT, 302), UpstreamRedirect),
        (Outcome(AnswerKind.UNREADABLE, 200), UpstreamBadResponse),
        (Outcome(AnswerKind.NONE, fault=fault(FaultKind.UNREACHABLE, was_sent=False)), UpstreamUnreachable),
        (Outcome(AnswerKind.NONE, fault=fault(FaultKind.LOST)), UpstreamUnreachable),
        (Outcome(AnswerKind.NONE, fault=fault(FaultKind.CONNECT_TIMEOUT)), UpstreamTimeout),
        (Outcome(AnswerKind.NONE, fault=fault(FaultKind.HEAD_TIMEOUT)), UpstreamTimeout),
        (Outcome(AnswerKind.STREAM, 200, fault(FaultKind.IDLE_TIMEOUT), metered()), UpstreamTimeout),
        (Outcome(AnswerKind.BODY, 200, fault(FaultKind.BAD_FRAMING), metered()), UpstreamBadResponse),
        (Outcome(AnswerKind.STREAM, 200, metered=metered(is_complete=False)), UpstreamBadResponse),
    ],
)
def test_what_cannot_be_shown_as_it_came_is_an_error_of_ours(outcome: Outcome, error: type[Exception]) -> None:
    assert type(failure_of(outcome)) is error


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(AnswerKind.BODY, 200, metered=metered(is_complete=True)),
        Outcome(AnswerKind.STREAM, 200, metered=metered(is_complete=True)),
        # The provider's own error event has told the client already why there is no end.
        Outcome(AnswerKind.STREAM, 200, metered=metered(has_error_event=True)),
        Outcome(AnswerKind.ERROR, 500),
    ],
)
def test_a_provider_s_own_answer_is_shown(outcome: Outcome) -> None:
    assert failure_of(outcome) is None
