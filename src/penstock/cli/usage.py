"""``penstock usage``: what was called, by day and by model, and the last calls one by one."""

from typing import Annotated

import typer

from penstock.cli.callers import key_caller, person_caller
from penstock.cli.options import AsJson, ConfigFile
from penstock.cli.output import number, print_json, print_line, print_table, text
from penstock.cli.wording import counted, counted_nouns, dollars, moment
from penstock.cli.workplace import Workplace, opened
from penstock.core.refusals import iso_time
from penstock.core.windows import DAY_MS, day_period
from penstock.store.usage import DaySum, EntryLine, ModelSum, by_day, by_model, last_entries
from penstock.web.answers import usd
from penstock.web.usage_api import DAYS_MAX

LAST_CALLS = 10
_NONE = "No calls."


def show_usage(
    *,
    email: Annotated[str | None, typer.Option(metavar="EMAIL", help="The calls of one person.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="The calls of one key, by its kid or id.")] = None,
    days: Annotated[int, typer.Option(min=1, max=DAYS_MAX, help="How many days, today (UTC) included.")] = 30,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what calls have cost, by day and by model, and the last calls."""
    if email is not None and key is not None:
        raise typer.BadParameter("give --email or --key")
    with opened(config) as workplace:
        label, subject = _whose(workplace, email, key)
        today = workplace.now_ms // DAY_MS
        first, last = day_period(today - days + 1), day_period(today)
        with workplace.stores.database.reading() as connection:
            day_sums = by_day(connection, subject, first, last)
            model_sums = by_model(connection, subject, first, last)
            entries = last_entries(connection, subject, LAST_CALLS)
    cost, calls = sum(day.cost for day in day_sums), sum(day.calls for day in day_sums)
    if as_json:
        total = {"who": label, "days": days, "cost": usd(cost), "calls": calls}
        print_json({**total, **_json_rows(day_sums, model_sums, entries)})
        return
    print_line(f"{label}, {first} to {last}: {dollars(cost)} for {counted_nouns(calls, 'call')}")
    _print_sums(day_sums, model_sums)
    _print_entries(entries)


def _whose(workplace: Workplace, email: str | None, key: str | None) -> tuple[str, str | None]:
    if email is None and key is None:
        return "everybody", None
    caller = person_caller(workplace, email) if email is not None else key_caller(workplace, key or "")
    return caller.label, caller.subject


def _print_sums(days: list[DaySum], models: list[ModelSum]) -> None:
    if not days:
        return
    print_line()
    print_table(
        [text("day"), number("cost"), number("calls")],
        [[day.day, dollars(day.cost), counted(day.calls)] for day in days],
        none=_NONE,
    )
    print_line()
    print_table(
        [text("model"), *map(number, ("cost", "calls", "tokens in", "tokens out"))],
        [
            [
                f"{each.provider}/{each.model}",
                dollars(each.cost),
                *map(counted, (each.calls, each.tokens_in, each.tokens_out)),
            ]
            for each in models
        ],
        none=_NONE,
    )


def _print_entries(entries: list[EntryLine]) -> None:
    columns = [number("entry"), text("at (UTC)"), text("model"), *map(number, ("cost", "in", "out"))]
    print_line()
    print_table([*columns, text("basis"), number("status")], [_entry_row(entry) for entry in entries], none=_NONE)


def _entry_row(entry: EntryLine) -> list[str]:
    return [
        str(entry.seq),
        moment(entry.at_ms),
        f"{entry.provider}/{entry.model}",
        dollars(entry.cost),
        counted(entry.tokens_in),
        counted(entry.tokens_out),
        entry.basis,
        str(entry.status),
    ]


def _json_rows(days: list[DaySum], models: list[ModelSum], entries: list[EntryLine]) -> dict[str, object]:
    """In the words of ``GET /usage``."""
    return {
        "usage": [{"date": day.day, "cost": usd(day.cost), "calls": day.calls} for day in days],
        "models": [
            {
                "model": f"{each.provider}/{each.model}",
                "cost": usd(each.cost),
                "calls": each.calls,
                "tokens_in": each.tokens_in,
                "tokens_out": each.tokens_out,
            }
            for each in models
        ],
        "last_calls": [_entry_json(entry) for entry in entries],
    }


def _entry_json(entry: EntryLine) -> dict[str, object]:
    return {
        "entry": entry.seq,
        "kind": entry.kind,
        "at": iso_time(entry.at_ms),
        "model": f"{entry.provider}/{entry.model}",
        "endpoint": entry.endpoint,
        "cost": usd(entry.cost),
        "tokens_in": entry.tokens_in,
        "tokens_out": entry.tokens_out,
        "basis": entry.basis,
        "status": entry.status,
        "latency_ms": entry.latency_ms,
        "is_stream": entry.is_stream,
    }
