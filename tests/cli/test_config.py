"""`config check` shows every setting in effect and where it was found, and never a secret."""

from pathlib import Path

import pytest

from tests.cli.installation import SETTINGS, Installation

SECRET = "sk-very-secret-key"


def test_every_setting_is_shown_with_its_source(place: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_LISTEN", "127.0.0.1:9999")
    (place.folder / ".env").write_text("PENSTOCK_LOG_LEVEL=debug\n", encoding="utf-8")
    shown = place.ok("config", "check")
    assert shown.has_line("setting", "value", "source")
    assert shown.has_line("listen", '"127.0.0.1:9999"', "PENSTOCK_LISTEN (environment)")
    assert shown.has_line("log_level", '"debug"', "PENSTOCK_LOG_LEVEL (.env)")
    assert shown.has_line("demo", '"off"', "penstock.toml")
    assert shown.has_line("data_dir", '"data"', "default")


def test_as_json_values_are_values(place: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_API_KEY", SECRET)
    answer = place.ok("config", "check", "--json").json
    rows = {row["key"]: row for row in answer["settings"]}
    assert rows["connections_max"]["value"] == 10_000
    assert rows["policies.staff.limits"] == {
        "key": "policies.staff.limits",
        "value": ["10 usd / month", "20 concurrent"],
        "source": "penstock.toml",
    }
    assert rows["providers.lab.api_key"]["value"] == "********"
    assert rows["providers.lab.api_key"]["source"] == "LAB_API_KEY (environment)"


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["human", "json"])
def test_no_secret_is_shown(place: Installation, monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]) -> None:
    monkeypatch.setenv("LAB_API_KEY", SECRET)
    shown = place.ok("config", "check", *form)
    assert "providers.lab.api_key" in shown.out
    assert SECRET not in shown.out + shown.err


def test_a_warning_is_told_beside_the_answer(place: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_LISTN", "127.0.0.1:9999")
    told = "PENSTOCK_LISTN (environment) is no setting; did you mean PENSTOCK_LISTEN?"
    assert place.ok("config", "check").err == f"warning: {told}\n"
    as_json = place.ok("config", "check", "--json")
    assert (as_json.json["warnings"], as_json.err) == ([told], "")


def test_it_makes_no_installation(place: Installation) -> None:
    place.ok("config", "check")
    assert not (place.folder / "data").exists()


def test_another_file_may_be_named(place: Installation, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(SETTINGS.replace('"off"', '"on"'), encoding="utf-8")
    assert place.ok("config", "check", "--config", str(other)).has_line("demo", '"on"', "other.toml")
