"""People are added, changed and listed from the terminal."""

import pytest

from tests.cli.installation import ANN, Installation


def test_a_person_is_added_by_the_first_change(place: Installation) -> None:
    changed = place.ok("people", "set", "Ann@Example.com", "--role", "viewer")
    assert changed.has_line("id", "e-mail", "role", "policy", "state")
    assert changed.has_line("1", ANN, "viewer", "staff", "good")


def test_a_change_leaves_the_rest_as_it_is(place: Installation) -> None:
    place.ok("people", "set", ANN, "--role", "admin", "--disable")
    place.ok("people", "set", ANN, "--policy", "admin")
    assert place.ok("people", "set", ANN, "--json").json == {
        "id": 1,
        "email": ANN,
        "role": "admin",
        "policy": "admin",
        "named_policy": "admin",
        "is_enabled": False,
    }


def test_a_policy_by_name_is_marked_and_can_be_taken_away(place: Installation) -> None:
    assert place.ok("people", "set", ANN, "--policy", "admin").has_line("1", ANN, "member", "admin (by name)", "good")
    assert place.ok("people", "set", ANN, "--policy", "").has_line("1", ANN, "member", "staff", "good")


def test_a_disabled_person_has_no_good_key(place: Installation) -> None:
    token = place.make_key("--email", ANN)
    place.ok("people", "set", ANN, "--disable")
    assert not place.record(token).is_enabled
    place.ok("people", "set", ANN, "--enable")
    assert place.record(token).is_enabled


def test_the_list_has_everybody_by_e_mail(place: Installation) -> None:
    for email in ("eve@elsewhere.org", ANN):
        place.ok("people", "set", email)
    assert place.ok("people", "list").out.splitlines()[1:] == [
        " 2  ann@example.com    member  staff   good ",
        " 1  eve@elsewhere.org  member  none    good ",
    ]
    rows = place.ok("people", "list", "--json").json
    assert [(row["email"], row["policy"], row["named_policy"]) for row in rows] == [
        (ANN, "staff", None),
        ("eve@elsewhere.org", "none", None),
    ]


def test_an_empty_list_says_how_to_add_somebody(place: Installation) -> None:
    assert "penstock people set EMAIL" in place.ok("people", "list").out
    assert place.ok("people", "list", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ann",), "not an e-mail address: 'ann'"),
        ((ANN, "--policy", "stuff"), "there is no policy 'stuff'; use one of: staff, admin"),
    ],
)
def test_what_cannot_be_is_refused_and_adds_nobody(place: Installation, arguments: tuple[str, ...], told: str) -> None:
    place.ok("people", "list")
    assert place.refuse("people", "set", *arguments) == told
    assert place.ok("people", "list", "--json").json == []


def test_a_role_that_does_not_exist_is_a_usage_error(place: Installation) -> None:
    assert "'--role'" in place.misuse("people", "set", ANN, "--role", "king")
