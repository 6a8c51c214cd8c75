"""What a new price book would change, as ``penstock prices import`` shows it."""

from dataclasses import dataclass

from penstock.cli.output import number, print_line, print_table, text
from penstock.cli.rates import per, usd_of, usual_number
from penstock.cli.wording import NOTHING, counted_nouns, exact_dollars, listed
from penstock.core.price_diff import JUMP, BookDiff, Change
from penstock.store.price_import import Imported

_NAMES_SHOWN = 20
_COLUMNS = (
    text("model"),
    text("unit"),
    number("before"),
    number("after"),
    text("each"),
    number("change"),
    text("note"),
)


@dataclass(frozen=True, slots=True)
class News:
    """``diff`` is None where there is no book yet to compare with; ``is_new``: it is not the active book already."""

    imported: Imported
    diff: BookDiff | None
    is_new: bool = True

    @property
    def jumps(self) -> int:
        """How many changes wait for an admin's yes."""
        return 0 if self.diff is None else len(self.diff.jumps)


def news_json(news: News) -> dict[str, object]:
    """Everything, with prices in dollars for ``per`` units."""
    imported, diff = news.imported, news.diff
    changes = (
        {"added": [], "removed": [], "changed": []}
        if diff is None
        else {
            "added": ["/".join(name) for name in diff.added],
            "removed": ["/".join(name) for name in diff.removed],
            "changed": [_change_json(change) for change in diff.changed],
        }
    )
    left_out = [{"model": f"{each.provider}/{each.model}", "reason": each.reason} for each in imported.left_out]
    return {"book": imported.book.id, "source": imported.source, **changes, "left_out": left_out}


def print_news(news: News) -> None:
    """A summary, every change of a price, and the first names that come and go."""
    imported, diff = news.imported, news.diff
    print_line(f"{imported.source}; {counted_nouns(len(imported.left_out), 'model')} left out for want of a rate.")
    if diff is None:
        print_line("It is the first price book here.")
        return
    if not (diff.added or diff.removed or diff.changed):
        print_line("No price changes.")
        return
    if diff.changed:
        print_table(_COLUMNS, [_row(change) for change in diff.changed], none="")
    for what, names in (("added", diff.added), ("removed", diff.removed)):
        if names:
            print_line(f"{len(names)} {what}: {_shortened(names)}")


def _shortened(names: tuple[tuple[str, str], ...]) -> str:
    more = len(names) - _NAMES_SHOWN
    return listed(["/".join(name) for name in names[:_NAMES_SHOWN]]) + (f" and {more} more" if more > 0 else "")


def _row(change: Change) -> list[str]:
    notes = ["at its dearest" if change.is_peak else "", f"over {JUMP}x" if change.is_jump else ""]
    return [
        f"{change.provider}/{change.model}",
        change.unit.value,
        *(exact_dollars(usd_of(pico, usual_number(change.unit))) for pico in (change.before, change.after)),
        per(change.unit),
        NOTHING if change.percent is None else f"{change.percent:+d}%",
        listed(list(filter(None, notes)), none=""),
    ]


def _change_json(change: Change) -> dict[str, object]:
    per_number = usual_number(change.unit)
    return {
        "model": f"{change.provider}/{change.model}",
        "unit": change.unit.value,
        "per": per_number,
        "before": usd_of(change.before, per_number),
        "after": usd_of(change.after, per_number),
        "percent": change.percent,
        "is_peak": change.is_peak,
        "is_jump": change.is_jump,
    }
