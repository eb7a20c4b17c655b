"""Is the record whole? Walks the chain from its beginning and names the first row that is wrong.

What is found in the chain comes first; triggers that are gone are told beside it, since they alone change nothing.
What it can and cannot prove stands in services/audit/chain.py.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from db.audit_tables import TRIGGERS
from db.database import Database
from services.audit.chain import GENESIS, Chain, Head
from services.audit.ledger import DAY_COLUMNS, Days
from services.translation import N_

_PROGRESS_EVERY = 20_000  # events
_SEAL, _RETENTION = b'{"action":"audit.seal",', b'{"action":"audit.retention",'  # how their bodies begin

Progress = Callable[[int, int], None]  # events done, events in all


@dataclass(frozen=True)
class Finding:
    """Something that is wrong. message: a msgid with its params; event_id: where, when it is a row."""

    message: str
    params: dict
    event_id: int | None = None

    def __str__(self) -> str:
        return self.message.format(**self.params)


@dataclass(frozen=True)
class Verification:
    """first_wrong: the first wrong event, or the first that is missing; None when all that is wrong is no event.

    reason and params: of the first finding; "" when all is well. head: the end of what was verified.
    """

    ok: bool
    events: int
    seconds: float
    head: Head | None
    findings: tuple[Finding, ...] = ()

    @property
    def first_wrong(self) -> int | None:
        return next((finding.event_id for finding in self.findings if finding.event_id is not None), None)

    @property
    def reason(self) -> str:
        return self.findings[0].message if self.findings else ""

    @property
    def params(self) -> dict:
        return self.findings[0].params if self.findings else {}


def verify(
    database: Database, chain: Chain, *, progress: Progress | None = None, head: Head | None = None
) -> Verification:
    """The state of this moment; events may be appended meanwhile. head: one that was saved before.

    Raises AuditKeyMissing when the record was made with another key than the chain's.
    """
    began = time.perf_counter()
    with closing(database.connect()) as connection:
        chain.require(connection)
        connection.execute("BEGIN")
        walk = _Walk(connection, chain, head, progress or (lambda done, total: None))
        walk.run()
        findings = (*sorted(walk.findings, key=_place), *_trigger_findings(connection))
    seconds = time.perf_counter() - began
    return Verification(not findings, walk.events, seconds, walk.head(), findings)


def _place(finding: Finding) -> float:
    return float("inf") if finding.event_id is None else finding.event_id


@dataclass
class _Walk:
    """One pass over the events, and what it has met: hashes at the ids of interest, events that tell of days."""

    connection: sqlite3.Connection
    chain: Chain
    saved_head: Head | None
    progress: Progress
    findings: list[Finding] = field(default_factory=list)
    events: int = 0
    last_id: int = 0
    last_hash: bytes = GENESIS
    last_body: bytes = b""
    broken: bool = False
    seen: dict[int, bytes] = field(default_factory=dict)
    sealed: dict[int, dict] = field(default_factory=dict)  # event id → detail of audit.seal
    removed: dict[int, dict] = field(default_factory=dict)  # event id → detail of audit.retention

    def run(self) -> None:
        self.seals = self._days("seals")
        rows = self.connection.execute(f"SELECT {DAY_COLUMNS}, event_id FROM stubs ORDER BY first_id").fetchall()
        self.stubs = {Days(*row[:-1]): row[-1] for row in rows}
        self.seen = dict.fromkeys(self._ids_of_interest(), b"")
        self._walk()
        if not self.broken:
            self._check_tail()
            self._check_stubs()
        self._check_seals()
        self._check_head()

    def head(self) -> Head | None:
        if not self.last_body:
            return None
        return Head(self.last_id, self.last_hash.hex(), str(json.loads(self.last_body).get("at", "")))

    def _days(self, table: str) -> list[Days]:
        rows = self.connection.execute(f"SELECT {DAY_COLUMNS} FROM {table} ORDER BY first_id")
        return [Days(*row) for row in rows]

    def _ids_of_interest(self) -> set[int]:
        ids = {0} | {days.last_id for days in (*self.seals, *self.stubs)}
        return ids | ({self.saved_head.id} if self.saved_head else set())

    def _walk(self) -> None:
        """Stops at the first wrong row: what follows it hangs in the air."""
        total = self.connection.execute("SELECT coalesce(max(id) - min(id) + 1, 0) FROM events").fetchone()[0]
        rows = self.connection.execute("SELECT id, hash, CAST(body AS BLOB) FROM events ORDER BY id")
        digest_of, seen = self.chain.digest, self.seen
        seen[0] = previous = GENESIS
        body, expected, count = b"", 1, 0
        for event_id, digest, body in rows:
            if event_id != expected:
                expected, previous = self._skip_removed(expected, previous)
                if event_id != expected:
                    self._break_at_gap(event_id, expected)
                    break
            if body is None or digest != digest_of(previous, event_id, body):
                self._break(N_("Event {id} was changed, or is not the one that stood here."), event_id)
                break
            if body.startswith((_SEAL, _RETENTION)):
                self._note(event_id, body)
            if event_id in seen:
                seen[event_id] = digest
            previous, expected, count = digest, event_id + 1, count + 1
            if count % _PROGRESS_EVERY == 0:
                self.progress(count, total)
        else:
            self.last_body = body
            expected, previous = self._skip_removed(expected, previous)
        self.events, self.last_id, self.last_hash = count, expected - 1, previous
        self.progress(count, total)

    def _skip_removed(self, expected: int, previous: bytes) -> tuple[int, bytes]:
        """Over the days that retention removed, as far as their stubs follow from what is before them."""
        for days in self.stubs:
            if days.first_id == expected and days.previous == previous:
                expected, previous = days.last_id + 1, days.last_hash
                self.seen[days.last_id] = previous
        return expected, previous

    def _note(self, event_id: int, body: bytes) -> None:
        told = self.sealed if body.startswith(_SEAL) else self.removed
        told[event_id] = json.loads(body).get("detail", {})

    def _break_at_gap(self, event_id: int, expected: int) -> None:
        if event_id < expected:
            self._break(N_("Event {id} does not belong to the record."), event_id)
        else:
            self._break(N_("Event {id} is missing."), expected)

    def _break(self, message: str, event_id: int) -> None:
        self.broken = True
        self._find(message, event_id, id=event_id)

    def _find(self, message: str, event_id: int | None, **params: object) -> None:
        self.findings.append(Finding(message, params, event_id))

    def _check_tail(self) -> None:
        """No id that was ever given out is missing at the end."""
        row = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        given = row[0] if row else 0
        if given != self.last_id:
            message = N_("The record was cut: it ends with event {last}, but event {given} had been written.")
            self._find(message, min(given, self.last_id) + 1, last=self.last_id, given=given)

    def _check_head(self) -> None:
        head = self.saved_head
        if head is None:
            return
        if head.id > self.last_id:
            if not self.broken:
                message = N_("The record was cut: it ends with event {last}, but the saved head is event {id}.")
                self._find(message, self.last_id + 1, last=self.last_id, id=head.id)
        elif not self.seen[head.id]:
            message = N_("The saved head is of a day that was removed by retention, and proves nothing any more.")
            self._find(message, None)
        elif self.seen[head.id].hex() != head.hash:
            self._find(N_("Event {id} is not the one of the saved head."), head.id, id=head.id)

    def _check_seals(self) -> None:
        """Each seal joins the one before it and the events, and an event tells of each, and of no other."""
        told = {detail.get("day"): (event_id, detail) for event_id, detail in self.sealed.items()}
        removed = {days.day: days for days in self.stubs}
        first_id, previous = 1, GENESIS
        for seal in self.seals:
            if self.broken and seal.last_id > self.last_id:
                continue
            _, detail = told.pop(seal.day, (0, None))
            attested = detail == seal.detail() or (detail is None and removed.get(seal.day) == seal)
            joined = (seal.first_id, seal.previous, seal.count) == (first_id, previous, seal.last_id - first_id + 1)
            if not (attested and joined and self.seen.get(seal.last_id) == seal.last_hash):
                untold = detail is None and seal.day not in removed
                message = (
                    N_("No event tells of the seal of {day}.")
                    if untold
                    else N_("The seal of {day} does not fit the record.")
                )
                self._find(message, min(seal.first_id, self.last_id + 1), day=seal.day)
            first_id, previous = seal.last_id + 1, seal.last_hash
        for day, (_, detail) in told.items():
            self._find(N_("The seal of {day} is missing."), detail.get("first_id"), day=day)

    def _check_stubs(self) -> None:
        """Each stub has the event that tells of its removal, unless that is itself in a day removed later."""
        for days, event_id in self.stubs.items():
            later = any(
                event_id in range(stub.first_id, stub.last_id + 1) for stub in self.stubs if stub.day > days.day
            )
            joined = self.seen.get(days.last_id) == days.last_hash
            if not joined or not (self.removed.get(event_id) == days.detail() or later):
                self._find(
                    N_("The events of {day} were removed, and no event tells of it."), days.first_id, day=days.day
                )
        known = {days.day for days in self.stubs}
        for detail in self.removed.values():
            if detail.get("day") not in known:
                day, first_id = detail.get("day"), detail.get("first_id")
                self._find(
                    N_("The events of {day} were removed, and the stub in their place is gone."), first_id, day=day
                )


def _trigger_findings(connection: sqlite3.Connection) -> list[Finding]:
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    gone = sorted(name for name, sql in TRIGGERS.items() if (name, sql) not in rows)
    more = sorted({name for name, _ in rows} - set(TRIGGERS))
    names = ", ".join([*gone, *more])
    if not names:
        return []
    return [Finding(N_("Triggers that protect the record were dropped or altered: {names}."), {"names": names})]
