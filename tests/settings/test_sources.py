"""Variables and ``.env``: how names become keys and texts become values."""

from decimal import Decimal
from pathlib import Path

import pytest

from penstock.core.pricing import usd_rate
from penstock.core.usage import Unit
from penstock.settings import SettingsError
from penstock.settings.sources import parse_dotenv
from tests.settings.place import Place


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("export NAME=value", "value"),
        ("  NAME = value  ", "value"),
        ("NAME=two words # a comment", "two words"),
        ("NAME=a#b", "a#b"),
        ("NAME='single # $x'", "single # $x"),
        ('NAME="double" # a comment', "double"),
        (r'NAME="a\nb"', r"a\nb"),
        ("NAME=", ""),
        ("NAME= # a comment", ""),
        ("NAME=''", ""),
        ("NAME=a=b", "a=b"),
        ("NAME=it's", "it's"),
    ],
)
def test_a_line_of_dotenv_is_read(line: str, value: str) -> None:
    assert parse_dotenv(f"# a comment\n\n{line}\n", ".env") == {"NAME": value}


@pytest.mark.parametrize("line", ["secret", "NAME='open", 'NAME="open', "=secret", "NA ME=secret", "NAME='a' b"])
def test_any_other_line_is_refused_without_being_shown(line: str) -> None:
    with pytest.raises(SettingsError, match=r"^\.env: line 2 must be NAME=value, a comment, or empty$"):
        parse_dotenv(f"OTHER=1\n{line}", ".env")


def test_a_variable_reaches_a_table_s_key_by_two_underscores(place: Place) -> None:
    settings = place.load(
        environ={
            "PENSTOCK_PROVIDERS__LAB__BASE_URL": "http://10.0.0.5:8000/v1",
            "PENSTOCK_PROVIDERS__LAB__PRICES": "free",
            "PENSTOCK_PROVIDERS__LAB__HEAD_TIMEOUT_S": "1.5",
            "PENSTOCK_POLICIES__ALL__MATCH": "*",
            "PENSTOCK_POLICIES__ALL__LIMITS": "1 usd / day, 5 concurrent",
        }
    )
    (lab,) = settings.providers
    assert (lab.name, str(lab.origin), lab.prices.is_free, lab.timeouts.head_s) == (
        "lab",
        "http://10.0.0.5:8000",
        True,
        1.5,
    )
    (policy,) = settings.policies
    assert [str(limit) for limit in policy.limits] == ["1 usd / day", "5 concurrent"]


def test_a_variable_finds_the_section_whose_name_it_cannot_spell(place: Place) -> None:
    settings = place.load(
        '[providers.my-lab]\nbase_url = "https://a.example"\n[[policies]]\nname = "Power users"',
        {
            "PENSTOCK_PROVIDERS__MY_LAB__BASE_URL": "https://b.example",
            "PENSTOCK_POLICIES__POWER_USERS__LIMITS": "1 usd",
        },
    )
    assert [str(provider.origin) for provider in settings.providers] == ["https://b.example"]
    assert [(policy.name, len(policy.limits)) for policy in settings.policies] == [("Power users", 1)]


def test_a_variable_writes_a_table_as_toml_does(place: Place) -> None:
    prices = '{ "big-*" = { input = 0.3, output = 1 } }'
    settings = place.load("[providers.openai]", {"PENSTOCK_PROVIDERS__OPENAI__PRICES": prices})
    ((glob, price),) = settings.providers[0].prices.prices
    assert glob == "big-*"
    assert price.rates == {Unit.INPUT: usd_rate(Decimal("0.3"), 1_000_000), Unit.OUTPUT: usd_rate(1, 1_000_000)}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "PENSTOCK_BODY_MAX_BYTES",
            "much",
            "PENSTOCK_BODY_MAX_BYTES (environment): body_max_bytes must be a number of",
        ),
        ("PENSTOCK_ALLOW_PLAIN_HTTP", "maybe", "allow_plain_http must be true or false, not 'maybe'"),
        ("PENSTOCK_LISTEN", "$(hostname):80", "listen holds '$('"),
        ("PENSTOCK_PROVIDERS__OPENAI__PRICES", "{ not toml", 'providers.openai.prices must be "free", or a table'),
        ("PENSTOCK_PROVIDERS____BASE_URL", "https://a.example", "must have a name"),
    ],
)
def test_a_bad_variable_is_refused_with_its_name(place: Place, name: str, text: str, words: str) -> None:
    assert words in place.refuse(environ={name: text})


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("PENSTOCK_LISTN", "PENSTOCK_LISTN (environment) is no setting; did you mean PENSTOCK_LISTEN?"),
        ("PENSTOCK_XYZ", "PENSTOCK_XYZ (environment) is no setting"),
        ("PENSTOCK_PROVIDERS", "PENSTOCK_PROVIDERS (environment) is no setting; write PENSTOCK_PROVIDERS__NAME__KEY"),
        (
            "PENSTOCK_PROVIDERS__A",
            "PENSTOCK_PROVIDERS__A (environment) is no setting; write PENSTOCK_PROVIDERS__NAME__KEY",
        ),
        (
            "PENSTOCK_POLICIES__A__LIMIT",
            "PENSTOCK_POLICIES__A__LIMIT (environment) is no setting; did you mean PENSTOCK_POLICIES__A__LIMITS?",
        ),
    ],
)
def test_an_unknown_variable_is_a_warning(place: Place, name: str, warning: str) -> None:
    assert place.load(environ={name: "x"}).warnings == (warning,)


@pytest.mark.parametrize("name", ["PENSTOCK_SERVICE_HOST", "PENSTOCK_PORT", "PENSTOCK_PORT_8787_TCP", "OTHER"])
def test_what_a_container_platform_injects_is_skipped(place: Place, name: str) -> None:
    assert place.load(environ={name: "tcp://10.0.0.1:8787"}).warnings == ()


def test_an_unknown_name_in_dotenv_is_a_warning_too(place: Place) -> None:
    assert place.load(dotenv="PENSTOCK_DEMOS=on").warnings == (
        "PENSTOCK_DEMOS (.env) is no setting; did you mean PENSTOCK_DEMO?",
    )


def test_an_empty_variable_counts_as_not_set(place: Place) -> None:
    assert place.load('demo = "off"', {"PENSTOCK_DEMO": ""}).demo == "off"


def test_a_missing_dotenv_is_none(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.load().warnings == ()
