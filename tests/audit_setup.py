"""An audit in a temporary home, with a clock that is set by hand, and a way around its triggers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from db.database import Database
from services.audit.chain import Chain, Head
from services.audit.events import Action, Event
from services.audit.log import AuditLog
from services.audit.trail import AuditTrail, open_audit
from services.audit.verification import Verification, verify
from services.permissions import Actor, Role
from services.settings import Settings

ANNA = Actor("anna", "Anna", frozenset({Role.USER}), "10.0.0.5")
BEN = Actor("ben", "李本", frozenset({Role.USER, Role.ADMIN}), "10.0.0.6")
AUDITOR = Actor("aud", "Aud", frozenset({Role.AUDITOR}), "10.0.0.7")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = "4f" * 32


@dataclass
class HandClock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_time(self, **amount: float) -> None:
        self.now += timedelta(**amount)


@dataclass
class Audit:
    """A trail and a log on one file. key: the chain's; None: without."""

    settings: Settings
    clock: HandClock = field(default_factory=HandClock)
    busy_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        self.database: Database = open_audit(self.settings)
        self.open_trail()

    def open_trail(self) -> None:
        self.trail = AuditTrail(self.database, self.settings, clock=self.clock, busy_timeout_s=self.busy_timeout_s)
        self.log = AuditLog(self.database, self.trail, self.settings)

    def write(self, count: int, action: Action = Action.ASK, actor: Actor | None = ANNA) -> None:
        for number in range(count):
            with self.trail.act(actor, action, f"target {number}"):
                pass

    def write_days(self, days: int, count: int = 3) -> None:
        """Some acts on each of some days; the clock stands on the day after the last."""
        for _ in range(days):
            self.write(count)
            self.clock.pass_time(days=1)

    def verify(self, head: Head | None = None) -> Verification:
        return verify(self.database, Chain.of(self.settings), head=head)

    def events(self) -> list[Event]:
        with self.raw() as connection:
            rows = connection.execute("SELECT id, body FROM events ORDER BY id").fetchall()
        return [Event.from_body(*row) for row in rows]

    def head(self) -> Head:
        with self.raw() as connection:
            event_id, digest, at = connection.execute(
                "SELECT id, hash, at FROM events ORDER BY id DESC LIMIT 1"
            ).fetchone()
        return Head(event_id, digest.hex(), at)

    @contextmanager
    def raw(self) -> Iterator[sqlite3.Connection]:
        """A connection of somebody who has the file; each statement is a transaction."""
        with closing(sqlite3.connect(self.database.file, isolation_level=None)) as connection:
            yield connection

    @contextmanager
    def forgery(self) -> Iterator[sqlite3.Connection]:
        """The same with the triggers out of the way; afterwards they are as they were."""
        with self.raw() as connection:
            triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            yield connection
            for _, statement in triggers:
                connection.execute(statement)

    def close(self) -> None:
        self.trail.close()
        self.database.close()


def audit_settings(home: Path, *, key: str | None = None, **values: object) -> Settings:
    if key is not None:
        home.mkdir(parents=True, exist_ok=True)
        (home / "audit.key").write_text(key)
        values["audit_key_file"] = home / "audit.key"
    return Settings(home=home, **{"audit_text": "full"} | values)
