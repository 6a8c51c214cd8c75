"""The tables, as this version of penstock expects them.

Amounts are nano-USD or counts in 64 bits, times epoch milliseconds, days ``2026-11-21``. An entry carries copies of who
called what, so that a usage query needs no join and outlives the accounts; for the same reason holds and entries refer
to people and keys by number without a foreign key. Every change here needs a migration: a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

HEAD = "0001"
"""The newest migration; a database that says so is up to date, and Alembic need not be imported."""

OPEN = "open"
SETTLED = "settled"
VOID = "void"
SWEPT = "swept"
TIME_MS = "time_ms"
"""The key in ``meta`` of the ledger's time, which never runs backwards."""
MODEL_LENGTH_MAX = 200
FINAL = "final"
ADJUST = "adjust"

metadata = MetaData()

# SQLite numbers its rows only where the type is exactly INTEGER, which has 64 bits there.
_RowId = BigInteger().with_variant(Integer, "sqlite")
_Model = String(MODEL_LENGTH_MAX)
_Document = LargeBinary(2**24)

bucket = Table(
    "bucket",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("subject", String(100), nullable=False),
    Column("unit", String(16), nullable=False),
    Column("period", String(24), nullable=False),
    Column("settled", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    UniqueConstraint("subject", "unit", "period", name="bucket_key"),
    # An id that a process remembers must never come to mean another bucket.
    sqlite_autoincrement=True,
)

hold = Table(
    "hold",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("request_id", String(128), nullable=False),
    Column("key_id", BigInteger),
    Column("person_id", BigInteger),
    Column("provider", String(64), nullable=False),
    Column("model", _Model, nullable=False),
    Column("endpoint", String(64), nullable=False),
    Column("price_book", String(64), nullable=False),
    Column("usd", BigInteger, nullable=False),
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    # {"usd": [bucket ids], "requests": [...]}: each bucket holds the hold's amount in that unit.
    Column("buckets", Text, nullable=False),
    # The WorstCase as it was decided on, for whoever asks why so much was held.
    Column("worst", Text, nullable=False),
    Column("output_cap", BigInteger),
    Column("state", String(8), nullable=False),
    Column("owner", String(32), nullable=False),
    Column("admitted_at_ms", BigInteger, nullable=False),
)
_is_open = hold.c.state == OPEN
Index("hold_open", hold.c.owner, sqlite_where=_is_open, postgresql_where=_is_open)

entry = Table(
    "entry",
    metadata,
    Column("seq", _RowId, primary_key=True),
    Column("hold_id", String(64), ForeignKey("hold.id"), nullable=False),
    Column("kind", String(8), nullable=False),
    # 0 is the hold's final entry, 1 its first adjustment: the database itself refuses a second final one.
    Column("number", Integer, nullable=False),
    # What this entry added to the hold's buckets; an adjustment may be below 0.
    Column("cost", BigInteger, nullable=False),
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("usage", Text, nullable=False),
    Column("rates", Text, nullable=False),
    Column("basis", String(16), nullable=False),
    Column("flags", Text, nullable=False),
    Column("reported_pico", BigInteger),
    Column("latency_ms", BigInteger, nullable=False),
    Column("first_byte_ms", BigInteger),
    Column("status", Integer, nullable=False),
    Column("is_stream", Boolean, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    # The day of the admission: sums over days are then the sums that the limits see.
    Column("day", String(10), nullable=False),
    Column("person_id", BigInteger),
    Column("key_id", BigInteger),
    Column("provider", String(64), nullable=False),
    Column("model", _Model, nullable=False),
    Column("endpoint", String(64), nullable=False),
    UniqueConstraint("hold_id", "number", name="entry_number"),
    Index("entry_person", "person_id", "day", "seq"),
    Index("entry_key", "key_id", "day", "seq"),
    Index("entry_day", "day", "seq"),
    sqlite_autoincrement=True,
)

instance = Table(
    "instance",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("started_ms", BigInteger, nullable=False),
    Column("beat_ms", BigInteger, nullable=False),
)

person = Table(
    "person",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("policy", String(64)),
    Column("is_enabled", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("kid", String(16), nullable=False, unique=True),
    Column("digest", LargeBinary(32), nullable=False),
    Column("name", String(100), nullable=False),
    Column("role", String(16), nullable=False),
    Column("person_id", _RowId, ForeignKey("person.id")),
    Column("policy", String(64)),
    Column("limits", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("is_enabled", Boolean, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Index("api_key_person", "person_id"),
    sqlite_autoincrement=True,
)

policy = Table(
    "policy",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("content", Text, nullable=False),
)

price_book = Table(
    "price_book",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("source", String(200), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("content", _Document, nullable=False),
)

observation = Table(
    "observation",
    metadata,
    Column("provider", String(64), primary_key=True),
    Column("model", _Model, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("trait", String(16), primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
