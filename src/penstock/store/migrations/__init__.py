"""Brings the tables of a database up to date, in one transaction: a kill leaves the old schema or the new one."""

from sqlalchemy import Connection, column, inspect, select, table

from penstock.store.schema import HEAD


def migrate(connection: Connection) -> None:
    """Apply what is missing inside the connection's transaction; raises StoreError if a newer penstock was here."""
    version = find_version(connection)
    if version == HEAD:
        return
    from penstock.store.migrations.upgrading import upgrade  # noqa: PLC0415  Alembic is slow to import

    upgrade(connection, version)


def find_version(connection: Connection) -> str | None:
    """The migration that was applied last, None in an empty database."""
    versions = table("alembic_version", column("version_num"))
    if not inspect(connection).has_table(versions.name):
        return None
    version = connection.execute(select(versions.c.version_num)).scalar_one_or_none()
    return None if version is None else str(version)
