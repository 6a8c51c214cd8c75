"""A statement for many rows at once, at the driver's own speed.

SQLAlchemy writes the SQL for the database at hand; the rows then go straight to the driver, which saves a third of what
a row costs. Values must be what every driver takes as it is: int, str, bool, None.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

from sqlalchemy import Connection, Dialect, Insert, Update

Row = Mapping[str, object]


class Bulk:
    """An insert, or an update with bind parameters, that is run with rows by name; ``names`` are all their keys."""

    def __init__(self, statement: Insert | Update, names: Sequence[str]) -> None:
        self._statement = statement
        self._names = names
        self._compiled: dict[str, tuple[str, Callable[[Row], object]]] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run the statement for every row."""
        known = self._compiled.get(connection.dialect.name)
        if known is None:
            known = self._compiled[connection.dialect.name] = self._compile(connection.dialect)
        sql, arrange = known
        connection.exec_driver_sql(sql, list(map(arrange, rows)))

    def _compile(self, dialect: Dialect) -> tuple[str, Callable[[Row], object]]:
        columns = self._names if isinstance(self._statement, Insert) else None
        compiled = self._statement.compile(dialect=dialect, column_keys=columns)
        order: Sequence[str] | None = getattr(compiled, "positiontup", None)
        return str(compiled), dict if order is None else itemgetter(*order)
