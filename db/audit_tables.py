"""The rows of the audit file. It is a database of its own: nothing else can lock it, and it can be put away alone.

What is written here is never changed: triggers refuse every UPDATE, and every DELETE of an event but those of a day
that retention has put a stub for. Whoever can write to the file can drop the triggers, so they are no proof; the
proof is the chain of hashes (services/audit/chain.py), and the verification says when a trigger is missing.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Computed, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

AUDIT_MIGRATIONS = Path(__file__).resolve().parent / "audit_migrations"

_NEXT_ID = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) + 1"


def _refuse(name: str, change: str, table: str, when: str = "") -> str:
    """A trigger that refuses the change; `when` narrows it."""
    head = f"CREATE TRIGGER {name} BEFORE {change} ON {table}{' WHEN ' + when if when else ''}"
    return f"{head} BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"


# As they stand in sqlite_master: the verification compares them letter by letter.
TRIGGERS: dict[str, str] = {
    "events_follow": _refuse("events_follow", "INSERT", "events", f"NEW.id IS NOT {_NEXT_ID}"),  # REPLACE deletes
    "events_no_update": _refuse("events_no_update", "UPDATE", "events"),
    "events_no_delete": _refuse(
        "events_no_delete",
        "DELETE",
        "events",
        "NOT EXISTS (SELECT 1 FROM stubs WHERE OLD.id BETWEEN first_id AND last_id)",
    ),
    "seals_no_replace": _refuse("seals_no_replace", "INSERT", "seals", "NEW.day IN (SELECT day FROM seals)"),
    "seals_no_update": _refuse("seals_no_update", "UPDATE", "seals"),
    "seals_no_delete": _refuse("seals_no_delete", "DELETE", "seals"),
    "stubs_no_replace": _refuse("stubs_no_replace", "INSERT", "stubs", "NEW.day IN (SELECT day FROM stubs)"),
    "stubs_no_update": _refuse("stubs_no_update", "UPDATE", "stubs"),
    "stubs_no_delete": _refuse("stubs_no_delete", "DELETE", "stubs"),
}


class AuditBase(DeclarativeBase):
    pass


def _of_body(field: str) -> Computed:
    return Computed(f"json_extract(body, '$.{field}')", persisted=False)


class EventRow(AuditBase):
    """One act. `body` is its canonical JSON; what is filtered is computed from it, so it cannot say anything else.

    hash: over the hash of the event before, the id and the body. ids have no gaps but those of retention.
    Beside it stands events_fts, a full-text index over the event's words and facets (services/audit/words.py).
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_actor", "actor_id"),  # each index of SQLite ends with the id: pages by (actor, id), …
        Index("ix_events_action", "action"),
        Index("ix_events_outcome", "outcome"),
        Index("ix_events_day", "day"),
        Index("ix_events_counts", "day", "actor_id", "action", "outcome", "at"),  # covers every count
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(Text)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    at: Mapped[str] = mapped_column(String, _of_body("at"))  # 2026-11-22T09:30:00.000000Z: sorts as text
    day: Mapped[str] = mapped_column(String, Computed("substr(json_extract(body, '$.at'), 1, 10)", persisted=False))
    actor_id: Mapped[str] = mapped_column(String, _of_body("actor_id"))
    actor_name: Mapped[str] = mapped_column(String, _of_body("actor_name"))
    action: Mapped[str] = mapped_column(String, _of_body("action"))
    outcome: Mapped[str] = mapped_column(String, _of_body("outcome"))
    target: Mapped[str] = mapped_column(String, _of_body("target"))
    duration_ms: Mapped[float | None] = mapped_column(_of_body("duration_ms"))
    request_id: Mapped[str] = mapped_column(String, _of_body("request_id"))


class Pending(AuditBase):
    """An act that has begun: proof that the audit can be written, and what is known of it if the portal is killed.

    owner: the process and the trail in it (services/audit/trail.py); body: what the event will say, as JSON.
    """

    __tablename__ = "pending"

    request_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    begun_at: Mapped[str] = mapped_column(String(27))
    body: Mapped[str] = mapped_column(Text)


class _Days:
    """A stretch of events: those of one UTC day, first_id to last_id without a gap.

    previous: the hash before the first; last_hash: the hash of the last.
    """

    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    first_id: Mapped[int]
    last_id: Mapped[int]
    count: Mapped[int]
    previous: Mapped[bytes] = mapped_column(LargeBinary(32))
    last_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    sealed_at: Mapped[str] = mapped_column(String(27))


class Seal(_Days, AuditBase):
    """A finished day. The event after its last one says the same (action audit.seal)."""

    __tablename__ = "seals"


class Stub(_Days, AuditBase):
    """A day whose events retention has removed. event_id: the event that says so (action audit.retention)."""

    __tablename__ = "stubs"

    removed_at: Mapped[str] = mapped_column(String(27))
    event_id: Mapped[int] = mapped_column(Integer)


class AuditProperty(AuditBase):
    """key: the fingerprint of the key the chain is made with ("" when it is made without)."""

    __tablename__ = "properties"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    value: Mapped[str] = mapped_column(String(500))


class SavedFilter(AuditBase):
    """A filter an auditor gave a name to, as JSON."""

    __tablename__ = "saved_filters"

    actor_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    filter: Mapped[str] = mapped_column(Text)
