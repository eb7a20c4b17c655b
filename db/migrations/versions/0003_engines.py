"""Deployments with their settings, which one serves a role, planned switches; starts keep command and memory."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model_id", sa.String(200), nullable=False, index=True),
        sa.Column("model_name", sa.String(200), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("reason", sa.String(20), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("created_by_name", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("ready_at", sa.DateTime),
        sa.Column("ended_at", sa.DateTime),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("estimate", sa.JSON),
    )
    op.create_table(
        "role_aliases",
        sa.Column("role", sa.String(20), primary_key=True),
        sa.Column("deployment_id", sa.Integer, sa.ForeignKey("deployments.id"), nullable=False),
    )
    op.create_table(
        "scheduled_switches",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("at", sa.String(5), nullable=False),
        sa.Column("days", sa.JSON, nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("created_by_name", sa.String(200), nullable=False),
        sa.Column("last_run_at", sa.DateTime),
        sa.Column("last_error", sa.JSON),
    )
    _starts()


def _starts() -> None:
    for column in (
        sa.Column("deployment_id", sa.Integer),
        sa.Column("command", sa.JSON),
        sa.Column("environment", sa.JSON),
        sa.Column("engine_version", sa.String(100)),
        sa.Column("device", sa.String(10)),
        sa.Column("context_tokens", sa.Integer),
        sa.Column("max_num_seqs", sa.Integer),
        sa.Column("predicted_mib", sa.Float),
        sa.Column("measured_mib", sa.Float),
    ):
        op.add_column("engine_starts", column)
    op.create_index("ix_engine_starts_deployment_id", "engine_starts", ["deployment_id"])
