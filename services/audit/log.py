"""The log: what auditors read. Every reading is an event itself, one for each filter and not for each page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy import text as sql

from db.audit_tables import SavedFilter
from db.database import Database
from db.tables import utc_now
from services.audit.chain import GENESIS, Chain, Head
from services.audit.details import AuditDetail
from services.audit.events import Action, Event, EventOutcome
from services.audit.export import Exported, export_events
from services.audit.filters import Filter, count_query, page_query
from services.audit.trail import AuditTrail
from services.audit.verification import Progress, Verification, verify
from services.errors import BadInput, NotFound
from services.permissions import Actor, Permission, check
from services.settings import Settings
from services.translation import N_

CountBy = Literal["day", "actor", "action", "outcome"]
_COLUMNS = {"day": "day", "actor": "actor_id", "action": "action", "outcome": "outcome"}
EXPORT_KEPT_S = 24 * 3600
_READERS = 1000  # auditors whose last look is remembered
_NAME_LENGTH = 100

_ACTORS = """
WITH RECURSIVE ids (id) AS (
    SELECT min(actor_id) FROM events
    UNION ALL
    SELECT (SELECT min(actor_id) FROM events WHERE actor_id > ids.id) FROM ids WHERE ids.id IS NOT NULL
)
SELECT ids.id, (SELECT actor_name FROM events WHERE actor_id = ids.id ORDER BY events.id DESC LIMIT 1)
FROM ids WHERE ids.id IS NOT NULL
"""


@dataclass(frozen=True)
class Page:
    """Newest first. next_before_id: what to give to `search` for the page after this one."""

    events: list[Event]
    next_before_id: int | None
    more: bool


@dataclass(frozen=True)
class EventView:
    """An event and its link of the chain, hashes in hex. ok: the hash is that of the body after the one before.

    previous: "" when the event before is not there.
    """

    event: Event
    body: str
    previous: str
    hash: str
    recomputed: str
    ok: bool


class AuditLog:
    """Reads the audit, for actors with READ_AUDIT. Holds nothing but what each auditor looked at last."""

    def __init__(self, database: Database, trail: AuditTrail, settings: Settings) -> None:
        self._database = database
        self._trail = trail
        self._settings = settings
        self._looked: dict[tuple[str, bool], str] = {}
        self._lock = Lock()

    def search(self, chosen: Filter, actor: Actor, before_id: int | None = None, limit: int = 50) -> Page:
        """One page of the events that the filter lets through."""
        self._note(actor, AuditDetail(filter=chosen.to_json()))
        with self._database.session() as session:
            query = page_query(session, chosen)
            if query.nothing:
                return Page([], None, more=False)
            own_id = "events_fts.rowid" if "events_fts" in query.source else "events.id"
            before = f" AND {own_id} < :before" if before_id is not None else ""
            statement = (
                f"SELECT events.id, events.body FROM {query.source} WHERE {query.where}{before}"
                f" ORDER BY {own_id} DESC LIMIT :limit"
            )
            values = query.values | {"limit": limit + 1} | ({"before": before_id} if before else {})
            rows = session.execute(sql(statement), values).all()
        events = [Event.from_body(event_id, body) for event_id, body in rows[:limit]]
        more = len(rows) > limit
        return Page(events, events[-1].id if more else None, more)

    def event(self, event_id: int, actor: Actor) -> EventView:
        """Raises NotFound, also for an event that retention removed."""
        self._note(actor, AuditDetail(event_id=event_id))
        with closing(self._database.connect()) as connection:
            chain = Chain.of(self._settings)
            chain.require(connection)
            row = connection.execute("SELECT body, hash FROM events WHERE id = ?", (event_id,)).fetchone()
            if row is None:
                raise NotFound(N_("There is no event {id}."), hint=N_("Retention may have removed it."), id=event_id)
            before = connection.execute(
                "SELECT hash FROM events WHERE id = :id UNION ALL SELECT last_hash FROM stubs WHERE last_id = :id",
                {"id": event_id - 1},
            ).fetchone()
        body, digest = row
        previous = GENESIS if event_id == 1 else before[0] if before else b""
        recomputed = chain.digest(previous, event_id, body.encode())
        event = Event.from_body(event_id, body)
        ok = bool(previous) and recomputed == digest
        return EventView(event, body, previous.hex(), digest.hex(), recomputed.hex(), ok)

    def counts(self, chosen: Filter, actor: Actor, by: CountBy = "day") -> list[tuple[str, int]]:
        """(label, events): days in their order, the others by their number. The label of a person is the name."""
        self._note(actor, AuditDetail(filter=chosen.to_json()))
        column = _COLUMNS[by]
        order = column if by == "day" else f"2 DESC, {column}"
        query = count_query(chosen, column)
        if query.nothing:
            return []
        with self._database.session() as session:
            statement = f"SELECT {column}, count(*) FROM {query.source} WHERE {query.where} GROUP BY 1 ORDER BY {order}"
            rows = [(str(label), n) for label, n in session.execute(sql(statement), query.values)]
            names = dict(session.execute(sql(_ACTORS)).all()) if by == "actor" else {}
        return [(names.get(label) or label, n) for label, n in rows]

    def actors(self, actor: Actor) -> list[tuple[str, str]]:
        """(id, last name) of all who ever did something, by name; nobody has the id ""."""
        self._check(actor)
        with self._database.session() as session:
            found = session.execute(sql(_ACTORS)).all()
        return sorted(found, key=lambda row: (row[1], row[0]))

    def saved(self, actor: Actor) -> dict[str, Filter]:
        """The auditor's own filters by name."""
        self._check(actor)
        chosen = select(SavedFilter).where(SavedFilter.actor_id == actor.id).order_by(SavedFilter.name)
        with self._database.session() as session:
            return {row.name: Filter.from_json(json.loads(row.filter)) for row in session.scalars(chosen)}

    def save(self, actor: Actor, name: str, chosen: Filter) -> None:
        """Under a name of one's own; an older one of that name is replaced."""
        self._check(actor)
        name = " ".join(name.split())[:_NAME_LENGTH]
        if not name:
            raise BadInput(N_("Give the filter a name."))
        with self._database.session(writing=True) as session:
            session.merge(SavedFilter(actor_id=actor.id, name=name, filter=chosen.to_text()))

    def forget(self, actor: Actor, name: str) -> None:
        self._check(actor)
        chosen = delete(SavedFilter).where(SavedFilter.actor_id == actor.id, SavedFilter.name == name)
        with self._database.session(writing=True) as session:
            session.execute(chosen)

    def verify(self, actor: Actor, head: str = "", progress: Progress | None = None) -> Verification:
        """head: one that was saved before, as its line; "" for none.

        Raises AuditKeyMissing, BadInput (no head); what is wrong with the record is in the answer.
        """
        with self._trail.act(actor, Action.AUDIT_VERIFY) as act:
            check(actor, Permission.READ_AUDIT)
            saved = _head(head) if head.strip() else None
            result = verify(self._database, Chain.of(self._settings), progress=progress, head=saved)
            act.detail = AuditDetail(
                ok=result.ok,
                events=result.events,
                first_wrong=result.first_wrong,
                reason=str(result.findings[0]) if result.findings else "",
                head=str(result.head or ""),
            )
        return result

    def head(self, actor: Actor) -> Head | None:
        """The end of the chain, this reading included."""
        self._check(actor)
        self._trail.record(actor, Action.AUDIT_READ, EventOutcome.SUCCEEDED, target="head")
        with self._database.session() as session:
            row = session.execute(sql("SELECT id, hash, at FROM events ORDER BY id DESC LIMIT 1")).first()
        return Head(row.id, row.hash.hex(), row.at) if row else None

    def export(
        self,
        actor: Actor,
        since: datetime | None,
        until: datetime | None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Exported:
        """A zip of the events from `since` on and before `until`; files of earlier exports are deleted after a day.

        Raises Denied, BadInput, NotFound when there are no events, StorageFull.
        """
        with self._trail.act(actor, Action.AUDIT_EXPORT) as act:
            _forget_old_exports(self._settings.exports_dir)
            exported = export_events(
                self._database, self._settings.exports_dir, actor, since, until, now=utc_now(), progress=progress
            )
            act.target = exported.path.name
            act.detail = AuditDetail(events=exported.events, head=exported.head, sha256=exported.manifest_sha256)
        return exported

    def _check(self, actor: Actor) -> None:
        """A refusal is recorded too."""
        if not actor.may(Permission.READ_AUDIT):
            self._trail.record(actor, Action.AUDIT_READ, EventOutcome.DENIED)
        check(actor, Permission.READ_AUDIT)

    def _note(self, actor: Actor, detail: AuditDetail) -> None:
        """Check, and record the reading if it is not what this auditor looked at last."""
        self._check(actor)
        look = json.dumps(detail.to_json(), sort_keys=True)
        key = (actor.id, detail.event_id is None)  # a list and an opened event stand on one screen
        with self._lock:
            if self._looked.get(key) == look:
                return
        self._trail.record(actor, Action.AUDIT_READ, EventOutcome.SUCCEEDED, detail=detail)
        with self._lock:
            if len(self._looked) >= _READERS:
                self._looked.clear()
            self._looked[key] = look


def _head(line: str) -> Head:
    try:
        return Head.parse(line)
    except ValueError as error:
        raise BadInput(
            N_("This is no head of the record."), hint=N_("It looks like 1234:9f86d0…:2026-11-22T08:00:00.000000Z.")
        ) from error


def _forget_old_exports(folder: Path) -> None:
    for path in folder.glob("audit_*.zip"):
        if time.time() - path.stat().st_mtime > EXPORT_KEPT_S:
            path.unlink(missing_ok=True)
