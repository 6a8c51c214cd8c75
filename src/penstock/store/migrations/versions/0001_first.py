"""The tables of the first release: ledger, accounts, price books."""

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table, and the row that keeps the ledger's time."""
    _create_buckets_and_holds()
    _create_entries()
    _create_accounts()
    _create_the_rest()


def _create_buckets_and_holds() -> None:
    op.create_table(
        "bucket",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("subject", sa.String(100), nullable=False),
        sa.Column("unit", sa.String(16), nullable=False),
        sa.Column("period", sa.String(24), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("subject", "unit", "period", name="bucket_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "hold",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("key_id", sa.BigInteger()),
        sa.Column("person_id", sa.BigInteger()),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("price_book", sa.String(64), nullable=False),
        sa.Column("usd", sa.BigInteger(), nullable=False),
        sa.Column("tokens_in", sa.BigInteger(), nullable=False),
        sa.Column("tokens_out", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("buckets", sa.Text(), nullable=False),
        sa.Column("worst", sa.Text(), nullable=False),
        sa.Column("output_cap", sa.BigInteger()),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("admitted_at_ms", sa.BigInteger(), nullable=False),
    )
    is_open = sa.text("state = 'open'")
    op.create_index("hold_open", "hold", ["owner"], sqlite_where=is_open, postgresql_where=is_open)


def _create_entries() -> None:
    op.create_table(
        "entry",
        sa.Column("seq", ROW_ID, primary_key=True),
        sa.Column("hold_id", sa.String(64), sa.ForeignKey("hold.id"), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("tokens_in", sa.BigInteger(), nullable=False),
        sa.Column("tokens_out", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("rates", sa.Text(), nullable=False),
        sa.Column("basis", sa.String(16), nullable=False),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("reported_pico", sa.BigInteger()),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column("first_byte_ms", sa.BigInteger()),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("is_stream", sa.Boolean(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("person_id", sa.BigInteger()),
        sa.Column("key_id", sa.BigInteger()),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.UniqueConstraint("hold_id", "number", name="entry_number"),
        sqlite_autoincrement=True,
    )
    op.create_index("entry_person", "entry", ["person_id", "day", "seq"])
    op.create_index("entry_key", "entry", ["key_id", "day", "seq"])
    op.create_index("entry_day", "entry", ["day", "seq"])


def _create_accounts() -> None:
    op.create_table(
        "person",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("email", sa.String(254), nullable=False, unique=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("policy", sa.String(64)),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "api_key",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("kid", sa.String(16), nullable=False, unique=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("person_id", ROW_ID, sa.ForeignKey("person.id")),
        sa.Column("policy", sa.String(64)),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger()),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("api_key_person", "api_key", ["person_id"])
    op.create_table(
        "policy",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("content", sa.Text(), nullable=False),
    )


def _create_the_rest() -> None:
    op.create_table(
        "price_book",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("content", sa.LargeBinary(2**24), nullable=False),
    )
    op.create_table(
        "observation",
        sa.Column("provider", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(200), primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("trait", sa.String(16), primary_key=True),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "instance",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("beat_ms", sa.BigInteger(), nullable=False),
    )
    meta = op.create_table(
        "meta",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.bulk_insert(meta, [{"key": "time_ms", "value": "0"}])
