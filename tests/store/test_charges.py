import pytest

from penstock.core.call import Basis, Ending
from penstock.core.limits import LimitUnit
from penstock.core.money import nano_from_pico
from penstock.core.pricing import recompute
from penstock.core.usage import Usage
from penstock.store.charges import Charge, charge, worst_case

HELD = Charge(usd=1000, tokens_in=10, tokens_out=20, requests=1)


@pytest.mark.parametrize(
    ("ending", "charged"),
    [
        (Ending(Basis.PROVIDER, 400, Usage(input=4, output=6), was_sent=True), Charge(400, 4, 6, 1)),
        (Ending(Basis.REPORTED_COST, 4000, Usage(input=40, output=60), was_sent=True), Charge(4000, 40, 60, 1)),
        (Ending(Basis.PARTIAL, 900, Usage(input=4, output=60), was_sent=True), Charge(900, 4, 26, 1)),
        (Ending(Basis.ESTIMATED, 900, Usage(input=40, output=60), was_sent=True), Charge(900, 30, 0, 1)),
        (Ending(Basis.WORST_CASE, 1000, Usage(input=10, output=20), was_sent=True), HELD),
        (Ending(Basis.VOID, 0, Usage(), was_sent=True), Charge(requests=1)),
        (Ending(Basis.VOID, 0, Usage(), was_sent=False), Charge()),
    ],
)
def test_only_a_statement_of_the_provider_may_exceed_what_was_held(ending: Ending, charged: Charge) -> None:
    assert charge(HELD, ending) == charged


def test_the_worst_case_charges_the_whole_hold_and_recomputes() -> None:
    ending = worst_case(HELD)
    assert charge(HELD, ending) == HELD
    assert recompute(ending.usage, ending.rates) == HELD.usd == nano_from_pico(HELD.usd * 1000)


def test_a_charge_is_counted_by_unit_and_never_as_a_call_in_flight() -> None:
    assert [HELD.of(unit) for unit in LimitUnit] == [1000, 1, 30, 0]


def test_charges_add_and_subtract() -> None:
    assert HELD.plus(Charge(1, 2, 3, 4)).minus(HELD) == Charge(1, 2, 3, 4)
