"""What Alembic runs: the migrations, on the connection and inside the transaction that ``migrate`` was given."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
