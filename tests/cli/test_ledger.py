"""The terminal proves that the ledger adds up, says what does not, and shows the arithmetic of an entry."""

from typing import Any

import pytest
from sqlalchemy import insert, select, update

from penstock.core.call import Basis, Ending
from penstock.core.usage import Usage
from penstock.store.schema import bucket, entry
from tests.cli.installation import ANN, Installation


@pytest.fixture
def token(place: Installation) -> str:
    token = place.make_key("--email", ANN)
    place.call(token, 1_204, 3)
    return token


def test_a_ledger_that_adds_up_is_said_to(place: Installation, token: str) -> None:
    place.call(token, 1, 1, is_ended=False)
    assert place.ok("ledger", "verify").out.startswith("1 entry, 1 open hold, ")
    assert place.ok("ledger", "verify").out.endswith(" buckets: everything adds up.\n")
    report = place.ok("ledger", "verify", "--json").json
    assert report.pop("buckets") > 0
    assert report == {"is_clean": True, "entries": 1, "open_holds": 1, "problem_count": 0, "problems": []}


def test_an_empty_ledger_adds_up(place: Installation) -> None:
    assert place.ok("ledger", "verify").out == "0 entries, 0 open holds, 0 buckets: everything adds up.\n"


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["human", "json"])
def test_one_changed_entry_is_found_named_and_fails(place: Installation, token: str, form: tuple[str, ...]) -> None:
    database = place.open()
    with database.writing() as connection:
        connection.execute(update(entry).values(cost=entry.c.cost - 1))
    database.close()
    outcome = place.run("ledger", "verify", *form)
    assert outcome.code == 1
    assert outcome.err.startswith("penstock: the ledger does not add up: ")
    assert "entry 1: " in outcome.out
    if form:
        assert outcome.json["is_clean"] is False
        assert outcome.json["problem_count"] == len(outcome.json["problems"]) > 1


def test_many_problems_are_counted_and_only_the_first_are_shown(place: Installation, token: str) -> None:
    database = place.open()
    wrong = [{"subject": f"key:{n}", "unit": "usd", "period": "all", "settled": 1, "held": 0} for n in range(100, 225)]
    with database.writing() as connection:
        connection.execute(insert(bucket), wrong)
    database.close()
    outcome = place.run("ledger", "verify")
    assert outcome.out.splitlines()[-1] == "and 25 more"
    assert outcome.err == "penstock: the ledger does not add up: 125 problems\n"


def test_an_entry_is_explained_as_units_times_prices(place: Installation, token: str) -> None:
    shown = place.ok("ledger", "explain", "1")
    assert shown.has_line("entry", "1 (final)")
    assert shown.has_line("call", "lab/small, chat.completions")
    assert shown.has_line("basis", "provider")
    assert shown.has_line("prices", "settings")
    assert shown.has_line("count", "unit", "price", "each", "amount")
    assert shown.has_line("1,204", "input", "$1.00", "million", "$0.001204")
    assert shown.has_line("3", "output", "$2.00", "million", "$0.000006")
    assert shown.has_line("cost, rounded up to nano-dollars", "$0.00121")


def test_as_json_an_explanation_is_exact(place: Installation, token: str) -> None:
    assert place.ok("ledger", "explain", "1", "--json").json == {
        "entry": 1,
        "kind": "final",
        "model": "lab/small",
        "endpoint": "chat.completions",
        "basis": "provider",
        "price_book": "settings",
        "flags": [],
        "terms": [
            {"unit": "input", "count": 1204, "usd": 1, "per": 1_000_000, "amount": 0.001204},
            {"unit": "output", "count": 3, "usd": 2, "per": 1_000_000, "amount": 0.000006},
        ],
        "fixed": 0,
        "reported": None,
        "at_most": None,
        "cost": 0.00121,
    }


def test_a_swept_hold_is_explained_by_its_fixed_amount(place: Installation, token: str) -> None:
    place.call(token, 1_000_000, 0, is_ended=False)
    # The next process sweeps what that one left.
    place.call(token, 1, 0)
    database = place.open()
    with database.reading() as connection:
        swept = connection.execute(select(entry.c.seq).where(entry.c.basis == "worst_case")).scalar_one()
    database.close()
    shown = place.ok("ledger", "explain", str(swept))
    assert shown.has_line("flags", "swept")
    assert shown.has_line("fixed amount", "$2.00")
    assert shown.has_line("cost, rounded up to nano-dollars", "$2.00")


@pytest.mark.parametrize(
    ("basis", "learned", "fact", "field"),
    [
        (Basis.REPORTED_COST, {"reported_pico": 70_000}, "stated by the provider $0.00000007", "reported"),
        (Basis.ESTIMATED, {"rates": {"input": 9_000, "at_most": 70}}, "at most, as was held $0.00000007", "at_most"),
    ],
    ids=["reported", "at most"],
)
def test_what_overrules_the_arithmetic_is_explained(
    place: Installation, token: str, basis: Basis, learned: dict[str, Any], fact: str, field: str
) -> None:
    place.charge(token, Ending(basis, 70, Usage(input=10), was_sent=True, **learned))
    assert place.ok("ledger", "explain", "2").has_line(fact)
    assert place.ok("ledger", "explain", "2", "--json").json[field] == 7e-8
    place.ok("ledger", "verify")


def test_an_entry_that_does_not_exist_is_refused(place: Installation, token: str) -> None:
    assert place.refuse("ledger", "explain", "2") == "there is no entry 2"


@pytest.mark.parametrize("number", ["0", "one", str(2**63)])
def test_a_number_that_no_entry_can_have_is_a_usage_error(place: Installation, number: str) -> None:
    assert "ENTRY" in place.misuse("ledger", "explain", number)
