"""Alembic's environment of the audit file: runs on the connection that db.database.Database passes in."""

from alembic import context

from db.audit_tables import AuditBase

context.configure(connection=context.config.attributes["connection"], target_metadata=AuditBase.metadata)
with context.begin_transaction():
    context.run_migrations()
