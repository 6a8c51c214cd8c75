"""Every model that can be called is listed with what it costs, and who says so."""

from tests.cli.installation import SETTINGS, Installation


def test_models_of_the_settings_are_listed_with_their_prices(place: Installation) -> None:
    listed = place.ok("models")
    assert listed.out.startswith("Dollars for a million tokens.\n")
    assert listed.has_line("model", "input", "output", "cache read", "context", "price from")
    assert listed.has_line("lab/small", "$1.00", "$2.00", "-", "128,000", "settings")
    assert listed.has_line("lab/large", "$2.50", "$10.00", "$0.125", "-", "settings")


def test_as_json_models_have_exact_rates(place: Installation) -> None:
    small, large = place.ok("models", "--json").json
    assert small == {
        "model": "lab/small",
        "source": "settings",
        "context": 128_000,
        "output_max": 4096,
        "rates": {"input": {"usd": 1, "per": 1_000_000}, "output": {"usd": 2, "per": 1_000_000}},
        "variants": [],
    }
    assert large["rates"]["cache_read"] == {"usd": 0.125, "per": 1_000_000}


def test_models_of_a_built_in_provider_have_the_price_books(place: Installation) -> None:
    place.write(SETTINGS + "[providers.openai]\n")
    listed = place.ok("models")
    assert listed.has_line("openai/gpt-4.1-nano", "$0.10", "$0.40", "$0.025", "1,000,000", "book")


def test_the_demo_is_listed_where_it_is_on(place: Installation) -> None:
    place.write('demo = "on"')
    assert place.ok("models").has_line("demo/penstock-demo", "$0.10", "$0.40", "-", "-", "settings")


def test_without_models_the_list_says_so(place: Installation) -> None:
    place.write('demo = "off"')
    assert place.ok("models").out.endswith("No models: no provider in the settings has any.\n")
    assert place.ok("models", "--json").json == []
