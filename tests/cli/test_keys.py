"""A key is shown once; what it may do, and until when, is seen and ended from the terminal."""

import time

import pytest
import typer

from penstock.cli.keys import read_expiry
from penstock.core.identity import is_well_formed, key_kid
from tests.cli.installation import ANN, Installation

NOW_MS = 1_795_000_000_000
"""2026-11-18, 11:06:40 UTC."""
DAY_MS = 86_400_000


def test_a_new_key_stands_alone_on_standard_output(place: Installation) -> None:
    made = place.ok("keys", "create", "--email", ANN)
    assert is_well_formed(made.out.removesuffix("\n"))
    assert "A key of ann@example.com, shown this once. Its policy is staff: 10 usd / month, 20 concurrent." in made.err


def test_as_json_a_new_key_is_all_there_is(place: Installation) -> None:
    made = place.ok("keys", "create", "--policy", "staff", "--json").json
    assert list(made) == ["key"]
    assert is_well_formed(made["key"])


def test_a_key_has_the_limits_models_and_end_that_it_was_made_with(place: Installation) -> None:
    started_ms = time.time_ns() // 1_000_000
    token = place.make_key(
        *("--email", "Ann@Example.com", "--name", "ci", "--expires", "30d"),
        *("--limit", "1 usd / day", "--limit", "5 concurrent", "--model", "lab/*", "--model", "openai/gpt-*"),
    )
    record = place.record(token)
    assert [str(limit) for limit in record.limits] == ["1 usd / day", "5 concurrent"]
    assert record.models == ("lab/*", "openai/gpt-*")
    assert (record.name, record.email, record.role) == ("ci", ANN, "member")
    assert 0 <= (record.expires_at_ms or 0) - (started_ms + 30 * DAY_MS) < 60_000


def test_an_admin_key_may_do_everything(place: Installation) -> None:
    token = place.make_key("--admin")
    assert token.startswith("sk-pen-a")
    (row,) = place.ok("keys", "list", "--json").json
    assert (row["role"], row["policy"], row["email"]) == ("admin", "admin", None)


def test_an_admin_key_of_a_person_stays_within_their_policy(place: Installation) -> None:
    place.make_key("--admin", "--email", ANN)
    (row,) = place.ok("keys", "list", "--json").json
    assert (row["role"], row["policy"]) == ("admin", "staff")


@pytest.mark.parametrize("owner", [(), ("--email", "eve@elsewhere.org")], ids=["nobody's", "somebody's"])
def test_a_key_without_a_policy_is_made_with_a_warning(place: Installation, owner: tuple[str, ...]) -> None:
    made = place.ok("keys", "create", *owner)
    assert "No policy is for it, so it may spend nothing." in made.err


def test_the_list_shows_what_keys_may_do(place: Installation) -> None:
    first = place.make_key("--email", ANN, "--name", "laptop", "--limit", "1 usd / day")
    second = place.make_key("--policy", "staff", "--name", "cron", "--model", "lab/*", "--expires", "2999-12-31")
    listed = place.ok("keys", "list")
    assert listed.has_line(
        "id", "kid", "name", "whose", "role", "policy", "own limits", "models", "expires (UTC)", "state"
    )
    assert listed.has_line("1", key_kid(first), "laptop", ANN, "member", "staff", "1 usd / day", "* - good")
    assert listed.has_line(
        "2", key_kid(second), "cron", "nobody's", "member", "staff", "-", "lab/*", "3000-01-01 00:00:00", "good"
    )


def test_the_list_as_json_holds_the_same(place: Installation) -> None:
    token = place.make_key("--email", ANN, "--limit", "1 usd / day", "--expires", "2999-12-31")
    place.make_key("--policy", "staff")
    (row,) = place.ok("keys", "list", "--email", ANN, "--json").json
    assert row == {
        "id": 1,
        "kid": key_kid(token),
        "name": ANN,
        "email": ANN,
        "role": "member",
        "policy": "staff",
        "limits": ["1 usd / day"],
        "models": ["*"],
        "expires_at": "3000-01-01T00:00:00Z",
        "state": "good",
    }


def test_an_empty_list_says_how_to_make_a_key(place: Installation) -> None:
    assert "penstock keys create" in place.ok("keys", "list").out
    assert place.ok("keys", "list", "--json").json == []


@pytest.mark.parametrize("by", ["kid", "id", "key"])
def test_a_key_is_disabled_by_its_kid_its_id_or_itself(place: Installation, by: str) -> None:
    token = place.make_key("--email", ANN)
    disabled = place.ok("keys", "disable", {"kid": key_kid(token), "id": "1", "key": token}[by])
    assert disabled.out == f"The key {key_kid(token)} (ann@example.com) is disabled.\n"
    assert not place.record(token).is_enabled
    assert place.ok("keys", "list", "--json").json[0]["state"] == "disabled"


def test_a_key_is_disabled_twice_as_well_as_once(place: Installation) -> None:
    token = place.make_key("--email", ANN)
    for _ in range(2):
        assert place.ok("keys", "disable", "1", "--json").json == {"id": 1, "kid": key_kid(token), "is_enabled": False}


def test_an_unknown_key_is_refused_with_a_way_on(place: Installation) -> None:
    place.make_key("--email", ANN)
    assert place.refuse("keys", "disable", "77") == "there is no key 77; see `penstock keys list`"


def test_no_command_but_the_first_shows_a_key(place: Installation) -> None:
    token = place.make_key("--email", ANN)
    mistyped = token[:-1] + ("A" if token[-1] != "A" else "B")
    commands = [("keys", "list"), ("limits", "show", token), ("usage", "--key", token), ("keys", "disable", token)]
    commands += [("keys", "disable", mistyped), ("limits", "show", mistyped), ("people", "list"), ("usage",)]
    for command in commands:
        for form in ((), ("--json",)):
            outcome = place.run(*command, *form)
            # The kid is public; of what follows it nothing may be seen.
            assert token[20:-1] not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--limit", "1 dollar"), "'--limit': not a unit: 'dollar'; use usd, requests, tokens or concurrent"),
        (("--limit", "much"), "not a limit: 'much'; write AMOUNT UNIT [/ WINDOW]"),
        (("--expires", "soon"), "--expires: not a time: 'soon'; write 30d, 12h, or a date"),
        (("--expires", "2001-01-01"), "--expires: 2001-01-01 is over"),
        (("--name", "n" * 101), "'--name': longer than 100 signs"),
        (("--email", ANN, "--policy", "staff"), "a person's policy is set with `penstock people set`"),
    ],
)
def test_a_key_that_cannot_be_is_a_usage_error(place: Installation, arguments: tuple[str, ...], told: str) -> None:
    assert told in place.misuse("keys", "create", *arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--policy", "stuff"), "there is no policy 'stuff'; use one of: staff, admin"),
        (("--email", "ann"), "not an e-mail address: 'ann'"),
    ],
)
def test_a_key_of_nobody_known_is_refused(place: Installation, arguments: tuple[str, ...], told: str) -> None:
    place.ok("people", "list")
    assert place.refuse("keys", "create", *arguments) == told
    assert place.ok("keys", "list", "--json").json == []


@pytest.mark.parametrize(
    ("written", "expires_at_ms"),
    [
        ("30d", NOW_MS + 30 * DAY_MS),
        ("12h", NOW_MS + DAY_MS // 2),
        # The day itself is still good.
        ("2026-11-18", 1_795_046_400_000),
        ("2026-12-31", 1_798_761_600_000),
    ],
)
def test_a_key_expires_after_a_span_or_at_the_end_of_a_day(written: str, expires_at_ms: int) -> None:
    assert read_expiry(written, NOW_MS) == expires_at_ms


@pytest.mark.parametrize("written", ["", "0d", "30", "30m", "d", "-1d", "2026-13-01", "9999-12-31", "2026-11-17"])
def test_what_is_no_time_to_come_is_refused(written: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_expiry(written, NOW_MS)
