"""What an admin writes and what comes of it: good settings, bad ones with the words that refuse them, and sources."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from penstock.core.limits import parse_limit
from penstock.settings import Address, find_file
from tests.settings.place import Place

GOOD = [
    ("", "listen", Address("127.0.0.1", 8787)),
    ('listen = "[::]:0"', "listen", Address("::", 0)),
    ('listen = "localhost:80"', "listen", Address("localhost", 80)),
    ("", "public_url", "http://127.0.0.1:8787"),
    ('listen = "0.0.0.0:9000"', "public_url", "http://127.0.0.1:9000"),
    ('listen = "[::1]:9000"', "public_url", "http://[::1]:9000"),
    ('public_url = "https://Gate.example.com/llm/"', "public_url", "https://gate.example.com/llm"),
    ("", "database_url", "sqlite:///data/penstock.db"),
    ('data_dir = "/var/lib/penstock"', "database_url", "sqlite:////var/lib/penstock/penstock.db"),
    ('database_url = "sqlite:///x.db"', "database_url", "sqlite:///x.db"),
    ('data_dir = "state"', "data_dir", Path("state")),
    ('admins = ["Ann@Example.com"]', "admins", ("ann@example.com",)),
    ('trusted_proxies = ["10.0.0.0/8", "::1"]', "trusted_proxies", (ip_network("10.0.0.0/8"), ip_network("::1"))),
    ("allow_plain_http = true", "allow_plain_http", True),
    ('hosts = ["Gate.example.com", "[::1]"]', "hosts", ("gate.example.com", "[::1]")),
    ('allow_private = ["ollama.internal"]', "allow_private", ("ollama.internal",)),
    ("", "body_max_bytes", 32 * 1024 * 1024),
    ("body_max_bytes = 1_000", "body_max_bytes", 1000),
    ("connections_max = 7", "connections_max", 7),
    ("request_buffer_max_bytes = 9", "request_buffer_max_bytes", 9),
    ("", "drain_delay_s", 0.0),
    ('listen = "10.0.0.1:80"', "drain_delay_s", 5.0),
    ('listen = "gate.example.com:80"', "drain_delay_s", 5.0),
    ("drain_delay_s = 1", "drain_delay_s", 1.0),
    ("drain_grace_s = 2.5", "drain_grace_s", 2.5),
    ('log_level = "debug"', "log_level", "debug"),
    ("", "is_demo_on", True),
    ("[providers.openai]", "is_demo_on", False),
    ('demo = "on"\n[providers.openai]', "is_demo_on", True),
    ('demo = "off"', "is_demo_on", False),
]

BAD = [
    ('listn = "x"', "penstock.toml: unknown key listn; did you mean listen?"),
    ("colour = 1", "penstock.toml: unknown key colour; known here: admins, allow_plain_http"),
    ('listen = "8787"', "penstock.toml: listen must be HOST:PORT, such as 127.0.0.1:8787 or [::]:8787, not '8787'"),
    ('listen = "127.0.0.1:70000"', "listen must be HOST:PORT"),
    ("listen = 8787", "listen must be HOST:PORT"),
    ('listen = "$(hostname):80"', "penstock.toml: listen holds '$(': the start of a shell command"),
    ('public_url = "gate.example.com"', "public_url must be an http or https URL without user"),
    ('public_url = "https://gate.example.com/?a"', "public_url must be an http or https URL"),
    ('public_url = "https://gate.example.com:x"', "public_url must be an http or https URL"),
    ('public_url = "ftp://gate.example.com"', "public_url must be an http or https URL"),
    ('database_url = "postgresql://u:secret@h/d"', "penstock.toml: database_url must be sqlite:///PATH"),
    ('admins = "ann@example.com"', "admins must be a list of e-mail addresses, not 'ann@example.com'"),
    ('admins = ["ann"]', "admins must be a list of e-mail addresses, not 'ann'"),
    ('trusted_proxies = ["10.0.0.1/8"]', "trusted_proxies must be a list of addresses or networks"),
    ("allow_plain_http = 1", "allow_plain_http must be true or false, not '1'"),
    ('hosts = ["https://gate.example.com"]', "hosts must be a list of host names or addresses, without ports"),
    ('hosts = ["gate.example.com:80"]', "hosts must be a list of host names or addresses, without ports"),
    ('allow_private = ["10.0.0.1:80"]', "allow_private must be a list of host names"),
    ("body_max_bytes = 0", "body_max_bytes must be a number of bytes, at least 1, not '0'"),
    ('body_max_bytes = "1000"', "body_max_bytes must be a number of bytes"),
    ("connections_max = true", "connections_max must be a whole number of at least 1"),
    ("drain_grace_s = -1", "drain_grace_s must be a number of seconds, at least 0"),
    ("drain_grace_s = nan", "drain_grace_s must be a number of seconds, at least 0"),
    ('log_level = "loud"', 'log_level must be "debug", "info", "warning" or "error", not \'loud\''),
    ('demo = "yes"', 'demo must be "auto", "on" or "off", not \'yes\''),
    ("providers = 1", "providers must be tables: [providers.NAME]"),
    ("policies = {}", "policies must be written as [[policies]], one for each"),
    ('[[policies]]\nlimits = ["1 usd"]', "policies must each have a name"),
    ('[[policies]]\nname = "a"\n[[policies]]\nname = "a"', "policies must have different names: 'a' is there twice"),
    ('[[policies]]\nname = "admin"', "policies.admin must have another name: 'admin' is built in"),
    ('[[policies]]\nname = "a"\nlimit = ["1 usd"]', "unknown key policies.a.limit; did you mean limits?"),
    ('[[policies]]\nname = "a"\nlimits = ["1 eur"]', "policies.a.limits must be limits, AMOUNT UNIT [/ WINDOW]: not a"),
    (
        '[[policies]]\nname = "a"\nmatch = ["ann"]',
        'policies.a.match must be a list of exact e-mail addresses, "@domain"',
    ),
    ('[[policies]]\nname = "a"\noutput_cap = 1', "policies.a.output_cap must be a number of tokens, at least 256"),
    ('[[policies]]\nname = "a"\nmodels = []', "policies.a.models must be a list of at least one name or glob"),
    ('[[policies]]\nname = "a"\nunbounded = "x"', 'policies.a.unbounded must be "hold" or "refuse", not \'x\''),
    ("listen = ", "not valid TOML"),
]


@pytest.mark.parametrize(("toml", "key", "value"), GOOD)
def test_a_good_setting_is_read(place: Place, toml: str, key: str, value: object) -> None:
    assert getattr(place.load(toml), key) == value


@pytest.mark.parametrize(("toml", "words"), BAD)
def test_a_bad_setting_is_refused_with_place_key_and_what_is_allowed(place: Place, toml: str, words: str) -> None:
    assert words in place.refuse(toml)


def test_the_example_of_the_design_is_read(place: Place) -> None:
    settings = place.load("""
        admins = ["admin@example.com"]
        [providers.gemini]
        [providers.lab]
        base_url = "http://10.0.0.5:8000/v1"
        prices = "free"
        [[policies]]
        name = "staff"
        match = ["@Example.com"]
        limits = ["10 usd / month", "200000 tokens / minute", "20 concurrent"]
        [[policies]]
        name = "everyone"
        match = ["*"]
        models = ["demo/*", "openai/gpt-4.1-nano"]
        lower_caps = true
        output_cap = 512
        unbounded = "refuse"
        cost_comment = false
        providers = ["demo", "openai"]
        endpoints = ["chat"]
        """)
    staff, everyone = settings.policies
    assert staff.match == ("@example.com",)
    assert staff.limits == tuple(map(parse_limit, ("10 usd / month", "200000 tokens / minute", "20 concurrent")))
    assert staff.models == ("*",)
    assert everyone.models == ("demo/*", "openai/gpt-4.1-nano")
    assert (everyone.lower_caps, everyone.output_cap, everyone.unbounded) == (True, 512, "refuse")
    assert (everyone.cost_comment, everyone.providers, everyone.endpoints) == (False, ("demo", "openai"), ("chat",))
    assert [provider.name for provider in settings.providers] == ["gemini", "lab"]


def test_the_environment_beats_dotenv_beats_the_file_beats_the_default(place: Place) -> None:
    settings = place.load(
        'listen = "127.0.0.1:1"\nlog_level = "error"\ndata_dir = "a"',
        environ={"PENSTOCK_LISTEN": "127.0.0.1:3"},
        dotenv="PENSTOCK_LISTEN=127.0.0.1:2\nPENSTOCK_LOG_LEVEL=debug",
    )
    assert (settings.listen.port, settings.log_level, settings.data_dir) == (3, "debug", Path("a"))
    sources = {line.key: str(line.source) for line in settings.shown}
    assert sources["listen"] == "PENSTOCK_LISTEN (environment)"
    assert sources["log_level"] == "PENSTOCK_LOG_LEVEL (.env)"
    assert sources["data_dir"] == "penstock.toml"
    assert sources["demo"] == "default"


def test_no_file_at_all_is_enough(tmp_path: Path) -> None:
    assert find_file({}, tmp_path) is None
    assert Place(tmp_path).load().warnings == ()


def test_the_file_may_stand_elsewhere(place: Place) -> None:
    elsewhere = place.write("other.toml", 'demo = "off"')
    settings = place.load('demo = "on"', {"PENSTOCK_CONFIG": str(elsewhere)})
    assert settings.demo == "off"


def test_a_file_that_is_named_must_be_there(place: Place) -> None:
    assert "no.toml: cannot be read: No such file" in place.refuse(environ={"PENSTOCK_CONFIG": "no.toml"})


def test_a_file_that_is_no_text_is_refused(place: Place) -> None:
    (place.folder / "binary.toml").write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in place.refuse(environ={"PENSTOCK_CONFIG": "binary.toml"})


def test_a_byte_order_mark_is_no_part_of_a_file(place: Place) -> None:
    assert place.load('\ufeffdemo = "off"', dotenv="\ufeffPENSTOCK_LOG_LEVEL=debug").log_level == "debug"


def test_every_key_in_effect_is_shown_and_no_secret(place: Place) -> None:
    settings = place.load(
        '[providers.lab]\nbase_url = "https://lab.example/v1"\napi_key = "hunter2-lab"',
        {"OPENAI_API_KEY": "hunter2-openai", "PENSTOCK_DATABASE_URL": "sqlite:///x.db"},
    )
    lines = {line.key: line.value for line in settings.shown}
    assert lines["listen"] == '"127.0.0.1:8787"'
    assert lines["drain_delay_s"] == "0.0"
    assert lines["providers.lab.base_url"] == '"https://lab.example/v1"'
    assert lines["providers.openai.api_key"] == lines["providers.lab.api_key"] == "********"
    assert "hunter2" not in repr(settings)


def test_a_secret_is_not_shown_in_a_refusal(place: Place) -> None:
    assert "hunter2" not in place.refuse('database_url = "postgresql://u:hunter2@h/d"')
    assert "hunter2" not in place.refuse('[providers.lab]\napi_key = ["hunter2"]')
