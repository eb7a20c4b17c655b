"""The trail: every act leaves an event, or is not done.

    begin ──► pending row ──► the act ──► end ──► event in the chain, pending row gone (one transaction)
      │                        │
      └ AuditUnavailable:      └ the portal is killed: the next start makes it an event, failed and "interrupted"
        the act is not done

The pending row proves that the audit can be written before anything happens. An act whose end cannot be written is not
reported as done: AuditUnavailable is raised, and the event is written before the next one that can be.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from db.audit_tables import AUDIT_MIGRATIONS
from db.database import Database
from db.tables import utc_now
from services.audit.chain import Chain
from services.audit.details import Detail, bounded
from services.audit.events import Action, Event, EventOutcome, stamp
from services.audit.journal import BUSY_TIMEOUT_S, Journal
from services.audit.ledger import Begun, Draft, Ledger
from services.engines.process import Identity
from services.errors import AuditUnavailable, Denied, PortalError
from services.permissions import Actor, Permission, check
from services.settings import Settings

log = logging.getLogger(__name__)


def open_audit(settings: Settings) -> Database:
    """The audit file, created and migrated. A commit is on the disk: a power cut takes no event with it."""
    return Database.open(settings.audit_path, migrations=AUDIT_MIGRATIONS, synchronous="FULL")


class Act:
    """One act while it is going on. Set target, detail and outcome as they become known; end it once.

    It may be ended by another thread than the one that began it; the second end does nothing. One that is dropped
    without an end (a stream that nobody read) is recorded as cancelled.
    """

    def __init__(self, trail: AuditTrail, event: Event, detail: Detail | None) -> None:
        self.request_id = event.request_id
        self.target = event.target
        self.detail = detail
        self.outcome = EventOutcome.SUCCEEDED
        self._trail = trail
        self._event = event
        self._began = time.perf_counter()
        self._open = [True]  # pop is atomic, also between a destructor and the thread it interrupts

    def end(
        self,
        outcome: EventOutcome | None = None,
        *,
        detail: Detail | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Record what came of it; without an outcome it is `outcome`. error: what it failed with.

        Raises AuditUnavailable when that cannot be written now.
        """
        if self._close():
            self._trail._end(self._ended(outcome or self.outcome, detail, error))

    def _close(self) -> bool:
        """True for the first who asks."""
        try:
            return self._open.pop()
        except IndexError:
            return False

    def _ended(self, outcome: EventOutcome, detail: Detail | None, error: BaseException | None) -> Draft:
        found = self._trail._stored(detail or self.detail)
        if error is not None:
            found["error"] = type(error).__name__ if isinstance(error, PortalError) else "bug"
        duration_ms = round((time.perf_counter() - self._began) * 1000, 3)
        event = replace(self._event, outcome=outcome, target=self.target, detail=found, duration_ms=duration_ms)
        return Draft.of(replace(event, at=self._trail._clock()))

    def __del__(self) -> None:
        if self.__dict__.get("_open") and self._close():
            self._trail._abandon(self._ended(EventOutcome.CANCELLED, None, None))


class AuditTrail:
    """Writes events. Thread-safe; one per process. `close` it: it has a thread and a file open."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = utc_now,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        """settings: audit_text, audit_keep_days, audit_key_file. The key is read when the first act begins."""
        self._clock = clock
        self._texts = settings.audit_text
        self._keep_days = settings.audit_keep_days
        self._trail_id = secrets.token_hex(4)
        self._owner = f"{_process(os.getpid())}:{self._trail_id}"
        self._journal = Journal(
            database, lambda: Chain.of(settings), after_sealing=self._remove_days, busy_timeout_s=busy_timeout_s
        )

    @contextmanager
    def act(self, actor: Actor | None, action: Action, target: str = "", detail: Detail | None = None) -> Iterator[Act]:
        """The act is what is done in the block. How the block is left is its outcome, unless act.outcome was set:
        Denied is denied, another Exception failed, and a BaseException (closed, interrupted, stopped) cancelled.

        Raises AuditUnavailable before the block when nothing can be recorded, or after it when its end cannot.
        """
        act = self.begin(actor, action, target, detail)
        try:
            yield act
        except Denied as error:
            _end_quietly(act, EventOutcome.DENIED, error)
            raise
        except Exception as error:
            _end_quietly(act, EventOutcome.FAILED, error)
            raise
        except BaseException:
            _end_quietly(act, EventOutcome.CANCELLED, None)
            raise
        act.end()

    def begin(self, actor: Actor | None, action: Action, target: str = "", detail: Detail | None = None) -> Act:
        """For an act that outlives a block: whoever finishes it calls act.end(). Raises AuditUnavailable."""
        event = self._event(actor, action, EventOutcome.FAILED, target)
        begun_body = replace(event, detail=self._stored(detail)).to_body()
        begun = Begun(event.request_id, self._owner, stamp(event.at), begun_body)
        self._journal.write(lambda ledger: ledger.begin(begun))
        return Act(self, event, detail)

    def record(
        self,
        actor: Actor | None,
        action: Action,
        outcome: EventOutcome,
        target: str = "",
        detail: Detail | None = None,
    ) -> None:
        """Record an act that is over already. Raises AuditUnavailable."""
        event = replace(self._event(actor, action, outcome, target), detail=self._stored(detail), duration_ms=0.0)
        draft = Draft.of(event)
        self._journal.write(lambda ledger: ledger.append(draft), keep=True)

    def require(self, actor: Actor, permission: Permission, action: Action, target: str = "") -> None:
        """Raise Denied unless the actor has the permission, after recording that the act was refused."""
        try:
            check(actor, permission)
        except Denied:
            self.record(actor, action, EventOutcome.DENIED, target)
            raise

    def recover(self) -> int:
        """At start: what a portal that was killed had begun becomes events, finished days are sealed, and old ones
        removed; the number of interrupted acts. Acts of a process that still lives are left to it.
        """
        interrupted = self._journal.write(self._recover)
        self._journal.write(self._remove_days)
        return int(interrupted)

    def close(self) -> None:
        self._journal.close()

    def _event(self, actor: Actor | None, action: Action, outcome: EventOutcome, target: str) -> Event:
        return Event(
            at=self._clock(),
            action=action,
            outcome=outcome,
            request_id=secrets.token_hex(8),
            actor_id=actor.id if actor else "",
            actor_name=actor.name if actor else "",
            address=actor.address if actor else "",
            target=target,
        )

    def _stored(self, detail: Detail | None) -> dict:
        return detail.to_json(self._texts) if detail else {}

    def _end(self, draft: Draft) -> None:
        self._journal.write(lambda ledger: ledger.end(draft), keep=True)

    def _abandon(self, draft: Draft) -> None:
        """From a destructor: nobody can be told, and nothing waited for."""
        try:
            self._journal.post(lambda ledger: ledger.end(draft))
        except AuditUnavailable:
            log.warning("the act %s was dropped after the audit was closed", draft.event.request_id)

    def _recover(self, ledger: Ledger) -> int:
        left = [begun for begun in ledger.pending() if not self._lives(begun.owner)]
        for begun in left:
            event = Event.from_body(0, begun.body)
            detail = bounded(event.detail) | {"interrupted": True, "begun_at": begun.begun_at}
            ledger.end(Draft.of(replace(event, at=self._clock(), outcome=EventOutcome.FAILED, detail=detail)))
        ledger.seal(self._clock())
        return len(left)

    def _lives(self, owner: str) -> bool:
        """Whether somebody will still end it: this trail, or another process that runs."""
        process, _, trail_id = owner.rpartition(":")
        pid = int(process.split(":")[0])
        if pid == os.getpid():
            return trail_id == self._trail_id
        return process == _process(pid)

    def _remove_days(self, ledger: Ledger) -> int:
        return ledger.remove_days(self._clock(), self._keep_days) if self._keep_days else 0


def _process(pid: int) -> str:
    """pid, start and boot of a process; "" when there is none."""
    identity = Identity.of(pid)
    return f"{identity.pid}:{identity.start_ticks}:{identity.boot_id}" if identity else ""


def _end_quietly(act: Act, outcome: EventOutcome, error: BaseException | None) -> None:
    """The block has failed already, and says so itself."""
    try:
        act.end(outcome, error=error)
    except AuditUnavailable as unavailable:
        log.error("the end of the act %s waits for the audit: %s", act.request_id, unavailable)
