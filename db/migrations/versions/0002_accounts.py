"""Accounts, groups, members of collections, sessions, one-time links, failed sign-ins.

A collection from before accounts stays open to everybody, as it was. Two collections may have the same name: whoever
cannot read the first must not learn of it by being refused the second.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _collections()
    _people()
    _sign_in()
    _members()


def _collections() -> None:
    """The same table without its unique name: SQLite cannot drop a constraint."""
    op.execute("PRAGMA defer_foreign_keys=ON")
    op.create_table(
        "collections_anew",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
    )
    op.execute("INSERT INTO collections_anew SELECT id, name, created_at, created_by FROM collections")
    op.execute("DROP TABLE collections")
    op.execute("ALTER TABLE collections_anew RENAME TO collections")


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False, unique=True),
        sa.Column("full_name", sa.String(200), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("password_hash", sa.String(200)),
        sa.Column("subject", sa.String(400), unique=True),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("locked", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.Integer, sa.ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
        _person(primary_key=True, index=True),
    )


def _sign_in() -> None:
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(64), primary_key=True),
        _person(nullable=False),
        sa.Column("method", sa.String(10), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("browser", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("seen_at", sa.DateTime, nullable=False),
        sa.Column("ended_at", sa.DateTime),
    )
    op.create_index("ix_sessions_person", "sessions", ["person_id"])
    op.create_table(
        "one_time_links",
        sa.Column("token_hash", sa.String(64), primary_key=True),
        _person(nullable=True),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "sign_in_failures",
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("last_at", sa.DateTime, nullable=False),
    )


def _members() -> None:
    op.create_table(
        "collection_members",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("collection_id", sa.Integer, sa.ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
        _person(nullable=True),
        sa.Column("group_id", sa.Integer, sa.ForeignKey("groups.id", ondelete="CASCADE")),
        sa.Column("access", sa.String(10), nullable=False),
        sa.UniqueConstraint("collection_id", "person_id", "group_id"),
    )
    op.create_index("ix_collection_members_person", "collection_members", ["person_id"])
    op.create_index("ix_collection_members_group", "collection_members", ["group_id"])
    op.execute("INSERT INTO collection_members (collection_id, access) SELECT id, 'editor' FROM collections")


def _person(**options) -> sa.Column:
    return sa.Column("person_id", sa.String(32), sa.ForeignKey("people.id", ondelete="CASCADE"), **options)
