"""What calls have cost, in sums and one by one, for everybody, a person or a key."""

from datetime import UTC, datetime

import pytest

from penstock.core.identity import key_kid
from tests.cli.installation import ANN, Installation

BOB = "bob@example.com"


@pytest.fixture
def keys(place: Installation) -> tuple[str, str]:
    """Ann's key, which has called twice, and Bob's, which has once."""
    ann, bob = place.make_key("--email", ANN), place.make_key("--email", BOB)
    place.call(ann, 1_000_000, 0)
    place.call(ann, 100, 1)
    place.call(bob, 0, 2_500)
    return ann, bob


def test_usage_sums_days_and_models_and_lists_the_last_calls(place: Installation, keys: tuple[str, str]) -> None:
    shown = place.ok("usage")
    today = datetime.now(UTC).date().isoformat()
    assert shown.out.startswith("everybody, ")
    assert shown.out.splitlines()[0].endswith(": $1.005 for 3 calls")
    assert shown.has_line("day", "cost", "calls")
    assert shown.has_line(today, "$1.005", "3")
    assert shown.has_line("lab/small", "$1.005", "3", "1,000,100", "2,501")
    assert shown.has_line("entry", "at (UTC)", "model", "cost", "in", "out", "basis", "status")
    lasts = [line.split() for line in shown.out.splitlines() if "provider 200" in " ".join(line.split())]
    assert [(line[0], line[3:]) for line in lasts] == [
        ("3", ["lab/small", "$0.005", "0", "2,500", "provider", "200"]),
        ("2", ["lab/small", "$0.000102", "100", "1", "provider", "200"]),
        ("1", ["lab/small", "$1.00", "1,000,000", "0", "provider", "200"]),
    ]


def test_as_json_usage_is_exact(place: Installation, keys: tuple[str, str]) -> None:
    answer = place.ok("usage", "--json", "--days", "1").json
    today = datetime.now(UTC).date().isoformat()
    assert {name: answer[name] for name in ("who", "days", "cost", "calls")} == {
        "who": "everybody",
        "days": 1,
        "cost": 1.005102,
        "calls": 3,
    }
    assert answer["usage"] == [{"date": today, "cost": 1.005102, "calls": 3}]
    assert answer["models"] == [
        {"model": "lab/small", "cost": 1.005102, "calls": 3, "tokens_in": 1_000_100, "tokens_out": 2_501}
    ]
    last = answer["last_calls"][0]
    assert last.pop("at").startswith(today)
    assert last == {
        "entry": 3,
        "kind": "final",
        "model": "lab/small",
        "endpoint": "chat.completions",
        "cost": 0.005,
        "tokens_in": 0,
        "tokens_out": 2_500,
        "basis": "provider",
        "status": 200,
        "latency_ms": 0,
        "is_stream": False,
    }


def test_usage_of_one_person_or_one_key_is_theirs_alone(place: Installation, keys: tuple[str, str]) -> None:
    person = place.ok("usage", "--email", BOB, "--json").json
    assert (person["who"], person["cost"], len(person["last_calls"])) == (BOB, 0.005, 1)
    kid = key_kid(keys[0])
    key = place.ok("usage", "--key", kid, "--json").json
    assert (key["who"], key["cost"], len(key["last_calls"])) == (kid, 1.000102, 2)


def test_without_calls_usage_says_so(place: Installation) -> None:
    assert place.ok("usage").out.endswith(": $0.00 for 0 calls\n\nNo calls.\n")
    answer = place.ok("usage", "--json").json
    assert (answer["cost"], answer["usage"], answer["models"], answer["last_calls"]) == (0, [], [], [])


def test_usage_of_nobody_known_is_refused(place: Installation) -> None:
    place.make_key("--admin")
    assert place.refuse("usage", "--email", "eve@elsewhere.org").startswith("there is no person")
    assert place.refuse("usage", "--key", "9").startswith("there is no key 9")


@pytest.mark.parametrize("arguments", [("--days", "0"), ("--days", "367"), ("--email", ANN, "--key", "1")])
def test_usage_that_cannot_be_asked_for_is_a_usage_error(place: Installation, arguments: tuple[str, ...]) -> None:
    place.misuse("usage", *arguments)
