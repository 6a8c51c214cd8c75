"""``penstock models``: what can be called, and what it costs."""

from penstock.cli.options import AsJson, ConfigFile
from penstock.cli.output import print_json, print_line, print_table
from penstock.cli.quotes import QUOTE_COLUMNS, open_catalogue, quote_row
from penstock.cli.rates import priced_json
from penstock.cli.workplace import opened


def list_models(*, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the models of all providers in the settings that have a price, as provider/id."""
    with opened(config) as workplace:
        catalogue = open_catalogue(workplace)
    quotes = [quote for provider in catalogue.providers for quote in catalogue.at(provider)]
    if as_json:
        print_json([priced_json(quote.provider, quote.priced) for quote in quotes])
        return
    print_line("Dollars for a million tokens.")
    print_table(
        QUOTE_COLUMNS, [quote_row(quote) for quote in quotes], none="No models: no provider in the settings has any."
    )
