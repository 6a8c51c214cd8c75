"""``penstock prices``: import the price book from the genai-prices package, and look at prices.

A book is never changed: an import keeps a new one and makes it the active one, and old calls keep theirs.
"""

from typing import Annotated

import typer

from penstock.cli.options import AsJson, ConfigFile
from penstock.cli.output import CommandError, number, print_json, print_line, print_table, text
from penstock.cli.price_news import News, news_json, print_news
from penstock.cli.quotes import QUOTE_COLUMNS, Catalogue, Quote, open_catalogue, quote_row
from penstock.cli.rates import priced_json, rate_rows, source_of
from penstock.cli.wording import counted_nouns, moment
from penstock.cli.workplace import Workplace, opened
from penstock.core.price_diff import JUMP, diff_books
from penstock.core.refusals import iso_time
from penstock.core.routing import nearest_names
from penstock.store.price_import import import_genai_prices
from penstock.store.prices import StoredBook

app = typer.Typer(no_args_is_help=True, help="Import prices, and look at them.")


@app.command("import")
def import_prices(
    *,
    is_dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    is_agreed: Annotated[
        bool, typer.Option("--yes", help=f"Take prices that change by more than {JUMP}x too.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Import the prices of the installed genai-prices package; show what changes."""
    with opened(config) as workplace:
        news = _read_news(workplace)
        is_refused = news.jumps > 0 and not is_agreed
        is_imported = news.is_new and not is_dry_run and not is_refused
        if is_imported:
            imported = news.imported
            workplace.stores.books.save(imported.book, imported.source, workplace.now_ms, activate=True)
    if as_json:
        print_json({**news_json(news), "is_imported": is_imported})
    else:
        print_news(news)
        if is_imported:
            print_line("Imported. A running gateway takes these prices when it starts again.")
    if is_refused and not is_dry_run:
        raise CommandError(
            f"nothing is imported: {counted_nouns(news.jumps, 'price')} would change by more than {JUMP}x; "
            "look at them, and repeat with --yes"
        )


@app.command()
def show(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="A model's id, or provider/id.")] = None,
    *,
    provider: Annotated[
        str | None, typer.Option(metavar="PROVIDER", help="One of the settings, or of the price book.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model costs, or every model of a provider; without either, the price books."""
    with opened(config) as workplace:
        catalogue = open_catalogue(workplace)
        books = workplace.stores.books.books()
    if model is None and provider is None:
        _show_books(books, as_json=as_json)
        return
    quotes = _find_quotes(catalogue, model, provider)
    if as_json:
        print_json([priced_json(quote.provider, quote.priced) for quote in quotes])
    elif model is None:
        print_line("Dollars for a million tokens.")
        print_table(QUOTE_COLUMNS, [quote_row(quote) for quote in quotes], none="No models.")
    else:
        for place, quote in enumerate(quotes):
            if place:
                print_line()
            _print_quote(quote)


def _read_news(workplace: Workplace) -> News:
    imported, active = import_genai_prices(), workplace.stores.books.find_active()
    if active is None:
        return News(imported, None)
    return News(imported, diff_books(active, imported.book, workplace.now_ms), is_new=active.id != imported.book.id)


def _find_quotes(catalogue: Catalogue, model: str | None, provider: str | None) -> list[Quote]:
    """Raises CommandError where there are none."""
    if model is None and provider is not None:
        quotes = list(catalogue.at(provider))
        if not quotes:
            raise CommandError(f"no models of {provider} have a price; see `penstock prices show MODEL`")
        return quotes
    name = model or ""
    if provider is None:
        quotes = catalogue.find(name)
    else:
        quote = catalogue.find_at(provider, name)
        quotes, name = [] if quote is None else [quote], f"{provider}/{name}"
    if not quotes:
        near = ", ".join(nearest_names(name, catalogue.names()))
        raise CommandError(f"nobody states a price of {name}" + (f"; did you mean {near}?" if near else ""))
    return quotes


def _show_books(books: tuple[StoredBook, ...], *, as_json: bool) -> None:
    if as_json:
        names = ("id", "source", "is_active")
        rows = [{**{n: getattr(book, n) for n in names}, "imported_at": iso_time(book.created_ms)} for book in books]
        print_json(rows)
        return
    columns = [text("price book"), text("from"), text("imported (UTC)"), text("state")]
    cells = [[b.id[:12], b.source, moment(b.created_ms), "active" if b.is_active else "kept"] for b in books]
    print_table(columns, cells, none="No price book yet.")


def _print_quote(quote: Quote) -> None:
    """Each rate on a line of its own, then those of variants such as a service tier."""
    price = quote.priced.price
    lines = rate_rows(price.rates)
    for variant in price.variants:
        lines += rate_rows(variant.rates, ", ".join(f"{name} {value}" for name, value in variant.when.items()))
    print_line(f"{quote.name}, price from the {source_of(quote.priced)}")
    print_table([text("unit"), number("price"), text("each"), text("when")], lines, none="No rates.")
