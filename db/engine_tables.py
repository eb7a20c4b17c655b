"""Rows about models that are served: deployments, their starts, which one serves a role, planned switches."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Float, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables import Base, utc_now


class Deployment(Base):
    """A model with its settings, as somebody ordered it: never changed but for how it ends. Its id is its version.

    roles: those it was ordered for. reason: start, switch, roll_back, settings, schedule, autostart.
    estimate: services.engines.memory.Estimate as JSON, at the time. outcome: "" not known yet, serving, retired,
    failed, rolled_back (a candidate that did not become ready), cancelled, stopped.
    """

    __tablename__ = "deployments"

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(String(200), index=True)
    model_name: Mapped[str] = mapped_column(String(200))
    settings: Mapped[dict]
    roles: Mapped[list]
    reason: Mapped[str] = mapped_column(String(20))
    created_by: Mapped[str] = mapped_column(String(100))
    created_by_name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    ready_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(String(20), default="")
    error: Mapped[dict | None]  # PortalError.to_record()
    estimate: Mapped[dict | None]


class RoleAlias(Base):
    """Which deployment answers for a role."""

    __tablename__ = "role_aliases"

    role: Mapped[str] = mapped_column(String(20), primary_key=True)
    deployment_id: Mapped[int] = mapped_column(ForeignKey("deployments.id"))


class EngineStart(Base):
    """One start of an engine's process: how long it took, what was run, what memory was predicted and measured.

    command, environment: in full, secrets masked. Memory in MiB; None: not known.
    """

    __tablename__ = "engine_starts"

    id: Mapped[int] = mapped_column(primary_key=True)
    deployment_id: Mapped[int | None] = mapped_column(index=True)
    model_id: Mapped[str] = mapped_column(String(200), index=True)
    launcher: Mapped[str] = mapped_column(String(50))
    ready: Mapped[bool]
    duration_s: Mapped[float] = mapped_column(Float)
    reason: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime] = mapped_column(default=utc_now)
    command: Mapped[list | None]
    environment: Mapped[dict | None]
    engine_version: Mapped[str | None] = mapped_column(String(100))
    device: Mapped[str | None] = mapped_column(String(10))  # cpu, cuda
    context_tokens: Mapped[int | None]
    max_num_seqs: Mapped[int | None]
    predicted_mib: Mapped[float | None]  # uncorrected, so that corrections can be computed from it
    measured_mib: Mapped[float | None]


class ScheduledSwitch(Base):
    """A switch at a time of day (the server's time zone). days: 0 Monday … 6 Sunday."""

    __tablename__ = "scheduled_switches"

    id: Mapped[int] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(String(20))
    model_id: Mapped[str] = mapped_column(String(200))
    settings: Mapped[dict]
    at: Mapped[str] = mapped_column(String(5))  # HH:MM
    days: Mapped[list]
    created_by: Mapped[str] = mapped_column(String(100))
    created_by_name: Mapped[str] = mapped_column(String(200))
    last_run_at: Mapped[datetime | None]
    last_error: Mapped[dict | None]  # PortalError.to_record()
