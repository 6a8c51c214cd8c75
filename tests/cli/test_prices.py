"""Prices are imported after a look at what changes, and shown rate by rate."""

from collections.abc import Sequence
from decimal import Decimal

import pytest

from penstock.core.model_match import Equals
from penstock.core.price_book import BookModel, BookProvider, DatedRates, PriceBook, make_book
from penstock.core.pricing import Rates, usd_rate
from penstock.core.usage import Unit
from penstock.store.price_import import import_genai_prices
from penstock.store.prices import PriceBooks
from tests.cli.installation import SETTINGS, Installation

NANO = {Unit.INPUT: "0.10", Unit.CACHE_READ: "0.025", Unit.OUTPUT: "0.40"}
"""What gpt-4.1-nano costs in the package, in USD for a million tokens."""


def rates(usd: dict[Unit, str]) -> Rates:
    return {unit: usd_rate(Decimal(amount), 1_000_000) for unit, amount in usd.items()}


def keep(place: Installation, models: Sequence[tuple[str, dict[Unit, str]]]) -> PriceBook:
    """Make a book of these models of openai the active one."""
    book_models = tuple(BookModel(name, Equals(name), (DatedRates(rates(usd)),)) for name, usd in models)
    book = make_book([BookProvider("openai", book_models)])
    database = place.open()
    PriceBooks(database).save(book, "a test", 0, activate=True)
    database.close()
    return book


def active_book(place: Installation) -> PriceBook | None:
    database = place.open()
    book = PriceBooks(database).find_active()
    database.close()
    return book


@pytest.fixture
def package_id() -> str:
    return import_genai_prices().book.id


def test_the_first_import_has_nothing_to_compare_with(place: Installation, package_id: str) -> None:
    place.ok("people", "list")
    outcome = place.ok("prices", "import")
    assert "It is the first price book here.\nImported. " in outcome.out
    assert getattr(active_book(place), "id", None) == package_id


def test_the_same_book_again_changes_nothing(place: Installation, package_id: str) -> None:
    place.ok("prices", "import")
    again = place.ok("prices", "import")
    assert again.out.endswith("No price changes.\n")
    answer = place.ok("prices", "import", "--json").json
    assert (answer["book"], answer["is_imported"]) == (package_id, False)
    assert (answer["added"], answer["removed"], answer["changed"]) == ([], [], [])
    assert len(place.ok("prices", "show", "--json").json) == 1


def test_a_small_change_is_shown_and_taken(place: Installation, package_id: str) -> None:
    place.ok("people", "list")
    keep(place, [("gpt-4.1-nano", {**NANO, Unit.OUTPUT: "0.32"}), ("retired", NANO)])
    outcome = place.ok("prices", "import")
    assert outcome.has_line("model", "unit", "before", "after", "each", "change", "note")
    assert outcome.has_line("openai/gpt-4.1-nano", "output", "$0.32", "$0.40", "million", "+25%")
    assert outcome.has_line("1 removed: openai/retired")
    assert " added: " in outcome.out
    assert " more\n" in outcome.out
    assert outcome.out.endswith("Imported. A running gateway takes these prices when it starts again.\n")
    assert getattr(active_book(place), "id", None) == package_id


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["human", "json"])
def test_a_jump_waits_for_a_yes(place: Installation, package_id: str, form: tuple[str, ...]) -> None:
    place.ok("people", "list")
    before = keep(place, [("gpt-4.1-nano", {**NANO, Unit.INPUT: "0.01"})])
    refused = place.run("prices", "import", *form)
    assert refused.code == 1
    assert refused.err.startswith("penstock: nothing is imported: 2 prices would change by more than 3x")
    assert "--yes" in refused.err
    assert "gpt-4.1-nano" in refused.out
    assert getattr(active_book(place), "id", None) == before.id
    place.ok("prices", "import", "--yes", *form)
    assert getattr(active_book(place), "id", None) == package_id


def test_a_dry_run_shows_and_takes_nothing(place: Installation) -> None:
    place.ok("people", "list")
    before = keep(place, [("gpt-4.1-nano", {**NANO, Unit.INPUT: "0.01"})])
    outcome = place.ok("prices", "import", "--dry-run", "--yes")
    assert outcome.has_line("openai/gpt-4.1-nano", "input", "$0.01", "$0.10", "million", "+900%", "over 3x")
    assert "Imported" not in outcome.out
    answer = place.ok("prices", "import", "--dry-run", "--json").json
    assert answer["is_imported"] is False
    change = next(change for change in answer["changed"] if not change["is_peak"])
    assert change == {
        "model": "openai/gpt-4.1-nano",
        "unit": "input",
        "per": 1_000_000,
        "before": 0.01,
        "after": 0.1,
        "percent": 900,
        "is_peak": False,
        "is_jump": True,
    }
    assert getattr(active_book(place), "id", None) == before.id


def test_models_that_have_no_price_in_the_package_are_named(place: Installation) -> None:
    left_out = place.ok("prices", "import", "--json").json["left_out"]
    assert {"model", "reason"} == left_out[0].keys()
    assert f"{len(left_out)} models left out for want of a rate" in place.ok("prices", "import").out


def test_the_books_are_listed(place: Installation, package_id: str) -> None:
    shown = place.ok("prices", "show")
    assert shown.has_line("price book", "from", "imported (UTC)", "state")
    assert package_id[:12] in shown.out
    (book,) = place.ok("prices", "show", "--json").json
    assert book.pop("imported_at").endswith("Z")
    assert book == {"id": package_id, "source": import_genai_prices().source, "is_active": True}


def test_a_model_is_shown_rate_by_rate(place: Installation) -> None:
    shown = place.ok("prices", "show", "large")
    assert shown.out.startswith("lab/large, price from the settings\n")
    assert shown.has_line("unit", "price", "each", "when")
    assert shown.has_line("input", "$2.50", "million")
    assert shown.has_line("cache_read", "$0.125", "million")


def test_a_model_that_no_provider_here_has_is_looked_up_in_the_book(place: Installation) -> None:
    everywhere = place.ok("prices", "show", "gpt-4.1-nano", "--json").json
    assert {"azure/gpt-4.1-nano", "openai/gpt-4.1-nano"} <= {row["model"] for row in everywhere}
    assert "\n\nopenai/gpt-4.1-nano, price from the book\n" in place.ok("prices", "show", "gpt-4.1-nano").out
    (at_openai,) = place.ok("prices", "show", "openai/gpt-4.1-nano", "--json").json
    assert at_openai["source"] == "book"
    assert at_openai["rates"]["input"] == {"usd": 0.1, "per": 1_000_000}
    assert place.ok("prices", "show", "gpt-4.1-nano", "--provider", "openai", "--json").json == [at_openai]


def test_tiers_variants_and_fees_are_shown_with_their_conditions(place: Installation) -> None:
    shown = place.ok("prices", "show", "google/gemini-2.5-pro")
    assert shown.has_line("input", "$1.25", "million")
    assert shown.has_line("input", "$2.50", "million", "above 200,000 in")
    assert shown.has_line("searches", "$35.00", "thousand")
    assert shown.has_line("output", "$5.00", "million", "processing batch")
    (row,) = place.ok("prices", "show", "google/gemini-2.5-pro", "--json").json
    assert row["rates"]["input"] == {
        "usd": 1.25,
        "per": 1_000_000,
        "steps": [{"above_input_tokens": 200_000, "usd": 2.5}],
    }
    assert row["variants"][0]["when"] == {"processing": "batch"}


def test_a_provider_shows_all_its_models(place: Installation) -> None:
    own = place.ok("prices", "show", "--provider", "lab")
    assert own.has_line("lab/small", "$1.00", "$2.00", "-", "128,000", "settings")
    of_the_book = place.ok("prices", "show", "--provider", "google")
    assert of_the_book.has_line(
        "google/gemini-2.5-pro", "$1.25 to $2.50", "$10.00 to $15.00", "$0.125 to $0.25", "-", "book"
    )


def test_the_settings_price_comes_before_the_books(place: Installation) -> None:
    place.write(SETTINGS + '[providers.openai]\nprices = { "gpt-4.1-nano" = { input = 7, output = 8 } }\n')
    (row,) = place.ok("prices", "show", "gpt-4.1-nano", "--json").json
    assert (row["source"], row["rates"]["input"]["usd"]) == ("settings", 7)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("gpt-4-1-nano",), "nobody states a price of gpt-4-1-nano; did you mean openai/gpt-4.1-nano,"),
        (("smal", "--provider", "lab"), "nobody states a price of lab/smal; did you mean lab/small"),
        (("x",), "nobody states a price of x"),
        (("--provider", "nope"), "no models of nope have a price"),
    ],
)
def test_what_has_no_price_is_refused_with_what_is_near(
    place: Installation, arguments: tuple[str, ...], told: str
) -> None:
    place.ok("people", "list")
    assert place.refuse("prices", "show", *arguments).startswith(told)
