"""``penstock ledger``: proof that every cent adds up, and the arithmetic behind a single entry."""

from decimal import Decimal
from fractions import Fraction
from typing import Annotated

import typer

from penstock.cli.options import AsJson, ConfigFile
from penstock.cli.output import CommandError, number, print_facts, print_json, print_line, print_table, text
from penstock.cli.rates import per, usd_of, usual_number
from penstock.cli.wording import counted, counted_nouns, exact_dollars, listed
from penstock.cli.workplace import opened
from penstock.core.usage import Unit
from penstock.store.schema import ADJUST
from penstock.store.verify import Explanation, Term, VerifyReport
from penstock.store.verify import explain as explain_entry
from penstock.store.verify import verify as verify_ledger
from penstock.web.answers import usd

app = typer.Typer(no_args_is_help=True, help="Prove that the ledger adds up, and explain its entries.")
_SEQ_MAX = 2**63 - 1


@app.command()
def verify(*, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Recompute the whole ledger; the exit code is 1 if a single row does not add up."""
    with opened(config) as workplace:
        report = verify_ledger(workplace.stores.database)
    if as_json:
        print_json(_report_json(report))
    else:
        _print_report(report)
    if not report.is_clean:
        raise CommandError(f"the ledger does not add up: {counted_nouns(report.problem_count, 'problem')}")


@app.command()
def explain(
    seq: Annotated[
        int,
        typer.Argument(metavar="ENTRY", min=1, max=_SEQ_MAX, help="An entry's number, as `penstock usage` shows it."),
    ],
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show why an entry costs what it does: every unit times its price, how that was learned, and whose price it is."""
    with opened(config) as workplace:
        explanation = explain_entry(workplace.stores.database, seq)
    if as_json:
        print_json(_explanation_json(explanation))
    else:
        _print_explanation(explanation)


def _report_json(report: VerifyReport) -> dict[str, object]:
    return {
        "is_clean": report.is_clean,
        "entries": report.entries,
        "open_holds": report.open_holds,
        "buckets": report.buckets,
        "problem_count": report.problem_count,
        "problems": report.problems,
    }


def _print_report(report: VerifyReport) -> None:
    checked = [(report.entries, "entry"), (report.open_holds, "open hold"), (report.buckets, "bucket")]
    outcome = "everything adds up" if report.is_clean else "not everything adds up"
    print_line(f"{', '.join(counted_nouns(*each) for each in checked)}: {outcome}.")
    for problem in report.problems:
        print_line(problem)
    if (more := report.problem_count - len(report.problems)) > 0:
        print_line(f"and {counted(more)} more")


def _print_explanation(entry: Explanation) -> None:
    print_facts(
        {
            "entry": f"{entry.seq} ({entry.kind})",
            "call": f"{entry.provider}/{entry.model}, {entry.endpoint}",
            "basis": entry.basis,
            "prices": entry.price_book,
            "flags": listed(entry.flags),
        }
    )
    print_line()
    columns = [number("count"), text("unit"), number("price"), text("each"), number("amount")]
    print_table(columns, [_term_row(term) for term in entry.terms], none="No unit was charged.")
    print_line()
    print_facts(_sum_facts(entry))


def _term_row(term: Term) -> list[str]:
    unit = Unit(term.unit)
    price = usd_of(Fraction(term.pico, term.per), usual_number(unit))
    return [counted(term.count), unit.value, exact_dollars(price), per(unit), exact_dollars(_term_usd(term))]


def _term_usd(term: Term) -> Decimal:
    return usd_of(Fraction(term.pico, term.per), term.count)


def _sum_facts(entry: Explanation) -> dict[str, str]:
    """What beside the units decides the cost."""
    facts = {}
    if entry.fixed_pico:
        facts["fixed amount"] = exact_dollars(usd_of(Fraction(entry.fixed_pico), 1))
    if entry.reported_pico is not None:
        facts["stated by the provider"] = exact_dollars(usd_of(Fraction(entry.reported_pico), 1))
    if entry.at_most is not None:
        facts["at most, as was held"] = exact_dollars(usd(entry.at_most))
    name = "cost, beside what was charged before" if entry.kind == ADJUST else "cost, rounded up to nano-dollars"
    return {**facts, name: exact_dollars(usd(entry.cost))}


def _explanation_json(entry: Explanation) -> dict[str, object]:
    return {
        "entry": entry.seq,
        "kind": entry.kind,
        "model": f"{entry.provider}/{entry.model}",
        "endpoint": entry.endpoint,
        "basis": entry.basis,
        "price_book": entry.price_book,
        "flags": entry.flags,
        "terms": [_term_json(term) for term in entry.terms],
        "fixed": usd_of(Fraction(entry.fixed_pico), 1),
        "reported": None if entry.reported_pico is None else usd_of(Fraction(entry.reported_pico), 1),
        "at_most": None if entry.at_most is None else usd(entry.at_most),
        "cost": usd(entry.cost),
    }


def _term_json(term: Term) -> dict[str, object]:
    number_of = usual_number(Unit(term.unit))
    price = usd_of(Fraction(term.pico, term.per), number_of)
    return {"unit": term.unit, "count": term.count, "usd": price, "per": number_of, "amount": _term_usd(term)}
