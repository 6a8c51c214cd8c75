"""Which providers there are, where their keys come from, and where these may go."""

from decimal import Decimal

import pytest

from penstock.core.prices import ModelLimits
from penstock.core.pricing import Price, usd_rate
from penstock.core.provider import Origin, Timeouts
from penstock.core.usage import Unit
from tests.settings.place import Place

LAB = '[providers.lab]\nbase_url = "https://lab.example/v1"\n'


def price(**usd_per_million: str) -> Price:
    return Price({Unit(unit): usd_rate(Decimal(usd), 1_000_000) for unit, usd in usd_per_million.items()})


def test_a_built_in_provider_is_there_when_its_key_is(place: Place) -> None:
    (openai,) = place.load(environ={"OPENAI_API_KEY": " sk-1 \n"}).providers
    assert (openai.name, openai.key, openai.dialect) == ("openai", "sk-1", None)
    assert (openai.origin, openai.base_path) == (Origin("https", "api.openai.com", 443), "/v1")
    assert not openai.allow_private


def test_the_file_s_providers_come_first_then_the_built_in_ones(place: Place) -> None:
    settings = place.load(
        f"{LAB}[providers.gemini]", {"OPENAI_API_KEY": "a", "GOOGLE_API_KEY": "b", "OTHER_API_KEY": "c"}
    )
    assert [(provider.name, provider.key) for provider in settings.providers] == [
        ("lab", None),
        ("gemini", "b"),
        ("openai", "a"),
    ]


def test_any_other_host_is_two_lines(place: Place) -> None:
    (lab,) = place.load(LAB, {"LAB_API_KEY": "k"}).providers
    assert (lab.dialect, str(lab.origin), lab.base_path, lab.key) == ("openai", "https://lab.example", "/v1", "k")
    assert lab.allow_private
    assert lab.timeouts == Timeouts()


def test_a_section_says_the_rest(place: Place) -> None:
    (lab,) = place.load(
        LAB
        + """
        dialect = "anthropic"
        allow_private = false
        asks_usage = false
        cancels_billing = true
        head_timeout_s = 1
        idle_timeout_s = 2
        total_timeout_s = 3
        [providers.lab.prices]
        "small-*" = { input = 0.05, output = "0.4", cache_read = 0.005, cache_write = 0.0625 }
        "*" = { input = 1, output = 2 }
        [providers.lab.models]
        "small-*" = { context = 128000, output_max = 4096, reasoning = true }
        """
    ).providers
    assert (lab.dialect, lab.allow_private, lab.asks_usage, lab.cancels_billing) == ("anthropic", False, False, True)
    assert lab.timeouts == Timeouts(head_s=1, idle_s=2, total_s=3)
    assert lab.prices.prices == (
        ("small-*", price(input="0.05", output="0.4", cache_read="0.005", cache_write="0.0625")),
        ("*", price(input="1", output="2")),
    )
    assert lab.prices.limits == (("small-*", ModelLimits(128_000, 4096, is_reasoning=True)),)
    assert not lab.prices.is_free


@pytest.mark.parametrize(
    ("base_url", "origin", "path"),
    [
        ("https://api.example.com/v1/", "https://api.example.com", "/v1"),
        ("HTTP://Localhost:11434/v1", "http://localhost:11434", "/v1"),
        ("http://[::1]:8000", "http://[::1]:8000", ""),
        ("https://api.example.com:443/a/b", "https://api.example.com", "/a/b"),
    ],
)
def test_a_base_url_is_an_origin_and_a_path(place: Place, base_url: str, origin: str, path: str) -> None:
    (lab,) = place.load(f'[providers.lab]\nbase_url = "{base_url}"').providers
    assert (str(lab.origin), lab.base_path) == (origin, path)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[providers.lab]", "penstock.toml: providers.lab needs a base_url, since the name is not built in"),
        ("[providers.azure]", "providers.azure needs a base_url"),
        ('[providers.Lab]\nbase_url = "https://a.example"', "providers.Lab must have a name of lower-case letters"),
        ('[providers.v1]\nbase_url = "https://a.example"', "providers.v1 must have another name: paths that begin so"),
        ("[providers]\nlab = 1", "providers.lab must be a table"),
        (f'{LAB}baseurl = "x"', "unknown key providers.lab.baseurl; did you mean base_url?"),
        (f'{LAB}dialect = "klingon"', "providers.lab.dialect must be one of anthropic, openai, not 'klingon'"),
        (f'{LAB}prices = "cheap"', 'providers.lab.prices must be "free", or a table of model globs'),
        (f'{LAB}prices."*" = {{ input = 1 }}', 'providers.lab.prices must be "free", or a table of model globs'),
        (f'{LAB}prices."*" = {{ input = 1, output = -1 }}', "providers.lab.prices must be"),
        (f'{LAB}prices."*" = {{ input = nan, output = 1 }}', "providers.lab.prices must be"),
        (
            f'{LAB}prices."*" = {{ input = 1, output = 1, cached = 1 }}',
            "cache_read and cache_write, in usd per million",
        ),
        (f'{LAB}models."*" = {{ context = 0 }}', "providers.lab.models must be a table of model globs"),
        (f"{LAB}idle_timeout_s = 0", "providers.lab.idle_timeout_s must be a number of seconds above 0"),
        ('[providers.lab]\nbase_url = "https://u:p@a.example"', "providers.lab.base_url must be an http or https URL"),
        ('[providers.lab]\nbase_url = "https://a.example/?x=1"', "providers.lab.base_url must be an http or https URL"),
        ('[providers.lab]\nbase_url = "https://"', "providers.lab.base_url must be an http or https URL"),
        (f'{LAB}api_key = "sk-pen-abc"', "providers.lab.api_key is a key of penstock's own"),
        (f'{LAB}api_key = "$(pass lab)"', "providers.lab.api_key holds '$('"),
        (f'{LAB}api_key = "two words"', "providers.lab.api_key must be one line of visible ASCII without spaces"),
        (f'{LAB}api_key_file = "/no/such/file"', "/no/such/file: cannot be read"),
    ],
)
def test_a_bad_section_is_refused(place: Place, toml: str, words: str) -> None:
    assert words in place.refuse(toml)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("sk-pen-abc", "OPENAI_API_KEY (environment): providers.openai.api_key is a key of penstock's own"),
        ("$(cat key)", "OPENAI_API_KEY (environment): providers.openai.api_key holds '$('"),
        ("schlüssel", "OPENAI_API_KEY (environment): providers.openai.api_key must be one line of visible ASCII"),
    ],
)
def test_a_bad_key_is_refused_without_being_shown(place: Place, value: str, words: str) -> None:
    refusal = place.refuse(environ={"OPENAI_API_KEY": value})
    assert words in refusal
    assert value not in refusal


def test_the_nearest_key_wins(place: Place) -> None:
    path = place.write("key", "from-file\n")
    toml = f'{LAB}api_key = "from-section"\napi_key_file = "{path}"'
    dotenv = "LAB_API_KEY=from-dotenv"
    by_file = {"LAB_API_KEY_FILE": str(path)}
    by_variable = {"LAB_API_KEY": "from-variable", **by_file}
    assert place.load(toml, by_variable, dotenv).providers[0].key == "from-variable"
    assert place.load(toml, by_file, dotenv).providers[0].key == "from-file"
    assert place.load(toml, {}, dotenv).providers[0].key == "from-dotenv"
    assert place.load(toml).providers[0].key == "from-section"
    assert place.load(f'{LAB}api_key_file = "{path}"').providers[0].key == "from-file"


def test_an_empty_key_file_is_refused(place: Place) -> None:
    path = place.write("key", "\n")
    assert "must be one line of visible ASCII" in place.refuse(environ={"OPENAI_API_KEY_FILE": str(path)})


def test_a_key_follows_the_section_s_address_but_no_client_s_variable(place: Place) -> None:
    environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:8787/v1"}
    assert str(place.load(environ=environ).providers[0].origin) == "https://api.openai.com"
    moved = place.load('[providers.openai]\nbase_url = "https://proxy.example/v1"', environ).providers[0]
    assert (str(moved.origin), moved.key, moved.allow_private) == ("https://proxy.example", "k", True)


def test_a_built_in_provider_without_its_key_is_a_warning(place: Place) -> None:
    settings = place.load("[providers.gemini]")
    assert settings.warnings == ("providers.gemini has no key: set GEMINI_API_KEY",)


def test_a_listed_host_may_be_private(place: Place) -> None:
    settings = place.load('allow_private = ["api.openai.com"]', {"OPENAI_API_KEY": "k"})
    assert settings.providers[0].allow_private


@pytest.mark.parametrize("address", ["https://mine.openai.azure.com", "https://mine.openai.azure.com/openai/v1/"])
def test_an_account_s_own_address_stands_in_a_variable(place: Place, address: str) -> None:
    azure = place.load(environ={"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": address}).providers[0]
    assert (str(azure.origin), azure.base_path) == ("https://mine.openai.azure.com", "/openai/v1")


def test_a_section_s_address_comes_before_the_variable_s(place: Place) -> None:
    environ = {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com"}
    azure = place.load('[providers.azure]\nbase_url = "https://other.example/openai/v1"', environ).providers[0]
    assert str(azure.origin) == "https://other.example"


def test_a_key_without_its_account_s_address_is_a_warning(place: Place) -> None:
    settings = place.load(environ={"AZURE_OPENAI_API_KEY": "k"})
    assert settings.providers == ()
    assert settings.warnings == ("providers.azure has a key but no address: set AZURE_OPENAI_ENDPOINT",)
