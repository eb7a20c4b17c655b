"""Alembic's environment: runs the migrations on the connection that db.database.Database passes in."""

from alembic import context

from db import account_tables, engine_tables  # noqa: F401 - their tables belong to the same metadata
from db.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
