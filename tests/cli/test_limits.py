"""Where somebody stands: what is spent, what calls in flight hold, what is left, and when it resets."""

from penstock.core.identity import key_kid
from tests.cli.installation import ANN, Installation


def test_a_person_sees_what_is_spent_held_and_left(place: Installation) -> None:
    token = place.make_key("--email", ANN)
    place.call(token, 1_000_000, 250_000)
    place.call(token, 100_000, 0, is_ended=False)
    shown = place.ok("limits", "show", ANN)
    assert shown.out.startswith("ann@example.com, policy staff\n")
    assert shown.has_line("limit", "whose", "spent", "held", "left", "resets (UTC)")
    line = next(line for line in shown.out.splitlines() if line.startswith("10 usd / month"))
    assert line.split()[4:-2] == ["its", "own", "$1.50", "$0.20", "$8.30"]
    assert shown.has_line("20 concurrent", "its own", "0", "1", "19", "-")


def test_a_key_shows_its_own_limits_within_its_persons(place: Installation) -> None:
    token = place.make_key("--email", ANN, "--limit", "200000 tokens / day")
    place.call(token, 1_000, 500)
    shown = place.ok("limits", "show", key_kid(token))
    assert shown.out.startswith(f"{key_kid(token)}, policy staff\n")
    line = next(line for line in shown.out.splitlines() if line.startswith("200000 tokens / day"))
    assert line.split()[4:-2] == ["its", "own", "1,500", "0", "198,500"]
    assert shown.has_line("20 concurrent", "its person's", "0", "0", "20", "-")
    assert place.ok("limits", "show", "1").out == shown.out


def test_as_json_limits_have_the_words_of_the_usage_page(place: Installation) -> None:
    token = place.make_key("--email", ANN)
    place.call(token, 1, 0)
    answer = place.ok("limits", "show", ANN, "--json").json
    assert (answer["who"], answer["policy"]) == (ANN, "staff")
    month, concurrent = answer["limits"]
    assert month.pop("resets_at").endswith("-01T00:00:00Z")
    assert month == {
        "limit": "10 usd / month",
        "whose": "person:1",
        "unit": "usd",
        "window": "month",
        "cap": 10,
        "spent": 0.000001,
        "held": 0,
        "left": 9.999999,
    }
    assert concurrent["window"] is None


def test_who_has_no_limits_is_told_so(place: Installation) -> None:
    place.make_key("--admin")
    shown = place.ok("limits", "show", "1")
    assert "policy admin\nNo limits.\n" in shown.out
    assert place.ok("limits", "show", "1", "--json").json["limits"] == []


def test_nobody_of_that_name_is_refused_with_a_way_on(place: Installation) -> None:
    place.make_key("--admin")
    assert place.refuse("limits", "show", "eve@elsewhere.org") == (
        "there is no person eve@elsewhere.org; see `penstock people list`"
    )
    assert place.refuse("limits", "show", "sk-pen-kTypo") == "there is no key like that; see `penstock keys list`"
