"""Conversations of three kinds; messages with content of their screen and a rating."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("conversations") as table:
        table.add_column(sa.Column("kind", sa.String(10), nullable=False, server_default="ask"))
        table.drop_index("ix_conversations_actor")
        table.create_index("ix_conversations_kind", ["actor_id", "kind", "updated_at"])
    with op.batch_alter_table("messages") as table:
        table.add_column(sa.Column("content", sa.JSON, nullable=False, server_default="{}"))
        table.add_column(sa.Column("rating", sa.String(10), nullable=False, server_default=""))
        table.add_column(sa.Column("comment", sa.Text, nullable=False, server_default=""))
